// SPDX-License-Identifier: MIT
#include "flowmatch/metric/sliced_wasserstein.hpp"

#include <Eigen/QR>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "flowmatch/metric/wasserstein.hpp"
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

template <class X, class Y> double sliced(const X& x, const Y& y, Index projections = 200, std::uint64_t seed = 9) {
  fm::Rng rng(seed);
  return fm::sliced_wasserstein2<typename X::Scalar>(x, y, projections, rng);
}

}

TEMPLATE_TEST_CASE("In one dimension the sliced distance is the exact one, also between sets of different sizes",
                   "[sliced]", float, double) {
  const auto lines = test::golden_distances<TestType>("sliced");
  REQUIRE(lines.size() == 5);
  for (const auto& line : lines) {
    CAPTURE(line.n, line.m);
    REQUIRE_THAT(sliced(line.x, line.y, 3), WithinRel(line.expected, 1e-12));
    REQUIRE_THAT(sliced(line.y, line.x, 3), WithinRel(line.expected, 1e-12));
  }
}

TEST_CASE("The sliced distance is the mean over the directions of the exact distances along them", "[sliced]") {
  const fm::Matrix<double> x = normals(3, 40, 1), y = 2 * normals(3, 40, 2);
  fm::Rng replay(9);
  double sum = 0;
  for (int k = 0; k < 20; ++k) {
    Eigen::VectorXd u(3);
    fm::fill_normal(replay, u);
    u /= u.norm();
    const fm::Matrix<double> a = u.transpose() * x, b = u.transpose() * y;
    sum += std::pow(fm::wasserstein2(a, b), 2);
  }
  CHECK_THAT(sliced(x, y, 20), WithinRel(std::sqrt(sum / 20), 1e-12));
}

TEST_CASE("The sliced distance of a set to itself, reordered or repeated, is zero", "[sliced]") {
  for (Index n = 1; n <= 20; ++n) {
    const fm::Matrix<double> x = normals(3, n, 3), thrice = x.rowwise().reverse().replicate(1, 3);
    CHECK(sliced(x, x) == 0);
    CHECK(sliced(x, thrice) == 0);
    CHECK(sliced(thrice, x) == 0);
  }
}

TEST_CASE("The sliced distance is symmetric, in the units of the data, and does not see a common shift", "[sliced]") {
  const fm::Matrix<double> x = normals(4, 30, 1), y = normals(4, 50, 2) * 0.5;
  const double d = sliced(x, y);
  CHECK_THAT(sliced(y, x), WithinRel(d, 1e-13));
  CHECK_THAT(sliced((1000 * x).eval(), 1000 * y), WithinRel(1000 * d, 1e-13));
  const Eigen::Vector4d shift(1, -2, 3, 4);
  CHECK_THAT(sliced((x.colwise() + shift).eval(), y.colwise() + shift), WithinRel(d, 1e-12));
}

TEST_CASE("A shift by s is at squared sliced distance |s|^2 / dim", "[sliced]") {
  // (u's)^2 of a uniform unit vector u has mean |s|^2 / d and mean square 3 |s|^4 / (d (d + 2)), so the mean of
  // 4,000 has a relative error of sqrt((3 d / (d + 2) - 1) / 4000); five of these are one false alarm in a million.
  for (const Index dim : {1, 2, 5, 20}) {
    const fm::Matrix<double> x = normals(dim, 10, 4);
    const Eigen::VectorXd s = 3 * normals(dim, 1, 5).col(0).normalized();
    const double d = double(dim), error = std::sqrt((3 * d / (d + 2) - 1) / 4000);
    CAPTURE(dim);
    CHECK_THAT(std::pow(sliced(x, x.colwise() + s, 4000), 2), WithinRel(9 / d, 5 * error + 1e-12));
  }
}

TEST_CASE("A rotation of both sets changes the sliced distance only by the choice of directions", "[sliced]") {
  const fm::Matrix<double> x = normals(3, 50, 6), y = (0.3 * normals(3, 70, 7)).colwise() + Eigen::Vector3d(1, 0, 2);
  const fm::Matrix<double> rotation =
      Eigen::HouseholderQR<fm::Matrix<double>>(normals(3, 3, 8)).householderQ() * fm::Matrix<double>::Identity(3, 3);
  // Each is a mean of 4,000 squares, whose deviation is at most that of a pure shift: a relative error of
  // sqrt(4 / 5 / 4000) = 1.4 % each, half of that in the root, times sqrt(2) for two: five of them are 5 %.
  CHECK_THAT(sliced((rotation * x).eval(), rotation * y, 4000), WithinRel(sliced(x, y, 4000), 0.05));
  // with the directions turned too, exactly: a reflection of an axis is such a turn for directions along it
  CHECK_THAT(sliced((-x).eval(), -y), WithinRel(sliced(x, y), 1e-13));
}

TEST_CASE("The sliced distance is below the distance over sqrt(dim), but for the choice of directions", "[sliced]") {
  const fm::Matrix<double> x = normals(3, 100, 1), y = normals(3, 100, 2);
  CHECK(sliced(x, y, 2000) < fm::wasserstein2(x, y) / std::sqrt(3));
}

TEST_CASE("The sliced distance between normal samples of different scale is that of the normal distributions",
          "[sliced]") {
  // Along every direction W2(N(0, 1), N(0, 4)) = 1. Means and deviations of 20,000 samples are off by 1 / sqrt(20000) =
  // 0.7 % and 2 / sqrt(20000); both together and all directions stay below five times 2 %.
  CHECK_THAT(sliced(normals(3, 20000, 1), 2 * normals(3, 15000, 2), 50), WithinAbs(1, 0.1));
}

TEST_CASE("Sets that have no sliced distance are refused by name", "[sliced]") {
  fm::Rng rng(1);
  fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3), y = x;
  REQUIRE_THROWS_MATCHES(fm::sliced_wasserstein2<float>(x, y.topRows(1), 5, rng), std::invalid_argument,
                         Message("flowmatch: sliced_wasserstein2: expected 2 rows in y, got 1"));
  REQUIRE_THROWS_MATCHES(fm::sliced_wasserstein2<float>(x.leftCols(0), y, 5, rng), std::invalid_argument,
                         Message("flowmatch: sliced_wasserstein2: expected x.cols() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::sliced_wasserstein2<float>(x, y.leftCols(0), 5, rng), std::invalid_argument,
                         Message("flowmatch: sliced_wasserstein2: expected y.cols() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::sliced_wasserstein2(x, y, 0, rng), std::invalid_argument,
                         Message("flowmatch: sliced_wasserstein2: expected projections >= 1, got 0"));
  x(1, 2) = std::numeric_limits<float>::infinity();
  REQUIRE_THROWS_MATCHES(
      fm::sliced_wasserstein2(y, x, 5, rng), std::invalid_argument,
      Message("flowmatch: sliced_wasserstein2: expected finite numbers in y, got inf in row 1, column 2"));
  REQUIRE(rng == fm::Rng(1));
}
