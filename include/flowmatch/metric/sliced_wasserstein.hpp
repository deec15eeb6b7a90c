// SPDX-License-Identifier: MIT
// Sliced 2-Wasserstein distance (Rabin et al. 2011; Bonneel et al. 2015; eq. 22 in docs/math.md): the mean of the exact
// one-dimensional distances along random directions, SW2^2 = E_u W2^2(u'X, u'Y), u uniform on the unit sphere.
#pragma once

#include <cmath>

#include "flowmatch/metric/samples.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// W2^2 between two sets of sorted numbers, each set of mass 1: mass goes from the lowest to the lowest. It is counted
/// in units of 1 / (n m), where an x weighs m and a y weighs n, so that no rounding leaves a rest.
inline double squared_wasserstein2_of_sorted(const Vector<double>& x, const Vector<double>& y) {
  const Index n = x.size(), m = y.size();
  double sum = 0;
  for (Index i = 0, j = 0, left_x = m, left_y = n; i < n;) {
    const Index mass = std::min(left_x, left_y);
    const double gap = x(i) - y(j);
    sum += double(mass) * gap * gap;
    left_x -= mass;
    left_y -= mass;
    if (left_x == 0) ++i, left_x = m;
    if (left_y == 0) ++j, left_y = n;
  }
  return sum / (double(n) * double(m));
}

}

/// SW2 between the columns of x (dim x n) and of y (dim x m), in the units of the data: the root of the mean over
/// `projections` random directions of the exact squared W2 of the projected sets, whose sizes may differ. SW2 <= W2 /
/// sqrt(dim): a shift by s moves it by about |s| / sqrt(dim), with an error of at most sqrt(2 / projections) of its
/// square from the choice of directions; hold the rng to compare models along the same ones. For dim = 1 it is W2.
/// The floor, what two fresh sets score, falls about like n^(-1/2) in every dimension, where that of W2 falls like
/// n^(-1/dim): sliced_wasserstein2 of disjoint_subsets. n, m, projections >= 1; finite; computed in double. Throws
/// std::invalid_argument otherwise. O(projections (n + m) (dim + log(n + m))): for more points than wasserstein2 can.
template <Real Scalar>
double sliced_wasserstein2(const Matrix<Scalar>& x, MatrixIn<Scalar> y, Index projections, Rng& rng) {
  detail::check_sets("sliced_wasserstein2", x, "y", y);
  detail::check_at_least("sliced_wasserstein2", "projections", projections, 1);
  const auto p = x.template cast<double>().eval(), q = y.template cast<double>().eval();
  Vector<double> direction(p.rows()), a(p.cols()), b(q.cols());
  double sum = 0;
  for (Index k = 0; k < projections; ++k) {
    fill_normal(rng, direction);
    direction.normalize();
    for (Index j = 0; j < p.cols(); ++j) a(j) = direction.dot(p.col(j));
    for (Index j = 0; j < q.cols(); ++j) b(j) = direction.dot(q.col(j));
    std::sort(a.data(), a.data() + a.size());
    std::sort(b.data(), b.data() + b.size());
    sum += detail::squared_wasserstein2_of_sorted(a, b);
  }
  return std::sqrt(sum / double(projections));
}

}
}
