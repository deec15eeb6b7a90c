// SPDX-License-Identifier: MIT
#include "flowmatch/metric/path_energy.hpp"

#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/random/random.hpp>
#include <limits>
#include <numbers>
#include <string>

#include "catch.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;

namespace {

template <class Scalar = double> fm::Matrix<Scalar> normals(Index rows, Index columns, std::uint64_t seed = 1) {
  fm::Rng rng(seed);
  fm::Matrix<Scalar> x(rows, columns);
  fm::fill_normal(rng, x);
  return x;
}

double mean_square(const fm::Matrix<double>& x) { return x.squaredNorm() / double(x.cols()); }

/// A quarter of a turn in unit time: at angular velocity w the speed is w r, the chord 2 r sin(w / 2).
const double w = std::numbers::pi / 2;
const auto rotation = [](const auto& x, const auto&, const auto&, auto& v) {
  v.row(0) = -w * x.row(1);
  v.row(1) = w * x.row(0);
};

}

TEMPLATE_TEST_CASE("A constant field has its square as energy and is straight", "[path_energy]", float, double) {
  const auto constant = [](const auto&, const auto&, const auto&, auto& v) {
    v.row(0).setConstant(3);
    v.row(1).setConstant(-4);
  };
  const fm::Matrix<TestType> x0 = normals<TestType>(2, 7);
  const auto check = [&](const auto& stepper, const fm::OdeOptions& options, double duration) {
    const fm::PathEnergy path = fm::path_energy(constant, x0, stepper, options);
    CHECK_THAT(path.energy, WithinRel(25 * duration, 1e-13));
    CHECK((path.straightness >= 0 && path.straightness < 1e-11));
  };
  check(fm::Euler{}, {.steps = 1}, 1);
  check(fm::Euler{}, {.steps = 30}, 1);
  check(fm::Rk4{}, {.steps = 7, .from = 1, .to = 0}, 1);
  check(fm::Heun{}, {.grid = {0.5, 0.7, 3}}, 2.5);
}

TEST_CASE("An adaptive method finds the energy of a turn", "[path_energy]") {
  const fm::Matrix<double> x0 = normals(2, 300);
  const double square = mean_square(x0), chord = 2 * std::sin(w / 2);
  const fm::PathEnergy path = fm::path_energy(rotation, x0, fm::Tsitouras{.rtol = 1e-10, .atol = 1e-10});
  CHECK_THAT(path.energy, WithinRel(w * w * square, 1e-8));
  CHECK_THAT(path.straightness, WithinRel((w * w - chord * chord) * square, 1e-8));
}

TEST_CASE("A field whose direction stays and whose speed changes is not straight", "[path_energy]") {
  // v = 2 t a: energy 4/3 |a|^2, mean velocity a, straightness 1/3 |a|^2, which Simpson's weights of Rk4 have exactly
  const auto rising = [](const auto&, const auto& t, const auto&, auto& v) {
    v.row(0) = 2 * 3 * t;
    v.row(1) = 2 * 4 * t;
  };
  const fm::PathEnergy path = fm::path_energy(rising, normals(2, 5), fm::Rk4{}, {.steps = 3});
  CHECK_THAT(path.energy, WithinRel(4. / 3 * 25, 1e-13));
  CHECK_THAT(path.straightness, WithinRel(1. / 3 * 25, 1e-12));
}

TEST_CASE("Circles have their speed as energy and their chord to be compared with, in either direction of time",
          "[path_energy]") {
  const fm::Matrix<double> x0 = normals(2, 50);
  const double r2 = mean_square(x0), chord2 = std::pow(2 * std::sin(w / 2), 2) * r2;
  for (const bool backward : {false, true}) {
    const fm::OdeOptions options = {.steps = 40, .from = backward ? 1. : 0., .to = backward ? 0. : 1.};
    const fm::PathEnergy path = fm::path_energy(rotation, x0, fm::Rk4{}, options);
    CHECK_THAT(path.energy, WithinRel(w * w * r2, 1e-7));  // h^4 = 4e-7
    CHECK_THAT(path.straightness, WithinRel(w * w * r2 - chord2, 1e-6));
  }
  const fm::PathEnergy half = fm::path_energy(rotation, x0, fm::Rk4{}, {.steps = 40, .to = 0.5});
  CHECK_THAT(half.energy, WithinRel(w * w * r2 / 2, 1e-7));
  CHECK_THAT(half.straightness, WithinRel((w * w / 2 - 2 * std::pow(2 * std::sin(w / 4), 2)) * r2, 1e-5));
}

TEST_CASE("Straightness is the mean square of v - (x1 - x0) along the way, as a sum over the way says too",
          "[path_energy]") {
  const auto wave = [](const auto& x, const auto& t, const auto& c, auto& v) {
    v = (2 * x.array().sin()).rowwise() + 3 * t.array();
    v += c;
  };
  const fm::Matrix<double> x0 = normals(3, 11, 2), c = normals(3, 11, 3);
  std::vector<fm::Matrix<double>> velocities;
  fm::Matrix<double> x1 = x0;
  fm::integrate(wave, x1, c, fm::Rk4{}, {.steps = 2000}, [&](Index, double t, const auto& x) {
    fm::Matrix<double> v(3, 11);
    wave(x, fm::RowVector<double>::Constant(11, t), c, v);
    velocities.push_back(v);
  });
  double energy = 0, straightness = 0;
  for (std::size_t i = 0; i <= 2000; ++i) {
    const double weight = (i == 0 || i == 2000 ? 0.5 : 1) / 2000;
    energy += weight * mean_square(velocities[i]);
    straightness += weight * mean_square(velocities[i] - (x1 - x0));
  }
  const fm::PathEnergy path = fm::path_energy(wave, x0, c, fm::Rk4{}, {.steps = 100});
  CHECK_THAT(path.energy, WithinRel(energy, 1e-5));  // the trapezoidal sum: h^2 = 2.5e-7 and a moderate constant
  CHECK_THAT(path.straightness, WithinRel(straightness, 1e-5));
  REQUIRE(straightness > 0.1);
}

TEMPLATE_TEST_CASE("The energy has the order of the stepper", "[path_energy]", fm::Euler, fm::Midpoint, fm::Heun,
                   fm::Rk4) {
  // dx/dt = x (1 - x) from a: the energy is the integral of v dx = x - x^2, so x^2 / 2 - x^3 / 3 between the ends
  const auto logistic = [](const auto& x, const auto&, const auto&, auto& v) { v = x.array() * (1 - x.array()); };
  fm::Matrix<double> x0 = fm::Matrix<double>::Constant(1, 1, 0.2);
  const double end = 1 / (1 + 4 * std::exp(-1.0));
  const auto antiderivative = [](double x) { return x * x / 2 - x * x * x / 3; };
  const double exact = antiderivative(end) - antiderivative(0.2);
  const auto error = [&](Index steps) {
    return std::abs(fm::path_energy(logistic, x0, TestType{}, {.steps = steps}).energy - exact);
  };
  const Index n = TestType::order == 4 ? 16 : 128;
  CHECK_THAT(std::log2(error(n) / error(2 * n)), WithinAbs(TestType::order, 0.1));
}

TEST_CASE("The flow of independent pairs between equal normal distributions moves nobody and costs (2 - pi/2) |x0|^2",
          "[path_energy]") {
  // Its solution is x_t = sqrt((1-t)^2 + t^2) x0; with u = 2 t - 1 the energy is the integral of u^2 / (1 + u^2).
  const auto field = [](const auto& x, const auto& t, const auto&, auto& v) {
    v = x.array().rowwise() * ((2 * t.array() - 1) / ((1 - t.array()).square() + t.array().square()));
  };
  const fm::Matrix<double> x0 = normals(2, 100);
  const fm::PathEnergy path = fm::path_energy(field, x0, fm::Rk4{}, {.steps = 100});
  const double expected = (2 - std::numbers::pi / 2) * mean_square(x0);
  CHECK_THAT(path.energy, WithinRel(expected, 1e-6));
  CHECK_THAT(path.straightness, WithinRel(expected, 1e-6));
}

TEST_CASE("The optimal flow between normal distributions is straight and spends W2^2", "[path_energy]") {
  // From N(0, I) to N(m, s^2 I) along x0 -> s x0 + m. Euler is exact on it, W2^2 = |m|^2 + dim (s - 1)^2.
  const double s = 3;
  const Eigen::Vector2d m(1, -2);
  const auto field = [&](const auto& x, const auto& t, const auto&, auto& v) {
    for (Index j = 0; j < x.cols(); ++j) v.col(j) = m + (s - 1) / (1 + t(j) * (s - 1)) * (x.col(j) - t(j) * m);
  };
  const fm::Matrix<double> x0 = normals(2, 20000);
  const fm::PathEnergy path = fm::path_energy(field, x0, fm::Euler{}, {.steps = 10});
  const double exact = ((s - 1) * x0 + m.replicate(1, x0.cols())).squaredNorm() / double(x0.cols());
  CHECK_THAT(path.energy, WithinRel(exact, 1e-12));
  CHECK(path.straightness < 1e-11);
  // |2 x0 + m|^2 has mean 13, variance 2 * 16 * 2 + 4 * 4 * 5 = 144: five errors of the mean of 20,000 are 0.42
  CHECK(fm::normalized_path_energy(path.energy, std::sqrt(5 + 2 * 4.)) < 0.42 / 13);
}

TEMPLATE_TEST_CASE("A net has a path energy as it is, with conditions, and the same in any batch", "[path_energy]",
                   float, double) {
  fm::Rng rng(3);
  const fm::VelocityMlp<TestType> net({.dim = 2, .condition_dim = 1, .hidden = {16, 16}, .time_frequencies = 2}, rng);
  const fm::Matrix<TestType> x0 = normals<TestType>(2, 300), c = normals<TestType>(1, 300, 5);
  const fm::PathEnergy whole = fm::path_energy(net, x0, c, fm::Heun{}, {.steps = 20});
  fm::PathEnergy parts;
  for (Index j = 0; j < 300; j += 100) {
    const fm::Matrix<TestType> part = x0.middleCols(j, 100);
    const fm::PathEnergy path = fm::path_energy(net, part, c.middleCols(j, 100), fm::Heun{}, {.steps = 20});
    parts.energy += path.energy / 3;
    parts.straightness += path.straightness / 3;
  }
  CHECK(whole.energy > 0);
  CHECK(whole.straightness > 0);
  CHECK_THAT(whole.energy, WithinRel(parts.energy, 1e-12));
  CHECK_THAT(whole.straightness, WithinRel(parts.straightness, 1e-11));
  CHECK(fm::path_energy(net, x0, (c.array() + 1).matrix(), fm::Heun{}, {.steps = 20}).energy != whole.energy);
}

TEST_CASE("The normalized path energy is the relative excess, of either sign", "[path_energy]") {
  CHECK(fm::normalized_path_energy(6, 2) == 0.5);
  CHECK(fm::normalized_path_energy(2, 2) == 0.5);
  CHECK(fm::normalized_path_energy(4, 2) == 0);
  REQUIRE_THROWS_MATCHES(fm::normalized_path_energy(1, 0), std::invalid_argument,
                         Message("flowmatch: normalized_path_energy: expected w2 > 0, got 0"));
  REQUIRE_THROWS_MATCHES(fm::normalized_path_energy(-1, 1), std::invalid_argument,
                         Message("flowmatch: normalized_path_energy: expected energy >= 0, got -1"));
}

TEST_CASE("What has no path energy is refused by name", "[path_energy]") {
  fm::Matrix<double> x0 = normals(2, 3);
  const fm::Rk4 rk4;
  REQUIRE_THROWS_MATCHES(fm::path_energy<double>(rotation, x0.leftCols(0), rk4), std::invalid_argument,
                         Message("flowmatch: path_energy: expected x0.cols() >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(fm::path_energy(rotation, x0, normals(1, 2), rk4), std::invalid_argument,
                         Message("flowmatch: path_energy: expected 3 columns in c, got 2"));
  REQUIRE_THROWS_MATCHES(fm::path_energy(rotation, x0, rk4, {.steps = 0}), std::invalid_argument,
                         Message("flowmatch: time_grid: expected options.steps >= 1, got 0"));
  fm::Matrix<double> c = normals(1, 3);
  c(0, 2) = std::numeric_limits<double>::infinity();
  REQUIRE_THROWS_MATCHES(fm::path_energy(rotation, x0, c, rk4), std::invalid_argument,
                         Message("flowmatch: path_energy: expected finite numbers in c, got inf in row 0, column 2"));
  const auto explode = [](const auto& x, const auto&, const auto&, auto& v) { v = 1e200 * x; };
  REQUIRE_THROWS_AS(fm::path_energy(explode, x0, rk4), std::runtime_error);
  x0(1, 0) = std::numeric_limits<double>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(fm::path_energy(rotation, x0, rk4), std::invalid_argument,
                         Message("flowmatch: path_energy: expected finite numbers in x0, got nan in row 1, column 0"));
}
