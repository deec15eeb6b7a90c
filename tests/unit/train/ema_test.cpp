// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/random/random.hpp>
#include <flowmatch/train/ema.hpp>
#include <limits>

#include "catch.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

TEMPLATE_TEST_CASE("the average of a constant approaches it by the product of the decays", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(50);
  const fm::Vector<Scalar> start = test::normal<Scalar>(rng, 20, 1), rest = test::normal<Scalar>(rng, 20, 1);
  fm::Ema ema(start, {.decay = 0.9});
  CHECK(ema.parameters() == start);
  double product = 1;
  for (int k = 1; k <= 200; ++k) {
    ema.update(rest);
    product *= k < 81 ? k / (k + 9.0) : 0.9;  // k / (k + 9) reaches 0.9 at k = 81
    const fm::Vector<Scalar> want = rest + Scalar(product) * (start - rest);
    // each update rounds to epsilon, and the errors before shrink with the average
    CHECK(test::largest(ema.parameters() - want) <= 20 * std::numeric_limits<Scalar>::epsilon());
  }
}

TEMPLATE_TEST_CASE("the average is the weighted sum of all parameters it has seen", "[train]", float, double) {
  using Scalar = TestType;
  for (double decay : {0.0, 0.5, 0.99}) {
    fm::Rng rng(51);
    const fm::Vector<Scalar> start = test::normal<Scalar>(rng, 5, 1);
    fm::Ema ema(start, {.decay = decay});
    // weights: of the k-th, (1 - d_k) times all later d; computed forward in double
    Eigen::VectorXd want = start.template cast<double>();
    for (int k = 1; k <= 50; ++k) {
      const fm::Vector<Scalar> p = test::normal<Scalar>(rng, 5, 1);
      ema.update(p);
      const double d = std::min(decay, k / (k + 9.0));
      want = d * want + (1 - d) * p.template cast<double>();
      CHECK(test::largest(ema.parameters().template cast<double>() - want) <=
            20 * double(std::numeric_limits<Scalar>::epsilon()));
      if (decay == 0)  // then it is the last parameters
        CHECK(test::largest(ema.parameters() - p) <= 4 * std::numeric_limits<Scalar>::epsilon());
    }
  }
}

TEMPLATE_TEST_CASE("the start is soon forgotten, whatever the decay", "[train]", float, double) {
  using Scalar = TestType;
  fm::Ema ema(fm::Vector<Scalar>::Constant(1, 1), {.decay = 0.9999});
  const fm::Vector<Scalar> zero = fm::Vector<Scalar>::Zero(1);
  for (int k = 0; k < 10; ++k) ema.update(zero);
  CHECK(std::abs(ema.parameters()(0)) < Scalar(2e-5));  // 10! 9! / 19! = 1.08e-5; without warm start 0.999
}

TEMPLATE_TEST_CASE("the average of a net becomes a net again", "[train]", float, double) {
  fm::Rng rng(52);
  fm::VelocityMlp<TestType> net({.dim = 2, .hidden = {4}}, rng);
  fm::Ema ema(net.parameters());
  net.parameters().setZero();
  ema.update(net.parameters());
  fm::VelocityMlp<TestType> averaged = net;
  averaged.set_parameters(ema.parameters());
  CHECK(averaged.parameters() == ema.parameters());
  CHECK(net.parameters().isZero(0));
}

TEMPLATE_TEST_CASE("an average refuses a decay out of range and another number of parameters", "[train]", float,
                   double) {
  using Scalar = TestType;
  const fm::Vector<Scalar> p = fm::Vector<Scalar>::Ones(3);
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  CHECK(message([&] { fm::Ema ema(p, {.decay = 1}); }) == "flowmatch: Ema: expected options.decay in [0, 1), got 1");
  CHECK(message([&] { fm::Ema ema(p, {.decay = -0.5}); }) ==
        "flowmatch: Ema: expected options.decay in [0, 1), got -0.5");
  CHECK(message([&] { fm::Ema ema(p, {.decay = NAN}); }) ==
        "flowmatch: Ema: expected options.decay in [0, 1), got nan");
  fm::Ema ema(p);
  const fm::Vector<Scalar> other = fm::Vector<Scalar>::Ones(4);
  CHECK(message([&] { ema.update(other); }) == "flowmatch: Ema::update: expected 3 entries in parameters, got 4");
  CHECK(ema.parameters() == p);
}
