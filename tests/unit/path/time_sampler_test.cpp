// SPDX-License-Identifier: MIT
// Time samplers: each distribution against its distribution function, the strata, the variance that they save.
#include <algorithm>
#include <cmath>
#include <flowmatch/path/further_schedules.hpp>
#include <flowmatch/path/path.hpp>
#include <flowmatch/path/time_sampler.hpp>
#include <numbers>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

static_assert(fm::TimeSampler<fm::UniformTime> && fm::TimeSampler<fm::StratifiedTime> && fm::TimeSampler<fm::BetaTime>);
static_assert(fm::TimeSampler<fm::WeightedTime<fm::UniformTime, fm::CosineMapWeight>> && !fm::TimeSampler<int>);

template <class Scalar, class T> fm::RowVector<Scalar> drawn(const T& sampler, Index n, std::uint64_t seed = 4) {
  fm::Rng rng(seed);
  fm::RowVector<Scalar> t(n);
  sampler(rng, t);
  return t;
}

/// Kolmogorov and Smirnov's distance between numbers and a distribution function.
template <class Cdf> double distance(const fm::RowVector<double>& numbers, const Cdf& cdf) {
  std::vector<double> t(numbers.data(), numbers.data() + numbers.size());
  std::sort(t.begin(), t.end());
  double largest = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const double p = cdf(t[i]), n = double(t.size());
    largest = std::max({largest, p - double(i) / n, double(i + 1) / n - p});
  }
  return largest;
}

constexpr Index count = 20000;

/// Of exact samples one set in a thousand is farther than 1.95 / sqrt(n). Single precision is held to the same.
template <class T, class Cdf> void check(const char* name, const T& sampler, const Cdf& cdf) {
  INFO(name);
  const double bound = 1.95 / std::sqrt(double(count));
  CHECK(distance(drawn<double>(sampler, count), cdf) < bound);
  CHECK(distance(drawn<float>(sampler, count, 5).template cast<double>(), cdf) < bound);
  for (const double t : {drawn<double>(sampler, count).maxCoeff(), double(drawn<float>(sampler, count).maxCoeff())})
    CHECK(t < 1);
  CHECK(drawn<double>(sampler, count).minCoeff() >= 0);
}

/// The regularised incomplete beta function: the midpoint rule on t = sin^2(angle), where the density is tame, summed
/// once, and straight between its 2,000 points.
auto beta_cdf(double a, double b) {
  constexpr int n = 2000;
  std::vector<double> sum(n + 2, 0.);
  for (int i = 0; i < n; ++i) {
    const double angle = std::numbers::pi / 2 * (i + 0.5) / n;
    sum[std::size_t(i) + 1] =
        sum[std::size_t(i)] + std::pow(std::sin(angle), 2 * a - 1) * std::pow(std::cos(angle), 2 * b - 1);
  }
  sum[n + 1] = sum[n];
  return [sum](double t) {
    const double place = n * std::asin(std::sqrt(t)) / (std::numbers::pi / 2);
    const auto i = std::size_t(place);
    return (sum[i] + (place - double(i)) * (sum[i + 1] - sum[i])) / sum[n];
  };
}

}

TEST_CASE("each time sampler has its distribution", "[path]") {
  check("uniform", fm::UniformTime{}, [](double t) { return t; });
  check("stratified", fm::StratifiedTime{}, [](double t) { return t; });
  for (const auto& [m, s] : {std::pair{0.0, 1.0}, {-1.2, 0.7}})
    check("logit-normal", fm::LogitNormalTime{.mean = m, .deviation = s}, [m = m, s = s](double t) {
      return t <= 0 ? 0 : std::erfc(-(std::log(t / (1 - t)) - m) / s / std::numbers::sqrt2) / 2;
    });
  for (const double scale : {-1.0, 0.0, 0.8, 1.29})
    check("mode", fm::ModeTime{.scale = scale}, [scale](double t) {
      double low = 0, high = 1;  // t falls with u, so that P(T < t) = 1 - u(t)
      for (int k = 0; k < 60; ++k) {
        const double u = (low + high) / 2, c = std::cos(std::numbers::pi * u / 2);
        (1 - u - scale * (c * c - 1 + u) > t ? low : high) = u;
      }
      return 1 - low;
    });
  for (const double a : {1.0, 4.0})
    check("U-shaped", fm::UShapedTime{.curve = a},
          [a](double t) { return (1 + std::sinh(a * (t - 0.5)) / std::sinh(a / 2)) / 2; });
  for (const double a : {-0.6, 0.0, 2.0})
    check("power", fm::PowerTime{.exponent = a}, [a](double t) { return std::pow(t, 1 + a); });
  for (const auto& [a, b] : {std::pair{1.0, 1.0}, {2.0, 5.0}, {1.5, 0.5}, {0.5, 0.5}, {3.0, 1.0}})
    check("beta", fm::BetaTime{.a = a, .b = b}, beta_cdf(a, b));
  check("weighted", fm::WeightedTime<fm::PowerTime, fm::CosineMapWeight>{{.exponent = 1}, {}},
        [](double t) { return t * t; });
}

TEST_CASE("a wrong distribution is seen, so that the test above can fail", "[path]") {
  const double bound = 1.95 / std::sqrt(double(count));
  CHECK(distance(drawn<double>(fm::LogitNormalTime{}, count), [](double t) {
          return t <= 0 ? 0 : std::erfc(-std::log(t / (1 - t)) / 1.05 / std::numbers::sqrt2) / 2;
        }) > bound);
  CHECK(distance(drawn<double>(fm::BetaTime{.a = 2, .b = 5}, count), beta_cdf(2.1, 5)) > bound);
}

TEMPLATE_TEST_CASE("uniform times are the numbers of fill_uniform", "[path]", float, double) {
  fm::Rng rng(4);
  fm::RowVector<TestType> t(33);
  fm::fill_uniform(rng, t);
  CHECK(t == drawn<TestType>(fm::UniformTime{}, 33));
}

TEMPLATE_TEST_CASE("stratified times lie one in each part, in an order without pattern", "[path]", float, double) {
  for (const Index n : {1, 2, 7, 256, 1000}) {
    fm::RowVector<TestType> t = drawn<TestType>(fm::StratifiedTime{}, n, 8);
    const fm::RowVector<TestType> as_drawn = t;
    std::sort(t.data(), t.data() + n);
    for (Index j = 0; j < n; ++j) {
      // a part is closed above for a number that rounds up
      CHECK(double(t(j)) >= double(j) / double(n) * (1 - 1e-7));
      CHECK(double(t(j)) <= double(j + 1) / double(n) * (1 + 1e-7));
    }
    if (n < 256) continue;
    // Over permutations the correlation of a place with its time has deviation 1 / sqrt(n - 1): four of them.
    const Eigen::RowVectorXd place = Eigen::RowVectorXd::LinSpaced(n, -1, 1);
    const Eigen::RowVectorXd centred = as_drawn.template cast<double>().array() - 0.5;
    CHECK(std::abs(place.dot(centred)) / (place.norm() * centred.norm()) < 4 / std::sqrt(double(n - 1)));
  }
  CHECK(drawn<TestType>(fm::StratifiedTime{}, 0).size() == 0);
}

TEST_CASE("each place of a stratified row has a uniform time of its own", "[path]") {
  fm::RowVector<double> first(4000), t(5);
  fm::Rng rng(12);
  for (Index k = 0; k < first.size(); ++k) {
    fm::StratifiedTime{}(rng, t);
    first(k) = t(0);
  }
  CHECK(distance(first, [](double u) { return u; }) < 1.95 / std::sqrt(4000.0));
}

TEST_CASE("stratified times reduce the variance of the loss estimate", "[path]") {
  // The loss of v = 0 for x0 ~ N(0, 1) and x1 = 0 on the cosine path: a sample's loss is (pi / 2 sin(pi t / 2) x0)^2.
  // Its variance is E Var(. | t) + Var E(. | t), with E(. | t) = (pi / 2)^2 s, s = sin^2(pi t / 2), and Var(. | t)
  // = 2 (pi / 2)^4 s^2. With E s^2 = 3/8 and Var s = 1/8 that is 3/4 + 1/8, of which strata leave 3/4: a ratio of 6/7.
  // With x0 = +-1 instead, Var(. | t) is 0 and strata of width 1/n leave about 1 / n^2 of the rest.
  constexpr Index batch = 64;
  constexpr int repeats = 4000;
  const auto variance = [&](const auto& sampler, bool gaussian) {
    fm::Rng rng(21);
    Eigen::MatrixXd x0(1, batch), x_t, u_t;
    Eigen::RowVectorXd t(batch);
    double sum = 0, squares = 0;
    for (int k = 0; k < repeats; ++k) {
      sampler(rng, t);
      fm::fill_normal(rng, x0);
      if (!gaussian) x0 = x0.unaryExpr([](double x) { return x < 0 ? -1.0 : 1.0; });
      fm::CosinePath{}.sample(x0, Eigen::MatrixXd::Zero(1, batch), t, x_t, u_t);
      const double loss = u_t.squaredNorm() / double(batch);
      sum += loss, squares += loss * loss;
    }
    return squares / repeats - sum / repeats * (sum / repeats);
  };
  // The ratio of two estimates of 4,000 numbers has deviation sqrt(4 / 4000) = 3 %: three of them around 6/7.
  const double ratio = variance(fm::StratifiedTime{}, true) / variance(fm::UniformTime{}, true);
  INFO("ratio with noise: " << ratio);
  CHECK(std::abs(ratio - 6. / 7) < 0.09 * 6 / 7);
  const double without_noise = variance(fm::StratifiedTime{}, false) / variance(fm::UniformTime{}, false);
  INFO("ratio without noise: " << without_noise);
  CHECK(without_noise < 2. / (batch * batch));
}

TEST_CASE("times depend on the state of rng alone", "[path]") {
  const fm::BetaTime beta{.a = 2, .b = 0.5};
  CHECK(drawn<float>(beta, 100) == drawn<float>(beta, 100));
  CHECK(drawn<float>(beta, 100) != drawn<float>(beta, 100, 5));
}

TEST_CASE("extreme options give times in the interval still", "[path]") {
  const auto inside = [](const auto& sampler) {
    const fm::RowVector<float> t = drawn<float>(sampler, 500);
    CHECK((t.allFinite() && t.minCoeff() >= 0 && t.maxCoeff() < 1));
  };
  inside(fm::LogitNormalTime{.mean = 900});
  inside(fm::LogitNormalTime{.mean = -900});
  inside(fm::PowerTime{.exponent = 1e9});
  inside(fm::UShapedTime{.curve = 200});
  inside(fm::BetaTime{.a = 0.01, .b = 0.01});
  inside(fm::BetaTime{.a = 1e9, .b = 0.01});
}

TEST_CASE("the weights are those of the formulas", "[path]") {
  CHECK(std::abs(fm::InverseVarianceWeight{}(0.5) - 4) < 1e-15);
  CHECK(std::abs(fm::InverseVarianceWeight{}(1) - 100) < 1e-12);
  // Its integral is 1: the density of t = sin / (sin + cos).
  double sum = 0;
  for (int k = 0; k < 1000; ++k) sum += fm::CosineMapWeight{}((k + 0.5) / 1000) / 1000;
  CHECK(std::abs(sum - 1) < 1e-6);
}

TEST_CASE("time samplers refuse options out of range", "[path]") {
  const auto message = [](const auto& sampler) {
    return test::message_of<std::invalid_argument>([&] { drawn<float>(sampler, 3); });
  };
  CHECK(message(fm::LogitNormalTime{.mean = NAN}) == "flowmatch: LogitNormalTime: expected a finite mean, got nan");
  CHECK(message(fm::LogitNormalTime{.deviation = 0}) == "flowmatch: LogitNormalTime: expected deviation > 0, got 0");
  CHECK(message(fm::ModeTime{.scale = 2}) == "flowmatch: ModeTime: expected scale in [-1, 1.75194), got 2");
  CHECK(message(fm::UShapedTime{.curve = 0}) == "flowmatch: UShapedTime: expected curve > 0, got 0");
  CHECK(message(fm::PowerTime{.exponent = -1}) == "flowmatch: PowerTime: expected 1 + exponent > 0, got 0");
  CHECK(message(fm::BetaTime{.a = 0}) == "flowmatch: BetaTime: expected a >= 0.01, got 0");
  CHECK(test::message_of<std::invalid_argument>([] { fm::InverseVarianceWeight{.largest = 0}(0.5); }) ==
        "flowmatch: InverseVarianceWeight: expected largest > 0, got 0");
  CHECK(message(fm::BetaTime{.b = NAN}) == "flowmatch: BetaTime: expected b >= 0.01, got nan");
}
