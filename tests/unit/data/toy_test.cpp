// SPDX-License-Identifier: MIT
#include "flowmatch/data/toy.hpp"

#include <Eigen/Geometry>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "catch.hpp"
#include "support/largest.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using fm::Index;
using std::numbers::pi;

namespace {

/// Holds the mean and the second moments of x about it against exact values, to 5 standard errors as estimated from the
/// samples themselves.
template <class Scalar>
void require_moments(const fm::Matrix<Scalar>& samples, const Eigen::Vector2d& mean,
                     const Eigen::Matrix2d& covariance) {
  const double n = double(samples.cols());
  const fm::Matrix<double> x = samples.template cast<double>().colwise() - mean;
  for (Index a = 0; a < 2; ++a) {
    const double error = std::sqrt(x.row(a).squaredNorm()) / n;
    REQUIRE(std::abs(x.row(a).mean()) < 5 * error);
    for (Index b = a; b < 2; ++b) {
      const Eigen::ArrayXd product = (x.row(a).array() * x.row(b).array() - covariance(a, b)).transpose();
      CAPTURE(a, b);
      REQUIRE(std::abs(product.mean()) < 5 * std::sqrt(product.square().sum()) / n);
    }
  }
}

/// The same, with all that holds of every set: size, reproducibility, and that the noise adds its variance.
template <class Scalar, class Draw>
void require_distribution(const Draw& draw, const Eigen::Vector2d& mean, const Eigen::Matrix2d& covariance) {
  for (const double noise : {0.0, 0.5}) {
    fm::Rng rng(11), same(11);
    const fm::Matrix<Scalar> x = draw(rng, 40000, noise);
    REQUIRE(x.rows() == 2);
    REQUIRE(x.cols() == 40000);
    REQUIRE(draw(same, 40000, noise) == x);
    REQUIRE(same == rng);
    require_moments(x, mean, covariance + noise * noise * Eigen::Matrix2d::Identity());
  }
  fm::Rng rng(12);
  REQUIRE(draw(rng, 1, 0.1).cols() == 1);
}

Eigen::Matrix2d symmetric(double xx, double xy, double yy) { return Eigen::Matrix2d{{xx, xy}, {xy, yy}}; }

template <class Scalar> constexpr double rounding = 16 * double(std::numeric_limits<Scalar>::epsilon());

}

TEMPLATE_TEST_CASE("Two moons have the mean and covariance of two half circles", "[toy]", float, double) {
  // Over both: E x = (0 + 1) / 2, E x^2 = (1/2 + 3/2) / 2, E y = 1/4, E y^2 = (1/2 + 1/4 - 2/pi + 1/2) / 2,
  // E x y = (0 + 1/2 - 2/pi) / 2.
  require_distribution<TestType>(
      [](fm::Rng& rng, Index n, double noise) { return fm::toy::two_moons<TestType>(rng, n, noise); }, {0.5, 0.25},
      symmetric(1 - 0.25, 0.25 - 1 / pi - 0.125, 0.625 - 1 / pi - 0.0625));
}

TEMPLATE_TEST_CASE("Two moons without noise are the upper outer and the lower inner half circle", "[toy]", float,
                   double) {
  fm::Rng rng(1);
  const auto x = fm::toy::two_moons<TestType>(rng, 2000, 0);
  Index outer = 0;
  for (Index j = 0; j < x.cols(); ++j) {
    const double a = double(x(0, j)), b = double(x(1, j));
    const bool on_outer = std::abs(std::hypot(a, b) - 1) < rounding<TestType> && b >= -rounding<TestType>;
    const bool on_inner =
        std::abs(std::hypot(a - 1, b - 0.5) - 1) < rounding<TestType> && b <= 0.5 + rounding<TestType>;
    REQUIRE((on_outer || on_inner));
    outer += on_outer;
  }
  REQUIRE(std::abs(double(outer) - 1000) < 5 * std::sqrt(500.0));
}

TEMPLATE_TEST_CASE("Eight Gaussians have mean 0 and covariance 25/2 plus noise", "[toy]", float, double) {
  require_distribution<TestType>(
      [](fm::Rng& rng, Index n, double noise) { return fm::toy::eight_gaussians<TestType>(rng, n, noise); }, {0, 0},
      12.5 * Eigen::Matrix2d::Identity());
  fm::Rng rng(2);
  require_moments(fm::toy::eight_gaussians<TestType>(rng, 40000), {0, 0},
                  (12.5 + std::sqrt(0.1)) * Eigen::Matrix2d::Identity());
}

TEMPLATE_TEST_CASE("Eight Gaussians without noise are eight points on a circle, equally often", "[toy]", float,
                   double) {
  fm::Rng rng(3);
  const auto x = fm::toy::eight_gaussians<TestType>(rng, 8000, 0);
  std::array<double, 8> count{};
  for (Index j = 0; j < x.cols(); ++j) {
    const double turn = std::atan2(double(x(1, j)), double(x(0, j))) / (2 * pi) * 8;
    REQUIRE(std::abs(turn - std::round(turn)) < rounding<TestType>);
    REQUIRE(std::abs(double(x.col(j).norm()) - 5) < rounding<TestType>);
    ++count[std::size_t(int(std::round(turn)) + 8) % 8];
  }
  for (const double c : count) REQUIRE(std::abs(c - 1000) < 5 * std::sqrt(8000.0 * 7 / 64));
}

TEMPLATE_TEST_CASE("The checkerboard covers eight squares evenly and nothing else", "[toy]", float, double) {
  fm::Rng rng(4), same(4);
  const Index n = 40000;
  const auto x = fm::toy::checkerboard<TestType>(rng, n);
  REQUIRE(fm::toy::checkerboard<TestType>(same, n) == x);
  Eigen::Matrix4d count = Eigen::Matrix4d::Zero();
  for (Index j = 0; j < n; ++j) {
    REQUIRE(test::largest(x.col(j)) <= 4);
    const auto square = [](TestType v) { return std::min(3, int((v + 4) / 2)); };
    ++count(square(x(0, j)), square(x(1, j)));
  }
  for (int a = 0; a < 4; ++a)
    for (int b = 0; b < 4; ++b) {
      CAPTURE(a, b);
      if ((a + b) % 2 == 0) REQUIRE(std::abs(count(a, b) - 5000) < 5 * std::sqrt(40000 * 7.0 / 64));
      if ((a + b) % 2 == 1) REQUIRE(count(a, b) <= 5);  // rounded up to the edge
    }
  require_moments(x, {0, 0}, symmetric(16.0 / 3, 1, 16.0 / 3));  // E x y: mean of 1 over the diagonal pattern
}

TEMPLATE_TEST_CASE("The spiral has the mean and covariance of two turns", "[toy]", float, double) {
  // With s = sqrt(u), density 2 s, and k = 4 pi: E x = 8 int s^2 cos(k s), E x^2 = 32 int s^3 cos^2(k s), and so on.
  const double k = 4 * pi, mx = 16 / (k * k), my = -8 / k;
  const double c = 3 / (4 * k * k), s = -1 / (2 * k) + 6 / (8 * k * k * k);  // int s^3 cos(2 k s), int s^3 sin(2 k s)
  require_distribution<TestType>(
      [](fm::Rng& rng, Index n, double noise) { return fm::toy::spiral<TestType>(rng, n, noise); }, {mx, my},
      symmetric(4 + 16 * c - mx * mx, 16 * s - mx * my, 4 - 16 * c - my * my));
  fm::Rng rng(5);
  const auto x = fm::toy::spiral<TestType>(rng, 2000, 0);
  for (Index j = 0; j < x.cols(); ++j) {
    const double r = double(x.col(j).norm());
    REQUIRE(r <= 4 + rounding<TestType>);
    REQUIRE(std::abs(double(x(0, j)) - r * std::cos(pi * r)) < 10 * rounding<TestType>);
    REQUIRE(std::abs(double(x(1, j)) - r * std::sin(pi * r)) < 10 * rounding<TestType>);
  }
}

TEMPLATE_TEST_CASE("The pinwheel has mean 0, covariance 2.2 and the samples of its formula", "[toy]", float, double) {
  fm::Rng rng(6), same(6);
  const Index n = 40000;
  const auto x = fm::toy::pinwheel<TestType>(rng, n);
  require_moments(x, {0, 0}, 2.2 * Eigen::Matrix2d::Identity());
  std::vector<Index> k(n);
  fm::Matrix<TestType> z(2, n);
  fm::fill_below(same, 5, k);
  fm::fill_normal(same, z);
  double worst = 0;
  for (Index j = 0; j < n; ++j) {
    const double a = 1 + 0.3 * double(z(0, j)), b = 0.1 * double(z(1, j));
    const Eigen::Rotation2Dd clockwise(-(2 * pi * double(k[std::size_t(j)]) / 5 + std::exp(a) / 4));
    worst = std::max(worst, (clockwise * Eigen::Vector2d(2 * a, 2 * b) - x.col(j).template cast<double>()).norm());
  }
  REQUIRE(worst < 4 * rounding<TestType>);
}

TEMPLATE_TEST_CASE("The rings have mean 0 and covariance 135/64 plus noise", "[toy]", float, double) {
  require_distribution<TestType>(
      [](fm::Rng& rng, Index n, double noise) { return fm::toy::rings<TestType>(rng, n, noise); }, {0, 0},
      135.0 / 64 * Eigen::Matrix2d::Identity());
  fm::Rng rng(7);
  const auto x = fm::toy::rings<TestType>(rng, 8000, 0);
  std::array<double, 5> count{};
  for (Index j = 0; j < x.cols(); ++j) {
    const double ring = double(x.col(j).norm()) / 0.75;
    REQUIRE(std::abs(ring - std::round(ring)) < rounding<TestType>);
    ++count.at(std::size_t(std::round(ring)));
  }
  REQUIRE(count[0] == 0);
  for (std::size_t ring = 1; ring < 5; ++ring) REQUIRE(std::abs(count[ring] - 2000) < 5 * std::sqrt(8000.0 * 3 / 16));
}

TEMPLATE_TEST_CASE("The S curve has mean 0 and the covariance of its two arcs", "[toy]", float, double) {
  require_distribution<TestType>(
      [](fm::Rng& rng, Index n, double noise) { return fm::toy::s_curve<TestType>(rng, n, noise); }, {0, 0},
      symmetric(0.5, -1 / (3 * pi), 1.5 + 4 / (3 * pi)));
  fm::Rng rng(8);
  const auto x = fm::toy::s_curve<TestType>(rng, 2000, 0);
  for (Index j = 0; j < x.cols(); ++j) {
    const double a = double(x(0, j)), b = double(x(1, j)), centre = b > 0 ? 1 : -1;
    REQUIRE(std::abs(std::hypot(a, b - centre) - 1) < rounding<TestType>);
  }
}

TEST_CASE("A toy set needs samples and a noise that is not negative", "[toy]") {
  fm::Rng rng(1);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(fm::toy::two_moons(rng, 0), std::invalid_argument,
                         Message("flowmatch: toy::two_moons: expected n >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::toy::two_moons(rng, 1, -0.1), std::invalid_argument,
                         Message("flowmatch: toy::two_moons: expected noise >= 0, got -0.1"));
  REQUIRE_THROWS_MATCHES(fm::toy::eight_gaussians(rng, -1), std::invalid_argument,
                         Message("flowmatch: toy::eight_gaussians: expected n >= 1, got -1"));
  REQUIRE_THROWS_MATCHES(fm::toy::eight_gaussians(rng, 1, -1), std::invalid_argument,
                         Message("flowmatch: toy::eight_gaussians: expected noise >= 0, got -1"));
  REQUIRE_THROWS_MATCHES(fm::toy::checkerboard(rng, 0), std::invalid_argument,
                         Message("flowmatch: toy::checkerboard: expected n >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::toy::spiral(rng, 0), std::invalid_argument,
                         Message("flowmatch: toy::spiral: expected n >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::toy::spiral(rng, 1, nan), std::invalid_argument,
                         Message("flowmatch: toy::spiral: expected noise >= 0, got nan"));
  REQUIRE_THROWS_MATCHES(fm::toy::pinwheel(rng, 0), std::invalid_argument,
                         Message("flowmatch: toy::pinwheel: expected n >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::toy::rings(rng, 0), std::invalid_argument,
                         Message("flowmatch: toy::rings: expected n >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::toy::rings(rng, 1, -2), std::invalid_argument,
                         Message("flowmatch: toy::rings: expected noise >= 0, got -2"));
  REQUIRE_THROWS_MATCHES(fm::toy::s_curve(rng, 0), std::invalid_argument,
                         Message("flowmatch: toy::s_curve: expected n >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::toy::s_curve(rng, 1, -2), std::invalid_argument,
                         Message("flowmatch: toy::s_curve: expected noise >= 0, got -2"));
}
