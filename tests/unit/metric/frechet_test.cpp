// SPDX-License-Identifier: MIT
#include "flowmatch/metric/frechet.hpp"

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

template <class X, class Y> double frechet(const X& x, const Y& y) {
  return fm::frechet_distance<typename X::Scalar>(x, y);
}

}

TEMPLATE_TEST_CASE("The Frechet distance equals that by SciPy's matrix root", "[frechet]", float, double) {
  const auto lines = test::golden_distances<TestType>("frechet");
  REQUIRE(lines.size() == 4);
  for (const auto& line : lines) {
    CAPTURE(line.dim, line.n, line.m);
    REQUIRE_THAT(frechet(line.x, line.y), WithinRel(line.expected, 1e-11));
    REQUIRE_THAT(frechet(line.y, line.x), WithinRel(line.expected, 1e-11));
  }
}

TEMPLATE_TEST_CASE("The Frechet distance of sets in a plane of the space is that in the plane", "[frechet]", float,
                   double) {
  const auto lines = test::golden_distances<TestType>("frechet_flat");
  REQUIRE(lines.size() == 3);
  for (auto line : lines) {
    CAPTURE(line.dim, line.n, line.m);
    line.x.row(line.dim - 1) = line.x.row(line.dim - 2);
    line.y.row(line.dim - 1) = line.y.row(line.dim - 2);
    REQUIRE_THAT(frechet(line.x, line.y), WithinRel(line.expected, 1e-11));
    REQUIRE_THAT(frechet(line.y, line.x), WithinRel(line.expected, 1e-11));
  }
}

TEST_CASE("The Frechet distance of a set to itself, reordered, is zero, also with fewer samples than dimensions",
          "[frechet]") {
  for (const Index n : {2, 3, 5, 8, 9, 30}) {
    const fm::Matrix<double> x = normals(8, n, 1);
    const double d = frechet(x, x.rowwise().reverse());
    CAPTURE(n, d);
    CHECK((d >= 0 && d < 1e-12));
  }
  CHECK(frechet(fm::Matrix<float>::Constant(3, 4, 5).eval(), fm::Matrix<float>::Constant(3, 2, 5)) == 0);
}

TEST_CASE("A set shifted by s and stretched by f is at |s|^2 and (f - 1)^2 times its variance", "[frechet]") {
  for (const Index n : {4, 50}) {  // 4 samples in 5 dimensions have a singular covariance
    const fm::Matrix<double> x = normals(5, n, 2);
    const fm::Matrix<double> centred = x.colwise() - x.rowwise().mean();
    const Eigen::VectorXd s = Eigen::VectorXd::LinSpaced(5, -1, 2);
    CHECK_THAT(frechet(x, x.colwise() + s), WithinRel(s.squaredNorm(), 1e-12));
    const double variance = centred.squaredNorm() / double(n - 1);
    CHECK_THAT(frechet(centred, 3 * centred), WithinRel(4 * variance, 1e-12));
    const Eigen::VectorXd mean = x.rowwise().mean();
    CHECK_THAT(frechet(x, (3 * centred).colwise() + (mean + s)), WithinRel(4 * variance + s.squaredNorm(), 1e-12));
  }
}

TEST_CASE("The Frechet distance does not see a common turn or shift, and is in squared units", "[frechet]") {
  const fm::Matrix<double> x = normals(2, 30, 3), y = Eigen::Vector2d(3, 0.1).asDiagonal() * normals(2, 20, 4);
  Eigen::Matrix2d turn;
  turn << 0.8, -0.6, 0.6, 0.8;
  const Eigen::Vector2d shift(3, -1);
  const double d = frechet(x, y);
  CHECK_THAT(frechet(((turn * x).colwise() + shift).eval(), (turn * y).colwise() + shift), WithinRel(d, 1e-11));
  CHECK_THAT(frechet((1e-6 * x).eval(), 1e-6 * y), WithinRel(1e-12 * d, 1e-11));
}

TEST_CASE("Sets in planes at right angles are at the sum of their variances", "[frechet]") {
  fm::Matrix<double> x = normals(4, 30, 5), y = normals(4, 20, 6);
  x.bottomRows(2).setZero();
  y.topRows(2).setZero();
  x.colwise() -= x.rowwise().mean().eval();
  y.colwise() -= y.rowwise().mean().eval();
  CHECK_THAT(frechet(x, y), WithinRel(x.squaredNorm() / 29 + y.squaredNorm() / 19, 1e-12));
}

TEST_CASE("The floor of normal samples is what theory says", "[frechet]") {
  // To first order in 1/n: 2 dim / n from the means, dim (dim + 1) / (2 n) from the covariances. The terms beyond are
  // smaller by some dim / n = 1 %; five errors of the mean of 400 draws, each of a third of its mean, are 8 %.
  fm::Rng rng(7);
  const Index n = 300;
  fm::Matrix<double> x(3, n), y(3, n);
  double mean = 0;
  for (int repeat = 0; repeat < 400; ++repeat) {
    fm::fill_normal(rng, x);
    fm::fill_normal(rng, y);
    mean += frechet(x, y) / 400;
  }
  CHECK_THAT(mean, WithinRel((2 * 3 + 3 * 4 / 2.) / double(n), 0.09));
}

TEST_CASE("Covariances beyond the largest number have no distance", "[frechet]") {
  const fm::Matrix<double> x = 1e200 * normals(3, 10, 8);
  REQUIRE_THROWS_AS(frechet(x, x), std::runtime_error);
}

TEST_CASE("Sets that have no Frechet distance are refused by name", "[frechet]") {
  fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3), y = x;
  const std::string where = "flowmatch: frechet_distance: expected ";
  REQUIRE_THROWS_MATCHES(frechet(x, y.topRows(1)), std::invalid_argument, Message(where + "2 rows in y, got 1"));
  REQUIRE_THROWS_MATCHES(frechet(x.topRows(0).eval(), y.topRows(0)), std::invalid_argument,
                         Message(where + "x.rows() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(frechet(x.leftCols(1).eval(), y), std::invalid_argument,
                         Message(where + "x.cols() >= 2, got 1"));
  REQUIRE_THROWS_MATCHES(frechet(x, y.leftCols(1)), std::invalid_argument, Message(where + "y.cols() >= 2, got 1"));
  x(0, 1) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(frechet(x, y), std::invalid_argument,
                         Message(where + "finite numbers in x, got nan in row 0, column 1"));
  REQUIRE_THROWS_MATCHES(frechet(y, x), std::invalid_argument,
                         Message(where + "finite numbers in y, got nan in row 0, column 1"));
}
