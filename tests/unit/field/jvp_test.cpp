// SPDX-License-Identifier: MIT
// Forward mode: the Jacobian-vector products of Mlp and VelocityMlp.
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/finite_difference.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Activation, fm::Index;

namespace {

const Activation all_activations[] = {Activation::silu, Activation::gelu, Activation::tanh,
                                      Activation::relu, Activation::selu, Activation::softplus};

/// Norms away from the identity, so that they hide nothing.
template <class Scalar> fm::VelocityMlp<Scalar> perturbed(const fm::VelocityMlpOptions& o, fm::Rng& rng) {
  fm::VelocityMlp<Scalar> net(o, rng);
  net.parameters() += Scalar(0.1) * test::normal<Scalar>(rng, net.parameters().size(), 1);
  return net;
}
fm::VelocityMlpOptions rich(Activation f, bool residual, Index layers = 3) {
  return {.dim = 3,
          .condition_dim = 2,
          .hidden = std::vector<Index>(std::size_t(layers), 7),
          .activation = f,
          .residual = residual,
          .time_frequencies = 2};
}

template <class Scalar> struct Point {
  fm::Matrix<Scalar> x, c;
  fm::RowVector<Scalar> t;
  Point(fm::Rng& rng, Index n)
      : x(test::normal<Scalar>(rng, 3, n)), c(test::normal<Scalar>(rng, 2, n)), t(test::uniform<Scalar>(rng, n)) {}
};

}

TEST_CASE("the JVP is the transpose of the backward pass at x, t and c", "[field]") {
  fm::Rng rng(60);
  for (const Activation f : all_activations)
    for (const bool residual : {false, true})
      for (const Index layers : {0, 1, 2, 4})
        for (const Index n : {1, 5, 130}) {
          if (residual && layers == 0) continue;
          INFO(fm::name(f) << ", residual " << residual << ", " << layers << " hidden layers, " << n << " samples");
          const auto net = perturbed<double>(rich(f, residual, layers), rng);
          const Point<double> at(rng, n), direction(rng, n);
          const Eigen::MatrixXd u = test::normal<double>(rng, 3, n);
          Eigen::MatrixXd v(3, n), dv(3, n);
          fm::VelocityMlp<double>::Workspace w;
          net.forward(at.x, at.t, at.c, v, w);
          net.jvp(direction.x, direction.t, direction.c, dv, w);
          fm::InputGradient<double> back;
          Eigen::VectorXd gradient = Eigen::VectorXd::Zero(net.parameters().size());
          net.backward(u, w, gradient, back);  // after jvp, which must leave it what it needs
          const Eigen::RowVectorXd forward_mode = u.cwiseProduct(dv).colwise().sum();
          const Eigen::RowVectorXd reverse_mode = back.x.cwiseProduct(direction.x).colwise().sum() +
                                                  back.t.cwiseProduct(direction.t) +
                                                  back.c.cwiseProduct(direction.c).colwise().sum();
          // u' J w of sums of 20 terms of size 1, with rates of time up to 2 pi: a few hundred epsilons
          CHECK(test::largest(forward_mode - reverse_mode) < 1e-12);
          CHECK(test::largest(forward_mode) > 1e-6);
        }
}

TEST_CASE("the JVP agrees with finite differences along x, t and c", "[field]") {
  fm::Rng rng(61);
  for (const Activation f : all_activations)
    for (const bool residual : {false, true}) {
      INFO(fm::name(f) << ", residual " << residual);
      const auto net = perturbed<double>(rich(f, residual), rng);
      const Point<double> at(rng, 6), direction(rng, 6);
      Eigen::MatrixXd v(3, 6), dv(3, 6);
      fm::VelocityMlp<double>::Workspace w;
      net.forward(at.x, at.t, at.c, v, w);
      net.jvp(direction.x, direction.t, direction.c, dv, w);
      const bool kink = f == Activation::relu || f == Activation::selu;  // a step so small meets none of theirs
      for (Index j = 0; j < 6; ++j)
        for (Index i = 0; i < 3; ++i) {
          const double want = test::derivative_at_zero(
              [&](double h) {
                net.forward(at.x + h * direction.x, at.t + h * direction.t, at.c + h * direction.c, v, w);
                return v(i, j);
              },
              kink ? 0x1p-16 : 0x1p-6);
          CHECK(std::abs(dv(i, j) - want) < (kink ? 1e-9 : 1e-10) * (1 + std::abs(want)));
        }
    }
}

TEMPLATE_TEST_CASE("several tangents of a sample in one call are each what they are alone", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(62);
  for (const bool residual : {false, true})
    for (const Index n : {1, 3, 33, 128})
      for (const Index m : {1, 2, 5}) {
        INFO(residual << " " << n << " samples with " << m << " tangents");
        const auto net = perturbed<Scalar>(rich(Activation::gelu, residual), rng);
        const Point<Scalar> at(rng, n), direction(rng, m * n);
        fm::Matrix<Scalar> v(3, n), together(3, m * n), alone(3, n);
        typename fm::VelocityMlp<Scalar>::Workspace w;
        net.forward(at.x, at.t, at.c, v, w);
        net.jvp(direction.x, direction.t, direction.c, together, w);
        for (Index k = 0; k < m; ++k) {
          net.jvp(direction.x.middleCols(k * n, n), direction.t.middleCols(k * n, n), direction.c.middleCols(k * n, n),
                  alone, w);
          CHECK(alone == together.middleCols(k * n, n));
        }
        const fm::Matrix<Scalar> no_c = fm::Matrix<Scalar>::Zero(2, m * n);
        fm::Matrix<Scalar> by_x(3, m * n), with_zeros(3, m * n);
        net.jvp(direction.x, by_x, w);
        net.jvp(direction.x, fm::RowVector<Scalar>::Zero(m * n), no_c, with_zeros, w);
        CHECK(by_x == with_zeros);
      }
}

TEMPLATE_TEST_CASE("one workspace serves JVPs of nets and batches in turn", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(63);
  typename fm::Mlp<Scalar>::Workspace used;
  for (const std::vector<Index>& hidden : {std::vector<Index>{4, 4}, {9, 30}, {}, {5, 5, 5}})
    for (const Index n : {3, 40, 1}) {
      const fm::Mlp<Scalar> net({.in = 2, .hidden = hidden, .out = 3, .residual = hidden.size() == 3}, rng);
      const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 2, n), dx = test::normal<Scalar>(rng, 2, 3 * n);
      fm::Matrix<Scalar> y(3, n), got(3, 3 * n), want(3, 3 * n);
      typename fm::Mlp<Scalar>::Workspace fresh;
      net.forward(x, y, fresh);
      net.jvp(dx, want, fresh);
      net.forward(x, y, used);
      net.jvp(dx, got, used);
      CHECK(got == want);
    }
}

TEMPLATE_TEST_CASE("a warm JVP allocates nothing", "[field]", float, double) {
  if (!test::counts_allocations) return;
  fm::Rng rng(64);
  const auto net = perturbed<TestType>(rich(Activation::silu, true), rng);
  const Point<TestType> at(rng, 50), direction(rng, 150);
  fm::Matrix<TestType> v(3, 50), dv(3, 150);
  typename fm::VelocityMlp<TestType>::Workspace w;
  const auto run = [&] {
    net.forward(at.x, at.t, at.c, v, w);
    net.jvp(direction.x, dv, w);
    net.jvp(direction.x, direction.t, direction.c, dv, w);
  };
  CHECK(test::allocations_in(run) > 0);
  CHECK(test::allocations_in(run) == 0);
}

TEMPLATE_TEST_CASE("a JVP refuses wrong shapes, and a workspace without a forward pass", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(65);
  const fm::VelocityMlp<Scalar> net(rich(Activation::silu, false), rng);
  const Point<Scalar> at(rng, 5);
  fm::Matrix<Scalar> v(3, 5), dv(3, 10), dx(3, 10), dc(2, 10), seven(3, 7);
  dx.setZero(), dc.setZero(), seven.setZero();
  fm::RowVector<Scalar> dt = fm::RowVector<Scalar>::Zero(10);
  typename fm::VelocityMlp<Scalar>::Workspace w;
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  CHECK(message([&] { net.jvp(dx, dv, w); }) == "flowmatch: Mlp::jvp: expected a call of forward before");
  net.forward(at.x, at.t, at.c, v, w);
  const std::string jvp = "flowmatch: VelocityMlp::jvp: expected ";
  CHECK(message([&] { net.jvp(dx.topRows(2), dv, w); }) == jvp + "3 rows in dx, got 2");
  CHECK(message([&] { net.jvp(dx, v, w); }) == jvp + "10 columns in dv, got 5");
  CHECK(message([&] { net.jvp(dx, dt.head(5), dc, dv, w); }) == jvp + "10 columns in dt, got 5");
  CHECK(message([&] { net.jvp(dx, dt, dc.topRows(1), dv, w); }) == jvp + "2 rows in dc, got 1");
  CHECK(message([&] { net.jvp(seven, seven, w); }) ==
        "flowmatch: Mlp::jvp: expected a multiple of 5 columns in dx, got 7");
  const fm::Mlp<Scalar> other({.in = 2, .hidden = {4}, .out = 3}, rng);
  CHECK(message([&] { other.jvp(dx.topRows(2), dv, w); }) == "flowmatch: Mlp::jvp: expected a call of forward before");
  CHECK(message([&] { other.jvp(dx, dv, w); }) == "flowmatch: Mlp::jvp: expected 2 rows in dx, got 3");
}
