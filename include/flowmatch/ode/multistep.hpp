// SPDX-License-Identifier: MIT
// The two-step Adams-Bashforth method: second order for one evaluation a step, on any grid.
#pragma once

#include "flowmatch/ode/stepper.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// x += h ((1 + r / 2) v - r / 2 v'), v' being the velocity of the step before and r = h / h' (eq. 19). The first step
/// of an integration is a midpoint step and costs one extra evaluation.
struct AdamsBashforth2 {
  static constexpr int order = 2, evaluations = 1, starting_evaluations = 1;

  /// x: dim x n, in place; c: conditions, n columns. The memory holds the step before: memory.restart() before another
  /// x (integrate and Sampler do that).
  template <Real Scalar, VelocityField<Scalar> F>
  void step(F&& f, double t, double h, MatrixIn<Scalar> c, MatrixRef<Scalar> x, StepperMemory<Scalar>& memory) const {
    memory.reserve(x.rows(), x.cols(), 3);
    detail::evaluate<Scalar>(f, t, c, x, memory.k[0], memory);
    if (memory.step_before == 0) {
      Eigen::Ref<Matrix<Scalar>> y = detail::copy_of<Scalar>(x, memory);
      detail::add(h / 2, memory.k[0], y);
      detail::evaluate<Scalar>(f, t + h / 2, c, y, memory.k[2], memory);
      detail::add(h, memory.k[2], x);
    } else {
      const double r = h / memory.step_before;
      detail::add(h * (1 + r / 2), memory.k[0], x);
      detail::add(-h * r / 2, memory.k[1], x);
    }
    std::swap(memory.k[0], memory.k[1]);
    memory.step_before = h;
  }
};

}
}
