// SPDX-License-Identifier: MIT
#include "flowmatch/metric/memorization.hpp"

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

}

TEMPLATE_TEST_CASE("Nearest distances and what is made of them equal scikit-learn's", "[nearest]", float, double) {
  const auto each = [](const char* name, const auto& value) {
    const auto lines = test::golden_distances<TestType>(name);
    REQUIRE(lines.size() == 3);
    for (const auto& line : lines) {
      CAPTURE(name, line.dim, line.n, line.m);
      REQUIRE_THAT(value(line.x, line.y), WithinRel(line.expected, 1e-14));
    }
  };
  each("nearest", [](const auto& x, const auto& y) { return fm::nearest_samples(x, y).distance.mean(); });
  each("second_nearest", [](const auto& x, const auto& y) { return fm::nearest_samples(x, y).second_distance.mean(); });
  each("median_nearest", [](const auto& x, const auto& y) { return fm::median_nearest_distance(x, y); });
  each("memorized", [](const auto& x, const auto& y) { return fm::memorized_fraction(x, y, 0.5); });
}

TEST_CASE("The nearest training sample is named by its column", "[nearest]") {
  const fm::Matrix<double> train = normals(3, 50, 1);
  fm::Matrix<double> x(3, 50);
  for (Index j = 0; j < 50; ++j) x.col(j) = train.col(49 - j) + Eigen::Vector3d::Constant(1e-9);
  const fm::NearestSamples nearest = fm::nearest_samples(x, train);
  REQUIRE(nearest.column.size() == 50);
  for (Index j = 0; j < 50; ++j) {
    CHECK(nearest.column[std::size_t(j)] == 49 - j);
    CHECK_THAT(nearest.distance(j), WithinRel(std::sqrt(3) * 1e-9, 1e-5));
    double second = std::numeric_limits<double>::infinity();
    for (Index i = 0; i < 50; ++i)
      if (i != 49 - j) second = std::min(second, (train.col(i) - x.col(j)).norm());
    CHECK_THAT(nearest.second_distance(j), WithinRel(second, 1e-14));
  }
}

TEST_CASE("A copy has ratio 0, a sample between two others ratio 1", "[nearest]") {
  fm::Matrix<float> train(1, 5), x(1, 4);
  train << 0, 4, 4, 10, 20;
  x << 0, 4, 15, 8;
  const fm::NearestSamples nearest = fm::nearest_samples(x, train);
  CHECK(nearest.distance == fm::RowVector<double>(Eigen::RowVector4d(0, 0, 5, 2)));
  CHECK(nearest.second_distance == fm::RowVector<double>(Eigen::RowVector4d(4, 0, 5, 4)));
  CHECK(nearest.column == std::vector<Index>{0, 1, 3, 3});  // the first of equals
  CHECK(nearest.ratio() == fm::RowVector<double>(Eigen::RowVector4d(0, 0, 1, 0.5)));
  CHECK(fm::memorized_fraction(x, train) == 0.5);
  CHECK(fm::memorized_fraction(x, train, 0.5) == 0.5);  // below the threshold, not at it
  CHECK(fm::memorized_fraction(x, train, 0.51) == 0.75);
  CHECK(fm::median_nearest_distance(x, train) == 1);
}

TEST_CASE("Copies with a little noise are found, new samples are not", "[nearest]") {
  const fm::Matrix<double> train = normals(8, 300, 1), fresh = normals(8, 200, 2);
  fm::Matrix<double> half = fresh;
  half.leftCols(100) = train.leftCols(100) + 0.02 * normals(8, 100, 3);
  CHECK(fm::memorized_fraction(fresh, train) == 0);
  CHECK(fm::memorized_fraction(half, train) == 0.5);
  CHECK(fm::median_nearest_distance<double>(half.leftCols(100), train) <
        0.1 * fm::median_nearest_distance(fresh, train));
}

TEST_CASE("Nearest distances are in the units of the data and do not see a common turn", "[nearest]") {
  const fm::Matrix<double> train = normals(2, 40, 4), x = normals(2, 30, 5);
  Eigen::Matrix2d turn;
  turn << 0.8, -0.6, 0.6, 0.8;
  const fm::NearestSamples one = fm::nearest_samples(x, train);
  const fm::NearestSamples other = fm::nearest_samples<double>(1000 * turn * x, 1000 * turn * train);
  CHECK(other.distance.isApprox(1000 * one.distance, 1e-12));
  CHECK(other.second_distance.isApprox(1000 * one.second_distance, 1e-12));
  CHECK(other.ratio().isApprox(one.ratio(), 1e-12));
  CHECK(other.column == one.column);
}

TEST_CASE("The share of new samples below a threshold is the threshold to the power of the dimension", "[nearest]") {
  // Where the training samples are dense and uniform, the volumes of the balls to the nearest and the second nearest
  // are the first two points of a Poisson process, and the first of them is uniform below the second: P(d1 / d2 < r) =
  // r^dim. The tolerance is five deviations of 2,000 draws.
  fm::Rng rng(6);
  for (const Index dim : {1, 2}) {
    fm::Matrix<double> train(dim, 20000), x(dim, 2000);
    fm::fill_uniform(rng, train);
    fm::fill_uniform(rng, x);
    const double share = std::pow(1. / 3, dim);
    CHECK_THAT(fm::memorized_fraction(x, train), WithinAbs(share, 5 * std::sqrt(share * (1 - share) / 2000)));
  }
}

TEST_CASE("What has no nearest training samples is refused by name", "[nearest]") {
  fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3), y = x;
  REQUIRE_THROWS_MATCHES(fm::nearest_samples<float>(x, y.topRows(1)), std::invalid_argument,
                         Message("flowmatch: nearest_samples: expected 2 rows in train, got 1"));
  REQUIRE_THROWS_MATCHES(fm::nearest_samples<float>(x.leftCols(0), y), std::invalid_argument,
                         Message("flowmatch: nearest_samples: expected x.cols() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::median_nearest_distance<float>(x, y.leftCols(1)), std::invalid_argument,
                         Message("flowmatch: median_nearest_distance: expected train.cols() >= 2, got 1"));
  REQUIRE_THROWS_MATCHES(fm::memorized_fraction(x, y, 0), std::invalid_argument,
                         Message("flowmatch: memorized_fraction: expected threshold in (0, 1], got 0"));
  REQUIRE_THROWS_MATCHES(fm::memorized_fraction(x, y, 1.5), std::invalid_argument,
                         Message("flowmatch: memorized_fraction: expected threshold in (0, 1], got 1.5"));
  x(0, 1) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(
      fm::memorized_fraction(x, y), std::invalid_argument,
      Message("flowmatch: memorized_fraction: expected finite numbers in x, got nan in row 0, column 1"));
  REQUIRE_THROWS_MATCHES(
      fm::nearest_samples(y, x), std::invalid_argument,
      Message("flowmatch: nearest_samples: expected finite numbers in train, got nan in row 0, column 1"));
}
