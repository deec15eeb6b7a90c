// SPDX-License-Identifier: MIT
// Linear regression with a penalty on the weights: the baseline that anything else must beat.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <stdexcept>
#include <string>

namespace support {

/// y = W (x - mean of x) + mean of y, with the W of least |y - W x|^2 + penalty n |W|^2.
struct Ridge {
  Eigen::MatrixXf weight;
  Eigen::VectorXf mean_x, mean_y;

  /// x: in x n, y: out x n. Throws std::invalid_argument if they have not as many columns, at least one.
  Ridge(const Eigen::MatrixXf& x, const Eigen::MatrixXf& y, float penalty = 1e-3f) {
    if (x.cols() != y.cols() || x.cols() < 1)
      throw std::invalid_argument("Ridge: expected as many columns, got " + std::to_string(x.cols()) + " and " +
                                  std::to_string(y.cols()));
    mean_x = x.rowwise().mean();
    mean_y = y.rowwise().mean();
    const Eigen::MatrixXd a = (x.colwise() - mean_x).cast<double>(), b = (y.colwise() - mean_y).cast<double>();
    Eigen::MatrixXd normal = a * a.transpose();
    normal.diagonal().array() += double(penalty) * double(x.cols());
    weight = normal.ldlt().solve(a * b.transpose()).transpose().cast<float>();
  }

  Eigen::MatrixXf operator()(const Eigen::MatrixXf& x) const {
    return (weight * (x.colwise() - mean_x)).colwise() + mean_y;
  }
};

}
