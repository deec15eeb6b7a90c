// SPDX-License-Identifier: MIT
// Maximum mean discrepancy (Gretton et al. 2012, eq. 5; eq. 23 in docs/math.md): MMD^2 = E k(X, X') + E k(Y, Y') -
// 2 E k(X, Y), with Gaussian kernels k(a, b) = exp(-|a - b|^2 / (2 s^2)).
#pragma once

#include <cmath>

#include "flowmatch/metric/samples.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// MMD between the columns of x (dim x n) and of y (dim x m), without units: 0 if and only if the sets are equal as
/// distributions, at most sqrt(2). The kernel is the mean of Gaussian kernels of the given bandwidths s (standard
/// deviations, in the units of the data): a mean and not a sum, so that the value does not grow with their number. One
/// is the median heuristic, {median_distance(data)}; several, from a part of it to a multiple, see more scales. Take
/// them from the data, not from samples, or two models are measured by different kernels.
///
/// The means are over all pairs, pairs of a sample with itself included (the biased V-statistic, as in
/// energy_distance): the distance between the two sets themselves, never negative, so that it has a root. Many papers
/// print the square, and of the unbiased estimate. The floor, what two fresh sets score, is in the square exactly
/// (1/n + 1/m) (1 - E k(X, X')) on average, below 1/n + 1/m; in one draw the value for disjoint_subsets.
///
/// n, m >= 1. Throws std::invalid_argument if the rows differ, a set is empty or not finite, there is no bandwidth or
/// one is not > 0. O((n + m)^2 (dim + bandwidths)) time, but O((n + m) dim) memory; computed in double, rounding 1e-8.
template <Real Scalar>
double maximum_mean_discrepancy(const Matrix<Scalar>& x, MatrixIn<Scalar> y, const std::vector<double>& bandwidths) {
  constexpr auto where = "maximum_mean_discrepancy";
  detail::check_sets(where, x, "y", y);
  detail::check_at_least(where, "bandwidths.size()", bandwidths.size(), 1);
  for (const double s : bandwidths) detail::check_positive(where, "every bandwidth", s);
  const auto p = x.template cast<double>().eval(), q = y.template cast<double>().eval();
  Eigen::Array<Double<Scalar>, Eigen::Dynamic, 1> squared(std::max(p.cols(), q.cols()));
  // sum_i k(a_i, b) over the columns of a from `first` on
  const auto kernel_sum = [&](const auto& a, Index first, const auto& b) {
    const auto n = a.cols() - first;
    for (Index i = 0; i < n; ++i) squared(i) = (a.col(first + i) - b).squaredNorm();
    double sum = 0;
    for (const double s : bandwidths) sum += (squared.head(n) / s / s * -0.5).exp().sum();
    return sum / double(bandwidths.size());
  };
  const auto mean_within = [&](const auto& a) {  // each pair counts twice, and k(a_j, a_j) = 1
    double sum = 0;
    for (Index j = 0; j < a.cols(); ++j) sum += 2 * kernel_sum(a, j + 1, a.col(j)) + 1;
    return sum / double(a.cols()) / double(a.cols());
  };
  double between = 0;
  for (Index j = 0; j < q.cols(); ++j) between += kernel_sum(p, 0, q.col(j)) / double(p.cols());
  return std::sqrt(std::max(mean_within(p) + mean_within(q) - 2 * between / double(q.cols()), 0.0));
}

/// The median distance between two columns of data, which is a usual bandwidth (the median heuristic, Gretton et al.
/// 2012, section 8). Of more than 1,000 columns it takes 1,000, evenly spaced: a bandwidth needs no more, and all pairs
/// would need memory n^2. It is 0 if half of the pairs coincide, and then no bandwidth. data: dim x at least 2, finite.
/// Throws std::invalid_argument otherwise.
template <Real Scalar> double median_distance(const Matrix<Scalar>& data) {
  detail::check_at_least("median_distance", "data.cols()", data.cols(), 2);
  detail::check_finite("median_distance", "data", data);
  const Index n = std::min<Index>(data.cols(), 1000);
  Matrix<Double<Scalar>> x(data.rows(), n);
  for (Index j = 0; j < n; ++j) x.col(j) = data.col(j * data.cols() / n).template cast<double>();
  std::vector<double> distances;
  distances.reserve(std::size_t(n * (n - 1) / 2));
  for (Index j = 0; j < n; ++j)
    for (Index i = 0; i < j; ++i) distances.push_back((x.col(i) - x.col(j)).norm());
  return detail::median(std::move(distances));
}

}
}
