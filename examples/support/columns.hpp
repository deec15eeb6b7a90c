// SPDX-License-Identifier: MIT
// Columns of a table that are not continuous: constant ones, and those of a few whole numbers.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

namespace support {

/// The values that a column takes if it has at most 12 of them, all whole numbers, and at least ten rows for each;
/// empty: it is continuous. One value: it is constant, whole or not.
inline std::vector<float> levels(const Eigen::RowVectorXf& column) {
  std::set<float> values;
  for (const float x : column) {
    values.insert(x);
    if (values.size() > 12) return {};
  }
  const bool whole = std::all_of(values.begin(), values.end(), [](float x) { return x == std::round(x); });
  if (values.size() > 1 && (!whole || column.size() < 10 * Eigen::Index(values.size()))) return {};
  return {values.begin(), values.end()};
}

/// The level nearest to x.
inline float snap(float x, const std::vector<float>& levels) {
  return *std::min_element(levels.begin(), levels.end(),
                           [x](float a, float b) { return std::abs(x - a) < std::abs(x - b); });
}

/// Columns of one-hot vectors.
inline Eigen::MatrixXf one_hot(const Eigen::RowVectorXf& column, const std::vector<float>& levels) {
  Eigen::MatrixXf c = Eigen::MatrixXf::Zero(Eigen::Index(levels.size()), column.size());
  for (Eigen::Index j = 0; j < column.size(); ++j)
    c(std::lower_bound(levels.begin(), levels.end(), column(j)) - levels.begin(), j) = 1;
  return c;
}

/// Correlations of the rows of x; 0 for a constant row.
inline Eigen::MatrixXd correlations(const Eigen::MatrixXf& x) {
  Eigen::MatrixXd z = x.cast<double>();
  z.colwise() -= z.rowwise().mean().eval();
  for (Eigen::Index i = 0; i < z.rows(); ++i)
    if (z.row(i).norm() > 0) z.row(i).normalize();
  return z * z.transpose();
}

}
