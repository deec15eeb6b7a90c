// SPDX-License-Identifier: MIT
// Principal components with unit variance (eq. 28 in docs/math.md), for data with many dependent rows: the net then
// sees few rows without correlation.
//
// Not part of flowmatch.hpp, since Eigen's eigenvalues cost every program compile time: include it by its name.
#pragma once

#include <Eigen/Eigenvalues>
#include <algorithm>

#include "flowmatch/data/normalizer.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// A Normalizer onto the first principal components of data, dim x n, whose covariance (over n) becomes I. They are
/// those of the standardized rows, so that units do not decide what is principal, and in order of falling deviation;
/// the sign is that in which the largest entry is positive. Throws as Normalizer(data) does, and std::invalid_argument
/// unless 1 <= components <= the number of directions in which the data varies by more than rounding. Sums in double.
/// O(dim^2 n + dim^3) and memory for three matrices of dim x dim doubles.
template <Real Scalar> Normalizer<Scalar> whitening(const Matrix<Scalar>& data, Index components) {
  detail::check_at_least("whitening", "data.rows()", data.rows(), 1);
  detail::check_at_least("whitening", "components", components, 1);
  Normalizer<Scalar> normalizer(data);
  const Index dim = data.rows(), n = data.cols(), block = 256;
  Matrix<double> covariance = Matrix<double>::Zero(dim, dim), z;
  for (Index j = 0; j < n; j += block) {
    z = normalizer(data.middleCols(j, std::min(block, n - j))).template cast<double>();
    covariance.noalias() += z * z.transpose();
  }
  covariance /= double(n);

  const Eigen::SelfAdjointEigenSolver<Matrix<double>> solver(covariance);
  if (solver.info() != Eigen::Success)
    detail::raise<std::runtime_error>("flowmatch: whitening: the eigenvalues of the covariance do not converge");
  const auto& variances = solver.eigenvalues();  // rising
  // The solver's rounding, and that of the data: deviations below are no property of the data.
  const double of_solver = double(dim) * std::numeric_limits<double>::epsilon(),
               of_data = double(dim) * double(std::numeric_limits<Scalar>::epsilon());
  const double least = variances(dim - 1) * std::max(of_solver, of_data * of_data);
  const Index directions = std::min((variances.array() > least).count(), n - 1);
  if (components > directions)
    detail::fail("whitening", {"expected at most ", directions,
                               " components, the directions in which the data varies, got ", components});

  normalizer.deviation = variances.tail(components).reverse().cwiseSqrt().template cast<Scalar>();
  normalizer.components.resize(components, dim);
  for (Index i = 0; i < components; ++i) {
    const auto axis = solver.eigenvectors().col(dim - 1 - i);
    Index largest = 0;
    axis.cwiseAbs().maxCoeff(&largest);
    normalizer.components.row(i) = ((axis(largest) < 0 ? -1.0 : 1.0) * axis).transpose().template cast<Scalar>();
  }
  return normalizer;
}

}
}
