// SPDX-License-Identifier: MIT
// The least flow-matching loss that any field can reach on given data.
#pragma once

#include <cmath>
#include <flowmatch/flowmatch.hpp>

namespace support {

/// For noise N(0, I), independent pairs and the linear path, the best field is the mean velocity at (x, t),
///   v*(x, t) = (E[x1 | x_t = x] - x) / (1 - t),  where a data point x1 weighs exp(-|x - t x1|^2 / (2 (1 - t)^2)),
/// and the floor is the mean square of u_t - v*, estimated from `probes` draws over all columns of data. It counts each
/// data point as if it were the whole truth there, so close to t = 1 a field that does not memorise stays above it.
inline double loss_floor(flowmatch::Rng& rng, const Eigen::MatrixXf& data, flowmatch::Index probes = 10000) {
  Eigen::MatrixXf x0(data.rows(), probes), x1(data.rows(), probes), x_t, u_t;
  Eigen::RowVectorXf t(probes);
  flowmatch::draw_columns(rng, data, x1);
  flowmatch::fill_normal(rng, x0);
  flowmatch::fill_uniform(rng, t);
  flowmatch::LinearPath().sample(x0, x1, t, x_t, u_t);
  double sum = 0;
  for (flowmatch::Index j = 0; j < probes; ++j) {
    const float left = 1 - t(j);
    const Eigen::ArrayXf distance = (t(j) * data - x_t.col(j).replicate(1, data.cols())).colwise().squaredNorm();
    const Eigen::VectorXf weight = ((distance.minCoeff() - distance) / (2 * left * left)).exp();
    const Eigen::VectorXf mean = data * weight / weight.sum();
    sum += double((u_t.col(j) - (mean - x_t.col(j)) / left).squaredNorm());
  }
  return sum / double(x_t.size());
}

}
