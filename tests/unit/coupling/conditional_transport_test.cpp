// SPDX-License-Identifier: MIT
#include "flowmatch/coupling/conditional_transport.hpp"

#include <algorithm>
#include <limits>
#include <numbers>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;
using test::message_of;

namespace {

std::vector<Index> copy(std::span<const Index> pairs) { return {pairs.begin(), pairs.end()}; }

std::vector<Index> below(Index n, Index classes, fm::Rng& rng) {
  std::vector<Index> labels(static_cast<std::size_t>(n));
  fm::fill_below(rng, classes, labels);
  return labels;
}

/// The costs by their definition, for a permutation.
double total(const fm::Matrix<double>& x0, const fm::Matrix<double>& x1, const fm::Matrix<double>& c, double w,
             const std::vector<Index>& p) {
  double sum = 0;
  for (Index j = 0; j < x0.cols(); ++j) {
    const Index k = p[std::size_t(j)];
    sum += (x0.col(j) - x1.col(k)).squaredNorm() + w * (c.col(j) - c.col(k)).squaredNorm();
  }
  return sum;
}

/// Of all pairs, the share that costs no more than the pair of the same row on the diagonal.
double share(const fm::Matrix<double>& x0, const fm::Matrix<double>& x1, const fm::Matrix<double>& c, double w) {
  Index count = 0;
  for (Index i = 0; i < x0.cols(); ++i)
    for (Index j = 0; j < x0.cols(); ++j)
      count += (x0.col(i) - x1.col(j)).squaredNorm() + w * (c.col(i) - c.col(j)).squaredNorm() <=
               (x0.col(i) - x1.col(i)).squaredNorm();
  return double(count) / double(x0.cols() * x0.cols());
}

}

TEMPLATE_TEST_CASE("Transport within classes is the best permutation of each class", "[coupling]", float, double) {
  fm::Rng rng(1);
  const Index n = 120;
  const auto x0 = test::normal<TestType>(rng, 2, n), x1 = test::normal<TestType>(rng, 2, n);
  const std::vector<Index> labels = below(n, 3, rng);
  fm::ClassTransport<TestType> coupling;
  const std::vector<Index> pairs = copy(coupling(x0, x1, labels));
  fm::Matrix<TestType> c(2, n);  // the same classes as a condition
  for (Index j = 0; j < n; ++j) c.col(j) << TestType(labels[std::size_t(j)]) / 3, TestType(-1);
  REQUIRE(copy(coupling(x0, x1, c)) == pairs);
  std::vector<int> times(static_cast<std::size_t>(n));
  for (Index j = 0; j < n; ++j) {
    REQUIRE(labels[std::size_t(j)] == labels[std::size_t(pairs[std::size_t(j)])]);
    ++times[std::size_t(pairs[std::size_t(j)])];
  }
  REQUIRE(std::ranges::count(times, 1) == n);
  for (Index label = 0; label < 3; ++label) {
    std::vector<Index> members;
    for (Index j = 0; j < n; ++j)
      if (labels[std::size_t(j)] == label) members.push_back(j);
    const Index count = Index(members.size());
    fm::Matrix<TestType> a(2, count), b(2, count);
    for (Index k = 0; k < count; ++k) {
      a.col(k) = x0.col(members[std::size_t(k)]);
      b.col(k) = x1.col(members[std::size_t(k)]);
    }
    const std::vector<Index> alone = copy(fm::OptimalTransport<TestType>()(a, b));
    for (std::size_t k = 0; k < members.size(); ++k)
      REQUIRE(pairs[std::size_t(members[k])] == members[std::size_t(alone[k])]);
  }
}

TEST_CASE("Without conditions there is one class and conditions of their own leave each column alone", "[coupling]") {
  fm::Rng rng(2);
  const auto x0 = test::normal<float>(rng, 3, 50), x1 = test::normal<float>(rng, 3, 50);
  fm::ClassTransport<float> coupling;
  REQUIRE(copy(coupling(x0, x1, fm::Matrix<float>(0, 50))) == copy(fm::OptimalTransport<float>()(x0, x1)));
  const auto pairs = coupling(x0, x1, test::normal<float>(rng, 1, 50));
  for (Index j = 0; j < 50; ++j) REQUIRE(pairs[std::size_t(j)] == j);
}

TEST_CASE("The weight of the condition lets the given share of pairs be as cheap as the own one", "[coupling]") {
  fm::Rng rng(3);
  const auto x0 = test::normal<double>(rng, 2, 200), x1 = test::normal<double>(rng, 2, 200);
  const auto c = test::normal<double>(rng, 2, 200);
  for (const double ratio : {0.02, 0.05, 0.2}) {
    fm::ConditionalTransport<double> coupling({.ratio = ratio});
    coupling(x0, x1, c);
    // the weight is found to one part in a hundred, and the share falls no faster than it grows
    REQUIRE_THAT(share(x0, x1, c, coupling.weight()), WithinAbs(ratio, 0.02 * ratio));
    const double w = coupling.weight();
    coupling(x0, x1, 8 * c);
    REQUIRE_THAT(coupling.weight(), WithinRel(w / 64, 1e-9));
    coupling(8 * x0, 8 * x1, c);
    REQUIRE_THAT(coupling.weight(), WithinRel(w * 64, 1e-9));
  }
}

TEST_CASE("Conditional transport has the least total of distances and weighted conditions", "[coupling]") {
  fm::Rng rng(4);
  for (Index n = 2; n <= 8; ++n) {
    const auto x0 = test::normal<double>(rng, 2, n), x1 = test::normal<double>(rng, 2, n);
    const auto c = test::normal<double>(rng, 1, n);
    fm::ConditionalTransport<double> coupling({.ratio = 0.3});
    const std::vector<Index> pairs = copy(coupling(x0, x1, c));
    std::vector<Index> p(pairs);
    std::sort(p.begin(), p.end());
    double least = std::numeric_limits<double>::infinity();
    do least = std::min(least, total(x0, x1, c, coupling.weight(), p));
    while (std::next_permutation(p.begin(), p.end()));
    REQUIRE(total(x0, x1, c, coupling.weight(), pairs) <= least * (1 + 1e-12));
  }
}

TEST_CASE("Start points stay independent of the condition under conditional transport alone", "[coupling]") {
  // The angle on a circle and its cosine as the condition: transport pairs x0 with what lies in its direction, and so
  // start points with end points to the right lie to the right. Independent ones correlate by 1/sqrt(1000) = 0.03.
  fm::Rng rng(5);
  const Index n = 1000;
  const auto x0 = test::normal<float>(rng, 2, n);
  const auto turns = test::uniform<float>(rng, n);
  fm::Matrix<float> x1(2, n);
  for (Index j = 0; j < n; ++j) {
    x1(0, j) = std::cos(2 * std::numbers::pi_v<float> * turns(j));
    x1(1, j) = std::sin(2 * std::numbers::pi_v<float> * turns(j));
  }
  const fm::Matrix<float> c = x1.topRows(1);
  const auto correlation = [&](std::span<const Index> pairs) {
    double sum = 0, squares = 0;
    for (Index j = 0; j < n; ++j) {
      sum += double(x0(0, j)) * double(c(pairs[std::size_t(j)]));
      squares += double(c(j)) * double(c(j));
    }
    return sum / std::sqrt(squares * double(x0.row(0).squaredNorm()));
  };
  REQUIRE(correlation(fm::OptimalTransport{}(x0, x1)) > 0.8);
  REQUIRE(std::abs(correlation(fm::ConditionalTransport{}(x0, x1, c))) < 0.2);
}

TEST_CASE("Equal conditions leave optimal transport as it is", "[coupling]") {
  fm::Rng rng(6);
  const auto x0 = test::normal<double>(rng, 2, 60), x1 = test::normal<double>(rng, 2, 60);
  const fm::Matrix<double> c = fm::Matrix<double>::Constant(2, 60, 3.);
  const std::vector<Index> plain = copy(fm::OptimalTransport<double>()(x0, x1));
  REQUIRE(copy(fm::ConditionalTransport<double>()(x0, x1, c)) == plain);
  REQUIRE(copy(fm::ConditionalTransport<double>()(x0, x1, fm::Matrix<double>(0, 60))) == plain);
}

TEST_CASE("Conditions of few values are kept apart by conditional transport as well", "[coupling]") {
  fm::Rng rng(7);
  const auto x0 = test::normal<float>(rng, 2, 200), x1 = test::normal<float>(rng, 2, 200);
  const std::vector<Index> labels = below(200, 2, rng);
  fm::Matrix<float> c(1, 200);
  for (Index j = 0; j < 200; ++j) c(j) = float(labels[std::size_t(j)]);
  REQUIRE(copy(fm::ConditionalTransport{}(x0, x1, c)) == copy(fm::ClassTransport{}(x0, x1, labels)));
}

TEST_CASE("Conditional couplings that are used again allocate nothing", "[coupling]") {
  fm::Rng rng(8);
  const auto x0 = test::normal<float>(rng, 2, 256), x1 = test::normal<float>(rng, 2, 256);
  const auto c = test::normal<float>(rng, 1, 256);
  const std::vector<Index> few = below(256, 3, rng), many = below(256, 10, rng);
  fm::ConditionalTransport<float> conditional;
  fm::ClassTransport<float> classes;
  conditional(x0, x1, c);
  classes(x0, x1, few);
  REQUIRE(test::allocations_in([&] {
            conditional(x0, x1, c);
            classes(x0, x1, many);
          }) == 0);
}

TEST_CASE("What conditional couplings cannot pair is refused by name", "[coupling]") {
  fm::ConditionalTransport<float> conditional;
  fm::ClassTransport<float> classes;
  const fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3);
  fm::Matrix<float> c = fm::Matrix<float>::Zero(1, 3);
  REQUIRE(message_of<std::invalid_argument>([&] { conditional(x, x, c.leftCols(2)); }) ==
          "flowmatch: ConditionalTransport: expected 3 columns in c, got 2");
  REQUIRE(message_of<std::invalid_argument>([&] { conditional(x, x.leftCols(2), c); }) ==
          "flowmatch: ConditionalTransport: expected 3 columns in x1, got 2");
  REQUIRE(message_of<std::invalid_argument>([&] {
            classes(x, x, std::vector<Index>{1, 2});
          }) == "flowmatch: ClassTransport: expected 3 entries in labels, got 2");
  REQUIRE(message_of<std::invalid_argument>([&] { classes(x, x, c.leftCols(2)); }) ==
          "flowmatch: ClassTransport: expected 3 columns in c, got 2");
  c(1) = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(message_of<std::invalid_argument>([&] { conditional(x, x, c); }) ==
          "flowmatch: ConditionalTransport: expected finite numbers in c, got nan in row 0, column 1");
  REQUIRE(message_of<std::invalid_argument>([&] { classes(x, x, c); }) ==
          "flowmatch: ClassTransport: expected finite numbers in c, got nan in row 0, column 1");
  for (const double ratio : {0., 1., -1., std::numeric_limits<double>::quiet_NaN()})
    REQUIRE_THROWS_AS(fm::ConditionalTransport<float>({.ratio = ratio}), std::invalid_argument);
}
