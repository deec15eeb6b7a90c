// SPDX-License-Identifier: MIT
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/sample/solver_report.hpp>
#include <string>

#include "catch.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;

TEMPLATE_TEST_CASE("a solver report holds what each solver costs and how far it ends from the exact flow", "[sample]",
                   float, double) {
  fm::Rng rng(5);
  const fm::VelocityMlp<TestType> net({.dim = 2, .condition_dim = 1, .hidden = {16, 16}}, rng);
  const fm::Matrix<TestType> x0 = test::normal<TestType>(rng, 2, 40), c = test::normal<TestType>(rng, 1, 40);
  const auto rows = fm::solver_report(net, x0, c, {3, 8, 64});
  const auto row = [&](const std::string& solver, fm::Index steps, double tolerance) {
    for (const fm::SolverRow& r : rows)
      if (r.solver == solver && r.steps == steps && r.tolerance == tolerance) return r;
    FAIL("no row for " << solver << " with " << steps << " steps, tolerance " << tolerance);
    return rows[0];
  };
  CHECK(rows.size() == 3 * 4 + 2 * 2 + 2 * 5);  // three evaluations are too few for the two of order 4
  CHECK(row("Heun", 1, 0).evaluations == 2);
  CHECK(row("AdamsBashforth2", 7, 0).evaluations == 8);
  CHECK(row("Rk4", 16, 0).evaluations == 64);
  CHECK(row("Rk4ThreeEighths", 2, 0).evaluations == 8);

  // A distance is what one computes by hand with a reference that is finer still.
  const fm::Matrix<TestType> exact = fm::transport(net, x0, c, fm::Rk4{}, {.steps = 400});
  const fm::Matrix<TestType> x = fm::transport(net, x0, c, fm::Euler{}, {.steps = 8});
  double sum = 0;
  for (fm::Index j = 0; j < 40; ++j) sum += double((x - exact).col(j).squaredNorm());
  CHECK(std::abs(row("Euler", 8, 0).distance - std::sqrt(sum / 40)) < 2e-6);
  CHECK(row("Euler", 64, 0).distance < row("Euler", 8, 0).distance / 6);
  CHECK(row("Rk4", 16, 0).distance < row("Midpoint", 32, 0).distance);
  for (const char* name : {"DormandPrince", "Tsitouras"}) {
    CHECK(row(name, 0, 1e-5).distance < 1e-4);
    CHECK(row(name, 0, 1e-5).evaluations >= 14);  // 2 and 6 a step, two steps at least
    CHECK(row(name, 0, 1e-1).evaluations < row(name, 0, 1e-5).evaluations);
  }

  const std::string table = fm::solver_table(rows);
  CHECK(std::count(table.begin(), table.end(), '\n') == std::ptrdiff_t(rows.size()) + 1);
  CHECK(table.find("AdamsBashforth2") != table.npos);
  CHECK(fm::solver_report(fm::VelocityMlp<TestType>({.dim = 2, .hidden = {8}}, rng), x0).size() > rows.size());
}
