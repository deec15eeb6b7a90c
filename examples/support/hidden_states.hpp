// SPDX-License-Identifier: MIT
// What the examples on the hidden states of sentences share: reading the states, a ridge with the penalty that held-out
// sentences like best, a linear head, how well two sets of states agree, and a plane to draw them in.
#pragma once

#include <Eigen/Eigenvalues>
#include <array>
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/data.hpp"
#include "support/figure.hpp"
#include "support/fit.hpp"
#include "support/labelled.hpp"
#include "support/ridge.hpp"

namespace support {

/// A bundled file of hidden states, one sentence a column. Throws std::runtime_error naming the file unless it has this
/// many rows, at least so many columns, and numbers that are finite.
inline Eigen::MatrixXf load_states(const std::string& name, Eigen::Index rows, Eigen::Index sentences) {
  const std::string path = data_file(name).string();
  Eigen::MatrixXf states = flowmatch::load_npy(path);
  if (states.rows() != rows || states.cols() < sentences)
    throw std::runtime_error(path + ": expected " + std::to_string(rows) + " numbers for each of at least " +
                             std::to_string(sentences) + " sentences, found " + std::to_string(states.rows()) +
                             " for " + std::to_string(states.cols()));
  if (!states.allFinite()) throw std::runtime_error(path + ": expected finite numbers, found another");
  return states;
}

/// The classes of the last n sentences, 0 .. classes - 1. Throws std::runtime_error naming the file for anything else.
inline std::vector<Eigen::Index> load_classes(const std::string& name, Eigen::Index n, Eigen::Index classes) {
  const std::string path = data_file(name).string();
  const Eigen::MatrixXf all = load_states(name, 1, n);
  std::vector<Eigen::Index> labels;
  for (Eigen::Index j = all.cols() - n; j < all.cols(); ++j) {
    const float label = all(0, j);
    if (!(label >= 0 && label < float(classes) && label == std::floor(label)))
      throw std::runtime_error(path + ": expected classes 0 .. " + std::to_string(classes - 1) + ", found " +
                               std::to_string(label));
    labels.push_back(Eigen::Index(label));
  }
  return labels;
}

/// Takes the mean of the first n columns from each row, and brings all to one common scale, on which these n have
/// variance 1 over all rows. What is large stays large.
inline void centre_and_scale(Eigen::MatrixXf& states, Eigen::Index n) {
  const Eigen::VectorXf mean = states.leftCols(n).rowwise().mean();
  states.colwise() -= mean;
  states /= std::sqrt(states.leftCols(n).squaredNorm() / float(states.rows() * n));
}

/// x += sigma e, e ~ N(0, I).
inline void add_noise(flowmatch::Rng& rng, float sigma, Eigen::MatrixXf& x) {
  Eigen::MatrixXf e(x.rows(), x.cols());
  flowmatch::fill_normal(rng, e);
  x += sigma * e;
}

/// Ridge with the penalty that is best for the last fifth of the pairs after a fit to the others.
inline Ridge best_ridge(const Eigen::MatrixXf& x, const Eigen::MatrixXf& y) {
  const Eigen::Index held_out = x.cols() / 5, n = x.cols() - held_out;
  double least = std::numeric_limits<double>::infinity();
  float best = 0;
  for (const float penalty : {3e-4f, 1e-3f, 3e-3f, 1e-2f, 3e-2f, 1e-1f, 3e-1f}) {
    const Ridge ridge(x.leftCols(n), y.leftCols(n), penalty);
    const double error = double((ridge(x.rightCols(held_out)) - y.rightCols(held_out)).squaredNorm());
    if (error < least) least = error, best = penalty;
  }
  return Ridge(x, y, best);
}

/// The linear counterpart of a flow from x to y, both without mean: ridge, then the map that gives its training guesses
/// the covariance of y. It can be inverted.
inline Eigen::MatrixXf linear_step(const Eigen::MatrixXf& x, const Eigen::MatrixXf& y) {
  const Eigen::MatrixXd ridge = best_ridge(x, y).weight.cast<double>();
  const Eigen::MatrixXd guess = ridge * x.cast<double>(), target = y.cast<double>();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> of_guess(guess * guess.transpose());
  const Eigen::MatrixXd root = of_guess.operatorSqrt(), inverse = of_guess.operatorInverseSqrt();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> between(root * target * target.transpose() * root);
  return (inverse * between.operatorSqrt() * inverse * ridge).cast<float>();
}

/// Regression with a net of two hidden layers: y = net(x). Noise on x, against learning by heart.
inline flowmatch::Mlp<float> fit_net(const Eigen::MatrixXf& x, const Eigen::MatrixXf& y, Eigen::Index width, int steps,
                                     flowmatch::Rng& rng, const std::string& label) {
  flowmatch::Mlp<float> net({.in = x.rows(), .hidden = {width, width}, .out = y.rows()}, rng);
  Eigen::MatrixXf a, b;
  fit(net, x.cols(), rng, {.steps = steps, .weight_decay = 0.1}, label,
      [&](auto indices, auto& backprop, auto& gradient) {
        flowmatch::take_columns(x, indices, a);
        flowmatch::take_columns(y, indices, b);
        add_noise(rng, 0.3f, a);
        return backprop(net, a, flowmatch::mean_squared_error(b), gradient);
      });
  return net;
}

/// A linear classifier of states: softmax regression by the library's Mlp without hidden layers.
inline flowmatch::Mlp<float> fit_head(const Eigen::MatrixXf& x, const std::vector<Eigen::Index>& labels,
                                      Eigen::Index classes, flowmatch::Rng& rng, const std::string& label) {
  flowmatch::Mlp<float> head({.in = x.rows(), .out = classes}, rng);
  fit_classifier(head, x, labels, rng, {.steps = 1000, .batch = 256, .learning_rate = 1e-2, .weight_decay = 0.1},
                 label);
  return head;
}

/// Mean over columns of the cosine between a column of a and that of b.
inline double mean_cosine(const Eigen::MatrixXf& a, const Eigen::MatrixXf& b) {
  return double(
      (a.cwiseProduct(b).colwise().sum().array() / (a.colwise().norm().array() * b.colwise().norm().array())).mean());
}

/// Of the 16 classes those that pictures show.
struct ShownClass {
  Eigen::Index label;
  const char *name, *colour;
};
inline constexpr std::array<ShownClass, 5> shown_classes = {{{0, "animal", colour::vermillion},
                                                             {4, "food", colour::orange},
                                                             {5, "location", colour::green},
                                                             {9, "time", colour::blue},
                                                             {12, "feeling", colour::purple}}};

/// The means of the shown classes, one a column.
inline Eigen::MatrixXf class_means(const Eigen::MatrixXf& x, const std::vector<Eigen::Index>& labels) {
  Eigen::MatrixXf means(x.rows(), Eigen::Index(shown_classes.size()));
  for (std::size_t k = 0; k < shown_classes.size(); ++k)
    means.col(Eigen::Index(k)) = of_class(x, labels, shown_classes[k].label).rowwise().mean();
  return means;
}

/// Two orthonormal rows, the directions in which these means differ most: points = plane * x. The sign of each is that
/// in which the last class lies below the others' mean.
inline Eigen::MatrixXf class_plane(const Eigen::MatrixXf& x, const std::vector<Eigen::Index>& labels) {
  Eigen::MatrixXf means = class_means(x, labels);
  means.colwise() -= means.rowwise().mean().eval();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXf> solver(means * means.transpose());
  Eigen::MatrixXf plane = solver.eigenvectors().rightCols(2).transpose();
  const Eigen::Vector2f last = plane * means.rightCols(1);
  for (Eigen::Index i = 0; i < 2; ++i)
    if (last(i) > 0) plane.row(i) *= -1;
  return plane;
}

/// The points of the shown classes in their colours.
inline void scatter_classes(Panel& panel, const Eigen::MatrixXf& points, const std::vector<Eigen::Index>& labels,
                            bool legend) {
  for (const auto& [label, name, ink] : shown_classes)
    panel.scatter(of_class(points, labels, label),
                  {.colour = ink, .size = 1.6, .opacity = 0.75, .label = legend ? name : ""});
}
/// Points as class_means gives them.
inline void scatter_means(Panel& panel, const Eigen::MatrixXf& means) {
  for (std::size_t k = 0; k < shown_classes.size(); ++k)
    panel.scatter(means.col(Eigen::Index(k)), {.colour = shown_classes[k].colour, .size = 3});
}

}
