// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/random/drop_condition.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

/// Which of n conditions a call drops.
template <class Scalar> std::vector<bool> dropped(fm::Rng& rng, double probability, Index n) {
  fm::Matrix<Scalar> c = fm::Matrix<Scalar>::Constant(2, n, 7);
  const fm::Matrix<Scalar> before = c;
  const Eigen::Matrix<Scalar, 2, 1> null(3, 0);
  fm::drop_condition(rng, probability, null, c);
  std::vector<bool> found;
  bool whole = true;
  for (Index j = 0; j < n; ++j) {
    found.push_back(c.col(j) == null);
    whole &= found.back() || c.col(j) == before.col(j);
  }
  CHECK(whole);
  return found;
}

}

TEMPLATE_TEST_CASE("conditions are dropped as often as asked, independently", "[data]", float, double) {
  fm::Rng rng(1);
  const Index n = 20000;
  for (double p : {0.1, 0.5, 0.9}) {
    const auto d = dropped<TestType>(rng, p, n);
    double count = 0, pairs = 0, apart = 0;  // pairs: beside each other; apart: at the same place of two chunks
    for (std::size_t j = 0; j < d.size(); ++j) {
      count += d[j];
      if (j >= 1) pairs += d[j] && d[j - 1];
      if (j >= 64) apart += d[j] && d[j - 64];
    }
    // Five standard deviations of a binomial count; neighbours overlap, which adds at most a factor sqrt(3).
    const double of_pairs = 5 * std::sqrt(3 * double(n) * p * p * (1 - p * p));
    CHECK(std::abs(count - double(n) * p) < 5 * std::sqrt(double(n) * p * (1 - p)));
    CHECK(std::abs(pairs - double(n) * p * p) < of_pairs);
    CHECK(std::abs(apart - double(n) * p * p) < of_pairs);
  }
  for (bool d : dropped<TestType>(rng, 0, 500)) CHECK_FALSE(d);
  for (bool d : dropped<TestType>(rng, 1, 500)) CHECK(d);
}

TEST_CASE("dropping conditions takes one uniform double for each column, in float and in double", "[data]") {
  for (Index n : {0, 1, 63, 64, 65, 300}) {
    fm::Rng a(2), b(2), c(2);
    const auto d = dropped<float>(a, 0.3, n);
    CHECK(d == dropped<double>(b, 0.3, n));
    const auto u = test::uniform<double>(c, n);
    for (Index j = 0; j < n; ++j) CHECK(d[std::size_t(j)] == (u(j) < 0.3));
    CHECK(a == c);
    CHECK(b == c);
  }
}

TEST_CASE("dropping conditions refuses what is none of its arguments and allocates nothing", "[data]") {
  fm::Rng rng(3);
  Eigen::MatrixXf c = Eigen::MatrixXf::Ones(2, 100);
  const Eigen::VectorXf null = Eigen::VectorXf::Zero(2), long_null = Eigen::VectorXf::Zero(3);
  const auto message = [&](double p, const Eigen::VectorXf& none) {
    return test::message_of<std::invalid_argument>([&] { fm::drop_condition(rng, p, none, c); });
  };
  CHECK(message(-0.1, null) == "flowmatch: drop_condition: expected probability in [0, 1], got -0.1");
  CHECK(message(1.5, null) == "flowmatch: drop_condition: expected probability in [0, 1], got 1.5");
  CHECK(message(std::numeric_limits<double>::quiet_NaN(), null).find("expected probability in [0, 1]") !=
        std::string::npos);
  CHECK(message(0.5, long_null) == "flowmatch: drop_condition: expected 2 rows in null, got 3");
  CHECK(c == Eigen::MatrixXf::Ones(2, 100));
  CHECK(rng == fm::Rng(3));
  CHECK(test::allocations_in([&] { fm::drop_condition(rng, 0.5, null, c); }) == 0);
}
