// SPDX-License-Identifier: MIT
// Frechet distance (Dowson and Landau 1982; FID of Heusel et al. 2017 if the columns are features of Inception; eq. 24
// in docs/math.md): the squared 2-Wasserstein distance between the Gaussians with the means and covariances of two
// sets, |m - m'|^2 + tr(C + C' - 2 (C^(1/2) C' C^(1/2))^(1/2)).
//
// Not part of flowmatch.hpp, since Eigen's eigenvalues cost every program compile time: include it by its name.
#pragma once

#include <Eigen/Eigenvalues>
#include <limits>

#include "flowmatch/metric/samples.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// Eigenvalues and vectors of a covariance. Those within rounding of 0, on either side, count as 0: their roots would
/// be no rounding any more.
inline Eigen::SelfAdjointEigenSolver<Matrix<double>> solve_eigen(const Matrix<double>& m, Vector<double>& roots) {
  constexpr auto failed = "flowmatch: frechet_distance: a covariance has no eigenvalues within the range of double";
  if (!all_finite(m.data(), m.size())) raise<std::runtime_error>(failed);
  Eigen::SelfAdjointEigenSolver<Matrix<double>> solver(m);
  if (solver.info() != Eigen::Success) raise<std::runtime_error>(failed);
  const double rounding = double(m.rows()) * std::numeric_limits<double>::epsilon() * solver.eigenvalues().maxCoeff();
  roots = (solver.eigenvalues().array() > rounding).select(solver.eigenvalues().array(), 0).sqrt();
  return solver;
}

inline Matrix<double> covariance(const Matrix<double>& x, const Vector<double>& mean) {
  const Matrix<double> centred = x.colwise() - mean;
  return centred * centred.transpose() / double(x.cols() - 1);
}

inline double frechet_distance(const Matrix<double>& x, const Matrix<double>& y) {
  const Vector<double> m = x.rowwise().mean(), n = y.rowwise().mean();
  const Matrix<double> c = covariance(x, m), d = covariance(y, n);
  Vector<double> roots;
  const Matrix<double> vectors = solve_eigen(c, roots).eigenvectors();
  const Matrix<double> root = vectors * roots.asDiagonal() * vectors.transpose();
  solve_eigen(root * d * root, roots);
  return (m - n).squaredNorm() + std::max(c.trace() + d.trace() - 2 * roots.sum(), 0.0);  // rounding aside, >= 0
}

}

/// The Frechet distance between the columns of x (dim x n) and of y (dim x m), features or the data themselves:
/// squared, in squared units of the data, as FID is printed. It sees means and covariances (with n - 1, as numpy.cov)
/// and nothing else: 0 does not mean that the sets are equal. Covariances may be singular, also for n <= dim; the
/// result is then right to some 1e-7 of the largest variance, otherwise to rounding.
///
/// The floor, what two fresh sets score, is not 0 and biased with n (Chong and Forsyth 2020): for normal data of
/// variance s^2 about s^2 (2 dim + dim (dim + 1) / 2) / n for n = m well above dim, so that only values of the same n
/// compare; otherwise take frechet_distance of disjoint_subsets. n, m >= 2, dim >= 1, finite; computed in double.
/// Throws std::invalid_argument otherwise. O((n + m) dim^2 + dim^3).
template <Real Scalar> double frechet_distance(const Matrix<Scalar>& x, MatrixIn<Scalar> y) {
  detail::check_at_least("frechet_distance", "x.rows()", x.rows(), 1);
  detail::check_sets("frechet_distance", x, "y", y, 2, 2);
  return detail::frechet_distance(x.template cast<double>(), y.template cast<double>());
}

}
}
