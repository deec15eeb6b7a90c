// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/train/loss.hpp>
#include <flowmatch/train/optimizer.hpp>
#include <limits>
#include <string>

#include "catch.hpp"
#include "support/golden_net.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;

static_assert(fm::Optimizer<fm::Adam<float>, float> && fm::Optimizer<fm::Adam<double>, double>);
static_assert(fm::Optimizer<fm::AdamW<float>, float> && fm::Optimizer<fm::AdamW<double>, double>);
static_assert(fm::Optimizer<fm::Sgd<float>, float> && fm::Optimizer<fm::Sgd<double>, double>);

namespace {

/// Steps until p rests at the minimum of sum of curvature_i (p_i - target_i)^2 / 2; returns the largest distance.
template <class Optimizer, class Scalar>
Scalar minimise_quadratic(Optimizer optimizer, const fm::Vector<Scalar>& start, int steps, bool cool) {
  const Index n = start.size();
  const double rate = optimizer.options.learning_rate;
  fm::Vector<Scalar> p = start, target(n), curvature(n), gradient(n);
  for (Index i = 0; i < n; ++i) {
    target(i) = Scalar(i % 7) / 3 - 1;
    curvature(i) = 1 + Scalar(i % 5) / 4;
  }
  for (int k = 0; k < steps; ++k) {
    gradient = curvature.cwiseProduct(p - target);
    if (cool) optimizer.options.learning_rate = rate * (1 - double(k) / steps);
    optimizer.step(p, gradient);
  }
  return test::largest(p - target);
}

/// That a bad step throws the message and changes neither parameters nor the state: the next steps are those of an
/// optimiser that never saw it.
template <class Scalar, class Optimizer, class Break>
std::string refuses_and_stays(const Optimizer& fresh, fm::Vector<Scalar> parameters, fm::Vector<Scalar> gradient,
                              const Break& break_it) {
  Optimizer tried = fresh, never = fresh;
  fm::Vector<Scalar> p = parameters, q = parameters;
  tried.step(p, gradient);
  never.step(q, gradient);
  fm::Vector<Scalar> bad = gradient;
  const auto options = tried.options;
  break_it(tried.options, bad);
  const std::string message = test::message_of<std::invalid_argument>([&] { tried.step(p, bad); });
  tried.options = options;
  CHECK(p == q);
  for (int k = 0; k < 3; ++k) {
    tried.step(p, gradient);
    never.step(q, gradient);
  }
  CHECK(p == q);
  return message;
}

}

TEST_CASE("a hundred steps of each optimiser end where PyTorch's do", "[train][golden]") {
  const test::Golden golden("torch_optimisers.txt");
  fm::Rng rng(1);
  const fm::VelocityMlpOptions options{.dim = 2, .hidden = {8, 8}, .activation = fm::Activation::tanh};
  const auto follow = [&](const std::string& name, const auto& make) {
    INFO(name);
    fm::VelocityMlp<double> net(options, rng);
    net.set_parameters(test::golden_blocks(golden, "start/", net));
    auto optimiser = make(net.parameters());
    fm::FlowMatchingLoss<fm::VelocityMlp<double>> loss(net);
    const Eigen::VectorXd losses = golden.flat(name + "/losses");
    Eigen::VectorXd gradient;
    double worst = 0;
    for (Index step = 0; step < 100; ++step) {
      const std::string batch = "/" + std::to_string(step % 4);
      const Eigen::RowVectorXd t = golden.columns("t" + batch);
      const double value = loss(net, golden.columns("x" + batch), t, golden.columns("u" + batch), gradient);
      worst = std::max(worst, std::abs(value - losses(step)));
      optimiser.step(net.parameters(), gradient);
    }
    const Eigen::VectorXd want = test::golden_blocks(golden, name + "/end/", net);
    CHECK(worst < 1e-10);
    // Rounding of 1e-16 a step, which Adam's division by small roots and the loss's curvature amplify
    CHECK(test::largest(net.parameters() - want) < 1e-10);
    CHECK(test::largest(net.parameters() - test::golden_blocks(golden, "start/", net)) > 0.05);
  };
  follow("adam", [](const auto& p) { return fm::Adam(p, {.learning_rate = 1e-2}); });
  follow("adam_other", [](const auto& p) {
    return fm::Adam(p, {.learning_rate = 3e-3, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3});
  });
  follow("adamw", [](const auto& p) { return fm::AdamW(p, {.learning_rate = 1e-2, .weight_decay = 0.1}); });
  follow("sgd", [](const auto& p) { return fm::Sgd(p, {.learning_rate = 5e-2}); });
  follow("sgd_momentum", [](const auto& p) { return fm::Sgd(p, {.learning_rate = 5e-2, .momentum = 0.9}); });
}

TEMPLATE_TEST_CASE("optimisers find the minimum of a quadratic", "[train]", float, double) {
  using Scalar = TestType;
  const Scalar rounding = 10 * std::numeric_limits<Scalar>::epsilon();
  for (Index n : {1, 255, 256, 257, 600}) {  // around the length of a block
    INFO(n << " parameters");
    fm::Rng rng(40);
    const fm::Vector<Scalar> start = test::normal<Scalar>(rng, n, 1);
    // SGD contracts by at least 1 - 0.1 a step: 0.9^400 = 5e-19.
    CHECK(minimise_quadratic(fm::Sgd(start, {.learning_rate = 0.1}), start, 400, false) <= rounding);
    CHECK(minimise_quadratic(fm::Sgd(start, {.learning_rate = 0.1, .momentum = 0.5}), start, 400, false) <= rounding);
    // Adam's steps have the length of the rate, so it comes to rest as the rate falls to rate / steps = 1e-5.
    CHECK(minimise_quadratic(fm::Adam(start, {.learning_rate = 0.02}), start, 2000, true) <= Scalar(1e-4));
    CHECK(minimise_quadratic(fm::AdamW(start, {.learning_rate = 0.02, .weight_decay = 0}), start, 2000, true) <=
          Scalar(1e-4));
  }
}

TEMPLATE_TEST_CASE("the first step of Adam has the length of the learning rate", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(41);
  fm::Vector<Scalar> p = fm::Vector<Scalar>::Zero(300);
  const fm::Vector<Scalar> gradient = test::normal<Scalar>(rng, 300, 1);
  fm::Adam adam(p, {.learning_rate = 0.25, .epsilon = 1e-30});
  adam.step(p, gradient);
  for (Index i = 0; i < 300; ++i)  // rate g / |g|, a few roundings
    CHECK_THAT(double(p(i)), WithinRel(gradient(i) > 0 ? -0.25 : 0.25, 10.0 * std::numeric_limits<Scalar>::epsilon()));
}

TEMPLATE_TEST_CASE("AdamW without gradient only shrinks the parameters, Adam keeps them", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(42);
  const fm::Vector<Scalar> start = test::normal<Scalar>(rng, 300, 1), zero = fm::Vector<Scalar>::Zero(300);
  fm::Vector<Scalar> p = start, q = start;
  fm::AdamW decayed(p, {.learning_rate = 0.1, .weight_decay = 0.5});
  fm::Adam plain(q, {.learning_rate = 0.1});
  for (int k = 0; k < 10; ++k) {
    decayed.step(p, zero);
    plain.step(q, zero);
  }
  const Scalar factor = Scalar(std::pow(1 - 0.1 * 0.5, 10));
  CHECK(test::largest(p - factor * start) <= 40 * std::numeric_limits<Scalar>::epsilon());
  CHECK(q == start);
}

TEMPLATE_TEST_CASE("momentum remembers the gradients before", "[train]", float, double) {
  using Scalar = TestType;
  fm::Vector<Scalar> p = fm::Vector<Scalar>::Zero(1), g(1);
  fm::Sgd sgd(p, {.learning_rate = 0.5, .momentum = 0.5});
  for (Scalar value : {Scalar(4), Scalar(0), Scalar(8)}) {  // b = 4, 2, 9: all exact
    g(0) = value;
    sgd.step(p, g);
  }
  CHECK(p(0) == Scalar(-7.5));
}

TEMPLATE_TEST_CASE("a learning rate changed between steps takes effect", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(43);
  const fm::Vector<Scalar> start = test::normal<Scalar>(rng, 5, 1), gradient = test::normal<Scalar>(rng, 5, 1);
  const auto check = [&](auto optimiser) {
    auto slow = optimiser;
    fm::Vector<Scalar> p = start, q = start;
    optimiser.step(p, gradient);
    slow.step(q, gradient);
    const fm::Vector<Scalar> before = p;
    slow.options.learning_rate = optimiser.options.learning_rate / 4;
    optimiser.step(p, gradient);
    slow.step(q, gradient);
    // a quarter of the step; both are rounded to epsilon of the parameters
    CHECK(test::largest((p - before) - 4 * (q - before)) <= 40 * std::numeric_limits<Scalar>::epsilon());
    CHECK((q - before).cwiseAbs().minCoeff() > 0);
    slow.options.learning_rate = 0;
    const fm::Vector<Scalar> rest = q;
    slow.step(q, gradient);
    CHECK(q == rest);
  };
  check(fm::Adam(start, {.learning_rate = 0.1}));
  check(fm::AdamW(start, {.learning_rate = 0.1, .weight_decay = 0.2}));
  check(fm::Sgd(start, {.learning_rate = 0.1, .momentum = 0.9}));
}

TEMPLATE_TEST_CASE("a gradient that is not finite is refused and changes nothing", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(44);
  const fm::Vector<Scalar> p = test::normal<Scalar>(rng, 300, 1), g = test::normal<Scalar>(rng, 300, 1);
  const auto infinite = [](auto&, fm::Vector<Scalar>& bad) { bad(299) = -std::numeric_limits<Scalar>::infinity(); };
  const auto nan = [](auto&, fm::Vector<Scalar>& bad) { bad(7) = std::numeric_limits<Scalar>::quiet_NaN(); };
  const auto rate = [](auto& options, fm::Vector<Scalar>&) { options.learning_rate = -1; };
  const auto nan_rate = [](auto& options, fm::Vector<Scalar>&) { options.learning_rate = NAN; };
  const auto shorter = [](auto&, fm::Vector<Scalar>& bad) { bad.conservativeResize(299); };
  const auto check = [&](const std::string& name, const auto& optimiser) {
    const std::string start = "flowmatch: " + name + "::step: expected ";
    CHECK(refuses_and_stays<Scalar>(optimiser, p, g, infinite) ==
          start + "finite numbers in gradient, got -inf in row 299, column 0");
    CHECK(refuses_and_stays<Scalar>(optimiser, p, g, nan).find(start + "finite numbers in gradient, got ") == 0);
    CHECK(refuses_and_stays<Scalar>(optimiser, p, g, rate) == start + "options.learning_rate >= 0, got -1");
    CHECK(refuses_and_stays<Scalar>(optimiser, p, g, nan_rate) == start + "options.learning_rate >= 0, got nan");
    CHECK(refuses_and_stays<Scalar>(optimiser, p, g, shorter) == start + "300 entries in gradient, got 299");
    auto other = optimiser;
    fm::Vector<Scalar> small = p.head(10);
    CHECK(test::message_of<std::invalid_argument>([&] { other.step(small, g); }) ==
          start + "300 entries in parameters, got 10");
    CHECK(small == p.head(10));
  };
  check("Adam", fm::Adam(p, {.learning_rate = 0.1}));
  check("AdamW", fm::AdamW(p, {.learning_rate = 0.1}));
  check("Sgd", fm::Sgd(p, {.learning_rate = 0.1, .momentum = 0.9}));
}

TEMPLATE_TEST_CASE("options of optimisers out of range are refused", "[train]", float, double) {
  const fm::Vector<TestType> p = fm::Vector<TestType>::Zero(3);
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  const auto adam = [&](fm::AdamOptions o) { return message([&] { fm::Adam optimiser(p, o); }); };
  const auto adamw = [&](fm::AdamWOptions o) { return message([&] { fm::AdamW optimiser(p, o); }); };
  const auto sgd = [&](fm::SgdOptions o) { return message([&] { fm::Sgd optimiser(p, o); }); };
  CHECK(adam({.learning_rate = -0.5}) == "flowmatch: Adam: expected options.learning_rate >= 0, got -0.5");
  CHECK(adam({.learning_rate = INFINITY}) == "flowmatch: Adam: expected options.learning_rate >= 0, got inf");
  CHECK(adam({.beta1 = 1}) == "flowmatch: Adam: expected options.beta1 in [0, 1), got 1");
  CHECK(adam({.beta1 = -0.1}) == "flowmatch: Adam: expected options.beta1 in [0, 1), got -0.1");
  CHECK(adam({.beta2 = 1}) == "flowmatch: Adam: expected options.beta2 in [0, 1), got 1");
  CHECK(adam({.beta2 = NAN}) == "flowmatch: Adam: expected options.beta2 in [0, 1), got nan");
  CHECK(adam({.epsilon = 0}) == "flowmatch: Adam: expected options.epsilon > 0, got 0");
  CHECK(adam({.beta1 = 0, .beta2 = 0}) == "nothing thrown");
  CHECK(adamw({.learning_rate = -1}) == "flowmatch: AdamW: expected options.learning_rate >= 0, got -1");
  CHECK(adamw({.beta1 = 2}) == "flowmatch: AdamW: expected options.beta1 in [0, 1), got 2");
  CHECK(adamw({.beta2 = 1.5}) == "flowmatch: AdamW: expected options.beta2 in [0, 1), got 1.5");
  CHECK(adamw({.epsilon = -1}) == "flowmatch: AdamW: expected options.epsilon > 0, got -1");
  CHECK(adamw({.weight_decay = -0.25}) == "flowmatch: AdamW: expected options.weight_decay >= 0, got -0.25");
  CHECK(sgd({.learning_rate = -1}) == "flowmatch: Sgd: expected options.learning_rate >= 0, got -1");
  CHECK(sgd({.momentum = 1}) == "flowmatch: Sgd: expected options.momentum in [0, 1), got 1");
  CHECK(sgd({.momentum = -0.5}) == "flowmatch: Sgd: expected options.momentum in [0, 1), got -0.5");
}

TEMPLATE_TEST_CASE("optimisers step nets and vectors of either scalar", "[train]", float, double) {
  fm::Rng rng(45);
  fm::VelocityMlp<TestType> net({.dim = 2, .hidden = {4}}, rng);
  const fm::Vector<TestType> before = net.parameters(), gradient = fm::Vector<TestType>::Ones(before.size());
  fm::Adam adam(net.parameters());  // defaults of PyTorch
  CHECK(adam.options.learning_rate == 1e-3);
  adam.step(net.parameters(), gradient);
  CHECK((net.parameters() - before).cwiseAbs().minCoeff() > 0);
}

TEMPLATE_TEST_CASE("clip_norm shortens a long gradient, keeps a short one, and returns the norm", "[train]", float,
                   double) {
  using Scalar = TestType;
  const Scalar epsilon = std::numeric_limits<Scalar>::epsilon();
  fm::Vector<Scalar> g(2);
  g << 3, 4;
  CHECK_THAT(double(fm::clip_norm(g, 10)), WithinAbs(5, 5 * epsilon));
  CHECK(g == fm::Vector<Scalar>{{3, 4}});
  CHECK_THAT(double(fm::clip_norm(g, 1)), WithinAbs(5, 5 * epsilon));
  CHECK((g - fm::Vector<Scalar>{{Scalar(0.6), Scalar(0.8)}}).norm() <= 2 * epsilon);
  g.setZero();
  CHECK(fm::clip_norm(g, 1) == 0);
  CHECK(g.isZero(0));
  const Scalar huge = std::numeric_limits<Scalar>::max() / 8;  // its square overflows
  g << huge, -huge;
  CHECK_THAT(double(fm::clip_norm(g, 2) / huge), WithinRel(std::sqrt(2.0), 1e-6));
  CHECK_THAT(double(g(0)), WithinRel(std::sqrt(2.0), 1e-6));
  CHECK_THAT(double(g(1)), WithinRel(-std::sqrt(2.0), 1e-6));
}

TEMPLATE_TEST_CASE("clip_norm refuses a bad limit and a gradient that is not finite", "[train]", float, double) {
  using Scalar = TestType;
  fm::Vector<Scalar> g = fm::Vector<Scalar>::Ones(3);
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  fm::Vector<TestType> huge = fm::Vector<TestType>::Constant(8, std::numeric_limits<TestType>::max());
  CHECK(message([&] { fm::clip_norm(huge, 1); }) ==
        "flowmatch: clip_norm: expected a gradient whose norm is finite, got inf");
  CHECK(message([&] { fm::clip_norm(g, 0); }) == "flowmatch: clip_norm: expected max_norm > 0, got 0");
  CHECK(message([&] { fm::clip_norm(g, -2); }) == "flowmatch: clip_norm: expected max_norm > 0, got -2");
  CHECK(message([&] { fm::clip_norm(g, NAN); }) == "flowmatch: clip_norm: expected max_norm > 0, got nan");
  g(1) = std::numeric_limits<Scalar>::infinity();
  CHECK(message([&] { fm::clip_norm(g, 1); }) ==
        "flowmatch: clip_norm: expected finite numbers in gradient, got inf in row 1, column 0");
  CHECK(g(0) == 1);
}

TEMPLATE_TEST_CASE("Adam keeps finite weights for gradients as large and as small as numbers go", "[train]", float,
                   double) {
  for (const double size : {1e37, 1e20, 1e-20, 1e-37, 0.0})
    for (const double epsilon : {1e-8, 1e-300}) {  // the second is 0 in float
      fm::Vector<TestType> p = fm::Vector<TestType>::Ones(37);
      const fm::Vector<TestType> g = fm::Vector<TestType>::Constant(37, TestType(size));
      fm::Adam adam(p, {.learning_rate = 0.1, .epsilon = epsilon});
      for (int step = 0; step < 5; ++step) adam.step(p, g);
      INFO("gradient " << size << ", epsilon " << epsilon);
      CHECK(fm::all_finite(p.data(), p.size()));
      if (epsilon < 1e-8) continue;  // there a tiny gradient makes a step of any length
      CHECK((p.array() <= 1).all());
      CHECK((p.array() >= TestType(0.4)).all());  // five steps of at most the learning rate
    }
}
