// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/ode/integrate.hpp>
#include <flowmatch/ode/multistep.hpp>
#include <flowmatch/random/random.hpp>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "support/largest.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;

namespace {

static_assert(fm::Stepper<fm::Euler> && fm::Stepper<fm::Midpoint> && fm::Stepper<fm::Heun> && fm::Stepper<fm::Rk4> &&
              fm::Stepper<fm::Rk4ThreeEighths>);
static_assert(fm::Euler::order == 1 && fm::Midpoint::order == 2 && fm::Heun::order == 2 && fm::Rk4::order == 4);
static_assert(fm::Euler::evaluations == 1 && fm::Midpoint::evaluations == 2 && fm::Heun::evaluations == 2 &&
              fm::Rk4::evaluations == 4);
static_assert(!fm::Stepper<int>);

// Four problems with their exact solutions x(t) from x(0) = x0.

/// Linear with rotation: dx/dt = A x, A = [-0.3 -2; 2 -0.3].
struct Rotation {
  static constexpr double decay = 0.3, turn = 2;
  template <class X, class T, class C, class V> void operator()(const X& x, const T&, const C&, V& v) const {
    v.row(0) = -decay * x.row(0) - turn * x.row(1);
    v.row(1) = turn * x.row(0) - decay * x.row(1);
  }
  fm::Matrix<double> exact(const fm::Matrix<double>& x0, const fm::Matrix<double>&, double t) const {
    Eigen::Matrix2d flow;
    flow << std::cos(turn * t), -std::sin(turn * t), std::sin(turn * t), std::cos(turn * t);
    return std::exp(-decay * t) * flow * x0;
  }
};

/// Non-autonomous: dx/dt = cos(t) x.
struct Seasons {
  template <class X, class T, class C, class V> void operator()(const X& x, const T& t, const C&, V& v) const {
    v = x.array().rowwise() * t.array().cos();
  }
  fm::Matrix<double> exact(const fm::Matrix<double>& x0, const fm::Matrix<double>&, double t) const {
    return x0 * std::exp(std::sin(t));
  }
};

/// Nonlinear: dx/dt = x (1 - x).
struct Logistic {
  template <class X, class T, class C, class V> void operator()(const X& x, const T&, const C&, V& v) const {
    v = x.array() * (1 - x.array());
  }
  fm::Matrix<double> exact(const fm::Matrix<double>& x0, const fm::Matrix<double>&, double t) const {
    return 1 / (1 + (1 / x0.array() - 1) * std::exp(-t));
  }
};

/// With a condition: dx/dt = c (t - x).
struct Conditioned {
  template <class X, class T, class C, class V> void operator()(const X& x, const T& t, const C& c, V& v) const {
    v = c.array() * (t.replicate(x.rows(), 1) - x).array();
  }
  fm::Matrix<double> exact(const fm::Matrix<double>& x0, const fm::Matrix<double>& c, double t) const {
    return t - 1 / c.array() + (x0.array() + 1 / c.array()) * (-c.array() * t).exp();
  }
};

/// Log2 of the quotient of the errors with n and with 2 n steps.
template <class Problem, class S>
double measured_order(const Problem& problem, const S& stepper, double from, double to, fm::Index n) {
  fm::Matrix<double> x0(2, 3), c(2, 3);
  x0 << 0.2, 0.5, 0.7, 0.3, 0.4, 0.9;
  c << 0.5, 1, 1.5, 2, 0.8, 1.2;
  const fm::Matrix<double> start = problem.exact(x0, c, from), end = problem.exact(x0, c, to);
  const auto error = [&](fm::Index steps) {
    fm::Matrix<double> x = start;
    fm::integrate(problem, x, c, stepper, {.steps = steps, .from = from, .to = to});
    return (x - end).norm();
  };
  return std::log2(error(n) / error(2 * n));
}

template <class S> struct StepsForOrder;  // fine enough for the leading error, coarse enough for it to exceed rounding
template <> struct StepsForOrder<fm::Euler> { static constexpr fm::Index n = 256; };
template <> struct StepsForOrder<fm::Midpoint> { static constexpr fm::Index n = 128; };
template <> struct StepsForOrder<fm::Heun> { static constexpr fm::Index n = 128; };
template <> struct StepsForOrder<fm::AdamsBashforth2> { static constexpr fm::Index n = 256; };
template <> struct StepsForOrder<fm::Rk4> { static constexpr fm::Index n = 64; };
template <> struct StepsForOrder<fm::Rk4ThreeEighths> { static constexpr fm::Index n = 64; };

template <class S, class Problem> void check_order(const char* name) {
  for (const bool backward : {false, true}) {
    const double order = measured_order(Problem{}, S{}, backward ? 1 : 0, backward ? 0 : 1, StepsForOrder<S>::n);
    INFO(name << (backward ? " backward: " : " forward: ") << order);
    CHECK_THAT(order, WithinAbs(S::order, 0.05));
  }
}

}

TEMPLATE_TEST_CASE("a solver's error falls with its order when steps are halved, forward and backward in time", "[ode]",
                   fm::Euler, fm::Midpoint, fm::Heun, fm::Rk4, fm::Rk4ThreeEighths, fm::AdamsBashforth2) {
  check_order<TestType, Rotation>("linear with rotation");
  check_order<TestType, Seasons>("non-autonomous");
  check_order<TestType, Logistic>("nonlinear");
  check_order<TestType, Conditioned>("with a condition");
}

TEMPLATE_TEST_CASE("a solver of order p integrates polynomials in t of degree p - 1 exactly", "[ode]", fm::Euler,
                   fm::Midpoint, fm::Heun, fm::Rk4, fm::Rk4ThreeEighths, fm::AdamsBashforth2) {
  constexpr int degree = TestType::order - 1;
  const auto f = [](const auto&, const auto& t, const auto&, auto& v) {
    v.setZero();
    for (int power = 0; power <= degree; ++power) v.array().rowwise() += (power + 1) * t.array().pow(power);
  };
  fm::Matrix<double> x = fm::Matrix<double>::Constant(2, 3, 0.25);
  fm::integrate(f, x, TestType{}, {.steps = 3, .from = -0.5, .to = 1.25});
  double expected = 0.25;
  for (int power = 1; power <= degree + 1; ++power) expected += std::pow(1.25, power) - std::pow(-0.5, power);
  // some ten roundings of numbers below 8
  for (fm::Index i = 0; i < x.size(); ++i) CHECK_THAT(x(i), WithinAbs(expected, 1e-14));

  // and degree p is beyond it: the test can fail
  const auto beyond = [](const auto&, const auto& t, const auto&, auto& v) {
    v = (degree + 2) * t.array().pow(degree + 1).replicate(v.rows(), 1);
  };
  x.setZero();
  fm::integrate(beyond, x, TestType{}, {.steps = 1});
  CHECK(std::abs(x(0, 0) - 1) > 1e-3);
}

TEMPLATE_TEST_CASE("one step is the textbook formula", "[ode]", float, double) {
  using Scalar = TestType;
  using M = fm::Matrix<Scalar>;
  const auto g = [](const auto& x, auto t) { return (x.array().sin() + t * x.array().square()).matrix().eval(); };
  const auto f = [&](const auto& x, const auto& t, const auto&, auto& v) { v = g(M(x), t(0)); };
  M start(2, 2);
  start << Scalar(0.3), Scalar(-0.8), Scalar(1.1), Scalar(0.5);
  const Scalar t = Scalar(0.25), h = Scalar(0.125);
  const Scalar tolerance = 8 * std::numeric_limits<Scalar>::epsilon();  // the same sum in another order
  const auto step = [&](const auto& stepper) {
    M x = start;
    fm::StepperMemory<Scalar> memory;
    stepper.step(f, double(t), double(h), M(0, 2), x, memory);
    return x;
  };
  const M k1 = g(start, t);
  CHECK(test::largest(step(fm::Euler{}) - (start + h * k1)) <= tolerance);
  const M inside = g(M(start + h / 2 * k1), t + h / 2);
  CHECK(test::largest(step(fm::Midpoint{}) - (start + h * inside)) <= tolerance);
  const M end = g(M(start + h * k1), t + h);
  CHECK(test::largest(step(fm::Heun{}) - (start + h / 2 * (k1 + end))) <= tolerance);
  const M k3 = g(M(start + h / 2 * inside), t + h / 2), k4 = g(M(start + h * k3), t + h);
  CHECK(test::largest(step(fm::Rk4{}) - (start + h / 6 * (k1 + 2 * inside + 2 * k3 + k4))) <= tolerance);
  const M l2 = g(M(start + h / 3 * k1), t + h / 3), l3 = g(M(start + h * (l2 - k1 / 3)), t + 2 * h / 3);
  const M l4 = g(M(start + h * (k1 - l2 + l3)), t + h);
  CHECK(test::largest(step(fm::Rk4ThreeEighths{}) - (start + h / 8 * (k1 + 3 * l2 + 3 * l3 + l4))) <= tolerance);
}

TEMPLATE_TEST_CASE("a stepper's memory serves batches of changing size and steppers of changing stages", "[ode]", float,
                   double) {
  using M = fm::Matrix<TestType>;
  const auto f = [](const auto& x, const auto& t, const auto&, auto& v) { v = x.array().rowwise() * t.array(); };
  fm::StepperMemory<TestType> memory;
  fm::Rng rng(2);
  const auto check = [&](const auto& stepper, fm::Index rows, fm::Index columns) {
    M x(rows, columns);
    fm::fill_normal(rng, x);
    M fresh = x;
    fm::StepperMemory<TestType> fresh_memory;
    stepper.step(f, 0.5, -0.25, M(0, columns), x, memory);
    stepper.step(f, 0.5, -0.25, M(0, columns), fresh, fresh_memory);
    CHECK(x == fresh);
  };
  check(fm::Euler{}, 3, 5);
  check(fm::Rk4{}, 3, 2);
  check(fm::Heun{}, 3, 9);
  check(fm::Rk4{}, 3, 9);
  check(fm::Rk4{}, 2, 4);
  check(fm::Rk4{}, 5, 4);
  check(fm::Midpoint{}, 5, 0);
}
