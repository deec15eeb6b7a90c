// SPDX-License-Identifier: MIT
// Paths with noise on the way: moments of x_t, and u_t as the derivative of x_t for the same noise.
#include <cmath>
#include <flowmatch/path/further_schedules.hpp>
#include <flowmatch/path/noisy.hpp>
#include <string>

#include "catch.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

static_assert(fm::NoisyPath<fm::ConstantSigmaPath> && fm::NoisyPath<fm::BridgePath>);
static_assert(!fm::Path<fm::ConstantSigmaPath> && !fm::NoisyPath<fm::LinearPath>);
// There is no x0 to pass to Lipman's path.
static_assert(fm::PathFromNoise<fm::LipmanPath> && !fm::NoisyPath<fm::LipmanPath> && !fm::Path<fm::LipmanPath>);
static_assert(!fm::PathFromNoise<fm::LinearPath> && !fm::PathFromNoise<fm::BridgePath>);

struct Moments {
  double mean, deviation;
};
Moments moments(const Eigen::MatrixXd& x) {
  const double mean = x.mean();
  return {mean, std::sqrt((x.array() - mean).square().mean())};
}

constexpr Index count = 40000;
constexpr double x0 = -1.5, x1 = 4;

/// x_t has mean `mean` and deviation `deviation`, and u_t is d x_t / dt for the same noise.
template <class Sample> void check(const Sample& sample, double t, double mean, double deviation) {
  INFO("t = " << t);
  Eigen::MatrixXd x_t, u_t, before, after, unused;
  sample(t, x_t, u_t);
  const auto [m, s] = moments(x_t);
  CHECK(std::abs(m - mean) < 4 * deviation / std::sqrt(double(count)) + 1e-14);  // four standard errors
  CHECK(std::abs(s - deviation) < 4 * deviation / std::sqrt(2 * double(count)) + 1e-14);
  const double h = 1e-4;
  sample(t - h, before, unused);
  sample(t + h, after, unused);
  // h^2 / 6 times the third derivative of sqrt(t (1 - t)), below 40 here, times noise of at most 6
  CHECK(test::largest((after - before) / (2 * h) - u_t) < 1e-6);
}
template <class P> auto pairs(const P& path) {
  return [&path](double t, Eigen::MatrixXd& x_t, Eigen::MatrixXd& u_t) {
    fm::Rng rng(5);
    path.sample(rng, Eigen::MatrixXd::Constant(1, count, x0), Eigen::MatrixXd::Constant(1, count, x1),
                Eigen::RowVectorXd::Constant(count, t), x_t, u_t);
  };
}

}

TEST_CASE("noisy paths have their mean and deviation, and their velocity is the derivative", "[path]") {
  for (const double t : {0.2, 0.5, 0.9}) {
    const double mean = (1 - t) * x0 + t * x1;
    check(pairs(fm::ConstantSigmaPath{.noise = {.sigma = 0.3}}), t, mean, 0.3);
    check(pairs(fm::BridgePath{.noise = {.sigma = 0.7}}), t, mean, 0.7 * std::sqrt(t * (1 - t)));
    const double angle = std::acos(0.0) * t;
    check(pairs(fm::AffineNoisyPath<fm::CosineSchedule, fm::ConstantNoise>{}), t,
          std::sin(angle) * x1 + std::cos(angle) * x0, 0.1);
    const auto lipman = [](double time, Eigen::MatrixXd& x_t, Eigen::MatrixXd& u_t) {
      fm::Rng rng(6);
      fm::LipmanPath{.schedule = {.sigma_min = 0.2}}.sample(rng, Eigen::MatrixXd::Constant(1, count, x1),
                                                            Eigen::RowVectorXd::Constant(count, time), x_t, u_t);
    };
    check(lipman, t, t * x1, 1 - 0.8 * t);
  }
}

TEMPLATE_TEST_CASE("the targets are those of the papers", "[path]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(9);
  const fm::Matrix<Scalar> start = test::normal<Scalar>(rng, 3, 200), end = test::normal<Scalar>(rng, 3, 200);
  const fm::RowVector<Scalar> t = test::uniform<Scalar>(rng, 200, Scalar(0.05), Scalar(0.95));
  fm::Matrix<Scalar> x_t, u_t;
  const Scalar rounding = 200 * std::numeric_limits<Scalar>::epsilon();

  fm::ConstantSigmaPath{}.sample(rng, start, end, t, x_t, u_t);
  CHECK(u_t == end - start);  // whatever the noise

  fm::BridgePath{}.sample(rng, start, end, t, x_t, u_t);
  for (Index j = 0; j < 200; ++j) {
    const fm::Vector<Scalar> mean = t(j) * end.col(j) + (1 - t(j)) * start.col(j);
    const fm::Vector<Scalar> target =
        (1 - 2 * t(j)) / (2 * t(j) * (1 - t(j))) * (x_t.col(j) - mean) + end.col(j) - start.col(j);
    CHECK(test::largest(u_t.col(j) - target) < rounding);
  }

  const Scalar fall = Scalar(1 - 0.1);
  fm::LipmanPath{.schedule = {.sigma_min = 0.1}}.sample(rng, end, t, x_t, u_t);
  for (Index j = 0; j < 200; ++j)
    CHECK(test::largest(u_t.col(j) - (end.col(j) - fall * x_t.col(j)) / (1 - fall * t(j))) < rounding);
}

TEMPLATE_TEST_CASE("without noise they are the linear path and take the same numbers of rng", "[path]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(9), other = rng;
  const fm::Matrix<Scalar> start = test::normal<Scalar>(rng, 2, 50), end = test::normal<Scalar>(rng, 2, 50);
  const fm::RowVector<Scalar> t = test::uniform<Scalar>(rng, 50);
  fm::Matrix<Scalar> x_t, u_t, expected_x, expected_u, noise(2, 50);
  fm::LinearPath{}.sample(start, end, t, expected_x, expected_u);
  other = rng;
  fm::fill_normal(other, noise);
  fm::BridgePath{.noise = {.sigma = 0}}.sample(rng, start, end, t, x_t, u_t);
  CHECK(test::largest(x_t - expected_x) <= 4 * std::numeric_limits<Scalar>::epsilon());
  CHECK(u_t == expected_u);
  CHECK(rng == other);
}

TEST_CASE("a bridge ends at its ends, with a velocity that is finite there", "[path]") {
  fm::Rng rng(1);
  const Eigen::MatrixXf start = test::normal<float>(rng, 2, 300), end = test::normal<float>(rng, 2, 300);
  Eigen::MatrixXf x_t, u_t;
  fm::BridgePath{}.sample(rng, start, end, Eigen::RowVectorXf::Zero(300), x_t, u_t);
  CHECK(x_t == start);
  CHECK(test::largest(u_t - (end - start)) < 6.7f / (2 * 1e-2f));  // the largest normal, sqrt(1e-4)
  fm::BridgePath{}.sample(rng, start, end, Eigen::RowVectorXf::Ones(300), x_t, u_t);
  CHECK(x_t == end);
  CHECK(u_t.allFinite());
}

TEST_CASE("noisy paths refuse what they cannot use", "[path]") {
  fm::Rng rng(1);
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(1, 2), x_t, u_t;
  const Eigen::RowVectorXd t = Eigen::RowVectorXd::Constant(2, 0.5);
  using test::message_of;
  const auto of = [&](const auto& path, const Eigen::MatrixXd& start) {
    return message_of<std::invalid_argument>([&] { path.sample(rng, start, x, t, x_t, u_t); });
  };
  CHECK(of(fm::ConstantSigmaPath{.noise = {.sigma = -1}}, x) ==
        "flowmatch: ConstantNoise: expected sigma >= 0, got -1");
  CHECK(of(fm::BridgePath{.noise = {.sigma = NAN}}, x) == "flowmatch: BridgeNoise: expected sigma >= 0, got nan");
  CHECK(of(fm::BridgePath{.noise = {.end = 0}}, x) == "flowmatch: BridgeNoise: expected end > 0, got 0");
  CHECK(of(fm::BridgePath{}, Eigen::MatrixXd::Zero(1, 3)) ==
        "flowmatch: AffineNoisyPath::sample: expected 3 columns in x1, got 2");
  CHECK(message_of<std::invalid_argument>([&] { fm::LipmanPath{}.sample(rng, x, 3 * t, x_t, u_t); }) ==
        "flowmatch: LipmanPath::sample: expected t in [0, 1], got 1.5 in column 0");
  CHECK(message_of<std::invalid_argument>([&] { fm::LipmanPath{}.sample(rng, x, t, x, u_t); }) ==
        "flowmatch: LipmanPath::sample: x_t must not share memory with x1, t or u_t");
}
