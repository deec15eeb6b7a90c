// SPDX-License-Identifier: MIT
#include "flowmatch/coupling/entropic_transport.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "flowmatch/coupling/optimal_transport.hpp"
#include "support/allocations.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;
using test::message_of;

namespace {
std::vector<Index> copy(std::span<const Index> pairs) { return {pairs.begin(), pairs.end()}; }
}

TEMPLATE_TEST_CASE("Rows and columns of the entropic plan sum to one part of n", "[coupling]", float, double) {
  fm::Rng rng(1);
  for (const Index n : {1, 2, 65, 200})
    for (const double epsilon : {0.05, 0.5, 50.}) {
      const auto x0 = test::normal<TestType>(rng, 2, n), x1 = test::normal<TestType>(rng, 2, n);
      fm::EntropicTransport<TestType> coupling({.epsilon = epsilon, .max_iterations = 5000});
      coupling(x0, x1, rng);
      CAPTURE(n, epsilon, coupling.report().iterations);
      REQUIRE(coupling.report().converged);
      REQUIRE(coupling.report().marginal_error <= 1e-3);
      const auto plan = coupling.plan();
      REQUIRE(plan.minCoeff() >= 0);
      const double rounding = sizeof(TestType) == 4 ? 1e-4 : 1e-12;  // of sums of n exponentials of rounded costs
      REQUIRE((plan.colwise().sum().array() * TestType(n) - 1).abs().maxCoeff() < rounding);
      const double error = double((plan.rowwise().sum().array() - TestType(1) / TestType(n)).abs().sum());
      REQUIRE_THAT(error, WithinAbs(coupling.report().marginal_error, rounding));
    }
}

TEST_CASE("The entropic plan has the form of a product with the costs' exponential", "[coupling]") {
  // The only plan of the form a_i b_j exp(-c_ij / epsilon) with the right sums is the optimum. So log P + c / epsilon,
  // less that of its first row and column, is 0.
  fm::Rng rng(2);
  const Index n = 30;
  const auto x0 = test::normal<double>(rng, 3, n), x1 = test::normal<double>(rng, 3, n);
  const double epsilon = 0.3;
  fm::EntropicTransport<double> coupling({.epsilon = epsilon, .tolerance = 1e-10});
  coupling(x0, x1, rng);
  fm::Matrix<double> logarithm = coupling.plan().array().log();
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) logarithm(i, j) += (x0.col(i) - x1.col(j)).squaredNorm() / epsilon;
  for (Index i = 1; i < n; ++i)
    for (Index j = 1; j < n; ++j)
      REQUIRE_THAT(logarithm(i, j) - logarithm(i, 0) - logarithm(0, j) + logarithm(0, 0), WithinAbs(0, 1e-9));
}

TEST_CASE("Little entropy gives optimal transport and much gives independent pairs", "[coupling]") {
  fm::Rng rng(3);
  fm::Matrix<double> x0(1, 40), x1(1, 40);
  for (Index j = 0; j < 40; ++j) {
    x0(j) = double(j);
    x1((7 * j + 3) % 40) = double(j) + 0.3;
  }
  fm::EntropicTransport<double> little({.epsilon = 0.05});
  REQUIRE(copy(little(x0, x1, rng)) == copy(fm::OptimalTransport<double>()(x0, x1)));
  fm::EntropicTransport<double> much({.epsilon = 1e7});
  much(x0, x1, rng);
  REQUIRE((much.plan().array() * 1600 - 1).abs().maxCoeff() < 1e-3);
}

TEST_CASE("Columns are drawn with the probabilities of the plan", "[coupling]") {
  fm::Rng rng(4);
  const Index n = 5, draws = 20000;
  const auto x0 = test::normal<float>(rng, 2, n), x1 = test::normal<float>(rng, 2, n);
  fm::EntropicTransport<float> coupling({.epsilon = 1, .tolerance = 1e-6});
  fm::Matrix<double> counts = fm::Matrix<double>::Zero(n, n);
  for (Index k = 0; k < draws; ++k) {
    const auto pairs = coupling(x0, x1, rng);
    for (Index i = 0; i < n; ++i) counts(i, pairs[std::size_t(i)]) += 1;
  }
  const fm::Matrix<float> plan = coupling.plan();
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) {
      const double p = double(n) * double(plan(i, j));  // within five deviations of a binomial
      REQUIRE_THAT(counts(i, j) / double(draws), WithinAbs(p, 5 * std::sqrt(p * (1 - p) / double(draws)) + 1e-6));
    }
}

TEST_CASE("The report tells when the iteration was too short", "[coupling]") {
  fm::Rng rng(5);
  const auto x0 = test::normal<float>(rng, 2, 100), x1 = test::normal<float>(rng, 2, 100);
  double before = 2;
  for (const Index iterations : {1, 4, 16}) {
    fm::EntropicTransport<float> coupling({.epsilon = 0.05, .max_iterations = iterations});
    coupling(x0, x1, rng);
    REQUIRE(coupling.report().iterations == iterations);
    REQUIRE_FALSE(coupling.report().converged);
    REQUIRE(coupling.report().marginal_error < before);
    before = coupling.report().marginal_error;
  }
}

TEST_CASE("Entropic transport does not depend on where the points are nor on their units", "[coupling]") {
  fm::Rng rng(6);
  const auto x0 = test::normal<double>(rng, 2, 50), x1 = test::normal<double>(rng, 2, 50);
  const auto plan = [&](const fm::Matrix<double>& a, const fm::Matrix<double>& b, double epsilon) {
    fm::Rng same(1);
    fm::EntropicTransport<double> coupling({.epsilon = epsilon});
    coupling(a, b, same);
    return coupling.plan();
  };
  const fm::Matrix<double> expected = plan(x0, x1, 0.2), moved = x1.array() + 100;
  REQUIRE(plan(1024 * x0, 1024 * x1, 0.2 * 1024 * 1024) == expected);  // a power of two: no rounding
  REQUIRE(test::largest(plan(x0, moved, 0.2) - expected) < 1e-12);
}

TEST_CASE("Entropic transport that is used again allocates nothing", "[coupling]") {
  fm::Rng rng(7);
  const auto x0 = test::normal<float>(rng, 2, 128), x1 = test::normal<float>(rng, 2, 128);
  fm::EntropicTransport<float> coupling;
  fm::Rng first(1), second(1);
  const std::vector<Index> pairs = copy(coupling(x0, x1, first));
  std::vector<Index> again(128);
  REQUIRE(test::allocations_in([&] { std::ranges::copy(coupling(x0, x1, second), again.begin()); }) == 0);
  REQUIRE(again == pairs);
  REQUIRE(first == second);
}

TEST_CASE("Entropic transport refuses options and points out of range by name", "[coupling]") {
  fm::Rng rng(8);
  const fm::Matrix<float> x = fm::Matrix<float>::Zero(2, 3);
  using Coupling = fm::EntropicTransport<float>;
  REQUIRE(message_of<std::invalid_argument>([&] { Coupling()(x, x.leftCols(2), rng); }) ==
          "flowmatch: EntropicTransport: expected 3 columns in x1, got 2");
  REQUIRE(message_of<std::invalid_argument>([&] { Coupling({.epsilon = 0}); }) ==
          "flowmatch: EntropicTransport: expected options.epsilon > 0, got 0");
  REQUIRE(message_of<std::invalid_argument>([&] { Coupling({.max_iterations = 0}); }) ==
          "flowmatch: EntropicTransport: expected options.max_iterations >= 1, got 0");
  REQUIRE(message_of<std::invalid_argument>([&] { Coupling({.tolerance = -1}); }) ==
          "flowmatch: EntropicTransport: expected options.tolerance > 0, got -1");
  fm::Matrix<float> apart = x;
  apart.col(0).setConstant(3);  // squared distances up to 18
  REQUIRE(message_of<std::invalid_argument>([&] { Coupling({.epsilon = 1e-6})(apart, apart, rng); }) ==
          "flowmatch: EntropicTransport: options.epsilon, 1e-06, is too small for squared distances of 18");
}
