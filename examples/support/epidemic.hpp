// SPDX-License-Identifier: MIT
// The SIR model of an epidemic with noisy counts: its simulator, its likelihood, and the counts of an English boarding
// school in 1978. A parameter vector theta (4 rows) holds logarithms: of the contacts a day (beta), the recoveries a
// day (gamma), the boys infected at the start, and the dispersion of the counts.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <flowmatch/flowmatch.hpp>
#include <stdexcept>
#include <string>

namespace support::epidemic {

inline constexpr int days = 14;
inline constexpr double boys = 763;
using Counts = std::array<double, days>;

/// Independent normals for the four logarithms.
inline const Eigen::Vector4d prior_mean(std::log(1.7), std::log(0.45), std::log(2.0), std::log(10.0));
inline const Eigen::Vector4d prior_deviation(0.4, 0.4, 0.6, 0.7);

/// 4 x n draws from the prior.
inline Eigen::MatrixXd prior(flowmatch::Rng& rng, Eigen::Index n) {
  Eigen::MatrixXd theta(4, n);
  flowmatch::fill_normal(rng, theta);
  return (prior_deviation.asDiagonal() * theta).colwise() + prior_mean;
}

/// The boys in bed on each day, without noise: dS/dt = -beta S I / N, dI/dt = beta S I / N - gamma I, by ten steps of
/// Runge-Kutta a day.
inline Counts expected(const Eigen::Vector4d& theta) {
  constexpr int per_day = 10;
  constexpr double h = 1.0 / per_day;
  const double beta = std::exp(theta(0)), gamma = std::exp(theta(1)), infected = std::min(std::exp(theta(2)), 100.0);
  const auto f = [&](const Eigen::Vector2d& y) {
    const double infections = beta * y(0) * y(1) / boys;
    return Eigen::Vector2d(-infections, infections - gamma * y(1));
  };
  Eigen::Vector2d y(boys - infected, infected);
  Counts counts;
  for (double& count : counts) {
    count = std::max(y(1), 1e-3);
    for (int k = 0; k < per_day; ++k) {
      const Eigen::Vector2d a = f(y), b = f(y + h / 2 * a), c = f(y + h / 2 * b), d = f(y + h * c);
      y += h / 6 * (a + 2 * b + 2 * c + d);
    }
  }
  return counts;
}

/// A negative binomial number of this mean and dispersion k (variance mean + mean^2 / k), from u uniform in [0, 1): the
/// inverse of its distribution function.
inline double negative_binomial(double mean, double k, double u) {
  double probability = std::pow(k / (k + mean), k), below = probability, y = 0;
  for (; u >= below && y < 20 * boys; ++y) {
    probability *= (y + k) / (y + 1) * mean / (mean + k);
    below += probability;
  }
  return y;
}

/// Counts for each column of theta (4 x n): days x n.
inline Eigen::MatrixXd simulate(flowmatch::Rng& rng, const Eigen::MatrixXd& theta) {
  Eigen::MatrixXd counts(days, theta.cols());
  flowmatch::fill_uniform(rng, counts);
  for (Eigen::Index j = 0; j < theta.cols(); ++j) {
    const Counts mean = expected(theta.col(j));
    for (int day = 0; day < days; ++day)
      counts(day, j) = negative_binomial(mean[std::size_t(day)], std::exp(theta(3, j)), counts(day, j));
  }
  return counts;
}

/// log p(counts | theta) + log p(theta), up to what does not depend on theta.
inline double log_posterior(const Eigen::Vector4d& theta, const Eigen::VectorXd& counts) {
  const Counts mean = expected(theta);
  const double k = std::exp(theta(3)), gamma_of_k = std::lgamma(k);
  double sum = -0.5 * (theta - prior_mean).cwiseQuotient(prior_deviation).squaredNorm();
  for (int day = 0; day < days; ++day) {
    const double mu = mean[std::size_t(day)], y = counts(day);
    sum += std::lgamma(y + k) - gamma_of_k + k * std::log(k / (k + mu)) + y * std::log(mu / (k + mu));
  }
  return sum;
}

/// The counts of a CSV "day,in_bed": whole numbers for the days 0 to 13. Throws std::runtime_error naming the file.
inline Eigen::VectorXd load_counts(const std::string& path) {
  const auto table = flowmatch::load_csv<double>(path);
  const auto& values = table.values;
  if (values.rows() != 2 || values.cols() != days)
    throw std::runtime_error(path + ": expected 2 columns and " + std::to_string(days) + " rows, got " +
                             std::to_string(values.rows()) + " and " + std::to_string(values.cols()));
  for (Eigen::Index j = 0; j < days; ++j)
    if (values(0, j) != double(j) || !(values(1, j) >= 0 && values(1, j) <= boys) ||
        values(1, j) != std::round(values(1, j)))
      throw std::runtime_error(path + ": row " + std::to_string(j + 1) + ": expected day " + std::to_string(j) +
                               " and a whole number from 0 to 763");
  return values.row(1).transpose();
}

}
