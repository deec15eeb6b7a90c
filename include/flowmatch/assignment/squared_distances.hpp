// SPDX-License-Identifier: MIT
// All squared distances between two sets of points, the costs of optimal transport. Written like a matrix product, with
// differences in place of products: |x|^2 + |y|^2 - 2 x y would lose the digits of points that are close to each other
// and far from the origin.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "flowmatch/kernel/tile.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// Rows of a matrix of costs, in whole blocks: kernels read and write columns to the end of the last block.
inline constexpr Index cost_block = 64;
inline Index cost_rows(Index n) { return (n + cost_block - 1) / cost_block * cost_block; }

template <class Scalar> using CacheLineVector = std::vector<Scalar, CacheLineAllocator<Scalar>>;

/// Two sets of points, copied to where their distances are computed fast. Allocates only for larger sets than before.
template <Real Scalar> class SquaredDistances {
 public:
  /// x: dim x n, y: dim x m, finite, of any scale. centred: each set is moved so that its mean is 0. Subtracting the
  /// means changes cost(i, j) by a term in i plus a term in j, which leaves the optimal plan unchanged, and avoids
  /// cancellation when the sets are far apart.
  void set(MatrixIn<Scalar> x, MatrixIn<Scalar> y, bool centred) {
    dim_ = x.rows();
    columns_ = y.cols();
    rows_ = cost_rows(x.cols());
    Scalar largest = 0;
    for (const auto* points : {&x, &y})
      for (Index j = 0; j < points->cols(); ++j)
        for (Index k = 0; k < dim_; ++k) largest = std::max(largest, std::abs((*points)(k, j)));
    int exponent = 0;
    std::frexp(largest, &exponent);
    constexpr int limit = -std::numeric_limits<Scalar>::min_exponent;
    scale_ = std::ldexp(Scalar(1), -std::clamp(exponent, -limit, limit));
    x_.assign(std::size_t(rows_ * dim_), Scalar(0));
    y_.resize(std::size_t(columns_ * dim_));
    for (Index k = 0; k < dim_; ++k) {
      const Scalar x_mean = centred ? mean(x, k) : Scalar(0), y_mean = centred ? mean(y, k) : Scalar(0);
      for (Index j = 0; j < x.cols(); ++j) x_[std::size_t(k * rows_ + j)] = scale_ * x(k, j) - x_mean;
      for (Index j = 0; j < columns_; ++j) y_[std::size_t(j * dim_ + k)] = scale_ * y(k, j) - y_mean;
    }
  }

  /// The power of two with which points are multiplied, so that no square is infinite, or 0 where it should not be.
  double scale() const { return double(scale_); }

  /// cost[i + j stride] = scale^2 |x_i - y_j|^2; rows to the end of the block, stride >= cost_rows(n).
  void write(Scalar* cost, Index stride) const {
    for (Index j = 0; j < columns_; j += together)
      if (columns_ - j >= together)
        write_columns<together>(j, cost + j * stride, stride);
      else
        for (Index k = j; k < columns_; ++k) write_columns<1>(k, cost + k * stride, stride);
  }

 private:
  static constexpr int together = 4;  // columns, so that a vector of x is read once for four uses

  Scalar mean(MatrixIn<Scalar> x, Index k) const {
    double sum = 0;
    for (Index j = 0; j < x.cols(); ++j) sum += double(scale_ * x(k, j));
    return Scalar(sum / double(x.cols()));
  }

  template <int n> void write_columns(Index j, Scalar* cost, Index stride) const {
    dispatch([&, x = x_.data(), y = y_.data() + j * dim_, dim = dim_, rows = rows_](auto width) FLOWMATCH_INLINE {
      using L = Lanes<Scalar, decltype(width)::bytes>;
      for (Index i = 0; i < rows; i += 2 * L::width) {
        typename L::V sums[2][n] = {};
        for (Index k = 0; k < dim; ++k) {
          typename L::V a, b;
          L::load(x + k * rows + i, a);
          L::load(x + k * rows + i + L::width, b);
#pragma GCC unroll 4
          for (int c = 0; c < n; ++c) {
            const typename L::V da = a - y[c * dim + k], db = b - y[c * dim + k];
            sums[0][c] += da * da;
            sums[1][c] += db * db;
          }
        }
#pragma GCC unroll 4
        for (int c = 0; c < n; ++c) {
          L::store(cost + c * stride + i, sums[0][c]);
          L::store(cost + c * stride + i + L::width, sums[1][c]);
        }
      }
    });
  }

  Index dim_ = 0, columns_ = 0, rows_ = 0;
  Scalar scale_ = 1;
  CacheLineVector<Scalar> x_, y_;  // rows_ x dim_ and dim_ x columns_
};

}
}
}
