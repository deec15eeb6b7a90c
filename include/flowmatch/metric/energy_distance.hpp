// SPDX-License-Identifier: MIT
// Energy distance (Szekely and Rizzo 2013; eq. 21 in docs/math.md) between two sets of samples, D = 2 E|X - Y| - E|X -
// X'| - E|Y - Y'|.
#pragma once

#include <algorithm>

#include "flowmatch/metric/samples.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// D between the columns of x (dim x n) and of y (dim x m), in the units of the data: |.| is the Euclidean distance and
/// each E the mean over all pairs, (1 / n m) sum_ij |x_i - y_j|, pairs of a sample with itself included (a
/// V-statistic). D >= 0, and D = 0 if and only if the sets are equal as distributions. No root is taken: for dim = 1
/// this is the square of scipy.stats.energy_distance. Between two sets of one distribution D is of order 1/n + 1/m. n,
/// m >= 1. Throws std::invalid_argument if the rows differ, a set is empty or not finite. O((n + m)^2 dim), in double.
template <Real Scalar> double energy_distance(const Matrix<Scalar>& x, MatrixIn<Scalar> y) {
  detail::check_sets("energy_distance", x, "y", y);
  const Matrix<Double<Scalar>> a = x.template cast<double>(), b = y.template cast<double>();
  const auto mean_distance = [](const auto& p, const auto& q) {
    double sum = 0;
    for (Index j = 0; j < q.cols(); ++j) {
      double column = 0;  // sums of sums: rounding stays small
      for (Index i = 0; i < p.cols(); ++i) column += (p.col(i) - q.col(j)).norm();
      sum += column / double(p.cols());
    }
    return sum / double(q.cols());
  };
  // rounding aside, >= 0; in this order NaN, from distances beyond the largest double, stays NaN
  return std::max(2 * mean_distance(a, b) - mean_distance(a, a) - mean_distance(b, b), 0.0);
}

}
}
