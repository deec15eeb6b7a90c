// SPDX-License-Identifier: MIT
#include "flowmatch/assignment/assignment.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "catch.hpp"
#include "flowmatch/random/random.hpp"
#include "support/largest.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using Catch::Matchers::WithinRel;
using fm::Index;

namespace {

template <class Scalar> double total(const fm::Matrix<Scalar>& cost, const std::vector<Index>& column) {
  double sum = 0;
  for (Index i = 0; i < cost.rows(); ++i) sum += double(cost(i, column[std::size_t(i)]));
  return sum;
}

bool is_permutation_of_columns(std::vector<Index> column, Index n) {
  std::sort(column.begin(), column.end());
  for (Index i = 0; i < Index(column.size()); ++i)
    if (column[std::size_t(i)] != i) return false;
  return Index(column.size()) == n;
}

template <class Scalar> double least_total_by_trying_all(const fm::Matrix<Scalar>& cost) {
  std::vector<Index> p(std::size_t(cost.rows()));
  std::iota(p.begin(), p.end(), Index(0));
  double least = std::numeric_limits<double>::infinity();
  do least = std::min(least, total(cost, p));
  while (std::next_permutation(p.begin(), p.end()));
  return least;
}

template <class Scalar> void require_optimal(const fm::Matrix<Scalar>& cost) {
  const std::vector<Index> column = fm::solve_assignment(cost);
  REQUIRE(is_permutation_of_columns(column, cost.rows()));
  const double least = least_total_by_trying_all(cost), found = total(cost, column);
  CAPTURE(cost);
  REQUIRE(found <= least + 1e-14 * double(cost.rows()) * double(test::largest(cost)));
}

double point(Index k, Index seed) { return double((2654435 * k * k + 40503 * k + 977 * seed) % 65521) / 4096 - 8; }

template <class Scalar> fm::Matrix<Scalar> golden_cost(const std::string& kind, Index n, Index seed) {
  fm::Matrix<Scalar> c(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) {
      if (kind == "distance") {
        const double a = point(2 * i, seed) - point(2 * n + 2 * j, seed);
        const double b = point(2 * i + 1, seed) - point(2 * n + 2 * j + 1, seed);
        c(i, j) = Scalar(a * a + b * b);
      } else {
        c(i, j) = Scalar((7919 * i * i + 104729 * j * j + 31337 * i * j + seed) % (kind == "tied" ? 5 : 10007));
      }
    }
  return c;
}

}

TEMPLATE_TEST_CASE("An assignment is as cheap as the best of all permutations", "[assignment]", float, double) {
  fm::Rng rng(7);
  for (Index n = 1; n <= 7; ++n)
    for (int repeat = 0; repeat < 40; ++repeat) {
      fm::Matrix<TestType> cost(n, n);
      fm::fill_normal(rng, cost);
      require_optimal(cost);
    }
  fm::Matrix<TestType> cost(8, 8);
  for (int repeat = 0; repeat < 5; ++repeat) {
    fm::fill_uniform(rng, cost);
    require_optimal(cost);
  }
  fm::Matrix<TestType> nine(9, 9);
  fm::fill_normal(rng, nine);
  require_optimal(nine);
}

TEMPLATE_TEST_CASE("Ties do not mislead the assignment", "[assignment]", float, double) {
  fm::Rng rng(8);
  for (const Index values : {1, 2, 3, 5})
    for (Index n = 1; n <= 7; ++n)
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<Index> drawn(std::size_t(n * n));
        fm::fill_below(rng, values, drawn);
        fm::Matrix<TestType> cost(n, n);
        for (Index k = 0; k < n * n; ++k) cost(k) = TestType(drawn[std::size_t(k)]) - 1;
        require_optimal(cost);
      }
}

TEMPLATE_TEST_CASE("Degenerate costs are assigned as cheaply as possible", "[assignment]", float, double) {
  const Index n = 7;
  const fm::Vector<TestType> ramp = fm::Vector<TestType>::LinSpaced(n, 0, 6);
  fm::Matrix<TestType> same_rows = ramp.transpose().replicate(n, 1), rank_one = ramp * ramp.transpose();
  require_optimal(same_rows);
  require_optimal<TestType>(same_rows.transpose());
  require_optimal(rank_one);
  require_optimal<TestType>(-rank_one);
  require_optimal<TestType>(fm::Matrix<TestType>::Identity(n, n));
  require_optimal<TestType>(-fm::Matrix<TestType>::Identity(n, n));
  require_optimal<TestType>(fm::Matrix<TestType>::Constant(n, n, TestType(-0.0)));
}

TEMPLATE_TEST_CASE("The scale of the costs, up to the ends of the type, does not change the assignment", "[assignment]",
                   float, double) {
  using limits = std::numeric_limits<TestType>;
  fm::Rng rng(9);
  for (int repeat = 0; repeat < 20; ++repeat) {
    fm::Matrix<TestType> cost(6, 6);
    fm::fill_uniform(rng, cost);
    cost.array() = (cost.array() * 256).floor() - 128;  // whole numbers, so that each scale below is exact
    const std::vector<Index> expected = fm::solve_assignment(cost);
    for (const TestType scale :
         {limits::denorm_min(), limits::min(), TestType(0x1p-60), TestType(0x1p60), limits::max() / 256})
      REQUIRE(fm::solve_assignment<TestType>(cost * scale) == expected);
  }
  fm::Matrix<TestType> extreme = fm::Matrix<TestType>::Constant(3, 3, limits::max());
  extreme(0, 2) = extreme(1, 0) = extreme(2, 1) = limits::lowest();
  REQUIRE(fm::solve_assignment(extreme) == std::vector<Index>{2, 0, 1});
}

TEMPLATE_TEST_CASE("Large offsets of rows and columns leave the optimal pairs alone", "[assignment]", float, double) {
  fm::Rng rng(10);
  std::vector<Index> drawn(36);
  for (int repeat = 0; repeat < 20; ++repeat) {
    fm::Matrix<TestType> cost(6, 6);
    fm::fill_below(rng, 8, drawn);
    for (Index k = 0; k < 36; ++k) cost(k) = TestType(drawn[std::size_t(k)]);
    for (Index k = 0; k < 6; ++k) {
      cost.row(k).array() += TestType(100000 * k);
      cost.col(k).array() += TestType(300000 * (k % 3));
    }
    require_optimal(cost);
  }
}

TEMPLATE_TEST_CASE("Totals equal those of SciPy for up to 300 rows", "[assignment]", float, double) {
  std::ifstream file(FLOWMATCH_GOLDEN_DIR "/assignment.txt");
  std::string kind;
  Index n, seed, problems = 0;
  double expected;
  for (; file >> kind >> n >> seed >> expected; ++problems) {
    CAPTURE(kind, n, seed);
    const fm::Matrix<TestType> cost = golden_cost<TestType>(kind, n, seed);
    const std::vector<Index> column = fm::solve_assignment(cost);
    REQUIRE(is_permutation_of_columns(column, n));
    // Whole numbers are exact; squared distances are rounded to float on the way in.
    const double tolerance = kind == "distance" ? 2 * double(std::numeric_limits<TestType>::epsilon()) : 0;
    REQUIRE_THAT(total(cost, column), WithinRel(expected, tolerance));
  }
  REQUIRE(problems == 42);
}

TEST_CASE("An assignment of no rows is empty and one of one row is that row", "[assignment]") {
  REQUIRE(fm::solve_assignment(fm::Matrix<float>(0, 0)).empty());
  REQUIRE(fm::solve_assignment<double>(fm::Matrix<double>::Constant(1, 1, -3)) == std::vector<Index>{0});
}

TEST_CASE("Equal costs by the thousand are assigned without searching through the ties", "[assignment]") {
  // About n^2 steps, a fraction of a second. Were free rows not preferred among equals, there would be n^3 / 2.
  const fm::Matrix<float> cost = fm::Matrix<float>::Zero(4000, 4000);
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(is_permutation_of_columns(fm::solve_assignment(cost), 4000));
  REQUIRE(std::chrono::steady_clock::now() - start < std::chrono::seconds(8));
}

TEST_CASE("Costs that are not square or not finite are refused by name", "[assignment]") {
  fm::Matrix<float> cost = fm::Matrix<float>::Zero(3, 3);
  REQUIRE_THROWS_MATCHES(fm::solve_assignment<float>(cost.topRows(2)), std::invalid_argument,
                         Message("flowmatch: solve_assignment: expected 2 columns in cost, got 3"));
  cost(2, 1) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(
      fm::solve_assignment(cost), std::invalid_argument,
      Message("flowmatch: solve_assignment: expected finite numbers in cost, got nan in row 2, column 1"));
  cost(2, 1) = -std::numeric_limits<float>::infinity();
  REQUIRE_THROWS_MATCHES(
      fm::solve_assignment(cost), std::invalid_argument,
      Message("flowmatch: solve_assignment: expected finite numbers in cost, got -inf in row 2, column 1"));
}
