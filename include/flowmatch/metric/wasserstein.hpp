// SPDX-License-Identifier: MIT
// Exact 2-Wasserstein distance (eq. 20 in docs/math.md) between two sets of n samples: W2^2 = min over permutations p
// of the mean over j of |x_p(j) - y_j|^2.
#pragma once

#include <cmath>
#include <vector>

#include "flowmatch/assignment/assignment.hpp"
#include "flowmatch/metric/samples.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// W2 between the columns of x and of y, in the units of the data (the root of the mean squared distance of the optimal
/// pairing). x, y: dim x n, n >= 1, finite; computed in double. Throws std::invalid_argument otherwise. O(n^3) at worst
/// and 16 n^2 bytes; for the time see solve_assignment.
template <Real Scalar> double wasserstein2(const Matrix<Scalar>& x, MatrixIn<Scalar> y) {
  detail::check_at_least("wasserstein2", "x.cols()", x.cols(), 1);
  detail::check_shape("wasserstein2", "y", y, x.rows(), x.cols());
  detail::check_finite("wasserstein2", "x", x);
  detail::check_finite("wasserstein2", "y", y);
  const Matrix<Double<Scalar>> a = x.template cast<double>(), b = y.template cast<double>();
  Matrix<Double<Scalar>> squared(a.cols(), b.cols());
  for (Index j = 0; j < b.cols(); ++j) squared.col(j) = (a.colwise() - b.col(j)).colwise().squaredNorm().transpose();
  const std::vector<Index> pairing = solve_assignment(squared);
  double total = 0;
  for (Index i = 0; i < a.cols(); ++i) total += squared(i, pairing[std::size_t(i)]);
  return std::sqrt(total / double(a.cols()));
}

/// What perfect samples would score: W2 between two disjoint random subsets of n columns each of data. Two finite sets
/// of one distribution are never at distance 0, so a model whose n samples reach this value against n held-out data
/// cannot be told from the data by W2. It falls with n only like n^(-1/dim) and varies from draw to draw: average a
/// few. data: dim x at least 2 n. Throws std::invalid_argument unless 1 <= n <= data.cols() / 2. Costs one
/// wasserstein2.
template <Real Scalar> double wasserstein2_floor(const Matrix<Scalar>& data, Index n, Rng& rng) {
  const auto [x, y] = detail::disjoint_subsets("wasserstein2_floor", data, n, rng);
  return wasserstein2(x, y);
}

}
}
