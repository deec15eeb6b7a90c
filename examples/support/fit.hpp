// SPDX-License-Identifier: MIT
// Regression and classification with the library's Mlp, in one call: the baselines, judges and encoders of the
// examples.
#pragma once

#include <flowmatch/flowmatch.hpp>
#include <span>
#include <string>
#include <vector>

#include "support/progress.hpp"

namespace support {

struct FitOptions {
  int steps = 2000;
  flowmatch::Index batch = 256;
  double learning_rate = 1e-3, weight_decay = 0;
};

/// Trains the net with AdamW, a warm-up and a rate that falls to 0. step_loss(indices, backprop, gradient) gives the
/// loss of a batch of samples; samples are drawn from 0 .. n - 1, each once an epoch.
template <class Loss>
void fit(flowmatch::Mlp<float>& net, flowmatch::Index n, flowmatch::Rng& rng, const FitOptions& options,
         const std::string& label, const Loss& step_loss) {
  namespace fm = flowmatch;
  fm::Backprop backprop(net);
  fm::AdamW adam(net.parameters(), {.weight_decay = options.weight_decay});
  const fm::CosineRate rate{.peak = options.learning_rate, .warmup = 50, .steps = options.steps};
  fm::Epoch epoch(n);
  Eigen::VectorXf gradient;
  Progress bar(options.steps, label);
  for (int step = 0; step < options.steps; ++step) {
    const float value = step_loss(epoch.draw(rng, std::min(options.batch, n)), backprop, gradient);
    adam.options.learning_rate = rate(step);
    adam.step(net.parameters(), gradient);
    bar.update(step, value);
  }
}

/// y = net(x) in the mean square; x: in x n, y: out x n.
inline void fit_regression(flowmatch::Mlp<float>& net, const Eigen::MatrixXf& x, const Eigen::MatrixXf& y,
                           flowmatch::Rng& rng, const FitOptions& options, const std::string& label) {
  Eigen::MatrixXf a, b;
  fit(net, x.cols(), rng, options, label, [&](auto indices, auto& backprop, auto& gradient) {
    flowmatch::take_columns(x, indices, a);
    flowmatch::take_columns(y, indices, b);
    return backprop(net, a, flowmatch::mean_squared_error(b), gradient);
  });
}

/// The net's outputs become logits of labels; x: in x n, a label for each column.
inline void fit_classifier(flowmatch::Mlp<float>& net, const Eigen::MatrixXf& x,
                           const std::vector<flowmatch::Index>& labels, flowmatch::Rng& rng, const FitOptions& options,
                           const std::string& label) {
  Eigen::MatrixXf a;
  std::vector<flowmatch::Index> b;
  fit(net, x.cols(), rng, options, label, [&](auto indices, auto& backprop, auto& gradient) {
    flowmatch::take_columns(x, indices, a);
    b.clear();
    for (const flowmatch::Index i : indices) b.push_back(labels[std::size_t(i)]);
    return backprop(net, a, flowmatch::softmax_cross_entropy(b), gradient);
  });
}

/// net(x) for any number of columns.
inline Eigen::MatrixXf evaluate(const flowmatch::Mlp<float>& net, const Eigen::MatrixXf& x) {
  flowmatch::Mlp<float>::Workspace workspace;
  Eigen::MatrixXf y(net.out(), x.cols());
  net.forward(x, y, workspace);
  return y;
}

/// Share of columns whose largest entry is their label's.
inline double accuracy(const Eigen::MatrixXf& logits, const std::vector<flowmatch::Index>& labels) {
  flowmatch::Index right = 0;
  for (flowmatch::Index j = 0; j < logits.cols(); ++j) {
    flowmatch::Index best = 0;
    logits.col(j).maxCoeff(&best);
    right += best == labels[std::size_t(j)];
  }
  return double(right) / double(logits.cols());
}

}
