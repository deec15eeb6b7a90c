// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/ode/grid.hpp>
#include <flowmatch/ode/integrate.hpp>
#include <flowmatch/ode/multistep.hpp>

#include "catch.hpp"
#include "support/largest.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;

namespace {

static_assert(fm::Stepper<fm::AdamsBashforth2>);

/// dx/dt = sin(t) x, x(t) = x(0) exp(1 - cos t)
const auto seasons = [](const auto& x, const auto& t, const auto&, auto& v) {
  v = x.array().rowwise() * t.array().sin();
};

}

TEST_CASE("Adams-Bashforth has order 2 on even and uneven grids, forward and backward in time", "[ode]") {
  const auto error = [](const std::vector<double>& grid) {
    fm::Matrix<double> x(1, 1);
    x << std::exp(1 - std::cos(grid.front()));
    fm::integrate(seasons, x, fm::AdamsBashforth2{}, {.grid = grid});
    return std::abs(x(0, 0) - std::exp(1 - std::cos(grid.back())));
  };
  const auto reversed = [](const std::vector<double>& grid) { return std::vector(grid.rbegin(), grid.rend()); };
  const auto check = [&](const auto& grid) {
    CHECK_THAT(std::log2(error(grid(512)) / error(grid(1024))), WithinAbs(2, 0.05));
    CHECK_THAT(std::log2(error(reversed(grid(512))) / error(reversed(grid(1024)))), WithinAbs(2, 0.05));
  };
  check(fm::uniform_grid);
  check(fm::quadratic_grid);
  check(fm::cosine_grid);
  check([](fm::Index steps) { return fm::shifted_grid(steps, 3); });
}

TEMPLATE_TEST_CASE("two steps of Adams-Bashforth are the textbook formulas", "[ode]", float, double) {
  const auto f = [](const auto& x, const auto& t, const auto& c, auto& v) {
    v = x.array().square().rowwise() * (t.array() - c.row(0).array());
  };
  fm::Rng rng(3);
  const fm::Matrix<TestType> start = test::normal<TestType>(rng, 2, 4), c = test::normal<TestType>(rng, 1, 4);
  const double t0 = 0.25, t1 = 0.5, t2 = 0.625;
  const auto velocity = [&](const fm::Matrix<TestType>& x, double t) {
    fm::Matrix<TestType> v(2, 4);
    f(x, fm::RowVector<TestType>::Constant(4, TestType(t)), c, v);
    return v;
  };
  fm::Matrix<TestType> x = start;
  fm::integrate(f, x, c, fm::AdamsBashforth2{}, {.grid = {t0, t1, t2}});
  const TestType h = TestType(t1 - t0), g = TestType(t2 - t1), r = g / h;
  const fm::Matrix<TestType> v0 = velocity(start, t0);
  const fm::Matrix<TestType> x1 = start + h * velocity(start + h / 2 * v0, t0 + double(h) / 2);
  const fm::Matrix<TestType> x2 = x1 + g * ((1 + r / 2) * velocity(x1, t1) - r / 2 * v0);
  CHECK(test::largest(x - x2) <= 16 * std::numeric_limits<TestType>::epsilon() * test::largest(x2));
}

TEMPLATE_TEST_CASE("every way starts anew, whatever the memory has seen", "[ode]", float, double) {
  fm::Rng rng(4);
  const fm::Matrix<TestType> start = test::normal<TestType>(rng, 2, 5);
  fm::StepperMemory<TestType> memory;
  const auto carried = [&] {
    fm::Matrix<TestType> x = start;
    fm::detail::integrate_tile<TestType>("integrate", seasons, x, fm::Matrix<TestType>(0, 5), fm::AdamsBashforth2{},
                                         {0, 0.5, 1}, memory, 0, fm::NoObserver());
    return x;
  };
  const fm::Matrix<TestType> first = carried();
  CHECK(carried() == first);
}

TEST_CASE("Adams-Bashforth takes one evaluation a step and one more to start", "[ode]") {
  fm::Index calls = 0;
  const auto f = [&](const auto& x, const auto&, const auto&, auto& v) {
    ++calls;
    v = -x;
  };
  fm::Matrix<double> x = fm::Matrix<double>::Ones(2, 3);
  CHECK(fm::integrate(f, x, fm::AdamsBashforth2{}, {.steps = 7}).evaluations == 8);
  CHECK(calls == 8);
}
