// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <flowmatch/ode/grid.hpp>
#include <flowmatch/ode/integrate.hpp>

#include "catch.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using test::message_of;

TEST_CASE("every grid rises strictly from exactly 0 to exactly 1, and integrate takes it as it is", "[ode]") {
  for (const fm::Index steps : {1, 2, 3, 10, 1000})
    for (const auto& grid : {fm::uniform_grid(steps), fm::quadratic_grid(steps), fm::cosine_grid(steps),
                             fm::shifted_grid(steps, 3), fm::shifted_grid(steps, 0.2)}) {
      REQUIRE(grid.size() == std::size_t(steps) + 1);
      CHECK(grid.front() == 0);
      CHECK(grid.back() == 1);
      CHECK(fm::time_grid({.grid = grid}) == grid);  // which throws if it does not rise
    }
}

TEST_CASE("the grids are their formulas", "[ode]") {
  CHECK(fm::uniform_grid(10) == fm::time_grid({.steps = 10}));
  CHECK(fm::quadratic_grid(4) == std::vector<double>{0, 1. / 16, 1. / 4, 9. / 16, 1});
  const auto cosine = fm::cosine_grid(6);
  for (std::size_t i = 0; i <= 6; ++i) CHECK_THAT(cosine[i] + cosine[6 - i], WithinAbs(1, 1e-15));  // both ends alike
  CHECK_THAT(cosine[2], WithinAbs(0.25, 1e-15));
  CHECK_THAT(cosine[3], WithinAbs(0.5, 1e-15));
  CHECK(fm::shifted_grid(7, 1) == fm::uniform_grid(7));
  // t / (1 - t), the ratio of data to noise, is divided by the shift
  const auto shifted = fm::shifted_grid(8, 3);
  for (std::size_t i = 1; i < 8; ++i) {
    const double u = double(i) / 8;
    CHECK_THAT(shifted[i] / (1 - shifted[i]) * 3, WithinAbs(u / (1 - u), 1e-14));
  }
  const auto longer = fm::shifted_grid(8, 1. / 3);  // the other way, mirrored
  for (std::size_t i = 0; i <= 8; ++i) CHECK_THAT(longer[i] + shifted[8 - i], WithinAbs(1, 1e-15));
}

TEST_CASE("a grid of no steps, or shifted by what is not positive, is refused", "[ode]") {
  const auto invalid = [](const auto& f) { return message_of<std::invalid_argument>(f); };
  CHECK(invalid([] { fm::cosine_grid(0); }) == "flowmatch: cosine_grid: expected steps >= 1, got 0");
  CHECK(invalid([] { fm::shifted_grid(3, 0); }) == "flowmatch: shifted_grid: expected shift > 0, got 0");
  CHECK(invalid([] { fm::shifted_grid(3, -1); }) == "flowmatch: shifted_grid: expected shift > 0, got -1");
}
