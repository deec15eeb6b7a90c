// SPDX-License-Identifier: MIT
// The largest error of a matrix. Eigen's maxCoeff() passes over NaN, so that a test by it would too.
#pragma once

#include <Eigen/Core>

namespace test {

/// The largest absolute value; NaN if there is one.
template <class Derived> auto largest(const Eigen::DenseBase<Derived>& m) {
  return m.derived().cwiseAbs().template maxCoeff<Eigen::PropagateNaN>();
}

}
