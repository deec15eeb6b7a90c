// SPDX-License-Identifier: MIT
#include "flowmatch/coupling/optimal_transport.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "flowmatch/data/toy.hpp"
#include "flowmatch/random/draw.hpp"
#include "support/allocations.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinRel;
using fm::Index;
using test::message_of;

namespace {

std::vector<Index> copy(std::span<const Index> pairs) { return {pairs.begin(), pairs.end()}; }

bool is_permutation_below(std::vector<Index> pairs, Index n) {
  std::sort(pairs.begin(), pairs.end());
  for (Index i = 0; i < Index(pairs.size()); ++i)
    if (pairs[std::size_t(i)] != i) return false;
  return Index(pairs.size()) == n;
}

template <class Scalar>
double total(const fm::Matrix<Scalar>& x0, const fm::Matrix<Scalar>& x1, std::span<const Index> pairs) {
  double sum = 0;
  for (Index j = 0; j < x0.cols(); ++j)
    sum += (x0.col(j) - x1.col(pairs[std::size_t(j)])).template cast<double>().squaredNorm();
  return sum;
}

}

TEMPLATE_TEST_CASE("The pairs have the least total squared distance of all permutations", "[coupling]", float, double) {
  fm::Rng rng(1);
  fm::OptimalTransport<TestType> coupling;
  for (Index n = 1; n <= 8; ++n)
    for (const Index dim : {1, 2, 5}) {
      const auto x0 = test::normal<TestType>(rng, dim, n), x1 = test::normal<TestType>(rng, dim, n);
      const std::vector<Index> pairs = copy(coupling(x0, x1));
      REQUIRE(is_permutation_below(pairs, n));
      std::vector<Index> p(pairs);
      std::sort(p.begin(), p.end());
      double least = std::numeric_limits<double>::infinity();
      do least = std::min(least, total<TestType>(x0, x1, p));
      while (std::next_permutation(p.begin(), p.end()));
      REQUIRE(total<TestType>(x0, x1, pairs) <=
              least + 16 * double(std::numeric_limits<TestType>::epsilon()) * double(n) * least);
    }
}

TEST_CASE("In one dimension the pairs are those of the sorted points", "[coupling]") {
  fm::Rng rng(2);
  const auto x0 = test::normal<double>(rng, 1, 500), x1 = test::normal<double>(rng, 1, 500);
  const std::vector<Index> pairs = copy(fm::OptimalTransport<double>()(x0, x1));
  const auto rank = [](const fm::Matrix<double>& x, Index j) { return (x.array() < x(0, j)).count(); };
  for (Index j = 0; j < 500; ++j) REQUIRE(rank(x0, j) == rank(x1, pairs[std::size_t(j)]));
}

TEST_CASE("Points that are permuted and moved are found again by the pairs", "[coupling]") {
  fm::Rng rng(3);
  for (const Index dim : {2, 3, 64}) {
    const auto x0 = test::normal<float>(rng, dim, 300);
    fm::Matrix<float> x1(dim, 300);
    for (Index j = 0; j < 300; ++j) x1.col((7 * j + 5) % 300) = x0.col(j).array() + 3000.f;  // far from the origin
    const std::vector<Index> pairs = copy(fm::OptimalTransport<float>()(x0, x1));
    for (Index j = 0; j < 300; ++j) REQUIRE(pairs[std::size_t(j)] == (7 * j + 5) % 300);
  }
}

TEST_CASE("Totals of point sets equal those of SciPy for up to 2000 points", "[coupling]") {
  std::ifstream file(FLOWMATCH_GOLDEN_DIR "/transport.txt");
  Index n, dim, seed, problems = 0;
  double expected;
  for (; file >> n >> dim >> seed >> expected; ++problems) {
    CAPTURE(n, dim, seed);
    fm::Matrix<float> x0(dim, n), x1(dim, n);
    for (Index k = 0; k < n * dim; ++k) {
      const auto point = [&](Index i) { return float((2654435 * i * i + 40503 * i + 977 * seed) % 65521) / 4096 - 8; };
      x0(k) = point(k);
      x1(k) = point(n * dim + k) + 1;
    }
    const std::vector<Index> pairs = copy(fm::OptimalTransport<float>()(x0, x1));
    REQUIRE(is_permutation_below(pairs, n));
    // Float distances are rounded to 6e-8 of the largest, which is some times the mean.
    REQUIRE_THAT(total<float>(x0, x1, pairs), WithinRel(expected, 1e-6));
  }
  REQUIRE(problems == 12);
}

TEMPLATE_TEST_CASE("The scale of the points, up to the ends of the type, does not change the pairs", "[coupling]",
                   float, double) {
  using limits = std::numeric_limits<TestType>;
  fm::Rng rng(4);
  fm::Matrix<TestType> x0(2, 70), x1(2, 70);
  fm::fill_uniform(rng, x0);
  fm::fill_uniform(rng, x1);
  x0.array() = (x0.array() * 4096).floor() - 2048;  // whole numbers, so that each scale below is exact
  x1.array() = (x1.array() * 4096).floor() - 2048;
  fm::OptimalTransport<TestType> coupling;
  const std::vector<Index> expected = copy(coupling(x0, x1));
  for (const TestType scale :
       {limits::denorm_min(), limits::min(), TestType(0x1p-60), TestType(0x1p60), limits::max() / 4096})
    REQUIRE(copy(coupling(x0 * scale, x1 * scale)) == expected);
}

TEST_CASE("Points that are all the same get a permutation", "[coupling]") {
  const fm::Matrix<float> same = fm::Matrix<float>::Constant(3, 1000, 5.f);
  REQUIRE(is_permutation_below(copy(fm::OptimalTransport<float>()(same, same)), 1000));
  fm::Rng rng(5);
  fm::Matrix<float> few = test::normal<float>(rng, 2, 600);
  few.array() = few.array().round();  // some ten points, many times each
  const fm::Matrix<float> other = few.rowwise().reverse();
  const std::vector<Index> pairs = copy(fm::OptimalTransport<float>()(few, other));
  REQUIRE(is_permutation_below(pairs, 600));
  REQUIRE(total<float>(few, other, pairs) == 0);
}

TEST_CASE("A coupling that is used again gives what a new one gives and allocates nothing", "[coupling]") {
  fm::Rng rng(6);
  fm::OptimalTransport<float> coupling;
  const auto a = test::normal<float>(rng, 2, 256), b = test::normal<float>(rng, 2, 256);
  const auto c = test::normal<float>(rng, 3, 100), d = test::normal<float>(rng, 3, 100);
  const std::vector<Index> first = copy(coupling(a, b));
  std::vector<Index> small(100), again(256);
  const long allocations = test::allocations_in([&] {
    std::ranges::copy(coupling(c, d), small.begin());
    std::ranges::copy(coupling(a, b), again.begin());
  });
  REQUIRE(allocations == 0);
  REQUIRE(again == first);
  REQUIRE(small == copy(fm::OptimalTransport<float>()(c, d)));
  fm::OptimalTransport<float> copied = coupling;
  coupling(c, d);
  const auto [from, to] = copied.draw(rng, 5);  // the copy has a plan of its own
  for (std::size_t k = 0; k < 5; ++k) REQUIRE(to[k] == first[std::size_t(from[k])]);
}

TEST_CASE("Draws with replacement take pairs of the plan with equal chances", "[coupling]") {
  fm::Rng rng(7);
  fm::OptimalTransport<float> coupling;
  const auto x0 = test::normal<float>(rng, 2, 10), x1 = test::normal<float>(rng, 2, 10);
  const std::vector<Index> pairs = copy(coupling(x0, x1));
  const Index n = 10000;
  const auto [from, to] = coupling.draw(rng, n);
  REQUIRE(Index(from.size()) == n);
  std::vector<int> counts(10);
  for (std::size_t k = 0; k < std::size_t(n); ++k) {
    REQUIRE(to[k] == pairs[std::size_t(from[k])]);
    ++counts[std::size_t(from[k])];
  }
  for (const int count : counts) REQUIRE(std::abs(count - 1000) < 150);  // five deviations of 30
}

TEST_CASE("The coupling halves the mean squared distance from noise to moons", "[coupling]") {
  fm::Rng rng(8);
  const auto x0 = test::normal<float>(rng, 2, 512);
  const fm::Matrix<float> x1 = fm::toy::two_moons(rng, 512);
  fm::Matrix<float> reordered;
  fm::take_columns<float>(x1, fm::OptimalTransport{}(x0, x1), reordered);
  REQUIRE((x0 - reordered).squaredNorm() < 0.5f * (x0 - x1).squaredNorm());
}

TEST_CASE("Point sets that cannot be paired are refused by name", "[coupling]") {
  fm::OptimalTransport<float> coupling;
  fm::Rng rng(9);
  fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3);
  REQUIRE(message_of<std::invalid_argument>([&] { coupling.draw(rng, 1); }) ==
          "flowmatch: OptimalTransport::draw: there is no plan before the first call");
  REQUIRE(message_of<std::invalid_argument>([&] { coupling(x, x.leftCols(2)); }) ==
          "flowmatch: OptimalTransport: expected 3 columns in x1, got 2");
  REQUIRE(message_of<std::invalid_argument>([&] { coupling(x, x.topRows(1)); }) ==
          "flowmatch: OptimalTransport: expected 2 rows in x1, got 1");
  REQUIRE(message_of<std::invalid_argument>([&] { coupling(x.leftCols(0), x.leftCols(0)); }) ==
          "flowmatch: OptimalTransport: expected x0.cols() >= 1, got 0");
  fm::Matrix<float> bad = x;
  bad(1, 2) = std::numeric_limits<float>::infinity();
  REQUIRE(message_of<std::invalid_argument>([&] { coupling(x, bad); }) ==
          "flowmatch: OptimalTransport: expected finite numbers in x1, got inf in row 1, column 2");
  coupling(x, x);
  REQUIRE(message_of<std::invalid_argument>([&] { coupling.draw(rng, 0); }) ==
          "flowmatch: OptimalTransport::draw: expected n >= 1, got 0");
}

TEST_CASE("IndependentCoupling pairs each column with itself", "[coupling]") {
  const fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3);
  REQUIRE(copy(fm::IndependentCoupling{}(x, x)) == std::vector<Index>{0, 1, 2});
  REQUIRE(message_of<std::invalid_argument>([&] { fm::IndependentCoupling{}(x, x.leftCols(2)); }) ==
          "flowmatch: IndependentCoupling: expected 3 columns in x1, got 2");
  static_assert(fm::Coupling<fm::IndependentCoupling<float>, float> &&
                fm::Coupling<fm::OptimalTransport<double>, double>);
}
