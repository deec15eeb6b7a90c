// SPDX-License-Identifier: MIT
#include "flowmatch/metric/wasserstein.hpp"

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "support/golden_sets.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;

TEMPLATE_TEST_CASE("The 2-Wasserstein distance equals SciPy's", "[wasserstein]", float, double) {
  const auto lines = test::golden_distances<TestType>("wasserstein2");
  REQUIRE(lines.size() == 6);
  for (const auto& line : lines) {
    CAPTURE(line.dim, line.n, line.m);
    REQUIRE_THAT(fm::wasserstein2(line.x, line.y), WithinRel(line.expected, 1e-13));
    REQUIRE_THAT(fm::wasserstein2(line.y, line.x), WithinRel(line.expected, 1e-13));
  }
}

TEST_CASE("A shifted set is at 2-Wasserstein distance of the shift, in any order of its columns", "[wasserstein]") {
  fm::Rng rng(1);
  fm::Matrix<double> x(3, 60);
  fm::fill_normal(rng, x);
  const fm::Matrix<double> y = (x.colwise() + Eigen::Vector3d(2, -3, 6)).rowwise().reverse();
  REQUIRE_THAT(fm::wasserstein2(x, y), WithinRel(7.0, 1e-13));
  REQUIRE(fm::wasserstein2<double>(x, x.rowwise().reverse()) == 0);
  REQUIRE_THAT(fm::wasserstein2<double>(1e-12 * x, 1e-12 * y), WithinRel(7e-12, 1e-13));
}

TEST_CASE("In one dimension the 2-Wasserstein pairing is that of the sorted samples", "[wasserstein]") {
  fm::Rng rng(2);
  fm::Matrix<double> x(1, 200), y(1, 200);
  fm::fill_normal(rng, x);
  fm::fill_uniform(rng, y);
  fm::Matrix<double> a = x, b = y;
  std::sort(a.data(), a.data() + 200);
  std::sort(b.data(), b.data() + 200);
  REQUIRE_THAT(fm::wasserstein2(x, y), WithinRel(std::sqrt((a - b).squaredNorm() / 200), 1e-13));
}

TEMPLATE_TEST_CASE("The floor is the distance between two disjoint subsets of the data", "[wasserstein]", float,
                   double) {
  // Columns 0, 1, 2, ... are all different: if a column were in both subsets or twice in one, the floor over all
  // columns could be less than that of the best split into two halves, which pairs neighbours at distance 1.
  fm::Matrix<TestType> data(1, 40);
  for (Index j = 0; j < 40; ++j) data(j) = TestType(j);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    fm::Rng rng(seed);
    REQUIRE(fm::wasserstein2_floor(data, 20, rng) >= 1);
  }
  fm::Rng one(3), same(3), other(4);
  const double value = fm::wasserstein2_floor(data, 10, one);
  REQUIRE(value == fm::wasserstein2_floor(data, 10, same));
  REQUIRE(value != fm::wasserstein2_floor(data, 10, other));
  REQUIRE(one == same);
}

TEST_CASE("The floor of normal samples in one dimension is what theory says", "[wasserstein]") {
  // For n = 1 the floor is |a - b| with a - b ~ N(0, 2): mean square 2 with standard deviation sqrt(8).
  fm::Rng rng(5);
  fm::Matrix<double> data(1, 5000);
  fm::fill_normal(rng, data);
  double mean = 0;
  for (int repeat = 0; repeat < 2000; ++repeat) mean += std::pow(fm::wasserstein2_floor(data, 1, rng), 2) / 2000;
  REQUIRE_THAT(mean, WithinAbs(2, 5 * std::sqrt(8.0) * (1 / std::sqrt(2000.0) + 1 / std::sqrt(5000.0))));
}

TEST_CASE("Sets that have no 2-Wasserstein distance are refused by name", "[wasserstein]") {
  fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3), y = x;
  REQUIRE_THROWS_MATCHES(fm::wasserstein2<float>(x, y.topRows(1)), std::invalid_argument,
                         Message("flowmatch: wasserstein2: expected 2 rows in y, got 1"));
  REQUIRE_THROWS_MATCHES(fm::wasserstein2<float>(x, y.leftCols(2)), std::invalid_argument,
                         Message("flowmatch: wasserstein2: expected 3 columns in y, got 2"));
  REQUIRE_THROWS_MATCHES(fm::wasserstein2<float>(x.leftCols(0), y.leftCols(0)), std::invalid_argument,
                         Message("flowmatch: wasserstein2: expected x.cols() >= 1, got 0"));
  x(1, 2) = std::numeric_limits<float>::infinity();
  REQUIRE_THROWS_MATCHES(fm::wasserstein2(x, y), std::invalid_argument,
                         Message("flowmatch: wasserstein2: expected finite numbers in x, got inf in row 1, column 2"));
  REQUIRE_THROWS_MATCHES(fm::wasserstein2(y, x), std::invalid_argument,
                         Message("flowmatch: wasserstein2: expected finite numbers in y, got inf in row 1, column 2"));
}

TEST_CASE("A floor needs two disjoint sets of at least one column", "[wasserstein]") {
  fm::Rng rng(1);
  const fm::Matrix<float> data = fm::Matrix<float>::Zero(2, 5);
  REQUIRE(fm::wasserstein2_floor(data, 2, rng) == 0);
  REQUIRE_THROWS_MATCHES(fm::wasserstein2_floor(data, 3, rng), std::invalid_argument,
                         Message("flowmatch: wasserstein2_floor: expected data with at least 2 n = 6 columns, got 5"));
  REQUIRE_THROWS_MATCHES(fm::wasserstein2_floor(data, 0, rng), std::invalid_argument,
                         Message("flowmatch: wasserstein2_floor: expected n >= 1, got 0"));
}
