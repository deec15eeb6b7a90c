// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/path/further_schedules.hpp>
#include <flowmatch/path/path.hpp>
#include <flowmatch/random/random.hpp>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/largest.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;

namespace {

/// A schedule as a user would write it: the quarter circle, alpha = sin(pi t / 2), sigma = cos(pi t / 2).
struct CosineSchedule {
  template <fm::Real Scalar> fm::ScheduleValue<Scalar> operator()(Scalar t) const {
    const Scalar quarter = std::numbers::pi_v<Scalar> / 2, s = std::sin(quarter * t), c = std::cos(quarter * t);
    return {s, c, quarter * c, -quarter * s};
  }
};
static_assert(fm::Schedule<CosineSchedule>);
static_assert(fm::Schedule<fm::LinearSchedule>);

template <class F> std::string invalid_argument_of(F&& f) {
  try {
    f();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing thrown";
}

template <class Scalar> struct Batch {
  fm::Matrix<Scalar> x0, x1, x_t, u_t;
  fm::RowVector<Scalar> t;

  explicit Batch(fm::Index dim, fm::Index n, std::uint64_t seed = 1) : x0(dim, n), x1(dim, n), t(n) {
    fm::Rng rng(seed);
    fm::fill_normal(rng, x0);
    fm::fill_normal(rng, x1);
    fm::fill_uniform(rng, t);
  }
};

/// u_t against the derivative of x_t by a difference of fourth order. t stays off the ends.
template <class P> void check_derivative(const P& path) {
  Batch<double> b(3, 50);
  b.t = 0.1 + 0.8 * b.t.array();
  path.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  constexpr double h = 1e-3;
  fm::Matrix<double> difference = fm::Matrix<double>::Zero(3, 50), at, unused;
  for (const auto& [k, weight] : {std::pair{-2, 1.}, {-1, -8.}, {1, 8.}, {2, -1.}}) {
    const fm::RowVector<double> shifted = b.t.array() + k * h;
    path.sample(b.x0, b.x1, shifted, at, unused);
    difference += weight / (12 * h) * at;
  }
  // rounding 2^-53 * 3 / h = 3e-13, truncation h^4 (pi / 2)^5 / 30 * 3 = 1e-12; a wrong sign is off by about 1
  CHECK(test::largest(difference - b.u_t) < 1e-11);
}

}

TEMPLATE_TEST_CASE("the linear path is x_t = (1 - t) x0 + t x1 and u_t = x1 - x0, bit for bit", "[path]", float,
                   double) {
  using Scalar = TestType;
  Batch<Scalar> b(3, 100);
  fm::LinearPath{}.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  REQUIRE(b.x_t.rows() == 3);
  REQUIRE(b.x_t.cols() == 100);
  for (fm::Index j = 0; j < 100; ++j)
    for (fm::Index i = 0; i < 3; ++i) {
      const Scalar t = b.t(j), from_data = t * b.x1(i, j), from_noise = (1 - t) * b.x0(i, j);
#ifdef __FMA__  // a compiler may fuse product and sum: one rounding less
      const Scalar unit = std::numeric_limits<Scalar>::epsilon();
      REQUIRE(std::abs(b.x_t(i, j) - (from_noise + from_data)) <= unit * (std::abs(from_data) + std::abs(from_noise)));
#else
      REQUIRE(b.x_t(i, j) == from_noise + from_data);
#endif
      REQUIRE(b.u_t(i, j) == b.x1(i, j) - b.x0(i, j));
    }
}

TEMPLATE_TEST_CASE("the linear path starts at x0 and ends at x1 exactly", "[path]", float, double) {
  Batch<TestType> b(4, 7);
  b.t.setZero();
  fm::LinearPath{}.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  CHECK(b.x_t == b.x0);
  b.t.setOnes();
  fm::LinearPath{}.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  CHECK(b.x_t == b.x1);
}

TEST_CASE("the velocity of the linear path is the time derivative of its point", "[path]") {
  check_derivative(fm::LinearPath{});
}

TEST_CASE("a user's own schedule makes a path whose velocity is the time derivative", "[path]") {
  check_derivative(fm::AffinePath<CosineSchedule>{});
}

TEMPLATE_TEST_CASE("a user's own schedule is evaluated at each column's own time", "[path]", float, double) {
  Batch<TestType> b(2, 3);
  b.t << 0, TestType(1) / 3, 1;
  const fm::AffinePath<CosineSchedule> path;
  path.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  const double pi = std::numbers::pi, root3 = std::sqrt(3.);
  const double unit = std::numeric_limits<TestType>::epsilon();
  for (fm::Index i = 0; i < 2; ++i) {
    const double x0 = b.x0(i, 1), x1 = b.x1(i, 1), tolerance = 8 * unit;  // a few roundings of numbers below 4
    CHECK_THAT(b.x_t(i, 0), WithinAbs(b.x0(i, 0), tolerance));
    CHECK_THAT(b.x_t(i, 1), WithinAbs(x1 / 2 + root3 / 2 * x0, tolerance));  // sin, cos of pi / 6
    CHECK_THAT(b.u_t(i, 1), WithinAbs(pi / 2 * (root3 / 2 * x1 - x0 / 2), tolerance));
    CHECK_THAT(b.x_t(i, 2), WithinAbs(b.x1(i, 2), tolerance));
  }
}

TEMPLATE_TEST_CASE("a path takes blocks, maps, strided rows and expressions as inputs", "[path]", float, double) {
  using Scalar = TestType;
  Batch<Scalar> b(2, 5);
  const fm::LinearPath path;
  path.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);

  fm::Matrix<Scalar> large = fm::Matrix<Scalar>::Zero(6, 9);
  large.block(1, 2, 2, 5) = b.x0;
  large.block(4, 2, 1, 5) = b.t;  // a row of a column-major matrix: strided
  const std::vector<Scalar> memory(b.x1.data(), b.x1.data() + b.x1.size());
  const Eigen::Map<const fm::Matrix<Scalar>> map(memory.data(), 2, 5);
  fm::Matrix<Scalar> x_t, u_t;
  path.sample(large.block(1, 2, 2, 5), map, large.block(4, 2, 1, 5), x_t, u_t);
  CHECK(x_t == b.x_t);
  CHECK(u_t == b.u_t);

  path.sample(b.x0 * Scalar(1), b.x1 + fm::Matrix<Scalar>::Zero(2, 5), b.t.head(5), x_t, u_t);
  CHECK(x_t == b.x_t);
  CHECK(u_t == b.u_t);

  const Eigen::Matrix<Scalar, 2, 5> fixed = b.x1;
  path.sample(b.x0, fixed, b.t, x_t, u_t);
  CHECK(x_t == b.x_t);
}

TEMPLATE_TEST_CASE("a path resizes its outputs, and leaves their memory where it is if the size fits", "[path]", float,
                   double) {
  Batch<TestType> b(3, 4);
  b.x_t.resize(7, 1);
  fm::LinearPath{}.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  CHECK(b.x_t.rows() == 3);
  CHECK(b.x_t.cols() == 4);
  CHECK(b.u_t.rows() == 3);
  CHECK(b.u_t.cols() == 4);
  const TestType *x_t = b.x_t.data(), *u_t = b.u_t.data();
  fm::LinearPath{}.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  CHECK(b.x_t.data() == x_t);
  CHECK(b.u_t.data() == u_t);

  Batch<TestType> none(3, 0);
  fm::LinearPath{}.sample(none.x0, none.x1, none.t, b.x_t, b.u_t);
  CHECK(b.x_t.rows() == 3);
  CHECK(b.x_t.cols() == 0);
}

TEMPLATE_TEST_CASE("a path refuses shapes that differ and says which", "[path]", float, double) {
  using M = fm::Matrix<TestType>;
  using T = fm::RowVector<TestType>;
  const fm::LinearPath path;
  M x_t, u_t;
  const M x = M::Zero(2, 3);
  const T t = T::Zero(3);
  CHECK(invalid_argument_of([&] { path.sample(x, M(M::Zero(3, 3)), t, x_t, u_t); }) ==
        "flowmatch: AffinePath::sample: expected 2 rows in x1, got 3");
  CHECK(invalid_argument_of([&] { path.sample(x, M(M::Zero(2, 4)), t, x_t, u_t); }) ==
        "flowmatch: AffinePath::sample: expected 3 columns in x1, got 4");
  CHECK(invalid_argument_of([&] { path.sample(x, x, T(T::Zero(2)), x_t, u_t); }) ==
        "flowmatch: AffinePath::sample: expected 3 columns in t, got 2");
}

TEMPLATE_TEST_CASE("a path refuses NaN and infinity, names row and column, and writes nothing", "[path]", float,
                   double) {
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN(), inf = std::numeric_limits<TestType>::infinity();
  const fm::LinearPath path;
  Batch<TestType> b(2, 40);
  path.sample(b.x0, b.x1, b.t, b.x_t, b.u_t);
  const fm::Matrix<TestType> before = b.x_t;
  const Batch<TestType> good = b;
  const auto sample = [&] { path.sample(b.x0, b.x1, b.t, b.x_t, b.u_t); };

  b.x0(1, 2) = nan;
  CHECK(invalid_argument_of(sample) ==
        "flowmatch: AffinePath::sample: expected finite numbers in x0, got nan in row 1, column 2");
  b.x0 = good.x0;
  b.x1(0, 39) = -inf;
  CHECK(invalid_argument_of(sample) ==
        "flowmatch: AffinePath::sample: expected finite numbers in x1, got -inf in row 0, column 39");
  b.x1 = good.x1;
  b.t(33) = nan;
  CHECK(invalid_argument_of(sample) ==
        "flowmatch: AffinePath::sample: expected finite numbers in t, got nan in row 0, column 33");
  CHECK(b.x_t == before);

  fm::Matrix<TestType> large = fm::Matrix<TestType>::Zero(4, 40);  // in a block: not contiguous
  large(2, 5) = inf;
  b.t = good.t;
  CHECK(invalid_argument_of([&] { path.sample(large.middleRows(1, 2), b.x1, b.t, b.x_t, b.u_t); }) ==
        "flowmatch: AffinePath::sample: expected finite numbers in x0, got inf in row 1, column 5");
}

TEMPLATE_TEST_CASE("a path refuses times before 0 or after 1 and names the column", "[path]", float, double) {
  const fm::LinearPath path;
  Batch<TestType> b(2, 4);
  b.t << 0, 1, TestType(1.5), 0;
  CHECK(invalid_argument_of([&] { path.sample(b.x0, b.x1, b.t, b.x_t, b.u_t); }) ==
        "flowmatch: AffinePath::sample: expected t in [0, 1], got 1.5 in column 2");
  b.t << TestType(-0.25), 1, 0, 0;
  CHECK(invalid_argument_of([&] { path.sample(b.x0, b.x1, b.t, b.x_t, b.u_t); }) ==
        "flowmatch: AffinePath::sample: expected t in [0, 1], got -0.25 in column 0");
}

TEMPLATE_TEST_CASE("a path refuses outputs that are also inputs, whole or in part", "[path]", float, double) {
  using M = fm::Matrix<TestType>;
  const fm::LinearPath path;
  Batch<TestType> b(2, 6);
  b.x_t = b.u_t = M::Zero(2, 6);
  const std::string of_x_t = "flowmatch: AffinePath::sample: x_t must not share memory with x0, x1, t or u_t";
  const std::string of_u_t = "flowmatch: AffinePath::sample: u_t must not share memory with x0, x1 or t";
  CHECK(invalid_argument_of([&] { path.sample(b.x0, b.x1, b.t, b.x0, b.u_t); }) == of_x_t);
  CHECK(invalid_argument_of([&] { path.sample(b.x0, b.x1, b.t, b.x1, b.u_t); }) == of_x_t);
  CHECK(invalid_argument_of([&] { path.sample(b.x0, b.x1, b.t, b.x_t, b.x_t); }) == of_x_t);
  CHECK(invalid_argument_of([&] { path.sample(b.x0, b.x1, b.t, b.x_t, b.x0); }) == of_u_t);
  CHECK(invalid_argument_of([&] { path.sample(b.x0, b.x1, b.t, b.x_t, b.x1); }) == of_u_t);
  // A block of an output as input would lose its memory when the output is resized.
  CHECK(invalid_argument_of([&] { path.sample(b.x_t.rightCols(3), b.x1.leftCols(3), b.t.head(3), b.x_t, b.u_t); }) ==
        of_x_t);
  CHECK(invalid_argument_of(
            [&] { path.sample(b.x0.leftCols(3), b.u_t.middleCols(2, 3), b.t.head(3), b.x_t, b.u_t); }) == of_u_t);
  // Neighbours in one memory are no overlap.
  M both(2, 12);
  both << b.x0, b.x1;
  path.sample(both.leftCols(6), both.rightCols(6), b.t, b.x_t, b.u_t);
  CHECK(b.u_t == b.x1 - b.x0);
}
