// SPDX-License-Identifier: MIT
#include <algorithm>
#include <flowmatch/field/conditional_velocity_mlp.hpp>
#include <flowmatch/sample/likelihood.hpp>
#include <flowmatch/sample/sample.hpp>
#include <flowmatch/train/loss.hpp>
#include <limits>
#include <string>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/finite_difference.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

static_assert(fm::TrainableField<fm::ConditionalVelocityMlp<float>>);
static_assert(fm::JvpField<fm::ConditionalVelocityMlp<double>>);
static_assert(fm::VjpField<fm::ConditionalVelocityMlp<double>>);
static_assert(fm::VelocityField<fm::ConditionalVelocityMlp<float>, float>);

namespace {

template <class Scalar> struct Batch {
  fm::Matrix<Scalar> x, c, u;
  fm::RowVector<Scalar> t;

  /// Labels run through all values, that of no condition too.
  Batch(fm::Rng& rng, const fm::ConditionalVelocityMlp<Scalar>& net, Index n)
      : x(test::normal<Scalar>(rng, net.dim(), n)),
        c(test::normal<Scalar>(rng, net.condition_dim(), n)),
        u(test::normal<Scalar>(rng, net.dim(), n)),
        t(test::uniform<Scalar>(rng, n)) {
    for (Index j = 0; j < n; ++j) c(0, j) = Scalar(j % (net.options().classes + 1));
  }
};

fm::ConditionalVelocityMlpOptions small(Index classes = 3, Index vector_dim = 2, bool residual = false) {
  return {.dim = 2,
          .classes = classes,
          .embedding_dim = 4,
          .vector_dim = vector_dim,
          .hidden = {6, 6},
          .residual = residual,
          .time_frequencies = 2};
}

}

TEST_CASE("gradients of an embedding agree with finite differences", "[field][train]") {
  fm::Rng rng(1);
  for (const bool residual : {false, true})
    for (const Index classes : {1, 3})
      for (const Index vector_dim : {0, 2})
        for (const Index samples : {1, 7, 130}) {
          INFO("residual " << residual << ", " << classes << " classes, vector " << vector_dim << ", " << samples);
          fm::ConditionalVelocityMlp<double> net(small(classes, vector_dim, residual), rng);
          net.parameters() += 0.1 * test::normal<double>(rng, net.parameters().size(), 1);  // zeros and ones as well
          const Batch<double> b(rng, net, samples);
          fm::FlowMatchingLoss loss(net);
          Eigen::VectorXd gradient, scratch;
          loss(net, b.x, b.t, b.c, b.u, gradient);
          const auto f = [&] { return loss(net, b.x, b.t, b.c, b.u, scratch); };
          const Eigen::VectorXd want = test::numerical_gradient(f, net.parameters(), 0x1p-8);
          // The differences err by some 1e-11 / 2^-11.
          CHECK(test::largest(gradient - want) < 1e-7 * test::largest(want));
        }
}

TEST_CASE("a label has a gradient from its own columns only, and what stands for none from those without", "[field]") {
  fm::Rng rng(2);
  const fm::ConditionalVelocityMlp<double> net(small(), rng);
  Batch<double> b(rng, net, 40);
  fm::FlowMatchingLoss loss(net);
  Eigen::VectorXd gradient;
  const auto& blocks = net.parameter_blocks();
  const auto& table = blocks[blocks.size() - 2];
  const auto& null = blocks.back();
  for (Index label = 0; label <= 3; ++label) {
    b.c.row(0).setConstant(double(label));
    loss(net, b.x, b.t, b.c, b.u, gradient);
    for (Index row = 0; row <= 3; ++row) {
      const auto of_row = gradient.segment(table.offset + 4 * row, 4);
      CHECK((row == label ? of_row.cwiseAbs().minCoeff() > 1e-6 : of_row.isZero(0)));
    }
    const auto of_null = gradient.segment(null.offset, null.size());
    CHECK((label == 3 ? of_null.cwiseAbs().minCoeff() > 1e-6 : of_null.isZero(0)));
  }
}

TEMPLATE_TEST_CASE("a conditional net is a velocity net whose condition is the embedded one", "[field]", float,
                   double) {
  using Scalar = TestType;
  fm::Rng rng(3), again(3);
  const fm::ConditionalVelocityMlp<Scalar> net(small(), rng);
  const fm::VelocityMlp<Scalar> inner({.dim = 2, .condition_dim = 6, .hidden = {6, 6}, .time_frequencies = 2}, again);
  CHECK(net.parameters().head(inner.parameters().size()) == inner.parameters());  // the layers come first
  fm::Matrix<Scalar> table(4, 4);
  fm::fill_normal(again, table);
  CHECK(net.parameters().segment(inner.parameters().size(), 16) == table.reshaped());
  CHECK(net.parameters().tail(2).isZero(0));
  CHECK(rng == again);

  const Index n = 2 * fm::tile_columns + 5;
  const Batch<Scalar> b(rng, net, n);
  fm::Matrix<Scalar> e(6, n), v(2, n), want(2, n);
  for (Index j = 0; j < n; ++j) {
    const Index label = Index(b.c(0, j));
    e.col(j) << table.col(label), label == 3 ? fm::Vector<Scalar>::Zero(2) : fm::Vector<Scalar>(b.c.col(j).tail(2));
  }
  inner(b.x, b.t, e, want);
  net(b.x, b.t, b.c, v);
  CHECK(v == want);

  typename fm::ConditionalVelocityMlp<Scalar>::OneSample one(net);  // and one sample alone has the same bits
  fm::Matrix<Scalar> alone(2, 8);
  for (Index j = 0; j < 8; ++j) one(b.x.col(j), b.t.col(j), b.c.col(j), alone.col(j));
  CHECK(alone == v.leftCols(8));
}

TEST_CASE("without a condition the vector's rows are not looked at", "[field]") {
  fm::Rng rng(4);
  const fm::ConditionalVelocityMlp<float> net(small(), rng);
  Batch<float> b(rng, net, 10);
  Eigen::MatrixXf v(2, 10), other(2, 10);
  CHECK(net.null_condition() == Eigen::Vector3f(3, 0, 0));
  b.c = net.null_condition().replicate(1, 10);
  net(b.x, b.t, b.c, v);
  b.c.bottomRows(2).setConstant(5);
  net(b.x, b.t, b.c, other);
  CHECK(v == other);
  b.c.row(0).setConstant(1);
  net(b.x, b.t, b.c, other);
  CHECK(v != other);
}

TEMPLATE_TEST_CASE("a conditional net samples with the same bits one by one and together", "[field][sample]", float,
                   double) {
  using Scalar = TestType;
  fm::Rng rng(5);
  fm::ConditionalVelocityMlp<Scalar> net(small(), rng);
  const Batch<Scalar> b(rng, net, 40);
  const fm::Matrix<Scalar> together = fm::transport(net, b.x, b.c, fm::Heun{}, {.steps = 5});
  fm::Sampler policy(net, fm::Heun{}, {.steps = 5});
  for (Index j = 0; j < 40; ++j) {
    fm::Matrix<Scalar> x = b.x.col(j);
    policy(b.c.col(j), x);
    CHECK(x == together.col(j));
  }
  net.parameters() *= Scalar(0.5);  // table and vector reach the snapshot as well
  policy.update(net);
  fm::Matrix<Scalar> x = b.x.leftCols(8);
  policy(b.c.leftCols(8), x);
  CHECK(x == fm::transport(net, b.x, b.c, fm::Heun{}, {.steps = 5}).leftCols(8));
}

TEST_CASE("a conditional net allocates nothing after the first step and the first samples", "[field][train][sample]") {
  fm::Rng rng(6);
  const fm::ConditionalVelocityMlp<float> net(small(), rng);
  const Batch<float> b(rng, net, 300);  // tiles of 128, 128 and 44
  fm::FlowMatchingLoss loss(net);
  Eigen::VectorXf gradient;
  loss(net, b.x, b.t, b.c, b.u, gradient);
  CHECK(test::allocations_in([&] { loss(net, b.x, b.t, b.c, b.u, gradient); }) == 0);
  fm::Sampler policy(net, fm::Rk4{}, {.steps = 2});
  for (const Index n : {300, 3}) {
    Eigen::MatrixXf x = b.x.leftCols(n);
    policy(b.c.leftCols(n), x);
    CHECK(test::allocations_in([&] { policy(b.c.leftCols(n), x); }) == 0);
  }
}

TEST_CASE("the derivative of a conditional net by x is the same forward and backward, and gives densities",
          "[field][sample]") {
  fm::Rng rng(7);
  const fm::ConditionalVelocityMlp<double> net(small(), rng);
  const Batch<double> b(rng, net, 9);
  fm::ConditionalVelocityMlp<double>::Workspace w;
  Eigen::MatrixXd v(2, 9), forward(2, 9), backward(2, 9);
  net.forward(b.x, b.t, b.c, v, w);
  const Eigen::MatrixXd dx = test::normal<double>(rng, 2, 9), dv = test::normal<double>(rng, 2, 9);
  net.jvp(dx, forward, w);
  net.vjp(dv, backward, w);
  for (Index j = 0; j < 9; ++j) CHECK(std::abs(dv.col(j).dot(forward.col(j)) - dx.col(j).dot(backward.col(j))) < 1e-13);
  CHECK(fm::log_likelihood(net, b.x, b.c, fm::Rk4{}, {.steps = 4}).allFinite());
}

TEST_CASE("what is no condition or no option of a conditional net is refused", "[field]") {
  fm::Rng rng(8);
  const fm::ConditionalVelocityMlp<float> net(small(), rng);
  Batch<float> b(rng, net, 5);
  Eigen::MatrixXf v(2, 5);
  const auto message = [&](const Eigen::MatrixXf& c) {
    return test::message_of<std::invalid_argument>([&] { net(b.x, b.t, c, v); });
  };
  CHECK(message(b.c.topRows(2)) == "flowmatch: ConditionalVelocityMlp: expected 3 rows in c, got 2");
  Eigen::MatrixXf c = b.c;
  c(0, 3) = 4;
  CHECK(message(c) ==
        "flowmatch: ConditionalVelocityMlp::forward: expected whole numbers from 0 to 3 (3: none) as "
        "labels in row 0 of c, got 4 in column 3");
  c(0, 3) = 0.5f;
  CHECK(message(c).find("got 0.5 in column 3") != std::string::npos);
  c(0, 3) = std::numeric_limits<float>::quiet_NaN();
  CHECK(message(c).find("expected finite numbers in c") != std::string::npos);
  Eigen::MatrixXf x = b.x;
  fm::Sampler policy(net, fm::Euler{}, {.steps = 1});
  c(0, 3) = -1;
  CHECK(test::message_of<std::invalid_argument>([&] { policy(c, x); }).find("got -1") != std::string::npos);

  const auto refused = [&](fm::ConditionalVelocityMlpOptions o) {
    return test::message_of<std::invalid_argument>([&] { fm::ConditionalVelocityMlp<float>(o, rng); });
  };
  auto o = small();
  o.classes = 0;
  CHECK(refused(o) == "flowmatch: ConditionalVelocityMlp: expected options.classes in [1, 2^24], got 0");
  o.classes = (1 << 24) + 1;
  CHECK(refused(o).find("options.classes") != std::string::npos);
  o = small();
  o.embedding_dim = 0;
  CHECK(refused(o) == "flowmatch: ConditionalVelocityMlp: expected options.embedding_dim >= 1, got 0");
  o = small();
  o.vector_dim = -1;
  CHECK(refused(o) == "flowmatch: ConditionalVelocityMlp: expected options.vector_dim >= 0, got -1");
  o = small();
  o.dim = 0;
  CHECK(refused(o).find("options.dim") != std::string::npos);

  fm::ConditionalVelocityMlp<float>::Workspace unused;
  Eigen::VectorXf gradient = Eigen::VectorXf::Zero(net.parameters().size());
  CHECK(test::message_of<std::invalid_argument>([&] { net.backward(v, unused, gradient); }) ==
        "flowmatch: Mlp::backward: expected a call of forward before");
}
