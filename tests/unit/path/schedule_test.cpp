// SPDX-License-Identifier: MIT
// Schedules: ends, derivatives against finite differences, the direction of both coefficients.
#include <cmath>
#include <flowmatch/path/further_schedules.hpp>
#include <flowmatch/path/path.hpp>
#include <string>

#include "catch.hpp"
#include "support/finite_difference.hpp"
#include "support/message.hpp"
#include "support/schedules.hpp"

namespace fm = flowmatch;

using test::for_each_schedule;

TEST_CASE("each schedule's derivatives are those of its coefficients", "[path]") {
  for_each_schedule([](const char* name, const auto& schedule) {
    for (const double t : {0.02, 0.1, 0.37, 0.5, 0.8, 0.98}) {
      INFO(name << " at t = " << t);
      const auto s = schedule(t);
      const double h = 1.0 / 128;  // stays off the ends
      const double alpha_dot = test::derivative_at_zero([&](double d) { return schedule(t + d).alpha; }, h);
      const double sigma_dot = test::derivative_at_zero([&](double d) { return schedule(t + d).sigma; }, h);
      // good to 1e-11 where the functions are tame; at t = 0.98 the root in sigma varies over 0.02, 2.6 steps
      CHECK(std::abs(s.alpha_dot - alpha_dot) < 1e-8 * (1 + std::abs(alpha_dot)));
      CHECK(std::abs(s.sigma_dot - sigma_dot) < 1e-6 * (1 + std::abs(sigma_dot)));
      if (t < 0.9) CHECK(std::abs(s.sigma_dot - sigma_dot) < 1e-9 * (1 + std::abs(sigma_dot)));
    }
  });
}

TEST_CASE("each schedule goes from noise to data", "[path]") {
  for_each_schedule([](const char* name, const auto& schedule) {
    INFO(name);
    const auto first = schedule(0.0), last = schedule(1.0);
    const bool diffusion = std::string(name) == "variance-preserving", rest = std::string(name) == "Lipman";
    CHECK(std::abs(first.alpha) <= (diffusion ? 0.0066 : 0));  // exp(-(19.9 / 2 + 0.1) / 2) = 0.00657
    CHECK(first.sigma <= 1);
    CHECK(first.sigma >= (diffusion ? 0.9999 : 1));
    CHECK(last.alpha == 1);
    CHECK(last.sigma == (rest ? 1 - (1 - 1e-4) : 0));
    CHECK(schedule(1.0f).sigma >= 0);
    CHECK(double(schedule(1.0f).sigma) <= (rest ? 1.1e-4 : 0));
  });
}

TEMPLATE_TEST_CASE("alpha rises, sigma falls, and both with their derivatives tell start and end at every time",
                   "[path]", float, double) {
  for_each_schedule([](const char* name, const auto& schedule) {
    auto before = schedule(TestType(0));
    for (int k = 0; k <= 256; ++k) {
      const auto s = schedule(TestType(k) / 256);
      INFO(name << " at t = " << k << " / 256");
      CHECK((fm::is_finite(s.alpha_dot) && fm::is_finite(s.sigma_dot)));
      CHECK((s.alpha_dot >= 0 && s.sigma_dot <= 0));
      CHECK(s.alpha_dot * s.sigma - s.alpha * s.sigma_dot > 0);
      if (k > 0) CHECK((s.alpha >= before.alpha && s.sigma <= before.sigma));
      before = s;
    }
  });
}

TEST_CASE("variance-preserving schedules keep the sum of squares at 1", "[path]") {
  for (const double t : {0.0, 0.2, 0.7, 1.0}) {
    const auto check = [](const auto& s) { CHECK(std::abs(s.alpha * s.alpha + s.sigma * s.sigma - 1) < 1e-15); };
    check(fm::VariancePreservingSchedule{}(t));
    check(fm::LinearVariancePreservingSchedule{}(t));
    check(fm::CosineSchedule{}(t));
  }
}

TEST_CASE("derivatives that are infinite or tell nothing are held at the documented end", "[path]") {
  CHECK(fm::LinearVariancePreservingSchedule{.end = 0.01}(1.0).sigma_dot == -100);
  CHECK(std::abs(fm::VariancePreservingSchedule{.end = 0.01}(1.0).sigma_dot + 0.1 / (2 * 0.01)) < 1e-12);
  CHECK(fm::PolynomialSchedule{.exponent = 3, .start = 0.1}(0.0).alpha_dot == 3 * std::pow(0.1, 2.0));
}

TEST_CASE("schedules refuse options out of range", "[path]") {
  const auto message = [](const auto& schedule) {
    return test::message_of<std::invalid_argument>([&] { (void)schedule(0.5); });
  };
  CHECK(message(fm::PolynomialSchedule{.exponent = 0.5}) ==
        "flowmatch: PolynomialSchedule: expected exponent >= 1, got 0.5");
  CHECK(message(fm::PolynomialSchedule{.start = 0}) == "flowmatch: PolynomialSchedule: expected start > 0, got 0");
  CHECK(message(fm::VariancePreservingSchedule{.low = 0}) ==
        "flowmatch: VariancePreservingSchedule: expected low > 0, got 0");
  CHECK(message(fm::VariancePreservingSchedule{.low = 2, .high = 1}) ==
        "flowmatch: VariancePreservingSchedule: expected high >= 2, got 1");
  CHECK(message(fm::LinearVariancePreservingSchedule{.end = NAN}) ==
        "flowmatch: LinearVariancePreservingSchedule: expected end > 0, got nan");
  CHECK(message(fm::LipmanSchedule{.sigma_min = 1}) ==
        "flowmatch: LipmanSchedule: expected sigma_min in [0, 1), got 1");
  CHECK(message(fm::BalancedSchedule{.smallest = 0}) == "flowmatch: BalancedSchedule: expected smallest > 0, got 0");
  CHECK(message(fm::BalancedSchedule{.smallest = 2}) ==
        "flowmatch: BalancedSchedule: expected 1 - smallest >= 0, got -1");
  CHECK(message(fm::BalancedSchedule{.largest = 0.5}) == "flowmatch: BalancedSchedule: expected largest >= 1, got 0.5");
  CHECK(message(fm::BalancedSchedule{.smallest = 1, .largest = 1}) ==
        "flowmatch: BalancedSchedule: expected largest - smallest > 0, got 0");
}

TEST_CASE("a balanced schedule gives each scale its share of the times, and is the linear one for scales of 1",
          "[path]") {
  const fm::BalancedSchedule balanced{.smallest = 1e-3, .largest = 10};
  for (const double t : {0.1, 0.35, 0.6, 0.9}) {
    const auto s = balanced(t);
    const double r = s.alpha / s.sigma;
    double mean = 0;  // of the linear time of a scale, s r / (1 + s r), by the midpoint rule
    for (int k = 0; k < 2000; ++k) {
      const double scale = 1e-3 * std::pow(1e4, (k + 0.5) / 2000);
      mean += scale * r / (1 + scale * r) / 2000;
    }
    CHECK(std::abs(mean - t) < 1e-6);
    CHECK(std::abs(s.alpha - (std::pow(10, t) - std::pow(1e-3, t)) / (10 - 1e-3)) < 1e-14);
    CHECK(std::abs(s.sigma - (10 * std::pow(1e-3, t) - 1e-3 * std::pow(10, t)) / (10 - 1e-3)) < 1e-14);
    const auto nearly = fm::BalancedSchedule{.smallest = 1 - 1e-6, .largest = 1}(t);
    CHECK(std::abs(nearly.alpha - t) < 1e-6);
    CHECK(std::abs(nearly.sigma_dot + 1) < 2e-6);
  }
}
