// SPDX-License-Identifier: MIT
// Random-walk Metropolis (Metropolis et al. 1953) with many chains at once: samples of a density that can be evaluated,
// slow and sure. The reference for what is learned.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <flowmatch/flowmatch.hpp>
#include <numeric>
#include <vector>

namespace support {

struct MetropolisOptions {
  Eigen::Index chains = 200;
  int sweeps = 1500;  ///< moves that each chain proposes
  int burn_in = 500;  ///< the first of them, in which the proposal learns its covariance and nothing is kept
  int keep_every = 100;
};

/// Samples of exp(log_density), dim x n. The chains start at the most likely columns of `starts`. Their proposal is a
/// normal with 1.4 times the covariance of all chains, taken anew every 50 sweeps of the burn-in.
template <class LogDensity>
Eigen::MatrixXd metropolis(const LogDensity& log_density, const Eigen::MatrixXd& starts, flowmatch::Rng& rng,
                           const MetropolisOptions& options) {
  const Eigen::Index dim = starts.rows(), chains = options.chains;
  Eigen::VectorXd value(starts.cols());
  for (Eigen::Index j = 0; j < starts.cols(); ++j) value(j) = log_density(starts.col(j));
  std::vector<Eigen::Index> order(std::size_t(starts.cols()));
  std::iota(order.begin(), order.end(), Eigen::Index(0));
  std::sort(order.begin(), order.end(), [&](Eigen::Index a, Eigen::Index b) { return value(a) > value(b); });
  order.resize(std::size_t(chains));
  Eigen::MatrixXd x;
  flowmatch::take_columns(starts, order, x);
  for (Eigen::Index j = 0; j < chains; ++j) value(j) = log_density(x.col(j));

  Eigen::MatrixXd kept(dim, 0), root, step(dim, chains);
  Eigen::RowVectorXd u(chains);
  for (int sweep = 0; sweep < options.sweeps; ++sweep) {
    if (sweep % 50 == 0 && sweep <= options.burn_in) {
      const Eigen::MatrixXd centred = x.colwise() - x.rowwise().mean();
      const Eigen::MatrixXd covariance = centred * centred.transpose() / double(chains);
      root = (1.4 * covariance + 1e-6 * Eigen::MatrixXd::Identity(dim, dim)).llt().matrixL();
    }
    flowmatch::fill_normal(rng, step);
    flowmatch::fill_uniform(rng, u);
    for (Eigen::Index j = 0; j < chains; ++j) {
      const Eigen::VectorXd proposed = x.col(j) + root * step.col(j);
      const double there = log_density(proposed);
      if (std::log(u(j)) >= there - value(j)) continue;
      x.col(j) = proposed;
      value(j) = there;
    }
    if (sweep < options.burn_in || sweep % options.keep_every != 0) continue;
    kept.conservativeResize(Eigen::NoChange, kept.cols() + chains);
    kept.rightCols(chains) = x;
  }
  return kept;
}

}
