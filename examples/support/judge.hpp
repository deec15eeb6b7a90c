// SPDX-License-Identifier: MIT
// A classifier that looks at pictures: whether they show what they should, and where they lie among real ones.
#pragma once

#include "support/fit.hpp"

namespace support {

struct Judge {
  flowmatch::Mlp<float> net;

  /// x: dim x n, a label in 0 .. classes - 1 for each column. Noise on the pictures, so that it judges what they show.
  Judge(const Eigen::MatrixXf& x, const std::vector<flowmatch::Index>& labels, flowmatch::Index classes,
        flowmatch::Rng& rng, const FitOptions& options)
      : net({.in = x.rows(), .hidden = {256, 256}, .out = classes}, rng) {
    namespace fm = flowmatch;
    Eigen::MatrixXf a, noise;
    std::vector<fm::Index> b;
    fit(net, x.cols(), rng, options, "judge", [&](auto indices, auto& backprop, auto& gradient) {
      fm::take_columns(x, indices, a);
      noise.resize(a.rows(), a.cols());
      fm::fill_normal(rng, noise);
      a += 0.1f * noise;
      b.clear();
      for (const fm::Index i : indices) b.push_back(labels[std::size_t(i)]);
      return backprop(net, a, fm::softmax_cross_entropy(b), gradient);
    });
  }

  double accuracy(const Eigen::MatrixXf& x, const std::vector<flowmatch::Index>& labels) const {
    return support::accuracy(evaluate(net, x), labels);
  }

  /// The activations of the last hidden layer: 256 x n. The net's numbers begin with those of the layers before it.
  Eigen::MatrixXf features(const Eigen::MatrixXf& x) const {
    flowmatch::Rng unused(0);
    flowmatch::Mlp<float> body({.in = net.in(), .hidden = {256}, .out = 256}, unused);
    body.set_parameters(net.parameters().head(body.parameters().size()));
    const Eigen::ArrayXXf z = evaluate(body, x).array();
    return z / (1 + (-z).exp());  // SiLU
  }
};

}
