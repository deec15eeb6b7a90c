// SPDX-License-Identifier: MIT
// Many small classifiers, trained side by side, as columns of weights.
#pragma once

#include "support/fit.hpp"
#include "support/labelled.hpp"

namespace support {

/// 12 hidden units; of 16 inputs and 10 classes it has 334 weights.
inline flowmatch::Mlp<float> small_net(const Labelled& data, flowmatch::Rng& rng) {
  return flowmatch::Mlp<float>(
      {.in = data.train.rows(), .hidden = {12}, .out = data.classes, .activation = flowmatch::Activation::tanh}, rng);
}

struct SmallNets {
  Eigen::MatrixXf weights, centres;  ///< a net a column; the mean of those that started near the same point
};

/// starts * each nets. A start is normal, with twice the usual deviation, so that they are far apart, and no biases.
/// Its nets begin within 0.05 of it, and each sees 400 rows of its own, drawn with replacement. The nets are shared
/// among the team, each with random numbers of its own, so that any team gives the same bits.
inline SmallNets train_small_nets(const Labelled& data, flowmatch::Index starts, flowmatch::Index each, int steps,
                                  flowmatch::Rng& rng, flowmatch::Threads& team) {
  namespace fm = flowmatch;
  constexpr fm::Index batch = 32, rows = 400;
  std::vector<fm::Mlp<float>> start;
  for (fm::Index k = 0; k < starts; ++k) {
    start.push_back(small_net(data, rng));
    auto& net = start.back();
    for (const fm::ParameterBlock& block : net.parameter_blocks()) {
      Eigen::MatrixXf w = Eigen::MatrixXf::Zero(block.shape[0], block.size() / block.shape[0]);
      if (w.cols() > 1) fm::fill_normal(rng, w);
      net.parameters().segment(block.offset, block.size()) = 2 / std::sqrt(float(w.cols())) * w.reshaped();
    }
  }
  const fm::Index count = starts * each, size = start[0].parameters().size();
  Eigen::MatrixXf seeds(size, count);  // where each begins
  fm::fill_normal(rng, seeds);

  SmallNets nets{Eigen::MatrixXf(size, count), Eigen::MatrixXf(size, starts)};
  Progress bar(int(each), "small nets");
  team.run([&](int thread) {
    fm::Backprop backprop(start[0]);
    Eigen::MatrixXf x;
    Eigen::VectorXf gradient;
    std::vector<fm::Index> own(rows), indices(batch), labels(batch);
    for (fm::Index j = thread; j < count; j += team.size()) {
      fm::Rng mine(rng.seed, 1000 + std::uint64_t(j));
      fm::Mlp<float> net = start[std::size_t(j / each)];
      net.parameters() += 0.05f * seeds.col(j);
      fm::fill_below(mine, data.train.cols(), std::span(own));
      fm::Adam adam(net.parameters());
      for (int step = 0; step < steps; ++step) {
        fm::fill_below(mine, rows, std::span(indices));
        for (std::size_t i = 0; i < batch; ++i) {
          indices[i] = own[std::size_t(indices[i])];
          labels[i] = data.train_labels[std::size_t(indices[i])];
        }
        fm::take_columns(data.train, std::span<const fm::Index>(indices), x);
        backprop(net, x, fm::softmax_cross_entropy(labels), gradient);
        gradient += 1e-3f * net.parameters();  // a penalty of 5e-4 |w|^2
        adam.options.learning_rate = fm::CosineRate{.peak = 0.02, .warmup = 0, .steps = steps}(step);
        adam.step(net.parameters(), gradient);
      }
      nets.weights.col(j) = net.parameters();
      if (thread == 0) bar.update(int(j / starts));
    }
  });
  for (fm::Index k = 0; k < starts; ++k) nets.centres.col(k) = nets.weights.middleCols(k * each, each).rowwise().mean();
  return nets;
}

/// The share of held-out rows that each net gets right; weights: a net a column.
inline Eigen::RowVectorXf accuracies(const Eigen::MatrixXf& weights, const Labelled& data, flowmatch::Threads& team) {
  Eigen::RowVectorXf share(weights.cols());
  team.run([&](int thread) {
    flowmatch::Rng unused(0);
    flowmatch::Mlp<float> net = small_net(data, unused);
    for (flowmatch::Index j = thread; j < weights.cols(); j += team.size()) {
      net.set_parameters(weights.col(j));
      share(j) = float(accuracy(evaluate(net, data.held_out), data.held_out_labels));
    }
  });
  return share;
}

/// That of the mean of all nets' probabilities.
inline double ensemble_accuracy(const Eigen::MatrixXf& weights, const Labelled& data) {
  flowmatch::Rng unused(0);
  flowmatch::Mlp<float> net = small_net(data, unused);
  Eigen::MatrixXf sum = Eigen::MatrixXf::Zero(data.classes, data.held_out.cols());
  for (flowmatch::Index j = 0; j < weights.cols(); ++j) {
    net.set_parameters(weights.col(j));
    const Eigen::ArrayXXf logits = evaluate(net, data.held_out).array();
    const Eigen::ArrayXXf e = (logits.rowwise() - logits.colwise().maxCoeff()).exp();
    sum += (e.rowwise() / e.colwise().sum()).matrix();
  }
  return accuracy(sum, data.held_out_labels);
}

/// For each net, a column, the number of the nearest centre.
inline std::vector<flowmatch::Index> nearest_centre(const Eigen::MatrixXf& weights, const Eigen::MatrixXf& centres) {
  return flowmatch::nearest_samples(weights, centres).column;
}

/// How the nets share out among the centres.
inline Eigen::RowVectorXf shares(const Eigen::MatrixXf& weights, const Eigen::MatrixXf& centres) {
  Eigen::RowVectorXf share = Eigen::RowVectorXf::Zero(centres.cols());
  for (const flowmatch::Index k : nearest_centre(weights, centres)) share(k) += 1 / float(weights.cols());
  return share;
}

}
