// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/train/learning_rate.hpp>
#include <stdexcept>

#include "catch.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinRel;
using fm::Index;

TEST_CASE("a warm-up grows by equal steps to its peak and stays there", "[train]") {
  const fm::WarmupRate rate{.peak = 0.5, .warmup = 4};
  CHECK(rate(0) == 0.125);  // never 0: the first step counts
  CHECK(rate(1) == 0.25);
  CHECK(rate(2) == 0.375);
  CHECK(rate(3) == 0.5);
  CHECK(rate(4) == 0.5);
  CHECK(rate(1000000) == 0.5);
}

TEST_CASE("without warm-up the rate is constant", "[train]") {
  const fm::WarmupRate rate{.peak = 0.5};
  for (Index k : {0, 1, 100}) CHECK(rate(k) == 0.5);
  CHECK(fm::WarmupRate{.peak = 0.5, .warmup = 1}(0) == 0.5);
}

TEST_CASE("a cosine falls from its peak over half to 0 and stays there", "[train]") {
  const fm::CosineRate rate{.peak = 2, .steps = 100};
  CHECK(rate(0) == 2);
  CHECK_THAT(rate(25), WithinRel(1 + std::sqrt(0.5), 1e-14));
  CHECK_THAT(rate(50), WithinRel(1, 1e-14));  // cos(pi / 2) is 6e-17
  CHECK_THAT(rate(75), WithinRel(1 - std::sqrt(0.5), 1e-14));
  CHECK(rate(99) > 0);
  CHECK(rate(100) == 0);
  CHECK(rate(101) == 0);
  CHECK(rate(1000000) == 0);
  for (Index k = 0; k < 100; ++k) CHECK(rate(k + 1) < rate(k));
}

TEST_CASE("a cosine with warm-up is the product of both", "[train]") {
  const fm::CosineRate rate{.peak = 1, .warmup = 10, .steps = 40};
  const fm::CosineRate cosine{.peak = 1, .steps = 40};
  for (Index k = 0; k <= 45; ++k) CHECK_THAT(rate(k), WithinRel(cosine(k) * fm::WarmupRate{1, 10}(k), 1e-14));
  CHECK_THAT(rate(0), WithinRel(0.1, 1e-14));
  CHECK_THAT(rate(20), WithinRel(0.5, 1e-14));
}

TEST_CASE("a cosine refuses to have no steps", "[train]") {
  const auto message = [](Index steps) {
    return test::message_of<std::invalid_argument>([&] { (void)fm::CosineRate{.steps = steps}(0); });
  };
  CHECK(message(0) == "flowmatch: CosineRate: expected steps >= 1, got 0");
  CHECK(message(-5) == "flowmatch: CosineRate: expected steps >= 1, got -5");
  CHECK(fm::CosineRate{.peak = 3, .steps = 1}(0) == 3);
  CHECK(fm::CosineRate{.peak = 3, .steps = 1}(1) == 0);
}
