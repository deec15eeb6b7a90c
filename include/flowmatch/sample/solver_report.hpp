// SPDX-License-Identifier: MIT
// Which solver for this field? Each solver's distance from the exact flow, for what it costs.
#pragma once

#include <cstdio>
#include <string>

#include "flowmatch/ode/multistep.hpp"
#include "flowmatch/sample/sample.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// One solver with one number of steps, or with one tolerance.
struct SolverRow {
  const char* solver;
  Index steps;         ///< 0 if the solver chooses them
  double tolerance;    ///< rtol = atol, 0 for a fixed number of steps
  double evaluations;  ///< for a sample, in the mean
  double distance;     ///< root mean square over samples of |x - exact x|
};

namespace detail {

template <class A, class B> double rms_distance(const A& a, const B& b) {
  return std::sqrt(double((a - b).squaredNorm()) / double(std::max(a.cols(), Index(1))));
}

}

/// Carries x0 (dim x n; c: conditions, n columns) from t = 0 to 1 by every fixed stepper with at most this many
/// evaluations, and by every adaptive method with tolerances 10^-1 ... 10^-5, and compares with Tsitouras' method at
/// 10^-10, in float 10^-6: distances below that say little. Some hundred samples are enough. Throws as Sampler does.
template <ParametricField Field>
std::vector<SolverRow> solver_report(const Field& field, MatrixIn<typename Field::Scalar> x0,
                                     MatrixIn<typename Field::Scalar> c,
                                     const std::vector<Index>& evaluations = {4, 8, 16, 32, 64, 128}) {
  using Scalar = typename Field::Scalar;
  constexpr double tight = sizeof(Scalar) == 4 ? 1e-6 : 1e-10;
  const Matrix<Scalar> exact = transport(field, x0, c, Tsitouras{.rtol = tight, .atol = tight});
  std::vector<SolverRow> rows;
  const auto fixed = [&]<Stepper S>(const char* name, const S& stepper) {
    const Index start = detail::evaluations_of<S>(0);
    for (const Index budget : evaluations) {
      const Index steps = (budget - start) / S::evaluations;
      if (steps < 1) continue;
      const Matrix<Scalar> x = transport(field, x0, c, stepper, {.steps = steps});
      rows.push_back({name, steps, 0, double(detail::evaluations_of<S>(steps)), detail::rms_distance(x, exact)});
    }
  };
  const auto adaptive = [&]<AdaptiveMethod M>(const char* name, M method) {
    for (const double tolerance : {1e-1, 1e-2, 1e-3, 1e-4, 1e-5}) {
      method.rtol = method.atol = tolerance;
      Sampler sampler(field, method);
      Matrix<Scalar> x = x0;
      sampler(c, x);
      rows.push_back({name, 0, tolerance, double(sampler.report().evaluations()) / double(std::max(x.cols(), Index(1))),
                      detail::rms_distance(x, exact)});
    }
  };
  fixed("Euler", Euler{});
  fixed("Midpoint", Midpoint{});
  fixed("Heun", Heun{});
  fixed("AdamsBashforth2", AdamsBashforth2{});
  fixed("Rk4", Rk4{});
  fixed("Rk4ThreeEighths", Rk4ThreeEighths{});
  adaptive("DormandPrince", DormandPrince{});
  adaptive("Tsitouras", Tsitouras{});
  return rows;
}
/// The same without conditions.
template <ParametricField Field>
std::vector<SolverRow> solver_report(const Field& field, MatrixIn<typename Field::Scalar> x0) {
  return solver_report(field, x0, Matrix<typename Field::Scalar>(0, x0.cols()));
}

/// The rows as a table to print, a line each.
inline std::string solver_table(const std::vector<SolverRow>& rows) {
  std::string table = "solver            steps or tolerance  evaluations    distance\n";
  for (const SolverRow& row : rows) {
    char line[96];
    if (row.steps > 0)
      std::snprintf(line, sizeof line, "%-16s  %18lld  %11.1f  %10.2e\n", row.solver, static_cast<long long>(row.steps),
                    row.evaluations, row.distance);
    else
      std::snprintf(line, sizeof line, "%-16s  %18.0e  %11.1f  %10.2e\n", row.solver, row.tolerance, row.evaluations,
                    row.distance);
    table += line;
  }
  return table;
}

}
}
