// SPDX-License-Identifier: MIT
// Principal components that keep their proportions: the first vary most, as they do in the data. (fm::whitening makes
// them all alike, which is not wanted where an error should weigh as much as it does in the data.)
#pragma once

#include <Eigen/Eigenvalues>
#include <flowmatch/flowmatch.hpp>
#include <stdexcept>
#include <string>

namespace support {

/// The first components of the data, dim x n, divided by one number for all, with which their mean variance is 1.
/// Throws std::invalid_argument unless 1 <= components <= dim, std::runtime_error if the data does not vary.
inline flowmatch::Normalizer<float> principal_components(const Eigen::MatrixXf& data, flowmatch::Index components) {
  if (components < 1 || components > data.rows())
    throw std::invalid_argument("principal_components: expected 1 to " + std::to_string(data.rows()) +
                                " components, got " + std::to_string(components));
  auto pca = flowmatch::Normalizer<float>::identity(data.rows());
  pca.mean = data.rowwise().mean();
  const Eigen::MatrixXf centred = data.colwise() - pca.mean;
  const Eigen::MatrixXf covariance = centred * centred.transpose() / float(data.cols());
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance.cast<double>());
  const double variance = solver.eigenvalues().tail(components).mean();
  if (!(variance > 0)) throw std::runtime_error("principal_components: expected data that varies");
  pca.components = solver.eigenvectors().rightCols(components).rowwise().reverse().transpose().cast<float>();
  pca.deviation.setConstant(components, float(std::sqrt(variance)));
  return pca;
}

}
