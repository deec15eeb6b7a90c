// SPDX-License-Identifier: MIT
// The log-density that a flow gives to data, and to its own samples as it makes them: along the flow,
// d log p / dt = -div v (eq. 29), with the divergence by forward-mode derivatives of the field.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "flowmatch/core/threads.hpp"
#include "flowmatch/field/field.hpp"
#include "flowmatch/ode/carry.hpp"
#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// How the entries of Hutchinson's probes are distributed: +1 or -1, which has the least variance and none if the
/// Jacobian is diagonal, or standard normal.
enum class Probe { rademacher, gaussian };

struct LikelihoodOptions {
  Index steps = 50;               ///< number of intervals between noise at t = 0 and data at t = 1, as in OdeOptions
  std::vector<double> grid = {};  ///< if not empty, the times themselves, from 0 on; replaces steps. (An adaptive
                                  ///< method takes the ends.)
  Index probes = 0;  ///< 0: the divergence itself, as slow as 1 + dim evaluations of the field, which is worth it up to
                     ///< some tens of dimensions; m > 0: Hutchinson's estimate of it from m probes, 1 + m evaluations
  Probe probe = Probe::rademacher;
  Threads* team = nullptr;  ///< shares the samples of a call
};

/// The log-density of N(0, I), the source of noise: a row, one entry per column of x. A source of your own is any
/// function of this form.
struct StandardNormal {
  template <class Derived> RowVector<typename Derived::Scalar> operator()(const Eigen::MatrixBase<Derived>& x) const {
    using Scalar = typename Derived::Scalar;
    const Scalar constant = Scalar(x.rows()) * std::log(2 * std::numbers::pi_v<Scalar>);
    RowVector<Scalar> log_p(x.cols());
    for (Index j = 0; j < x.cols(); ++j) log_p(j) = -(constant + x.col(j).squaredNorm()) / 2;
    return log_p;
  }
};

template <Real Scalar> struct SamplesWithLogLikelihood {
  Matrix<Scalar> x;                  ///< dim x n
  RowVector<Scalar> log_likelihood;  ///< of each column of x
};

/// -log p / (dim ln 2), for a mean log-likelihood in nats of samples with dim rows. In the units of x: data divided by
/// s have log2(s) bits less than in their own.
inline double bits_per_dimension(double log_likelihood, Index dim) {
  detail::check_at_least("bits_per_dimension", "dim", dim, 1);
  return -log_likelihood / (double(dim) * std::numbers::ln2);
}

namespace detail {

/// y = [x; log p] follows dy/dt = [v; -div v]: a field on dim + 1 rows, which any solver can carry. One for each
/// thread. div v is the sum of u' (dv/dx) u over the unit vectors u or, if there are probes, its mean over them; they
/// are the last rows of c, one below the other, and so go wherever a solver takes their sample.
template <JvpField Field> struct DensityField {
  using Scalar = typename Field::Scalar;
  const Field& field;
  Index probes;
  typename Field::Workspace workspace = {};
  Matrix<Scalar> dx = {}, dv = {};

  template <class Y, class T, class C, class DY> void operator()(const Y& y, const T& t, const C& c, DY& dy) {
    const Index d = field.dim(), n = y.cols(), conditions = field.condition_dim(), m = probes > 0 ? probes : d;
    const Scalar scale = 1 / Scalar(std::max<Index>(probes, 1));
    field.forward(y.topRows(d), t, c.topRows(conditions), dy.topRows(d), workspace);
    for (Index j = 0; j < n; ++j) dy(d, j) = 0;
    const Index most =
        std::clamp<Index>(2 * tile_columns / std::max<Index>(n, 1), 1, m);  // at a time, to stay in cache
    if (dx.rows() != d || dx.cols() < most * n) dx.resize(d, most * n), dv.resize(d, most * n);
    for (Index k = 0; k < m; k += most) {
      const Index columns = std::min(most, m - k) * n;
      for (Index q = 0; q < columns; ++q)
        if (const Index direction = k + q / n; probes > 0)
          dx.col(q) = c.col(q % n).segment(conditions + direction * d, d);
        else
          dx.col(q) = Vector<Scalar>::Unit(d, direction);
      field.jvp(dx.leftCols(columns), dv.leftCols(columns), workspace);
      for (Index q = 0; q < columns; ++q) {
        Scalar sum = 0;  // not Eigen's dot, whose order depends on the address
        for (Index i = 0; i < d; ++i) sum += dx(i, q) * dv(i, q);
        dy(d, q % n) -= scale * sum;
      }
    }
  }
};

/// c with the probes of each sample that options ask for below it.
template <class Scalar>
Matrix<Scalar> with_probes(const char* where, MatrixIn<Scalar> c, Index dim, Rng* rng,
                           const LikelihoodOptions& options) {
  check_at_least(where, "options.probes", options.probes, 0);
  if (options.probes == 0) return c;
  if (!rng) fail(where, {"expected an Rng, for options.probes = ", options.probes});
  Matrix<Scalar> probes(dim * options.probes, c.cols()), both(c.rows() + probes.rows(), c.cols());
  if (options.probe == Probe::gaussian) {
    fill_normal(*rng, probes);
  } else {
    fill_uniform(*rng, probes);
    for (Scalar& entry : probes.reshaped()) entry = entry < Scalar(0.5) ? Scalar(-1) : Scalar(1);
  }
  both << c, probes;
  return both;
}

/// Carries y = [x; log p] in place over the times, tile by tile; c: with_probes.
template <JvpField Field, Solver S, class Scalar = typename Field::Scalar>
void carry_density(const char* where, const Field& field, const Matrix<Scalar>& c, const S& solver,
                   const std::vector<double>& times, const LikelihoodOptions& options, Matrix<Scalar>& y) {
  AdaptiveReport report;
  if constexpr (AdaptiveMethod<S>) {
    check_method(where, solver);
    report.samples.resize(std::size_t(y.cols()));
  }
  struct Memory {  // of one thread
    DensityField<Field> density;
    SolverMemory<Scalar, S> solver;
  };
  const auto memory_of = [&](int) { return Memory{{field, options.probes}, {}}; };
  for_each_tile(y.cols(), tile_columns, options.team, memory_of, [&](Memory& memory, Index first, Index n) {
    carry_tile<Scalar>(where, memory.density, y, c, first, n, solver, times, memory.solver, report);
  });
  check_reached(where, report);
}

/// The times of a flow from the source at t = 0 on.
inline std::vector<double> times_from_source(const char* where, const LikelihoodOptions& options) {
  std::vector<double> times = time_grid({.steps = options.steps, .grid = options.grid});
  if (times.front() != 0) fail(where, {"expected times that start at 0, where the source is, got ", times.front()});
  return times;
}

template <JvpField Field, Solver S, class LogDensity, class Scalar = typename Field::Scalar>
RowVector<Scalar> log_likelihood(const Field& field, MatrixIn<Scalar> x, MatrixIn<Scalar> c, Rng* rng, const S& solver,
                                 const LikelihoodOptions& options, const LogDensity& log_p0) {
  constexpr auto where = "log_likelihood";
  const Index d = field.dim(), n = x.cols();
  check_rows(where, "x", x.rows(), d);
  check_shape(where, "c", c, field.condition_dim(), n);
  check_finite(where, "x", x);
  check_finite(where, "c", c);
  std::vector<double> times = times_from_source(where, options);
  std::reverse(times.begin(), times.end());
  Matrix<Scalar> y = Matrix<Scalar>::Zero(d + 1, n);
  y.topRows(d) = x;
  carry_density(where, field, with_probes<Scalar>(where, c, d, rng, options), solver, times, options, y);
  RowVector<Scalar> log_p = log_p0(Matrix<Scalar>(y.topRows(d)));
  check_columns(where, "what log_p0 returns", log_p.size(), n);
  for (Index j = 0; j < n; ++j) {
    if (!is_finite(log_p(j)) && log_p(j) != -std::numeric_limits<Scalar>::infinity())
      fail(where, {"expected numbers or -inf from log_p0, got ", log_p(j), " for sample ", j});
    log_p(j) -= y(d, j);
  }
  return log_p;
}

}

/// log p(x) of each column of x (dim x n), for the flow from the source p0 at t = 0: x goes back over the times, and
/// log p(x) = log p0(x(0)) - (integral of div v) (eq. 29). c: conditions, one column per sample. log_p0(x0) is the
/// source's log-density, a row with one entry per column (-inf where it has none), standard normal by default.
/// Throws std::invalid_argument if a shape or option is wrong, a number not finite, or times do not start at 0;
/// std::runtime_error with sample and time if the solution leaves the finite numbers.
template <JvpField Field, Solver S, class LogDensity = StandardNormal>
RowVector<typename Field::Scalar> log_likelihood(const Field& field, MatrixIn<typename Field::Scalar> x,
                                                 MatrixIn<typename Field::Scalar> c, const S& solver,
                                                 const LikelihoodOptions& options = {}, const LogDensity& log_p0 = {}) {
  return detail::log_likelihood(field, x, c, nullptr, solver, options, log_p0);
}
template <JvpField Field, Solver S, class LogDensity = StandardNormal>
RowVector<typename Field::Scalar> log_likelihood(const Field& field, MatrixIn<typename Field::Scalar> x,
                                                 const S& solver, const LikelihoodOptions& options = {},
                                                 const LogDensity& log_p0 = {}) {
  return log_likelihood(field, x, Matrix<typename Field::Scalar>(0, x.cols()), solver, options, log_p0);
}
/// With a generator, for options.probes > 0: dim x probes numbers for each sample in turn, fixed for the whole solve.
template <JvpField Field, Solver S, class LogDensity = StandardNormal>
RowVector<typename Field::Scalar> log_likelihood(const Field& field, MatrixIn<typename Field::Scalar> x,
                                                 MatrixIn<typename Field::Scalar> c, Rng& rng, const S& solver,
                                                 const LikelihoodOptions& options = {}, const LogDensity& log_p0 = {}) {
  return detail::log_likelihood(field, x, c, &rng, solver, options, log_p0);
}
template <JvpField Field, Solver S, class LogDensity = StandardNormal>
RowVector<typename Field::Scalar> log_likelihood(const Field& field, MatrixIn<typename Field::Scalar> x, Rng& rng,
                                                 const S& solver, const LikelihoodOptions& options = {},
                                                 const LogDensity& log_p0 = {}) {
  return log_likelihood(field, x, Matrix<typename Field::Scalar>(0, x.cols()), rng, solver, options, log_p0);
}

/// Samples from standard normal noise, one for each condition, together with their log-density from the same solve: the
/// noise and the samples are those of `sample`; probes are drawn after the noise. (From another source: transport its
/// points, then log_likelihood with its density.) Throws as log_likelihood.
template <JvpField Field, Solver S>
SamplesWithLogLikelihood<typename Field::Scalar> sample_with_log_likelihood(const Field& field,
                                                                            MatrixIn<typename Field::Scalar> c,
                                                                            Rng& rng, const S& solver,
                                                                            const LikelihoodOptions& options = {}) {
  using Scalar = typename Field::Scalar;
  constexpr auto where = "sample_with_log_likelihood";
  const Index d = field.dim(), n = c.cols();
  detail::check_rows(where, "c", c.rows(), field.condition_dim());
  detail::check_finite(where, "c", c);
  const std::vector<double> times = detail::times_from_source(where, options);
  Matrix<Scalar> noise(d, n), y(d + 1, n);
  fill_normal(rng, noise);
  if (n == 0) return {noise, RowVector<Scalar>(0)};
  y.topRows(d) = noise;
  y.row(d) = StandardNormal()(noise);
  const Matrix<Scalar> with_probes = detail::with_probes<Scalar>(where, c, d, &rng, options);
  detail::carry_density(where, field, with_probes, solver, times, options, y);
  return {y.topRows(d), y.row(d)};
}
/// n of them without conditions.
template <JvpField Field, Solver S>
SamplesWithLogLikelihood<typename Field::Scalar> sample_with_log_likelihood(const Field& field, Index n, Rng& rng,
                                                                            const S& solver,
                                                                            const LikelihoodOptions& options = {}) {
  detail::check_at_least("sample_with_log_likelihood", "n", n, 0);
  return sample_with_log_likelihood(field, Matrix<typename Field::Scalar>(0, n), rng, solver, options);
}

}
}
