// SPDX-License-Identifier: MIT
// The simulator and the reference of the example `infer_epidemic`.
#include "../../examples/support/epidemic.hpp"

#include "../../examples/support/metropolis.hpp"
#include "catch.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

TEST_CASE("negative binomial numbers have the mean and variance asked for", "[examples]") {
  constexpr int n = 20000;
  const double mean = 30, k = 5;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {  // the inverse of the distribution function at the middles of n equal parts
    const double y = support::epidemic::negative_binomial(mean, k, (i + 0.5) / n);
    sum += y;
    squares += y * y;
  }
  CHECK_THAT(sum / n, WithinRel(mean, 0.001));
  CHECK_THAT(squares / n - mean * mean, WithinRel(mean + mean * mean / k, 0.02));  // the tail beyond 1 - 1 / 2n lacks
}

TEST_CASE("an epidemic starts with those infected and ends with few", "[examples]") {
  const Eigen::Vector4d theta = support::epidemic::prior_mean;
  const support::epidemic::Counts counts = support::epidemic::expected(theta);
  CHECK_THAT(counts.front(), WithinRel(2.0, 1e-9));
  CHECK(*std::max_element(counts.begin(), counts.end()) > 200);
  CHECK(counts.back() < 50);
}

TEST_CASE("Metropolis chains sample the density", "[examples]") {
  fm::Rng rng(1);
  Eigen::MatrixXd starts(2, 400);
  fm::fill_normal(rng, starts);
  const auto density = [](const Eigen::VectorXd& x) {  // mean (1, -2), deviations 0.5 and 3
    return -0.5 * (std::pow((x(0) - 1) / 0.5, 2) + std::pow((x(1) + 2) / 3, 2));
  };
  const Eigen::MatrixXd x =
      support::metropolis(density, starts, rng, {.chains = 100, .sweeps = 1200, .burn_in = 200, .keep_every = 20});
  REQUIRE(x.cols() == 5000);
  const Eigen::VectorXd mean = x.rowwise().mean();
  const Eigen::VectorXd deviation = (x.colwise() - mean).array().square().rowwise().mean().sqrt();
  CHECK_THAT(mean(0), WithinAbs(1, 0.05));  // 5000 samples, correlated: some 5 standard errors
  CHECK_THAT(mean(1), WithinAbs(-2, 0.3));
  CHECK_THAT(deviation(0), WithinRel(0.5, 0.07));
  CHECK_THAT(deviation(1), WithinRel(3.0, 0.07));
}
