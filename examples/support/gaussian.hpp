// SPDX-License-Identifier: MIT
// A normal distribution fitted to samples: the generative model that anything else must beat.
#pragma once

#include <Eigen/Eigenvalues>
#include <flowmatch/flowmatch.hpp>

namespace support {

/// Mean and full covariance of the columns of x, which may be fewer than its rows.
struct Gaussian {
  Eigen::VectorXf mean;
  Eigen::MatrixXf root;  ///< root * root' is the covariance

  /// x: dim x n. Throws std::invalid_argument if n < 2.
  explicit Gaussian(const Eigen::MatrixXf& x) {
    if (x.cols() < 2)
      throw std::invalid_argument("Gaussian: expected at least 2 columns, got " + std::to_string(x.cols()));
    mean = x.rowwise().mean();
    const Eigen::MatrixXd centred = (x.colwise() - mean).cast<double>();
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(centred * centred.transpose() / double(x.cols() - 1));
    const Eigen::VectorXd deviations = solver.eigenvalues().cwiseMax(0).cwiseSqrt();
    root = (solver.eigenvectors() * deviations.asDiagonal()).cast<float>();
  }

  /// n new columns.
  Eigen::MatrixXf draw(flowmatch::Rng& rng, Eigen::Index n) const {
    Eigen::MatrixXf z(mean.size(), n);
    flowmatch::fill_normal(rng, z);
    return (root * z).colwise() + mean;
  }
};

}
