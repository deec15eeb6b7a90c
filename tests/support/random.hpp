// SPDX-License-Identifier: MIT
#pragma once

#include <flowmatch/random/random.hpp>

namespace test {

/// A matrix of independent standard normal numbers.
template <class Scalar>
flowmatch::Matrix<Scalar> normal(flowmatch::Rng& rng, flowmatch::Index rows, flowmatch::Index columns) {
  flowmatch::Matrix<Scalar> m(rows, columns);
  flowmatch::fill_normal(rng, m);
  return m;
}

/// A row of independent numbers, uniform on [low, high).
template <class Scalar>
flowmatch::RowVector<Scalar> uniform(flowmatch::Rng& rng, flowmatch::Index n, Scalar low = 0, Scalar high = 1) {
  flowmatch::RowVector<Scalar> t(n);
  flowmatch::fill_uniform(rng, t);
  t.array() = low + (high - low) * t.array();
  return t;
}

}
