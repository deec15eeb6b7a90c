// SPDX-License-Identifier: MIT
#include "flowmatch/metric/energy_distance.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "flowmatch/random/random.hpp"
#include "support/golden_sets.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using Catch::Matchers::WithinRel;
using fm::Index;

TEMPLATE_TEST_CASE("The energy distance equals stored values, in one dimension SciPy's squared", "[energy]", float,
                   double) {
  const auto lines = test::golden_distances<TestType>("energy");
  REQUIRE(lines.size() == 5);
  for (const auto& line : lines) {
    CAPTURE(line.dim, line.n, line.m);
    REQUIRE_THAT(fm::energy_distance(line.x, line.y), WithinRel(line.expected, 1e-12));
    REQUIRE_THAT(fm::energy_distance(line.y, line.x), WithinRel(line.expected, 1e-12));
  }
}

TEST_CASE("Two points have twice their distance as energy distance", "[energy]") {
  const fm::Matrix<float> x = Eigen::Vector2f(1, 2), y = Eigen::Vector2f(4, 6);
  REQUIRE(fm::energy_distance(x, y) == 10);
}

TEST_CASE("The energy distance of a set to itself, reordered or repeated, is zero and never negative", "[energy]") {
  fm::Rng rng(1);
  for (Index n = 1; n <= 40; ++n) {
    fm::Matrix<double> x(3, n);
    fm::fill_normal(rng, x);
    const fm::Matrix<double> twice = x.rowwise().reverse().replicate(1, 2);
    const double d = fm::energy_distance(x, twice);
    REQUIRE((d >= 0 && d < 1e-14));
  }
}

TEST_CASE("The energy distance is in the units of the data", "[energy]") {
  fm::Rng rng(2);
  fm::Matrix<double> x(2, 20), y(2, 30);
  fm::fill_normal(rng, x);
  fm::fill_uniform(rng, y);
  REQUIRE_THAT(fm::energy_distance<double>(1000 * x, 1000 * y), WithinRel(1000 * fm::energy_distance(x, y), 1e-12));
}

TEST_CASE("Distances beyond the largest number do not look like none", "[energy]") {
  const fm::Matrix<double> x = fm::Matrix<double>::Constant(1, 2, 1e308), y = -x;
  REQUIRE_FALSE(fm::energy_distance(x, y) < 1e308);
}

TEST_CASE("Sets that have no energy distance are refused by name", "[energy]") {
  fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3), y = x;
  REQUIRE_THROWS_MATCHES(fm::energy_distance<float>(x, y.topRows(1)), std::invalid_argument,
                         Message("flowmatch: energy_distance: expected 2 rows in y, got 1"));
  REQUIRE_THROWS_MATCHES(fm::energy_distance<float>(x.leftCols(0), y), std::invalid_argument,
                         Message("flowmatch: energy_distance: expected x.cols() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::energy_distance<float>(x, y.leftCols(0)), std::invalid_argument,
                         Message("flowmatch: energy_distance: expected y.cols() >= 1, got 0"));
  x(0, 1) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(
      fm::energy_distance(x, y), std::invalid_argument,
      Message("flowmatch: energy_distance: expected finite numbers in x, got nan in row 0, column 1"));
  REQUIRE_THROWS_MATCHES(
      fm::energy_distance(y, x), std::invalid_argument,
      Message("flowmatch: energy_distance: expected finite numbers in y, got nan in row 0, column 1"));
}
