// SPDX-License-Identifier: MIT
// Optimal transport for conditional generation (C2OT, Cheng and Schwing 2025). Each start point carries the condition
// of the end point that it was drawn with, and pairs whose conditions differ cost more (eq. 58 in docs/math.md), so
// that the start points of each condition remain a sample of the whole source.
#pragma once

#include <numeric>

#include "flowmatch/coupling/optimal_transport.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Optimal transport within classes, for conditions that take few values: columns of c that are equal, bit for bit,
/// form a class. It is the limit of a large weight on the condition, without its rounding, and faster than
/// OptimalTransport. Where nearly every column has a condition of its own it changes nothing: take
/// ConditionalTransport.
template <Real Scalar = float> class ClassTransport {
 public:
  /// The column of x1 for each column of x0, of the same class; a permutation, valid until the next call. x0, x1: dim x
  /// n, n >= 1; labels: n numbers, of x0's columns as of x1's. Throws std::invalid_argument if sizes differ or a number
  /// is not finite. Allocates only for larger sets than before.
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, std::span<const Index> labels);
  /// c: condition_dim x n, any number of rows, none being one class.
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, MatrixIn<Scalar> c);
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, MatrixIn<Scalar> c, Rng&) {
    return (*this)(x0, x1, c);
  }

 private:
  template <class Before> std::span<const Index> pair(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, const Before& before) {
    detail::check_coupled<Scalar>("ClassTransport", x0, x1);
    const Index n = x0.cols();
    if (a_.rows() != x0.rows() || a_.cols() < n) {
      a_.resize(x0.rows(), n);
      b_.resize(x0.rows(), n);
    }
    order_.resize(std::size_t(n));
    pairs_.resize(std::size_t(n));
    std::iota(order_.begin(), order_.end(), Index(0));
    std::sort(order_.begin(), order_.end(), [&](Index i, Index j) { return before(i, j) || (!before(j, i) && i < j); });
    for (Index first = 0, end = 0; first < n; first = end) {
      while (end < n && !before(order_[std::size_t(first)], order_[std::size_t(end)])) ++end;
      const auto members = std::span<const Index>(order_).subspan(std::size_t(first), std::size_t(end - first));
      for (Index k = 0; k < end - first; ++k) {
        a_.col(k) = x0.col(members[std::size_t(k)]);
        b_.col(k) = x1.col(members[std::size_t(k)]);
      }
      const auto within = transport_(a_.leftCols(end - first), b_.leftCols(end - first));
      for (std::size_t k = 0; k < members.size(); ++k)
        pairs_[std::size_t(members[k])] = members[std::size_t(within[k])];
    }
    return pairs_;
  }

  OptimalTransport<Scalar> transport_;
  Matrix<Scalar> a_, b_;  // the points of a class
  std::vector<Index> order_, pairs_;
};

template <Real Scalar>
std::span<const Index> ClassTransport<Scalar>::operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1,
                                                          std::span<const Index> labels) {
  detail::check_size("ClassTransport", "labels", Index(labels.size()), x1.cols());
  return pair(x0, x1, [&](Index i, Index j) { return labels[std::size_t(i)] < labels[std::size_t(j)]; });
}

template <Real Scalar>
std::span<const Index> ClassTransport<Scalar>::operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1,
                                                          MatrixIn<Scalar> c) {
  detail::check_columns("ClassTransport", "c", c.cols(), x1.cols());
  detail::check_finite("ClassTransport", "c", c);
  return pair(x0, x1, [&](Index i, Index j) {
    for (Index k = 0; k < c.rows(); ++k)
      if (c(k, i) != c(k, j)) return c(k, i) < c(k, j);
    return false;
  });
}

struct ConditionalTransportOptions {
  double ratio = 0.05;  ///< in (0, 1): the share of end points that may be as cheap for a start point as its own one
};

/// Optimal transport for continuous conditions: least sum of |x0_j - x1_p(j)|^2 + w |c_j - c_p(j)|^2. The weight w is
/// found anew for each batch so that, of all pairs (i, j), the share `ratio` costs no more than (i, i), where the
/// conditions are equal: a small ratio keeps conditions close, a large one comes near to OptimalTransport. w has the
/// units of x^2 / c^2, so that the scale of c does not matter; that of its rows to each other does.
template <Real Scalar = float> class ConditionalTransport {
 public:
  /// Throws std::invalid_argument for a ratio outside (0, 1).
  explicit ConditionalTransport(ConditionalTransportOptions options = {});

  /// The column of x1 for each column of x0, a permutation, valid until the next call. x0, x1: dim x n, n >= 1; c:
  /// condition_dim x n, of x0's columns as of x1's. Throws std::invalid_argument if a shape is wrong or a number not
  /// finite. Costs OptimalTransport and about 20 passes over n^2 costs. Allocates only for larger sets than before.
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, MatrixIn<Scalar> c);
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, MatrixIn<Scalar> c, Rng&) {
    return (*this)(x0, x1, c);
  }

  /// w of the last call
  double weight() const { return weight_; }

 private:
  /// By doubling and bisection to one part in a hundred. Up to 2^20 times the square of the ratio of the largest
  /// numbers: beyond, the digits of the distances would be lost.
  Scalar find_weight() const {
    constexpr Scalar limit = 0x1p20f;
    Scalar high = 1;
    while (share(high) > options_.ratio && high < limit) high *= 2;
    if (high >= limit) return limit;
    while (high > 1 / limit && share(high / 2) <= options_.ratio) high /= 2;
    Scalar low = high / 2;
    while (high - low > Scalar(0.01) * low) {
      const Scalar middle = (low + high) / 2;
      (share(middle) <= options_.ratio ? high : low) = middle;
    }
    return high;
  }

  /// Of all pairs, the share that costs no more with weight w than the pair of the same row on the diagonal.
  double share(Scalar w) const {
    const Index stride = problem_.stride(), n = Index(apart_.size()) / stride;
    Index count = 0;
    detail::dispatch([&, cost = problem_.column(0), apart = apart_.data(), own = own_.data()](auto width)
                         FLOWMATCH_INLINE {
                           using L = detail::Lanes<Scalar, decltype(width)::bytes>;
                           for (Index j = 0; j < n; ++j) {
                             typename L::I cheap{};
                             for (Index i = 0; i < stride; i += L::width) {
                               typename L::V x, a, least;
                               L::load(cost + j * stride + i, x);
                               L::load(apart + j * stride + i, a);
                               L::load(own + i, least);
                               x += w * a;
                               cheap -= x <= least;
                             }
                             for (int lane = 0; lane < L::width; ++lane) count += Index(cheap[lane]);
                           }
                         });
    return double(count) / double(n) / double(n);
  }

  ConditionalTransportOptions options_;
  detail::SquaredDistances<Scalar> distances_;
  detail::Assignment<Scalar> problem_;
  detail::CacheLineVector<Scalar> apart_, own_;  // squared distances of the conditions, and the costs on the diagonal
  double weight_ = 0;
};

template <Real Scalar>
ConditionalTransport<Scalar>::ConditionalTransport(ConditionalTransportOptions options) : options_(options) {
  detail::check_positive("ConditionalTransport", "options.ratio", options.ratio);
  detail::check_below("ConditionalTransport", "options.ratio", options.ratio, 0, 1);
}

template <Real Scalar>
std::span<const Index> ConditionalTransport<Scalar>::operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1,
                                                                MatrixIn<Scalar> c) {
  detail::check_coupled<Scalar>("ConditionalTransport", x0, x1);
  detail::check_columns("ConditionalTransport", "c", c.cols(), x1.cols());
  detail::check_finite("ConditionalTransport", "c", c);
  const Index n = x0.cols();
  problem_.resize(n);
  distances_.set(x0, x1, false);
  distances_.write(problem_.column(0), problem_.stride());
  const double scale = distances_.scale();
  distances_.set(c, c, false);
  apart_.resize(std::size_t(problem_.stride() * n));
  distances_.write(apart_.data(), problem_.stride());
  own_.assign(std::size_t(problem_.stride()), Scalar(-1));  // rows beyond n are never as cheap
  for (Index i = 0; i < n; ++i) own_[std::size_t(i)] = problem_.column(i)[i];
  const Scalar w = find_weight();
  weight_ = double(w) / scale / scale * distances_.scale() * distances_.scale();
  for (Index j = 0; j < n; ++j) {
    const Scalar* apart = apart_.data() + j * problem_.stride();
    for (Index i = 0; i < n; ++i) problem_.column(j)[i] += w * apart[i];
  }
  return problem_.solve();
}

}
}
