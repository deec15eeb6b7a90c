// SPDX-License-Identifier: MIT
// Gradients of the flow-matching loss against finite differences and PyTorch: tests/unit/field/velocity_mlp_test.cpp.
#include <cmath>
#include <cstdint>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/train/cross_entropy.hpp>
#include <flowmatch/train/ema.hpp>
#include <flowmatch/train/loss.hpp>
#include <flowmatch/train/optimizer.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/golden_net.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;

namespace {

template <class Scalar> struct Problem {
  using Net = fm::VelocityMlp<Scalar>;
  fm::Rng rng;
  Net net;
  fm::FlowMatchingLoss<Net> loss;
  fm::Matrix<Scalar> x, c, u;
  fm::RowVector<Scalar> t, weights;
  fm::Vector<Scalar> gradient;

  Problem(std::uint64_t seed, Index n, Index condition_dim = 1, bool residual = false)
      : rng(seed),
        net({.dim = 2, .condition_dim = condition_dim, .hidden = {8, 8}, .residual = residual, .time_frequencies = 2},
            rng),
        loss(net),
        x(test::normal<Scalar>(rng, 2, n)),
        c(test::normal<Scalar>(rng, condition_dim, n)),
        u(test::normal<Scalar>(rng, 2, n)),
        t(test::uniform<Scalar>(rng, n)),
        weights(test::uniform<Scalar>(rng, n, 0, 2)) {}

  Scalar value() { return loss(net, x, t, c, u, gradient); }
  Scalar weighted() { return loss(net, x, t, c, u, weights, gradient); }
  /// The mean over all entries of the weighted squares, in double.
  double by_formula(const Eigen::RowVectorXd& w) const {
    fm::Matrix<Scalar> v(2, x.cols());
    net(x, t, c, v);
    double sum = 0;
    for (Index j = 0; j < x.cols(); ++j)
      for (Index i = 0; i < 2; ++i) sum += w(j) * std::pow(double(v(i, j)) - double(u(i, j)), 2);
    return sum / double(u.size());
  }
};

/// For sums over a batch: some epsilon a term in the worst order.
template <class Scalar> double rounding(Index n) {
  return (10 + std::sqrt(double(n))) * double(std::numeric_limits<Scalar>::epsilon());
}

/// Largest difference, relative to the largest entry.
template <class Scalar> double relative_error(const fm::Vector<Scalar>& got, const fm::Vector<Scalar>& want) {
  return double(test::largest(got - want) / test::largest(want));
}

}

TEMPLATE_TEST_CASE("the flow-matching loss is the mean over all entries of (v - u)^2", "[train]", float, double) {
  for (Index n : {1, 2, 127, 128, 129, 256, 300}) {
    INFO(n << " samples");
    Problem<TestType> p(60, n);
    CHECK_THAT(double(p.value()), WithinRel(p.by_formula(Eigen::RowVectorXd::Ones(n)), rounding<TestType>(n)));
    CHECK(p.gradient.size() == p.net.parameters().size());
    const Eigen::RowVectorXd w = p.weights.template cast<double>();
    CHECK_THAT(double(p.weighted()), WithinRel(p.by_formula(w), rounding<TestType>(n)));
  }
}

TEMPLATE_TEST_CASE("the loss of a net without condition needs no matrix for it", "[train]", float, double) {
  Problem<TestType> p(61, 200, 0);
  const TestType with = p.value();
  const fm::Vector<TestType> gradient = p.gradient;
  CHECK(p.loss(p.net, p.x, p.t, p.u, p.gradient) == with);
  CHECK(p.gradient == gradient);
}

TEMPLATE_TEST_CASE("the condition takes part in the loss", "[train]", float, double) {
  Problem<TestType> p(62, 20);
  const TestType before = p.value();
  p.c.array() += 1;
  CHECK(std::abs(p.value() - before) > TestType(1e-3));
}

TEMPLATE_TEST_CASE("a batch in parts has the same loss and gradient as in one", "[train]", float, double) {
  using Scalar = TestType;
  for (bool residual : {false, true})
    for (Index cut : {1, 100, 128, 200, 299}) {
      INFO("cut at " << cut);
      const Index n = 300;
      Problem<Scalar> p(63, n, 1, residual);
      const Scalar whole = p.value();
      const fm::Vector<Scalar> gradient = p.gradient;
      Scalar sum = 0;
      fm::Vector<Scalar> gradient_sum = fm::Vector<Scalar>::Zero(gradient.size());
      for (auto [first, count] : {std::pair(Index(0), cut), std::pair(cut, n - cut)}) {
        const Scalar part = Scalar(count) / Scalar(n);
        sum += part * p.loss(p.net, p.x.middleCols(first, count), p.t.middleCols(first, count),
                             p.c.middleCols(first, count), p.u.middleCols(first, count), p.gradient);
        gradient_sum += part * p.gradient;
      }
      CHECK_THAT(double(sum), WithinRel(double(whole), rounding<Scalar>(n)));
      CHECK(relative_error(gradient_sum, gradient) <= 10 * rounding<Scalar>(n));  // terms of both signs
    }
}

TEMPLATE_TEST_CASE("weights of one change nothing, a weight of zero takes the sample out", "[train]", float, double) {
  using Scalar = TestType;
  const Index n = 140;
  Problem<Scalar> p(64, n);
  const Scalar plain = p.value();
  const fm::Vector<Scalar> gradient = p.gradient;
  p.weights.setOnes();
  CHECK_THAT(double(p.weighted()), WithinRel(double(plain), rounding<Scalar>(n)));
  CHECK(relative_error(p.gradient, gradient) <= 10 * rounding<Scalar>(n));

  p.weights.head(10).setZero();
  const Scalar without = p.weighted();
  const fm::Vector<Scalar> gradient_without = p.gradient;
  const Scalar rest = p.loss(p.net, p.x.rightCols(n - 10), p.t.rightCols(n - 10), p.c.rightCols(n - 10),
                             p.u.rightCols(n - 10), p.gradient);
  const Scalar share = Scalar(n - 10) / Scalar(n);
  CHECK_THAT(double(without), WithinRel(double(share * rest), rounding<Scalar>(n)));
  CHECK(relative_error<Scalar>(gradient_without, share * p.gradient) <= 10 * rounding<Scalar>(n));

  p.u.leftCols(10).setConstant(Scalar(1e3));  // what has no weight may be anything
  CHECK(p.weighted() == without);
  CHECK(p.gradient == gradient_without);

  p.weights.setZero();
  CHECK(p.weighted() == 0);
  CHECK(p.gradient.isZero(0));
}

TEMPLATE_TEST_CASE("the same call gives the same bits, whatever the loss did before", "[train]", float, double) {
  Problem<TestType> p(65, 300, 1, true);
  const TestType first = p.value();
  const fm::Vector<TestType> gradient = p.gradient;
  CHECK(p.value() == first);
  CHECK(p.gradient == gradient);
  fm::Vector<TestType> other = fm::Vector<TestType>::Constant(3, 7);  // resized and overwritten
  p.loss(p.net, p.x.leftCols(3), p.t.leftCols(3), p.c.leftCols(3), p.u.leftCols(3), other);
  CHECK(other.size() == gradient.size());
  CHECK(p.value() == first);
  CHECK(p.gradient == gradient);
}

TEMPLATE_TEST_CASE("the loss evaluates the net it is called with", "[train]", float, double) {
  using Scalar = TestType;
  Problem<Scalar> p(66, 50);
  p.value();
  const fm::VelocityMlp<Scalar> wider({.dim = 2, .condition_dim = 1, .hidden = {30, 30}}, p.rng);
  fm::FlowMatchingLoss<fm::VelocityMlp<Scalar>> fresh(wider);
  fm::Vector<Scalar> want;
  const Scalar value = fresh(wider, p.x, p.t, p.c, p.u, want);
  CHECK(p.loss(wider, p.x, p.t, p.c, p.u, p.gradient) == value);
  CHECK(p.gradient == want);
}

TEST_CASE("softmax cross-entropy of an Mlp is PyTorch's, with its gradient", "[train][golden]") {
  const test::Golden golden("torch_classifier.txt");
  fm::Rng rng(1);
  fm::Mlp<double> net({.in = 4, .hidden = {10}, .out = 5}, rng);
  net.set_parameters(test::golden_blocks(golden, "parameter/", net));
  std::vector<Index> labels;
  for (double label : golden.flat("labels")) labels.push_back(Index(label));
  fm::Backprop backprop(net);
  Eigen::VectorXd gradient;
  const double value = backprop(net, golden.columns("x"), fm::softmax_cross_entropy(labels), gradient);
  CHECK_THAT(value, WithinRel(golden.number("loss"), 1e-13));
  CHECK(relative_error<double>(gradient, test::golden_blocks(golden, "gradient/", net)) < 1e-12);

  fm::Mlp<double>::Workspace workspace;
  Eigen::MatrixXd y(5, 12), dy(5, 12), dx;
  net.forward(golden.columns("x"), y, workspace);
  CHECK(test::largest(y - golden.columns("y")) < 1e-13 * test::largest(y));
  CHECK(test::largest(y) > 200);  // the case that exp alone would not survive in float
  fm::softmax_cross_entropy(labels)(y, 0, dy);
  gradient.setZero();
  net.backward(dy, workspace, gradient, dx);
  CHECK(relative_error<double>(dx.reshaped(), golden.flat("dx")) < 1e-12);
}

TEMPLATE_TEST_CASE("softmax cross-entropy knows its simple values", "[train]", float, double) {
  using Scalar = TestType;
  const Index labels[] = {0, 2, 1};
  const auto loss = fm::softmax_cross_entropy(labels);
  const double epsilon = double(std::numeric_limits<Scalar>::epsilon());
  fm::Matrix<Scalar> y = fm::Matrix<Scalar>::Zero(3, 3), dy(3, 3);
  CHECK_THAT(double(loss(y, 0, dy)), WithinAbs(std::log(3.0), 4 * epsilon));  // all alike
  CHECK(test::largest(dy.colwise().sum()) <= 2 * Scalar(epsilon));            // a shift of all outputs is free
  y.setConstant(Scalar(1e4));
  CHECK_THAT(double(loss(y, 0, dy)), WithinAbs(std::log(3.0), 1e4 * epsilon));
  y.setZero();
  for (Index j = 0; j < 3; ++j) y(labels[j], j) = 1000;  // certain and right
  CHECK(loss(y, 0, dy) == 0);
  CHECK(test::largest(dy) < Scalar(1e-30));
  y = -y;  // certain and wrong: 1000 + log 2
  CHECK_THAT(double(loss(y, 0, dy)), WithinRel(1000 + std::log(2.0), 4 * epsilon));
}

TEMPLATE_TEST_CASE("the ready output losses divide by the whole batch in every tile", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(67);
  const double epsilon = double(std::numeric_limits<Scalar>::epsilon());
  const fm::Matrix<Scalar> y = test::normal<Scalar>(rng, 3, 10), target = test::normal<Scalar>(rng, 3, 10);
  const fm::RowVector<Scalar> w = test::uniform<Scalar>(rng, 10);
  const std::vector<Index> labels = {0, 1, 2, 2, 1, 0, 0, 0, 1, 2};
  const auto check = [&](const auto& loss) {
    fm::Matrix<Scalar> whole(3, 10), parts(3, 10);
    const Scalar value = loss(y, 0, whole);
    const Scalar sum = loss(y.leftCols(4), 0, parts.leftCols(4)) + loss(y.rightCols(6), 4, parts.rightCols(6));
    CHECK_THAT(double(sum), WithinRel(double(value), 10 * epsilon));
    CHECK(test::largest(parts - whole) <= Scalar(epsilon));
    CHECK(loss.samples() == 10);
  };
  check(fm::mean_squared_error(target));
  check(fm::mean_squared_error(target, w));
  check(fm::softmax_cross_entropy(labels));
}

TEMPLATE_TEST_CASE("the flow-matching loss refuses batches that do not fit", "[train]", float, double) {
  using Scalar = TestType;
  Problem<Scalar> p(68, 5);
  fm::Vector<Scalar>& g = p.gradient;
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  const std::string expected = "flowmatch: FlowMatchingLoss: expected ";
  fm::Matrix<Scalar> flat(1, 5), few(2, 4), none(0, 5);
  flat.setZero(), few.setZero();
  CHECK(message([&] { p.loss(p.net, flat, p.t, p.c, p.u, g); }) == expected + "2 rows in x_t, got 1");
  CHECK(message([&] { p.loss(p.net, p.x, p.t.head(4), p.c, p.u, g); }) == expected + "5 columns in t, got 4");
  CHECK(message([&] { p.loss(p.net, p.x, p.t, p.u, g); }) == expected + "1 rows in c, got 0");
  CHECK(message([&] { p.loss(p.net, p.x, p.t, p.c.leftCols(4), p.u, g); }) == expected + "5 columns in c, got 4");
  CHECK(message([&] { p.loss(p.net, p.x, p.t, p.c, flat, g); }) == expected + "2 rows in u_t, got 1");
  CHECK(message([&] { p.loss(p.net, p.x, p.t, p.c, few, g); }) == expected + "5 columns in u_t, got 4");
  CHECK(message([&] { p.loss(p.net, p.x.leftCols(0), p.t.leftCols(0), p.c.leftCols(0), p.u.leftCols(0), g); }) ==
        expected + "at least one sample, got none");
  const auto with_inf = [](auto m) {
    m(0, 3) = std::numeric_limits<Scalar>::infinity();
    return m;
  };
  const std::string got = ", got inf in row 0, column 3";
  CHECK(message([&] { p.loss(p.net, with_inf(p.x), p.t, p.c, p.u, g); }) == expected + "finite numbers in x_t" + got);
  CHECK(message([&] { p.loss(p.net, p.x, with_inf(p.t), p.c, p.u, g); }) == expected + "finite numbers in t" + got);
  CHECK(message([&] { p.loss(p.net, p.x, p.t, with_inf(p.c), p.u, g); }) == expected + "finite numbers in c" + got);
  CHECK(message([&] { p.loss(p.net, p.x, p.t, p.c, with_inf(p.u), g); }) == expected + "finite numbers in u_t" + got);
}

TEMPLATE_TEST_CASE("mean squared error refuses weights and targets that do not fit", "[train]", float, double) {
  using Scalar = TestType;
  Problem<Scalar> p(69, 5);
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  const std::string expected = "flowmatch: mean_squared_error: expected ";
  const auto weighted = [&](const fm::RowVector<Scalar>& w) {
    return message([&] { p.loss(p.net, p.x, p.t, p.c, p.u, w, p.gradient); });
  };
  fm::RowVector<Scalar> w = p.weights;
  w(2) = Scalar(-0.5);
  CHECK(weighted(w) == expected + "weights >= 0, got -0.5 in column 2");
  w(2) = std::numeric_limits<Scalar>::infinity();
  CHECK(weighted(w) == expected + "finite numbers in weights, got inf in row 0, column 2");
  CHECK(weighted(p.weights.head(4)) == expected + "5 columns in weights, got 4");
  fm::Matrix<Scalar> target = p.u;
  target(1, 0) = -std::numeric_limits<Scalar>::infinity();
  CHECK(message([&] { fm::mean_squared_error(target); }) ==
        expected + "finite numbers in target, got -inf in row 1, column 0");
  target = fm::Matrix<Scalar>::Zero(3, 5);
  fm::Matrix<Scalar> dy(2, 5);
  CHECK(message([&] { fm::mean_squared_error(target)(p.x, 0, dy); }) == expected + "2 rows in target, got 3");
}

TEMPLATE_TEST_CASE("softmax cross-entropy refuses labels out of range", "[train]", float, double) {
  const fm::Matrix<TestType> y = fm::Matrix<TestType>::Zero(3, 2);
  fm::Matrix<TestType> dy(3, 2);
  const auto message = [&](std::vector<Index> labels) {
    return test::message_of<std::invalid_argument>([&] { fm::softmax_cross_entropy(labels)(y, 0, dy); });
  };
  CHECK(message({0, 3}) == "flowmatch: softmax_cross_entropy: expected labels in [0, 3), got 3 for sample 1");
  CHECK(message({-1, 0}) == "flowmatch: softmax_cross_entropy: expected labels in [0, 3), got -1 for sample 0");
}

TEMPLATE_TEST_CASE("a loss beyond all numbers is reported as divergence", "[train]", float, double) {
  using Scalar = TestType;
  Problem<Scalar> p(70, 5);
  p.net.parameters().setConstant(std::sqrt(std::numeric_limits<Scalar>::max()));
  const std::string message = test::message_of<std::runtime_error>([&] { p.value(); });
  CHECK(message.find("flowmatch: FlowMatchingLoss: the loss is ") == 0);
  CHECK(message.find(": training diverged; a lower learning rate or clipping may help") != std::string::npos);
}

// Layers up to 64 wide: the products' packing buffers then fit on the stack.
TEMPLATE_TEST_CASE("a warm training step allocates nothing", "[train]", float, double) {
  using Scalar = TestType;
  if (!test::counts_allocations) return;
  for (bool residual : {false, true}) {
    INFO("residual " << residual);
    fm::Rng rng(71);
    fm::VelocityMlp<Scalar> net(
        {.dim = 2, .condition_dim = 1, .hidden = {64, 64, 64}, .residual = residual, .time_frequencies = 4}, rng);
    fm::FlowMatchingLoss<fm::VelocityMlp<Scalar>> loss(net);
    fm::Adam adam(net.parameters());
    fm::AdamW adamw(net.parameters());
    fm::Sgd sgd(net.parameters());
    fm::Ema ema(net.parameters());
    const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 2, 256), u = test::normal<Scalar>(rng, 2, 256);
    const fm::Matrix<Scalar> c = test::normal<Scalar>(rng, 1, 256);
    const fm::RowVector<Scalar> t = test::uniform<Scalar>(rng, 256), w = test::uniform<Scalar>(rng, 256);
    fm::Vector<Scalar> gradient;
    loss(net, x, t, c, u, gradient);  // the first step takes the memory
    CHECK(test::allocations_in([&] { loss(net, x, t, c, u, gradient); }) == 0);
    CHECK(test::allocations_in([&] { loss(net, x, t, c, u, w, gradient); }) == 0);
    CHECK(test::allocations_in([&] { fm::clip_norm(gradient, 1); }) == 0);
    CHECK(test::allocations_in([&] { adam.step(net.parameters(), gradient); }) == 0);
    CHECK(test::allocations_in([&] { adamw.step(net.parameters(), gradient); }) == 0);
    CHECK(test::allocations_in([&] { sgd.step(net.parameters(), gradient); }) == 0);
    CHECK(test::allocations_in([&] { ema.update(net.parameters()); }) == 0);
  }
}
