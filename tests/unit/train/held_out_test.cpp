// SPDX-License-Identifier: MIT
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/train/held_out.hpp>
#include <flowmatch/train/loss.hpp>
#include <limits>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinRel;
using fm::Index;

namespace {

template <class Scalar> struct Problem {
  fm::Rng rng{61};
  fm::VelocityMlp<Scalar> net{{.dim = 2, .condition_dim = 1, .hidden = {8}}, rng};
  fm::LinearPath path;
  fm::Matrix<Scalar> x0, x1, c;
  fm::RowVector<Scalar> t;

  explicit Problem(Index n)
      : x0(test::normal<Scalar>(rng, 2, n)),
        x1(test::normal<Scalar>(rng, 2, n)),
        c(test::normal<Scalar>(rng, 1, n)),
        t(test::uniform<Scalar>(rng, n)) {}
};

}

TEMPLATE_TEST_CASE("the held-out loss is the flow-matching loss of the same batch", "[train]", float, double) {
  using Scalar = TestType;
  for (Index n : {1, 5, 128, 129, 300}) {
    Problem<Scalar> p(n);
    fm::Matrix<Scalar> x_t, u_t;
    fm::Vector<Scalar> gradient;
    p.path.sample(p.x0, p.x1, p.t, x_t, u_t);
    fm::FlowMatchingLoss loss(p.net);
    const double want = double(loss(p.net, x_t, p.t, p.c, u_t, gradient));
    fm::HeldOutLoss held_out(p.net, p.path, p.x0, p.x1, p.t, p.c);
    // sums of up to 600 squares in another order: their roundings grow as the square root, 25 epsilon
    CHECK_THAT(held_out(p.net), WithinRel(want, 50 * double(std::numeric_limits<Scalar>::epsilon())));
    CHECK(held_out(p.net) == held_out(p.net));
  }
}

TEST_CASE("the held-out loss follows the net and not what the caller does to his samples", "[train]") {
  Problem<double> p(200);
  fm::HeldOutLoss held_out(p.net, p.path, p.x0, p.x1, p.t, p.c);
  const double before = held_out(p.net);
  p.x1.setZero();
  p.c.setZero();
  p.t.setZero();
  CHECK(held_out(p.net) == before);
  p.net.parameters().setZero();
  CHECK(held_out(p.net) != before);
}

TEST_CASE("the held-out loss allocates nothing after the first call", "[train]") {
  Problem<float> p(300);
  fm::HeldOutLoss held_out(p.net, p.path, p.x0, p.x1, p.t, p.c);
  held_out(p.net);
  CHECK(test::allocations_in([&] { held_out(p.net); }) == 0);
}

TEST_CASE("the held-out loss refuses samples that do not fit and a net that diverged", "[train]") {
  Problem<float> p(3);
  const auto message = [&](const auto& x0, const auto& x1, const auto& t, const auto& c) {
    return test::message_of<std::invalid_argument>([&] { fm::HeldOutLoss loss(p.net, p.path, x0, x1, t, c); });
  };
  const Eigen::MatrixXf none(0, 3), wide = Eigen::MatrixXf::Zero(3, 3);
  Eigen::MatrixXf nan = p.c;
  nan(0, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK(message(p.x0, p.x1, p.t, none) == "flowmatch: HeldOutLoss: expected 1 rows in c, got 0");
  CHECK(message(wide, wide, p.t, p.c) == "flowmatch: HeldOutLoss: expected 2 rows in x0, got 3");
  CHECK(message(p.x0, p.x1, Eigen::RowVectorXf(2 + p.t.array()), p.c).find("expected t in [0, 1]") !=
        std::string::npos);
  CHECK(message(p.x0, p.x1, p.t, nan) ==
        "flowmatch: HeldOutLoss: expected finite numbers in c, got nan in row 0, column 1");
  CHECK(message(Eigen::MatrixXf(2, 0), Eigen::MatrixXf(2, 0), Eigen::RowVectorXf(0), Eigen::MatrixXf(1, 0)) ==
        "flowmatch: HeldOutLoss: expected x0.cols() >= 1, got 0");

  fm::HeldOutLoss held_out(p.net, p.path, p.x0, p.x1, p.t, p.c);
  p.net.parameters().setConstant(1e30f);
  CHECK(test::message_of<std::runtime_error>([&] { held_out(p.net); }) ==
        "flowmatch: HeldOutLoss: the loss is inf: training diverged");
}
