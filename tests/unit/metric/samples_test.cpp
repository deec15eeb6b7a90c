// SPDX-License-Identifier: MIT
#include "flowmatch/metric/samples.hpp"

#include <set>

#include "catch.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using fm::Index;

TEMPLATE_TEST_CASE("two subsets are disjoint columns of the data, in random order", "[sets]", float, double) {
  fm::Matrix<TestType> data(2, 11);
  for (Index j = 0; j < 11; ++j) data.col(j).setConstant(TestType(j));
  std::set<std::vector<TestType>> orders;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    fm::Rng rng(seed);
    const auto [a, b] = fm::disjoint_subsets(data, 5, rng);
    REQUIRE((a.rows() == 2 && a.cols() == 5 && b.rows() == 2 && b.cols() == 5));
    std::set<TestType> seen(a.row(1).begin(), a.row(1).end());
    seen.insert(b.row(1).begin(), b.row(1).end());
    CHECK(seen.size() == 10);
    orders.insert({a.row(0).begin(), a.row(0).end()});
  }
  CHECK(orders.size() > 15);  // of 55,440: 20 draws coincide with probability 0.3 %, let alone five times
}

TEST_CASE("two subsets depend on the random numbers alone", "[sets]") {
  fm::Matrix<double> data(3, 40);
  fm::Rng rng(1), one(2), same(2);
  fm::fill_normal(rng, data);
  CHECK(fm::disjoint_subsets(data, 20, one) == fm::disjoint_subsets(data, 20, same));
  CHECK(one == same);
}

TEST_CASE("two subsets need data for both", "[sets]") {
  fm::Rng rng(1);
  const fm::Matrix<float> data = fm::Matrix<float>::Zero(2, 5);
  REQUIRE_THROWS_MATCHES(fm::disjoint_subsets(data, 3, rng), std::invalid_argument,
                         Message("flowmatch: disjoint_subsets: expected data with at least 2 n = 6 columns, got 5"));
  REQUIRE_THROWS_MATCHES(fm::disjoint_subsets(data, 0, rng), std::invalid_argument,
                         Message("flowmatch: disjoint_subsets: expected n >= 1, got 0"));
}

TEST_CASE("the median is the middle number, or the mean of the two in the middle", "[sets]") {
  CHECK(fm::detail::median<double>({3}) == 3);
  CHECK(fm::detail::median<double>({4, 1}) == 2.5);
  CHECK(fm::detail::median<double>({9, 2, 5}) == 5);
  CHECK(fm::detail::median<double>({8, 1, 100, 2, 4, 4, 3, 5}) == 4);
  CHECK(fm::detail::median<double>({8, 1, 100, 2, 3, 5}) == 4);
}
