// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/ode/integrate.hpp>
#include <flowmatch/random/random.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/largest.hpp"

namespace fm = flowmatch;

namespace {

/// A user's own stepper: Ralston's second-order method, written out.
struct Ralston {
  static constexpr int order = 2, evaluations = 2;
  template <fm::Real Scalar, fm::VelocityField<Scalar> F>
  void step(F&& f, double t, double h, fm::MatrixIn<Scalar> c, fm::MatrixRef<Scalar> x,
            fm::StepperMemory<Scalar>& memory) const {
    memory.reserve(x.rows(), x.cols(), 2);
    Eigen::Ref<fm::Matrix<Scalar>> k1 = memory.k[0].leftCols(x.cols()), k2 = memory.k[1].leftCols(x.cols());
    const auto at = [&](double time) { return fm::RowVector<Scalar>::Constant(x.cols(), Scalar(time)).eval(); };
    f(x, at(t), c, k1);
    f(x + Scalar(2 * h / 3) * k1, at(t + 2 * h / 3), c, k2);
    x += Scalar(h / 4) * k1 + Scalar(3 * h / 4) * k2;
  }
};
static_assert(fm::Stepper<Ralston>);

/// dx/dt = sin(x) + t - c_0, nothing special.
const auto wave = [](const auto& x, const auto& t, const auto& c, auto& v) {
  v = x.array().sin().rowwise() + t.array();
  if (c.rows() > 0) v.rowwise() -= c.row(0);
};

template <class Scalar> fm::Matrix<Scalar> normals(fm::Index rows, fm::Index columns, std::uint64_t seed = 3) {
  fm::Rng rng(seed);
  fm::Matrix<Scalar> x(rows, columns);
  fm::fill_normal(rng, x);
  return x;
}

template <class Error, class F> std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing thrown";
}
template <class F> std::string invalid_argument_of(F&& f) { return message_of<std::invalid_argument>(f); }

}

TEST_CASE("n steps are n equal intervals, and the last time is exact", "[ode]") {
  for (const auto& [from, to] :
       {std::pair{0., 1.}, {1., 0.}, {0.1, 0.7}, {-3., 1e3}, {1., 1e-3}})  // 1 + (0.001 - 1) is not 0.001
    for (const fm::Index steps : {1, 2, 3, 7, 10, 49, 1000}) {
      const auto times = fm::time_grid({.steps = steps, .from = from, .to = to});
      REQUIRE(times.size() == std::size_t(steps) + 1);
      REQUIRE(times.front() == from);
      REQUIRE(times.back() == to);
      for (std::size_t i = 0; i + 1 < times.size(); ++i)
        REQUIRE(std::abs(times[i] - (from + (to - from) * double(i) / double(steps))) <=
                2e-16 * std::abs(to - from));  // one rounding, which fused products may spare
    }
  CHECK(fm::time_grid({.steps = 4}) == std::vector<double>{0, 0.25, 0.5, 0.75, 1});
  CHECK(fm::OdeOptions{}.steps == 50);
}

TEST_CASE("an explicit grid replaces steps and ends", "[ode]") {
  const std::vector<double> rising = {0, 0.5, 0.75, 1}, falling = {2, 0, -1};
  CHECK(fm::time_grid({.grid = rising}) == rising);
  CHECK(fm::time_grid({.steps = -7, .from = 3, .to = 3, .grid = falling}) == falling);
}

TEST_CASE("a time grid refuses what is not one, and says what", "[ode]") {
  const auto grid = [](const fm::OdeOptions& options) { return [=] { fm::time_grid(options); }; };
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const std::string where = "flowmatch: time_grid: ";
  CHECK(invalid_argument_of(grid({.steps = 0})) == where + "expected options.steps >= 1, got 0");
  CHECK(invalid_argument_of(grid({.steps = -3})) == where + "expected options.steps >= 1, got -3");
  CHECK(invalid_argument_of(grid({.grid = {0.5}})) == where + "expected at least 2 times in options.grid, got 1");
  CHECK(invalid_argument_of(grid({.grid = {0, nan}})) == where + "expected finite times, got nan at place 1");
  CHECK(invalid_argument_of(grid({.grid = {0, 1, inf}})) == where + "expected finite times, got inf at place 2");
  CHECK(invalid_argument_of(grid({.from = nan})) == where + "expected finite times, got nan at place 0");
  CHECK(invalid_argument_of(grid({.steps = 2, .to = inf})).find(where + "expected finite times, got") == 0);
  const std::string strictly = where + "expected times that strictly rise or fall, got ";
  CHECK(invalid_argument_of(grid({.from = 0.3, .to = 0.3})) == strictly + "0.3 then 0.3");
  CHECK(invalid_argument_of(grid({.grid = {0, 0.5, 0.5, 1}})) == strictly + "0.5 then 0.5");
  CHECK(invalid_argument_of(grid({.grid = {0, 0.5, 0.25}})) == strictly + "0.5 then 0.25");
  CHECK(invalid_argument_of(grid({.grid = {1, 0.5, 0.75}})) == strictly + "0.5 then 0.75");
}

TEMPLATE_TEST_CASE("integrate on an uneven grid equals the same steps by hand, bit for bit", "[ode]", float, double) {
  const std::vector<double> grid = {0, 0.1, 0.15, 0.6, 1};
  const fm::Matrix<TestType> c = normals<TestType>(1, 9, 4);
  const auto check = [&](const auto& stepper, const std::vector<double>& times) {
    fm::Matrix<TestType> x = normals<TestType>(3, 9), by_hand = x;
    fm::integrate(wave, x, c, stepper, {.grid = times});
    fm::StepperMemory<TestType> memory;
    for (std::size_t i = 1; i < times.size(); ++i)
      stepper.step(wave, times[i - 1], times[i] - times[i - 1], c, by_hand, memory);
    CHECK(x == by_hand);
  };
  const std::vector<double> backward(grid.rbegin(), grid.rend());
  check(fm::Euler{}, grid);
  check(fm::Midpoint{}, grid);
  check(fm::Heun{}, backward);
  check(fm::Rk4{}, grid);
  check(fm::Rk4{}, backward);
  check(Ralston{}, grid);
}

TEST_CASE("integrating forward and then backward returns to the start", "[ode]") {
  const fm::Matrix<double> c = normals<double>(1, 20, 4), start = normals<double>(3, 20);
  const auto miss = [&](const auto& stepper, fm::Index steps) {
    fm::Matrix<double> x = start;
    fm::integrate(wave, x, c, stepper, {.steps = steps});
    REQUIRE((x - start).norm() > 1);  // it went somewhere
    fm::integrate(wave, x, c, stepper, {.steps = steps, .from = 1, .to = 0});
    return test::largest(x - start);
  };
  // there and back, an error of K h^p each way with K below e (|f| + 1) / 2 = 5: |x''| <= |f| + 1, grown by e^t
  const double h = 1. / 200;
  CHECK(miss(fm::Euler{}, 200) < 2 * 5 * h);
  CHECK(miss(fm::Midpoint{}, 200) < 2 * 5 * h * h);
  CHECK(miss(fm::Heun{}, 200) < 2 * 5 * h * h);
  CHECK(miss(fm::Rk4{}, 200) < 2 * 5 * std::pow(h, 4));
  CHECK(miss(Ralston{}, 200) < 2 * 5 * h * h);
}

TEMPLATE_TEST_CASE("the report counts the steps and the real calls of f", "[ode]", float, double) {
  const auto check = [](const auto& stepper, const fm::OdeOptions& options, fm::Index steps) {
    fm::Index calls = 0;
    const auto f = [&](const auto& x, const auto&, const auto&, auto& v) {
      ++calls;
      v = -x;
    };
    fm::Matrix<TestType> x = normals<TestType>(2, 300);
    const fm::OdeReport report = fm::integrate(f, x, stepper, options);
    CHECK(report.steps == steps);
    CHECK(report.evaluations == calls);
    CHECK(calls == steps * stepper.evaluations);
  };
  check(fm::Euler{}, {.steps = 8}, 8);
  check(fm::Midpoint{}, {.steps = 7, .from = 1, .to = 0}, 7);
  check(fm::Heun{}, {.steps = 1}, 1);
  check(fm::Rk4{}, {}, 50);
  check(fm::Rk4{}, {.grid = {0, 0.1, 1}}, 2);
  check(Ralston{}, {.steps = 5}, 5);
}

TEMPLATE_TEST_CASE("the observer sees every point of the grid, start and end included, and changes no bit", "[ode]",
                   float, double) {
  const fm::Matrix<TestType> start = normals<TestType>(3, 11);
  const fm::OdeOptions options = {.steps = 6, .from = 1, .to = 0.25};
  const auto times = fm::time_grid(options);
  fm::Matrix<TestType> plain = start;
  fm::integrate(wave, plain, fm::Heun{}, options);

  std::vector<fm::Matrix<TestType>> seen;
  fm::Matrix<TestType> x = start;
  fm::integrate(wave, x, fm::Heun{}, options, [&](fm::Index i, double t, const auto& point) {
    CHECK(i == fm::Index(seen.size()));
    CHECK(t == times.at(std::size_t(i)));
    seen.push_back(point);
  });
  REQUIRE(seen.size() == 7);
  CHECK(x == plain);
  CHECK(seen.front() == start);
  CHECK(seen.back() == x);
  for (std::size_t i = 1; i < seen.size(); ++i) {  // and each point is where integration up to it ends
    fm::Matrix<TestType> until = start;
    fm::integrate(wave, until, fm::Heun{}, {.grid = {times.begin(), times.begin() + std::ptrdiff_t(i) + 1}});
    CHECK(until == seen[i]);
  }

  fm::Index calls = 0;  // with a condition, and an observer that is an object of its own
  auto count = [&](auto&&...) { ++calls; };
  fm::integrate(wave, x, normals<TestType>(1, 11), fm::Euler{}, {.steps = 2}, count);
  CHECK(calls == 3);
}

TEMPLATE_TEST_CASE("f gets the stage times t + c_i h, one for each sample", "[ode]", float, double) {
  const std::vector<double> grid = {0.125, 0.5, 0.75};
  const auto check = [&](const auto& stepper, const std::vector<double>& times, const std::vector<double>& stages) {
    std::vector<double> expected, got;
    for (std::size_t i = 1; i < times.size(); ++i)
      for (const double stage : stages) expected.push_back(times[i - 1] + stage * (times[i] - times[i - 1]));
    const auto f = [&](const auto& x, const auto& t, const auto&, auto& v) {
      REQUIRE(t.rows() == 1);
      REQUIRE(t.cols() == x.cols());
      REQUIRE(t.minCoeff() == t.maxCoeff());
      got.push_back(double(t(0)));
      v = x;
    };
    fm::Matrix<TestType> x = normals<TestType>(2, 5);
    fm::integrate(f, x, stepper, {.grid = times});
    CHECK(got == expected);  // all of them binary fractions: exact
  };
  check(fm::Euler{}, grid, {0});
  check(fm::Midpoint{}, grid, {0, 0.5});
  check(fm::Heun{}, grid, {0, 1});
  check(fm::Rk4{}, grid, {0, 0.5, 0.5, 1});
  check(fm::Rk4{}, {1, 0.5, 0}, {0, 0.5, 0.5, 1});
}

TEMPLATE_TEST_CASE("conditions reach f unchanged, and are 0 rows if there are none", "[ode]", float, double) {
  const fm::Matrix<TestType> c = normals<TestType>(4, 6, 8);
  int calls = 0;
  fm::Index rows = 4;
  const auto f = [&](const auto& x, const auto&, const auto& condition, auto& v) {
    ++calls;
    REQUIRE(condition.rows() == rows);
    REQUIRE(condition.cols() == 6);
    if (rows > 0) REQUIRE(condition == c);
    REQUIRE(v.rows() == x.rows());
    REQUIRE(v.cols() == x.cols());
    v = x;
  };
  fm::Matrix<TestType> x = normals<TestType>(2, 6);
  fm::integrate(f, x, c, fm::Rk4{}, {.steps = 3});
  fm::Matrix<TestType> large = fm::Matrix<TestType>::Zero(6, 8);
  large.block(1, 1, 4, 6) = c;
  fm::integrate(f, x, large.block(1, 1, 4, 6), fm::Rk4{}, {.steps = 3});
  rows = 0;
  fm::integrate(f, x, fm::Rk4{}, {.steps = 3});
  CHECK(calls == 36);
}

TEMPLATE_TEST_CASE("a user's own stepper integrates", "[ode]", float, double) {
  fm::Matrix<TestType> x = fm::Matrix<TestType>::Constant(2, 3, 1);
  const auto decay = [](const auto& y, const auto&, const auto&, auto& v) { v = -y; };
  fm::integrate(decay, x, Ralston{}, {.steps = 50});
  // one step multiplies by 1 - h + h^2 / 2, as every method of second order does here; 150 roundings
  const double h = 0.02, expected = std::pow(1 - h + h * h / 2, 50);
  CHECK(std::abs(double(x(1, 2)) - expected) < 150 * double(std::numeric_limits<TestType>::epsilon()) * expected);
}

TEMPLATE_TEST_CASE("a field may be an object with state, changed by the calls", "[ode]", float, double) {
  struct Counter {
    int calls = 0;
    void operator()(const Eigen::Ref<const fm::Matrix<TestType>>& x, const Eigen::Ref<const fm::RowVector<TestType>>&,
                    const Eigen::Ref<const fm::Matrix<TestType>>&, Eigen::Ref<fm::Matrix<TestType>>& v) {
      ++calls;
      v = x;
    }
  } field;
  fm::Matrix<TestType> x = normals<TestType>(1, 1);
  fm::integrate(field, x, fm::Euler{}, {.steps = 4});
  CHECK(field.calls == 4);
}

TEMPLATE_TEST_CASE("a state that leaves the finite numbers is an error that names sample and time", "[ode]", float,
                   double) {
  const TestType inf = std::numeric_limits<TestType>::infinity(), nan = std::numeric_limits<TestType>::quiet_NaN();
  fm::Matrix<TestType> x = normals<TestType>(2, 50);
  const auto bursts = [&](const auto& y, const auto& t, const auto&, auto& v) {
    v.setZero();
    if (t(0) >= TestType(0.5)) v(1, 37) = inf;
    (void)y;
  };
  CHECK(message_of<std::runtime_error>([&] { fm::integrate(bursts, x, fm::Euler{}, {.steps = 4}); }) ==
        "flowmatch: integrate: sample 37 is not finite at t = 0.75 (row 1: inf)");
  const auto breaks = [&](const auto&, const auto&, const auto&, auto& v) { v.setConstant(nan); };
  x = normals<TestType>(2, 50);
  CHECK(message_of<std::runtime_error>([&] {
          fm::integrate(breaks, x, fm::Rk4{}, {.steps = 4, .from = 1, .to = 0});
        }).find("flowmatch: integrate: sample 0 is not finite at t = 0.75 (row 0: ") == 0);
  const auto grows = [](const auto& y, const auto&, const auto&, auto& v) { v = y.array().square() * TestType(1e6); };
  x.setOnes(2, 3);
  CHECK(message_of<std::runtime_error>([&] {
          fm::integrate(grows, x, fm::Rk4{}, {.steps = 50});
        }).find("flowmatch: integrate: sample 0 is not finite at t = ") == 0);
}

TEMPLATE_TEST_CASE("integrate refuses wrong shapes and numbers before the first call of f", "[ode]", float, double) {
  const auto never = [](const auto&, const auto&, const auto&, auto&) { FAIL("f was called"); };
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN();
  fm::Matrix<TestType> x = normals<TestType>(2, 3), c = normals<TestType>(1, 2);
  CHECK(invalid_argument_of([&] { fm::integrate(never, x, c, fm::Rk4{}); }) ==
        "flowmatch: integrate: expected 3 columns in c, got 2");
  c = normals<TestType>(1, 3);
  c(0, 2) = nan;
  CHECK(invalid_argument_of([&] { fm::integrate(never, x, c, fm::Rk4{}); }) ==
        "flowmatch: integrate: expected finite numbers in c, got nan in row 0, column 2");
  x(1, 0) = nan;
  CHECK(invalid_argument_of([&] { fm::integrate(never, x, fm::Rk4{}); }) ==
        "flowmatch: integrate: expected finite numbers in x, got nan in row 1, column 0");
  x = normals<TestType>(2, 3);
  CHECK(invalid_argument_of([&] { fm::integrate(never, x, fm::Rk4{}, {.steps = 0}); }) ==
        "flowmatch: time_grid: expected options.steps >= 1, got 0");
}

TEMPLATE_TEST_CASE("a batch without samples integrates to itself", "[ode]", float, double) {
  fm::Matrix<TestType> x(3, 0);
  CHECK(fm::integrate(wave, x, fm::Rk4{}, {.steps = 2}).evaluations == 8);
  CHECK(x.rows() == 3);
  CHECK(x.cols() == 0);
}
