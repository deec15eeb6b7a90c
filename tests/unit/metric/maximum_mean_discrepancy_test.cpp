// SPDX-License-Identifier: MIT
#include "flowmatch/metric/maximum_mean_discrepancy.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "support/golden_sets.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;

namespace {

fm::Matrix<double> normals(Index rows, Index columns, std::uint64_t seed) {
  fm::Rng rng(seed);
  fm::Matrix<double> x(rows, columns);
  fm::fill_normal(rng, x);
  return x;
}

template <class X, class Y> double mmd(const X& x, const Y& y, const std::vector<double>& bandwidths) {
  return fm::maximum_mean_discrepancy<typename X::Scalar>(x, y, bandwidths);
}

}

TEMPLATE_TEST_CASE("The discrepancy equals that of scikit-learn's kernel", "[mmd]", float, double) {
  const auto lines = test::golden_distances<TestType>("mmd");
  REQUIRE(lines.size() == 5);
  for (const auto& line : lines) {
    CAPTURE(line.dim, line.n, line.m);
    REQUIRE_THAT(mmd(line.x, line.y, {1, 4, 10}), WithinRel(line.expected, 1e-12));
    REQUIRE_THAT(mmd(line.y, line.x, {10, 1, 4}), WithinRel(line.expected, 1e-12));
  }
}

TEST_CASE("Two points at distance r have the squared discrepancy 2 - 2 exp(-r^2 / (2 s^2))", "[mmd]") {
  const fm::Matrix<float> x = Eigen::Vector2f(1, 2), y = Eigen::Vector2f(4, 6);
  CHECK_THAT(mmd(x, y, {2.5}), WithinRel(std::sqrt(2 - 2 * std::exp(-2.0)), 1e-14));
  CHECK_THAT(mmd(x, y, {2.5, 5}), WithinRel(std::sqrt(2 - std::exp(-2.0) - std::exp(-0.5)), 1e-14));
  CHECK_THAT(mmd(x, y, {1e-3}), WithinRel(std::sqrt(2.0), 1e-15));
}

TEST_CASE("The discrepancy of a set to itself, reordered or repeated, is zero", "[mmd]") {
  for (Index n = 1; n <= 40; ++n) {
    const fm::Matrix<double> x = normals(3, n, 1), twice = x.rowwise().reverse().replicate(1, 2);
    const double d = mmd(x, twice, {0.5, 1, 2});
    REQUIRE((d >= 0 && d < 1e-7));  // the root of a few roundings of 1
  }
}

TEST_CASE("The discrepancy does not see a common shift, turn or unit", "[mmd]") {
  const fm::Matrix<double> x = normals(2, 30, 2), y = 0.5 * normals(2, 20, 3);
  const double d = mmd(x, y, {1, 3});
  REQUIRE(d > 0.1);
  Eigen::Matrix2d turn;
  turn << 0.8, -0.6, 0.6, 0.8;
  const Eigen::Vector2d shift(3, -1);
  CHECK_THAT(mmd(((turn * x).colwise() + shift).eval(), (turn * y).colwise() + shift, {1, 3}), WithinRel(d, 1e-12));
  CHECK_THAT(mmd((1e6 * x).eval(), 1e6 * y, {1e6, 3e6}), WithinRel(d, 1e-12));
}

TEST_CASE("Between the mean of the floor and its closed form is only chance", "[mmd]") {
  // E k(X, X') of normal X in d dimensions is (1 + 2 / s^2)^(-d / 2). The square between two fresh sets of 20 and 30
  // samples, averaged over 2,000 draws: its deviation is about its mean, so five errors of the mean are 11 %.
  const double s = 1.5, expected = (1 / 20. + 1 / 30.) * (1 - std::pow(1 + 2 / (s * s), -1));
  fm::Rng rng(4);
  fm::Matrix<double> x(2, 20), y(2, 30);
  double mean = 0;
  for (int repeat = 0; repeat < 2000; ++repeat) {
    fm::fill_normal(rng, x);
    fm::fill_normal(rng, y);
    mean += std::pow(mmd(x, y, {s}), 2) / 2000;
  }
  CHECK_THAT(mean, WithinRel(expected, 0.11));
}

TEST_CASE("The discrepancy between shifted normal distributions is its closed form", "[mmd]") {
  // E k(X, Y) = (1 + 2 / s^2)^(-d / 2) exp(-r^2 / (2 (s^2 + 2))) for N(0, I) and N(r, I). Means of k over 3,000 samples
  // are off by at most 1 / (2 sqrt(3000)) = 0.9 %; three of them and the bias 2 / 3000 stay below 5 %.
  const double s = 2, within = std::pow(1 + 2 / (s * s), -1), r = 3;
  const double expected = 2 * within * (1 - std::exp(-r * r / (2 * (s * s + 2))));
  const fm::Matrix<double> x = normals(2, 3000, 5), y = normals(2, 3000, 6).colwise() + Eigen::Vector2d(0, r);
  CHECK_THAT(std::pow(mmd(x, y, {s}), 2), WithinAbs(expected, 0.05));
}

TEST_CASE("Bandwidths far from the scale of the data are no trouble", "[mmd]") {
  const fm::Matrix<double> x = normals(2, 10, 7), y = normals(2, 10, 8);
  CHECK_THAT(mmd(x, y, {1e-300}), WithinRel(std::sqrt(2 / 10.), 1e-12));  // k = 1 for a sample with itself, else 0
  CHECK(mmd(x, y, {1e300}) < 1e-7);
  CHECK(mmd(x, x, {std::numeric_limits<double>::denorm_min()}) < 1e-7);
}

TEMPLATE_TEST_CASE("The median distance equals SciPy's", "[mmd]", float, double) {
  const auto lines = test::golden_distances<TestType>("median_distance");
  REQUIRE(lines.size() == 4);
  for (const auto& line : lines) REQUIRE_THAT(fm::median_distance(line.x), WithinRel(line.expected, 1e-14));
}

TEST_CASE("The median distance of many samples is that of some, all over the data", "[mmd]") {
  // |a - b| of uniform numbers has the median 1 - sqrt(1/2), here from a grid; sorted, so that a part would not do.
  const fm::Matrix<double> x = Eigen::RowVectorXd::LinSpaced(12345, 0, 1);
  CHECK_THAT(fm::median_distance(x), WithinAbs(1 - std::sqrt(0.5), 0.002));
  CHECK(fm::median_distance(fm::Matrix<float>::Ones(2, 5).eval()) == 0);
}

TEST_CASE("What has no discrepancy is refused by name", "[mmd]") {
  fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3), y = x;
  const std::string where = "flowmatch: maximum_mean_discrepancy: expected ";
  REQUIRE_THROWS_MATCHES(mmd(x, y.topRows(1), {1}), std::invalid_argument, Message(where + "2 rows in y, got 1"));
  REQUIRE_THROWS_MATCHES(mmd(x.leftCols(0).eval(), y, {1}), std::invalid_argument,
                         Message(where + "x.cols() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(mmd(x, y.leftCols(0), {1}), std::invalid_argument, Message(where + "y.cols() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(mmd(x, y, {}), std::invalid_argument, Message(where + "bandwidths.size() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(mmd(x, y, {1, 0}), std::invalid_argument, Message(where + "every bandwidth > 0, got 0"));
  REQUIRE_THROWS_MATCHES(mmd(x, y, {-2}), std::invalid_argument, Message(where + "every bandwidth > 0, got -2"));
  REQUIRE_THROWS_MATCHES(mmd(x, y, {std::numeric_limits<double>::quiet_NaN()}), std::invalid_argument,
                         Message(where + "every bandwidth > 0, got nan"));
  REQUIRE_THROWS_MATCHES(fm::median_distance<float>(x.leftCols(1)), std::invalid_argument,
                         Message("flowmatch: median_distance: expected data.cols() >= 2, got 1"));
  x(0, 1) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(mmd(x, y, {1}), std::invalid_argument,
                         Message(where + "finite numbers in x, got nan in row 0, column 1"));
  REQUIRE_THROWS_MATCHES(mmd(y, x, {1}), std::invalid_argument,
                         Message(where + "finite numbers in y, got nan in row 0, column 1"));
  REQUIRE_THROWS_MATCHES(
      fm::median_distance(x), std::invalid_argument,
      Message("flowmatch: median_distance: expected finite numbers in data, got nan in row 0, column 1"));
}
