// SPDX-License-Identifier: MIT
// Integrates dx/dt = f(x, t, c) over a grid of times with a fixed stepper, forward or backward in time.
#pragma once

#include "flowmatch/core/check.hpp"
#include "flowmatch/ode/stepper.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct OdeOptions {
  Index steps = 50;               ///< number of intervals, >= 1: t_i = from + i (to - from) / steps
  double from = 0;                ///< where x is given
  double to = 1;                  ///< where x is wanted; less than from: backward in time
  std::vector<double> grid = {};  ///< if not empty, the times themselves, strictly rising or falling; replaces the rest
};

struct OdeReport {
  Index steps = 0;
  Index evaluations = 0;  ///< of f on the whole batch
};

/// The times t_0 .. t_steps that options ask for. Throws std::invalid_argument if steps < 1, an end is not finite, from
/// equals to, or a grid has fewer than two times or does not strictly rise or fall.
inline std::vector<double> time_grid(const OdeOptions& options) {
  constexpr auto where = "time_grid";
  std::vector<double> times = options.grid;
  if (times.empty()) {
    detail::check_at_least(where, "options.steps", options.steps, 1);
    for (Index i = 0; i <= options.steps; ++i)  // not by adding h: rounding must not pile up, and the end is exact
      times.push_back(options.from + (options.to - options.from) * double(i) / double(options.steps));
    times.back() = options.to;
  }
  if (times.size() < 2) detail::fail(where, {"expected at least 2 times in options.grid, got ", times.size()});
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (!is_finite(times[i])) detail::fail(where, {"expected finite times, got ", times[i], " at place ", i});
    if (i > 0 && (times[i] == times[i - 1] || (times[i] > times[i - 1]) != (times[1] > times[0])))
      detail::fail(where, {"expected times that strictly rise or fall, got ", times[i - 1], " then ", times[i]});
  }
  return times;
}

namespace detail {

/// Of f on the whole batch. A multistep method has starting_evaluations beside those of each step.
template <Stepper S> constexpr Index evaluations_of(Index steps) {
  if constexpr (requires { S::starting_evaluations; })
    return steps * S::evaluations + S::starting_evaluations;
  else
    return steps * S::evaluations;
}

/// The loop: x is one tile, shapes are checked, memory is the caller's. first is the tile's first sample in messages.
template <Real Scalar, class S, VelocityField<Scalar> F, class Observer>
void integrate_tile(const char* where, F& f, MatrixRef<Scalar> x, MatrixIn<Scalar> c, const S& stepper,
                    const std::vector<double>& times, StepperMemory<Scalar>& memory, Index first, Observer&& observe) {
  memory.restart();
  observe(Index(0), times[0], x);
  for (std::size_t i = 1; i < times.size(); ++i) {
    stepper.step(f, times[i - 1], times[i] - times[i - 1], c, x, memory);
    if (const auto [row, column] = find_non_finite(x); row >= 0)
      raise<std::runtime_error>(concat({"flowmatch: ", where, ": sample ", first + column,
                                        " is not finite at t = ", times[i], " (row ", row, ": ", x(row, column), ")"}));
    observe(Index(i), times[i], x);
  }
}

}

/// Carries x (dim x n) in place along f from the first to the last time. observe(i, t_i, x) sees every point of the
/// grid, the start included. c: conditions, n columns. Throws std::invalid_argument if a shape or option is wrong or x
/// is not finite, std::runtime_error with sample and time if x becomes so. Makes its scratch memory on every call:
/// loops use Sampler.
template <Real Scalar, Stepper S, VelocityField<Scalar> F, class Observer = NoObserver>
OdeReport integrate(F&& f, Matrix<Scalar>& x, MatrixIn<Scalar> c, const S& stepper, const OdeOptions& options = {},
                    Observer&& observe = {}) {
  detail::check_columns("integrate", "c", c.cols(), x.cols());
  detail::check_finite("integrate", "x", x);
  detail::check_finite("integrate", "c", c);
  const std::vector<double> times = time_grid(options);
  StepperMemory<Scalar> memory;
  detail::integrate_tile<Scalar>("integrate", f, x, c, stepper, times, memory, 0, observe);
  const Index steps = Index(times.size()) - 1;
  return {.steps = steps, .evaluations = detail::evaluations_of<S>(steps)};
}
/// The same without conditions.
template <Real Scalar, Stepper S, VelocityField<Scalar> F, class Observer = NoObserver>
OdeReport integrate(F&& f, Matrix<Scalar>& x, const S& stepper, const OdeOptions& options = {},
                    Observer&& observe = {}) {
  return integrate(f, x, Matrix<Scalar>(0, x.cols()), stepper, options, observe);
}

}
}
