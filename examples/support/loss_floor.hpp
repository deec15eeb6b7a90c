// SPDX-License-Identifier: MIT
// The least flow-matching loss that any field can reach on given data.
#pragma once

#include <cmath>
#include <flowmatch/flowmatch.hpp>

namespace support {

/// Independent pairs of noise and data, and times: what a loss and its floor are measured on, both on the same.
struct Probes {
  Eigen::MatrixXf x0, x1;  // dim x n
  Eigen::RowVectorXf t;
};
inline Probes draw_probes(flowmatch::Rng& rng, const Eigen::MatrixXf& data, flowmatch::Index n = 10000) {
  Probes p{Eigen::MatrixXf(data.rows(), n), Eigen::MatrixXf(data.rows(), n), Eigen::RowVectorXf(n)};
  flowmatch::draw_columns(rng, data, p.x1);
  flowmatch::fill_normal(rng, p.x0);
  flowmatch::fill_uniform(rng, p.t);
  return p;
}

/// For noise N(0, I), independent pairs and the linear path, the best field is the mean velocity at (x, t),
///   v*(x, t) = (E[x1 | x_t = x] - x) / (1 - t),  where a data point x1 weighs exp(-|x - t x1|^2 / (2 (1 - t)^2)),
/// and the floor is the mean square of u_t - v*, estimated from the probes over all columns of data, of which they were
/// drawn. It counts each data point as if it were the whole truth there, so close to t = 1 a field that does not
/// memorise stays above it.
inline double loss_floor(const Probes& p, const Eigen::MatrixXf& data) {
  Eigen::MatrixXf x_t, u_t;
  flowmatch::LinearPath().sample(p.x0, p.x1, p.t, x_t, u_t);
  double sum = 0;
  for (flowmatch::Index j = 0; j < p.t.size(); ++j) {
    const float left = 1 - p.t(j);
    const Eigen::ArrayXf distance = (p.t(j) * data - x_t.col(j).replicate(1, data.cols())).colwise().squaredNorm();
    const Eigen::VectorXf weight = ((distance.minCoeff() - distance) / (2 * left * left)).exp();
    const Eigen::VectorXf mean = data * weight / weight.sum();
    sum += double((u_t.col(j) - (mean - x_t.col(j)) / left).squaredNorm());
  }
  return sum / double(x_t.size());
}
inline double loss_floor(flowmatch::Rng& rng, const Eigen::MatrixXf& data) {
  return loss_floor(draw_probes(rng, data), data);
}

}
