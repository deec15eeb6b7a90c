// SPDX-License-Identifier: MIT
// A flow to symbols: x holds an embedding in each of some places, and the net says which symbol it will come to.
#pragma once

#include <flowmatch/flowmatch.hpp>
#include <numbers>

namespace support {

/// Logits to probabilities, place by place: rows of p are the symbols of the first place, then of the next, ...
inline void softmax(auto&& p, Eigen::Index places) {
  auto each = p.reshaped(p.rows() / places, places * p.cols());
  for (Eigen::Index k = 0; k < each.cols(); ++k) {
    auto place = each.col(k);
    place.array() = (place.array() - place.maxCoeff()).exp();
    place /= place.sum();
  }
}

/// The flow whose net says p(x1 | x_t, c), a symbol in each place: v(x, t, c) = (E[x1 | x, c] - x) / (1 - t).
struct CategoricalFlow {
  using Scalar = float;
  struct Workspace {
    flowmatch::Mlp<float>::Workspace net;
    Eigen::MatrixXf input, p;
  };
  static constexpr Eigen::Index time_rows = 17;
  Eigen::Index places;
  Eigen::MatrixXf embedding;  // a column for each symbol
  flowmatch::Mlp<float> net;

  Eigen::Index dim() const { return places * embedding.rows(); }
  Eigen::Index condition_dim() const { return net.in() - dim() - time_rows; }
  auto parameters() { return net.parameters(); }
  auto parameters() const { return net.parameters(); }

  /// What the net sees: the place, t as sines and cosines, the letters.
  void input(const auto& x, const auto& t, const auto& c, Eigen::MatrixXf& rows) const {
    rows.resize(net.in(), x.cols());
    rows.topRows(dim()) = x;
    rows.row(dim()) = t;
    for (int k = 1; k <= 8; ++k) {
      rows.row(dim() + k) = (std::numbers::pi_v<float> * float(k) * t).array().sin();
      rows.row(dim() + 8 + k) = (std::numbers::pi_v<float> * float(k) * t).array().cos();
    }
    rows.bottomRows(condition_dim()) = c;
  }
  /// p(symbol | x, t, c) in each place.
  const Eigen::MatrixXf& probabilities(const auto& x, const auto& t, const auto& c, Workspace& w) const {
    input(x, t, c, w.input);
    w.p.resize(net.out(), x.cols());
    net.forward(w.input, w.p, w.net);
    softmax(w.p, places);
    return w.p;
  }
  void forward(const auto& x, const auto& t, const auto& c, auto&& v, Workspace& w) const {
    const auto p = probabilities(x, t, c, w).reshaped(embedding.cols(), places * x.cols());
    for (Eigen::Index j = 0; j < x.cols(); ++j)
      v.col(j) = ((embedding * p.middleCols(places * j, places)).reshaped() - x.col(j)) / std::max(1 - t(j), 1e-3f);
  }
};
static_assert(flowmatch::ParametricField<CategoricalFlow>);

/// The symbol whose embedding is nearest, in each place.
inline Eigen::MatrixXi decode(const Eigen::MatrixXf& x, const Eigen::MatrixXf& embedding) {
  Eigen::MatrixXi symbols(x.rows() / embedding.rows(), x.cols());
  const Eigen::MatrixXf each = x.reshaped(embedding.rows(), symbols.size());
  for (Eigen::Index k = 0; k < symbols.size(); ++k) {
    Eigen::Index nearest = 0;
    (embedding.colwise() - each.col(k)).colwise().squaredNorm().minCoeff(&nearest);
    symbols.data()[k] = int(nearest);
  }
  return symbols;
}

/// The likeliest symbol of each place, or one drawn from its probabilities.
inline Eigen::MatrixXi choose(const Eigen::MatrixXf& p, Eigen::Index places, flowmatch::Rng* rng = nullptr) {
  Eigen::MatrixXi symbols(places, p.cols());
  Eigen::VectorXf u(symbols.size());
  if (rng) flowmatch::fill_uniform(*rng, u);
  const Eigen::Index count = p.rows() / places;
  for (Eigen::Index k = 0; k < symbols.size(); ++k) {
    const auto of_place = p.col(k / places).segment(k % places * count, count);
    Eigen::Index symbol = 0;
    if (!rng)
      of_place.maxCoeff(&symbol);
    else
      for (float below = of_place(0); u(k) >= below && symbol + 1 < count;) below += of_place(++symbol);
    symbols.data()[k] = int(symbol);
  }
  return symbols;
}

/// The embeddings of symbols, places x words, below each other.
inline Eigen::MatrixXf embed(const Eigen::MatrixXi& symbols, const Eigen::MatrixXf& embedding) {
  Eigen::MatrixXf x(embedding.rows(), symbols.size());
  for (Eigen::Index k = 0; k < symbols.size(); ++k) x.col(k) = embedding.col(symbols.data()[k]);
  return x.reshaped(symbols.rows() * embedding.rows(), symbols.cols());
}

}
