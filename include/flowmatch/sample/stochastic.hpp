// SPDX-License-Identifier: MIT
// Sampling with noise on the way (eq. 32, 33 in docs/math.md): dx = (v + g^2 / 2 score) dt + g dW has the distributions
// p_t of the flow dx/dt = v for every g, and lets errors of the field decay instead of adding up. Where x0 is
// standard normal noise drawn independently of the data, the score comes from the velocity alone (Albergo et al. 2023;
// Ma et al. 2024). After training with optimal transport or on a path with noise of its own it does not: such a net has
// no score here, and these samplers give another distribution.
#pragma once

#include <cmath>

#include "flowmatch/field/field.hpp"
#include "flowmatch/ode/integrate.hpp"
#include "flowmatch/path/conversion.hpp"
#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// How much noise: r = g^2 / (2 sigma_t) from the schedule's values at t, finite on all of [0, 1]. With g^2 = 2 r
/// sigma_t the noise fades where the score grows, at t = 1. Any function of this form will do.
template <class D>
concept Diffusion = requires(const D& diffusion, const ScheduleValue<double>& s) {
  { diffusion(s) } -> std::convertible_to<double>;
};

/// g^2 = 2 scale sigma_t: gentle, and the drift has no singularity at all.
struct SigmaDiffusion {
  double scale = 1;  ///< >= 0; 0 is the flow itself
  double operator()(const ScheduleValue<double>&) const { return scale; }
};
/// g^2 = 2 level, but 2 level sigma_t / end where sigma_t < end.
struct ConstantDiffusion {
  double level = 0.5;  ///< >= 0
  double end = 0.05;   ///< > 0
  double operator()(const ScheduleValue<double>& s) const { return level / std::max(s.sigma, end); }
};
/// g^2 = 2 sigma_t (alpha' sigma_t - alpha sigma'_t) / alpha, on the linear path 2 (1 - t) / t: the end forgets the
/// start (Domingo-Enrich et al. 2024); it is the reverse of the path's own noising process. alpha counts as `start`
/// where it is less, since the noise would be infinite at t = 0.
struct MemorylessDiffusion {
  double start = 0.05;  ///< > 0
  double operator()(const ScheduleValue<double>& s) const {
    return (s.alpha_dot * s.sigma - s.alpha * s.sigma_dot) / std::max(s.alpha, start);
  }
};

enum class StochasticMethod {
  euler,  ///< Euler-Maruyama: one evaluation a step, weak order 1
  heun,   ///< the mean of the drifts at both ends of the step: two evaluations, weak order 2
};

/// Carries x (dim x n) in place along the stochastic equation of f, over the grid of options from noise to data. f is
/// the velocity of an affine path of this schedule, from noise drawn independently of the data. c: conditions, n
/// columns. Takes one fill_normal of dim x n numbers of rng for each step. Throws std::invalid_argument if a shape or
/// option is wrong, a time is outside [0, 1] or falls, or x is not finite; std::runtime_error with sample and time if x
/// becomes so. Makes its memory on every call.
template <Real Scalar, Diffusion D, VelocityField<Scalar> F, Schedule S = LinearSchedule>
OdeReport integrate_stochastic(F&& f, Matrix<Scalar>& x, MatrixIn<Scalar> c, Rng& rng, const D& diffusion,
                               StochasticMethod method = StochasticMethod::heun, const OdeOptions& options = {},
                               const S& schedule = {}) {
  constexpr auto where = "integrate_stochastic";
  detail::check_columns(where, "c", c.cols(), x.cols());
  detail::check_finite(where, "x", x);
  detail::check_finite(where, "c", c);
  const std::vector<double> times = time_grid(options);
  if (times.front() < 0 || times.back() > 1 || times.front() > times.back())
    detail::fail(where, {"expected times that rise within [0, 1], got ", times.front(), " to ", times.back()});
  const Index dim = x.rows(), n = x.cols();
  Matrix<Scalar> noise(dim, n), predicted, start(dim, n), end(dim, n);
  RowVector<Scalar> t(n);

  // drift = v + r sigma score; returns r sigma, half of g^2
  const auto drift = [&](double time, const Matrix<Scalar>& at, Matrix<Scalar>& out) {
    const ScheduleValue<double> s = schedule(time);
    const double r = diffusion(s);
    detail::check_at_least(where, "diffusion", r, 0);
    t.setConstant(Scalar(time));
    for (Index j = 0; j < n; j += tile_columns) {
      const Index m = std::min(tile_columns, n - j);
      const Eigen::Ref<const Matrix<Scalar>> columns = at.middleCols(j, m), conditions = c.middleCols(j, m);
      const Eigen::Ref<const RowVector<Scalar>> times_of_columns = t.middleCols(j, m);
      Eigen::Ref<Matrix<Scalar>> v = out.middleCols(j, m);
      f(columns, times_of_columns, conditions, v);
    }
    for (Index j = 0; j < n; ++j)
      for (Index i = 0; i < dim; ++i) out(i, j) += Scalar(r) * scaled_score(s, out(i, j), at(i, j));
    return r * s.sigma;
  };

  for (std::size_t k = 1; k < times.size(); ++k) {
    const double h = times[k] - times[k - 1];
    fill_normal(rng, noise);
    double half_g2 = drift(times[k - 1], x, start);
    if (method == StochasticMethod::euler) {
      x += Scalar(h) * start + Scalar(std::sqrt(2 * half_g2 * h)) * noise;
    } else {
      predicted = x + Scalar(h) * start + Scalar(std::sqrt(2 * half_g2 * h)) * noise;
      half_g2 = (half_g2 + drift(times[k], predicted, end)) / 2;
      x += Scalar(h / 2) * (start + end) + Scalar(std::sqrt(2 * half_g2 * h)) * noise;
    }
    if (const auto [row, column] = find_non_finite(x); row >= 0)
      detail::raise<std::runtime_error>(
          detail::concat({"flowmatch: ", where, ": sample ", column, " is not finite at t = ", times[k], " (row ", row,
                          ": ", x(row, column), ")"}));
  }
  const Index steps = Index(times.size()) - 1;
  return {.steps = steps, .evaluations = steps * (method == StochasticMethod::euler ? 1 : 2)};
}

/// One sample for each condition, a column of c (0 rows: none), from standard normal noise. Not for a net trained with
/// optimal transport or on a path with noise of its own (see above).
template <ParametricField Field, Diffusion D, Schedule S = LinearSchedule>
Matrix<typename Field::Scalar> sample_stochastic(const Field& field, MatrixIn<typename Field::Scalar> c, Rng& rng,
                                                 const D& diffusion, StochasticMethod method = StochasticMethod::heun,
                                                 const OdeOptions& options = {}, const S& schedule = {}) {
  detail::check_rows("sample_stochastic", "c", c.rows(), field.condition_dim());
  if (time_grid(options).front() != 0)
    detail::fail("sample_stochastic",
                 {"expected times that start at 0, where noise is, got ", time_grid(options).front()});
  Matrix<typename Field::Scalar> x(field.dim(), c.cols());
  fill_normal(rng, x);
  typename Field::Workspace workspace;
  integrate_stochastic([&](const auto& y, const auto& t, const auto& condition,
                           auto& v) { field.forward(y, t, condition, v, workspace); },
                       x, c, rng, diffusion, method, options, schedule);
  return x;
}
template <ParametricField Field, Diffusion D, Schedule S = LinearSchedule>
Matrix<typename Field::Scalar> sample_stochastic(const Field& field, Index n, Rng& rng, const D& diffusion,
                                                 StochasticMethod method = StochasticMethod::heun,
                                                 const OdeOptions& options = {}, const S& schedule = {}) {
  detail::check_at_least("sample_stochastic", "n", n, 0);
  return sample_stochastic(field, Matrix<typename Field::Scalar>(0, n), rng, diffusion, method, options, schedule);
}

}
}
