// SPDX-License-Identifier: MIT
// A field in moving coordinates: its solutions are those of its field, moved; derivatives against finite differences.
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/sample/likelihood.hpp>
#include <flowmatch/sample/sample.hpp>
#include <flowmatch/transform/moving_field.hpp>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/finite_difference.hpp"
#include "support/largest.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

/// x = [sin r, r^2] + [e^r, 2 - r] z, at t = r (1 + r) / 2.
struct Waltz {
  static constexpr auto name = "Waltz";
  void operator()(double r, fm::detail::Frame& f) const {
    f.shift << std::sin(r), r * r;
    f.shift_dot << std::cos(r), 2 * r;
    f.scale << std::exp(r), 2 - r;
    f.growth << std::exp(r), -1;
    f.t = r * (1 + r) / 2;
    f.gain = (0.5 + r) * f.scale;
  }
};
template <class Scalar> struct Problem {
  fm::Rng rng{3};
  fm::VelocityMlp<Scalar> net{{.dim = 2, .condition_dim = 1, .hidden = {10, 10}, .time_frequencies = 1}, rng};
  fm::detail::MovingField<fm::VelocityMlp<Scalar>, Waltz> moving{net, {}};
  fm::Matrix<Scalar> x, c;
  fm::RowVector<Scalar> t;

  explicit Problem(Index n)
      : x(test::normal<Scalar>(rng, 2, n)), c(test::normal<Scalar>(rng, 1, n)), t(test::uniform<Scalar>(rng, n)) {}
};
using Moving = fm::detail::MovingField<fm::VelocityMlp<double>, Waltz>;
static_assert(fm::JvpField<Moving> && fm::VjpField<Moving> && fm::VelocityField<Moving, double>);

}

TEST_CASE("solutions in moving coordinates are the field's own solutions, moved", "[field]") {
  Problem<double> p(20);
  fm::detail::Frame start, end;
  for (auto* f : {&start, &end})
    for (auto* v : {&f->shift, &f->scale, &f->shift_dot, &f->growth, &f->gain}) v->resize(2);
  Waltz{}(0.2, start);
  Waltz{}(0.9, end);
  const auto moved = [](const fm::detail::Frame& f, const Eigen::MatrixXd& z) -> Eigen::MatrixXd {
    return (f.scale.asDiagonal() * z).colwise() + f.shift;
  };
  const Eigen::MatrixXd z = fm::transport(p.net, p.x, p.c, fm::Rk4{}, {.steps = 80, .from = start.t, .to = end.t});
  const Eigen::MatrixXd x =
      fm::transport(p.moving, moved(start, p.x), p.c, fm::Rk4{}, {.steps = 80, .from = 0.2, .to = 0.9});
  CHECK(test::largest(x - moved(end, z)) < 1e-8);  // h^4 = 6e-9, with small constants
}

TEST_CASE("derivatives of a field in moving coordinates are right in all directions", "[field]") {
  Problem<double> p(5);
  Moving::Workspace w;
  Eigen::MatrixXd v(2, 5), dv(2, 10), dx(2, 5), ahead(2, 5);
  const Eigen::MatrixXd direction = test::normal<double>(p.rng, 2, 10), weights = test::normal<double>(p.rng, 2, 5);
  Eigen::VectorXd gradient = Eigen::VectorXd::Zero(p.net.parameters().size());
  p.moving.forward(p.x, p.t, p.c, v, w);
  p.moving.jvp(direction, dv, w);
  p.moving.vjp(weights, dx, w);
  p.moving.backward(weights, w, gradient);

  for (Index k : {Index(0), Index(5)})  // columns j and j + 5 belong to sample j
    for (Index j = 0; j < 5; ++j)
      for (Index i = 0; i < 2; ++i) {
        const double slope = test::derivative_at_zero(
            [&](double h) {
              p.moving(p.x + h * direction.middleCols(k, 5), p.t, p.c, ahead);
              return ahead(i, j);
            },
            1. / 64);
        CHECK(std::abs(dv(i, k + j) - slope) < 1e-9);
      }
  const auto value = [&] {
    p.moving(p.x, p.t, p.c, ahead);
    return ahead.cwiseProduct(weights).sum();
  };
  CHECK(test::largest(dx.reshaped() - test::numerical_gradient(value, p.x)) < 1e-9);
  CHECK(test::largest(gradient - test::numerical_gradient(value, p.moving.parameters())) < 1e-9);
}

TEMPLATE_TEST_CASE("a column in moving coordinates has the same bits alone and in any batch", "[field]", float,
                   double) {
  Problem<TestType> p(300);
  p.t.segment(40, 100).setConstant(TestType(0.3));  // neighbours with one time, whose frame is made once
  fm::Matrix<TestType> all(2, 300), one(2, 1);
  p.moving(p.x, p.t, p.c, all);
  for (Index j : {0, 39, 40, 41, 139, 140, 299}) {
    p.moving(p.x.col(j), p.t.col(j), p.c.col(j), one);
    CHECK(one == all.col(j));
  }
}

TEST_CASE("a field in moving coordinates takes a time outside the interval as its end", "[field]") {
  Problem<double> p(1);
  Eigen::MatrixXd inside(2, 1), outside(2, 1);
  p.moving(p.x, Eigen::RowVectorXd::Ones(1), p.c, inside);
  p.moving(p.x, Eigen::RowVectorXd::Constant(1, 1 + 1e-9), p.c, outside);
  CHECK(outside == inside);
}

TEST_CASE("a sampler of a field in moving coordinates allocates nothing after the first call", "[field]") {
  if (!test::counts_allocations) return;
  Problem<float> p(100);
  fm::Sampler fixed(p.moving, fm::Heun{}, {.steps = 3});
  fm::Sampler adaptive(p.moving, fm::DormandPrince{.rtol = 1e-2, .atol = 1e-2});
  const auto run = [&](auto& sampler) {
    sampler(p.c, p.x);
    return test::allocations_in([&] { sampler(p.c, p.x); });
  };
  CHECK(run(fixed) == 0);
  CHECK(run(adaptive) == 0);
}
