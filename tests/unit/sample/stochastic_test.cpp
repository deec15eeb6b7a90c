// SPDX-License-Identifier: MIT
// Stochastic sampling: the score against a closed form, and the same distributions as the flow.
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <flowmatch/flowmatch.hpp>
#include <numbers>

#include "catch.hpp"
#include "support/gaussian_field.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

/// The exact field and score from N(0, 1) to a mixture of two Gaussians in one dimension, on the linear path:
/// p_t = sum of w N(t m, t^2 s^2 + (1 - t)^2).
struct Mixture {
  static constexpr double weight[] = {0.3, 0.7}, mean[] = {-2, 1.5}, deviation[] = {0.3, 0.6};

  struct Values {
    double v, score;
  };
  Values operator()(double x, double t) const {
    double total = 0, v = 0, score = 0;
    for (int k = 0; k < 2; ++k) {
      const double variance = t * t * deviation[k] * deviation[k] + (1 - t) * (1 - t), from_mean = x - t * mean[k];
      const double p = weight[k] / std::sqrt(variance) * std::exp(-from_mean * from_mean / (2 * variance));
      total += p;
      v += p * (mean[k] + (t * deviation[k] * deviation[k] - (1 - t)) / variance * from_mean);
      score -= p * from_mean / variance;
    }
    return {v / total, score / total};
  }
};

const auto field = [](const auto& x, const auto& t, const auto&, auto& v) {
  for (Index j = 0; j < x.cols(); ++j) v(0, j) = Mixture()(x(0, j), t(j)).v;
};

template <class D> Eigen::MatrixXd drawn(const D& diffusion, fm::StochasticMethod method, Index steps, Index n) {
  fm::Rng rng(7);
  Eigen::MatrixXd x(1, n);
  fm::fill_normal(rng, x);
  fm::integrate_stochastic(field, x, Eigen::MatrixXd(0, n), rng, diffusion, method, {.steps = steps});
  return x;
}

/// Kolmogorov and Smirnov's distance to the mixture: the largest difference of the two distribution functions.
double distance(Eigen::MatrixXd x) {
  std::sort(x.data(), x.data() + x.size());
  double largest = 0;
  for (Index i = 0; i < x.size(); ++i) {
    double below = 0;
    for (int k = 0; k < 2; ++k)
      below += Mixture::weight[k] / 2 *
               std::erfc(-(x(0, i) - Mixture::mean[k]) / Mixture::deviation[k] / std::numbers::sqrt2);
    largest = std::max({largest, below - double(i) / double(x.size()), double(i + 1) / double(x.size()) - below});
  }
  return largest;
}

}

TEST_CASE("the score from the velocity is that of the mixture", "[sample]") {
  for (const double t : {0.0, 0.1, 0.5, 0.9, 0.999})
    for (const double x : {-3.0, -1.0, 0.0, 0.4, 2.5}) {
      INFO("t = " << t << ", x = " << x);
      const auto [v, score] = Mixture()(x, t);
      const fm::ScheduleValue<double> s = fm::LinearSchedule()(t);
      CHECK(std::abs(fm::scaled_score(s, v, x) - s.sigma * score) < 1e-12 * (1 + std::abs(score)));
    }
}

TEST_CASE("noise on the way leaves the distribution as it is, whatever its amount", "[sample][long]") {
  // Of 20,000 exact samples one set in a thousand is farther than 1.95 / sqrt(20,000) = 0.0138; the steps add little
  // to that.
  const auto check = [](const char* name, const auto& diffusion) {
    for (const auto method : {fm::StochasticMethod::euler, fm::StochasticMethod::heun}) {
      const Index steps = method == fm::StochasticMethod::euler ? 400 : 100;
      const double d = distance(drawn(diffusion, method, steps, 20000));
      INFO(name << (method == fm::StochasticMethod::euler ? ", Euler: " : ", Heun: ") << d);
      CHECK(d < 0.0138);
    }
  };
  check("none", fm::SigmaDiffusion{.scale = 0});
  check("sigma", fm::SigmaDiffusion{});
  check("much", fm::SigmaDiffusion{.scale = 5});
  check("constant", fm::ConstantDiffusion{});
  check("memoryless", fm::MemorylessDiffusion{});
}

namespace {

/// The variance of the samples of a field that is linear in x (one row), free of chance: a sample is a sum of its start
/// and the noise of each step, with factors that runs on known noise give away.
template <class Field, class D, class S>
double variance_of(const Field& linear, const D& diffusion, fm::StochasticMethod method, Index steps,
                   const S& schedule) {
  const Index n = steps + 5;
  Eigen::MatrixXd noise(steps, n), of_step(1, n), from_0 = Eigen::MatrixXd::Zero(1, n),
                                                  from_1 = Eigen::MatrixXd::Ones(1, n);
  fm::Rng rng(5), first = rng, second = rng;
  for (Index k = 0; k < steps; ++k) {
    fm::fill_normal(rng, of_step);
    noise.row(k) = of_step;
  }
  for (auto [x, same] : {std::pair(&from_0, &first), std::pair(&from_1, &second)})
    fm::integrate_stochastic(linear, *x, Eigen::MatrixXd(0, n), *same, diffusion, method, {.steps = steps}, schedule);
  const Eigen::VectorXd factors = noise.transpose().householderQr().solve(from_0.transpose());
  return std::pow(from_1(0, 0) - from_0(0, 0), 2) + factors.squaredNorm();
}

}

TEMPLATE_TEST_CASE("the variance comes at weak order 1 by Euler and 2 by Heun, on any schedule", "[sample][long]",
                   fm::LinearSchedule, fm::CosineSchedule, fm::PolynomialSchedule) {
  const test::GaussianField<TestType> exact{Eigen::VectorXd::Zero(1), Eigen::MatrixXd::Constant(1, 1, 0.25)};
  const auto f = [&](const auto& x, const auto& t, const auto& c, auto& v) {
    typename test::GaussianField<TestType>::Workspace w;
    exact.forward(x, t, c, v, w);
  };
  for (const auto method : {fm::StochasticMethod::euler, fm::StochasticMethod::heun}) {
    const auto error = [&](Index steps) {
      return std::abs(variance_of(f, fm::SigmaDiffusion{}, method, steps, TestType()) - 0.25);
    };
    const double coarse = error(80), fine = error(160), order = std::log2(coarse / fine);
    INFO("errors " << coarse << ", " << fine << ", order " << order);
    CHECK(fine < 0.01);  // of 0.25; with the score of another schedule it would stay
    CHECK(std::abs(order - (method == fm::StochasticMethod::euler ? 1 : 2)) < 0.25);  // the next order shows a little
  }
  if constexpr (!std::is_same_v<TestType, fm::LinearSchedule>)
    CHECK(std::abs(variance_of(f, fm::SigmaDiffusion{}, fm::StochasticMethod::heun, 160, fm::LinearSchedule()) - 0.25) >
          0.02);
}

TEST_CASE("a field of pairs that are not independent has no score: noise on the way spoils its samples", "[sample]") {
  // x1 = 3 x0, as transport would pair them: x_t = (1 + 2 t) x0.
  const auto f = [](const auto& x, const auto& t, const auto&, auto& v) {
    for (Index j = 0; j < x.cols(); ++j) v(0, j) = 2 * x(0, j) / (1 + 2 * t(j));
  };
  const auto deviation = [&](double scale) {
    const fm::LinearSchedule linear;
    return std::sqrt(variance_of(f, fm::SigmaDiffusion{scale}, fm::StochasticMethod::heun, 100, linear));
  };
  CHECK(std::abs(deviation(0) - 3) < 0.01);
  CHECK(deviation(1) < 2.5);
}

TEST_CASE("noise without its drift changes the distribution, so that the test above can fail", "[sample]") {
  fm::Rng rng(3);
  Eigen::MatrixXd x = drawn(fm::SigmaDiffusion{.scale = 0}, fm::StochasticMethod::heun, 100, 20000), z = x;
  fm::fill_normal(rng, z);
  CHECK(distance(x + 0.3 * z) > 0.02);
}

TEST_CASE("without noise the stochastic steps are those of Euler and Heun", "[sample]") {
  fm::Rng rng(1);
  Eigen::MatrixXd x(1, 300);
  fm::fill_normal(rng, x);
  const Eigen::MatrixXd none(0, 300);
  for (const bool heun : {false, true}) {
    Eigen::MatrixXd a = x, b = x;
    const auto method = heun ? fm::StochasticMethod::heun : fm::StochasticMethod::euler;
    const auto report =
        fm::integrate_stochastic(field, a, none, rng, fm::SigmaDiffusion{.scale = 0}, method, {.steps = 20});
    if (heun)
      fm::integrate(field, b, fm::Heun{}, {.steps = 20});
    else
      fm::integrate(field, b, fm::Euler{}, {.steps = 20});
    CHECK(test::largest(a - b) < 1e-12);
    CHECK(report.evaluations == (heun ? 40 : 20));
  }
}

TEMPLATE_TEST_CASE("nets are sampled with noise, with and without conditions", "[sample]", float, double) {
  fm::Rng rng(2);
  const fm::VelocityMlp<TestType> net({.dim = 3, .condition_dim = 2, .hidden = {8}}, rng);
  const fm::Matrix<TestType> c = test::normal<TestType>(rng, 2, 300);
  fm::Rng a(5), b(5);
  const auto x = fm::sample_stochastic(net, c, a, fm::SigmaDiffusion{}, fm::StochasticMethod::euler, {.steps = 4});
  CHECK(x.rows() == 3);
  CHECK(x.cols() == 300);
  CHECK(x == fm::sample_stochastic(net, c, b, fm::SigmaDiffusion{}, fm::StochasticMethod::euler, {.steps = 4}));
  CHECK(a == b);
  const fm::VelocityMlp<TestType> plain({.dim = 3, .hidden = {8}}, rng);
  CHECK(fm::sample_stochastic(plain, 10, rng, fm::MemorylessDiffusion{}).allFinite());
  CHECK(fm::sample_stochastic(plain, 0, rng, fm::MemorylessDiffusion{}).cols() == 0);
}

TEST_CASE("stochastic sampling refuses what it cannot do", "[sample]") {
  using test::message_of;
  fm::Rng rng(1);
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(1, 3);
  const auto run = [&](const fm::OdeOptions& options, double scale, Index columns) {
    return message_of<std::invalid_argument>([&] {
      fm::integrate_stochastic(field, x, Eigen::MatrixXd(0, columns), rng, fm::SigmaDiffusion{.scale = scale},
                               fm::StochasticMethod::euler, options);
    });
  };
  CHECK(run({.from = 1, .to = 0}, 1, 3) ==
        "flowmatch: integrate_stochastic: expected times that rise within [0, 1], got 1 to 0");
  CHECK(run({.to = 1.5}, 1, 3) ==
        "flowmatch: integrate_stochastic: expected times that rise within [0, 1], got 0 to 1.5");
  CHECK(run({}, -1, 3) == "flowmatch: integrate_stochastic: expected diffusion >= 0, got -1");
  CHECK(run({}, 1, 2) == "flowmatch: integrate_stochastic: expected 3 columns in c, got 2");
  const fm::VelocityMlp<> net({.dim = 2, .hidden = {4}}, rng);
  CHECK(message_of<std::invalid_argument>([&] {
          (void)fm::sample_stochastic(net, 3, rng, fm::SigmaDiffusion{}, fm::StochasticMethod::heun, {.from = 0.5});
        }) == "flowmatch: sample_stochastic: expected times that start at 0, where noise is, got 0.5");
}
