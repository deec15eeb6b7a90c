// SPDX-License-Identifier: MIT
#include <Eigen/LU>
#include <cmath>
#include <flowmatch/data/toy.hpp>
#include <flowmatch/field/conditional_velocity_mlp.hpp>
#include <flowmatch/ode/adaptive.hpp>
#include <flowmatch/path/path.hpp>
#include <flowmatch/random/draw.hpp>
#include <flowmatch/random/drop_condition.hpp>
#include <flowmatch/sample/sample.hpp>
#include <flowmatch/train/loss.hpp>
#include <flowmatch/train/optimizer.hpp>
#include <flowmatch/transform/guidance.hpp>
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

namespace {

template <class Scalar> struct Problem {
  fm::Rng rng{1};
  fm::ConditionalVelocityMlp<Scalar> net{
      {.dim = 2, .classes = 3, .embedding_dim = 4, .vector_dim = 1, .hidden = {12, 12}, .time_frequencies = 2}, rng};
  fm::Matrix<Scalar> x, c, null;
  fm::RowVector<Scalar> t;

  explicit Problem(Index n)
      : x(test::normal<Scalar>(rng, 2, n)),
        c(test::normal<Scalar>(rng, 2, n)),
        null(net.null_condition().replicate(1, n)),
        t(test::uniform<Scalar>(rng, n)) {
    for (Index j = 0; j < n; ++j) c(0, j) = Scalar(j % 4);  // without condition among them
  }
  template <class Field> fm::Matrix<Scalar> velocity(const Field& field, const fm::Matrix<Scalar>& condition) const {
    fm::Matrix<Scalar> v(2, x.cols());
    field(x, t, condition, v);
    return v;
  }
};

/// The field of eq. 7, from N(0, I) to N(m, S), with its derivative; c is not looked at.
struct GaussianField {
  using Scalar = double;
  struct Workspace {
    std::vector<Eigen::MatrixXd> slopes;  // of each sample
  };
  Eigen::VectorXd m;
  Eigen::MatrixXd S;
  Eigen::VectorXd none = {};

  Index dim() const { return m.size(); }
  Index condition_dim() const { return 0; }
  Eigen::VectorXd& parameters() { return none; }
  const Eigen::VectorXd& parameters() const { return none; }
  void forward(const auto& x, const auto& t, const auto&, auto&& v, Workspace& w) const {
    const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(dim(), dim());
    w.slopes.clear();
    for (Index j = 0; j < x.cols(); ++j) {
      const double a = t(j), b = 1 - a;
      w.slopes.push_back((a * S - b * I) * (b * b * I + a * a * S).inverse());
      v.col(j) = m + w.slopes.back() * (x.col(j) - a * m);
    }
  }
  void vjp(const auto& dv, auto&& dx, Workspace& w) const {
    for (Index j = 0; j < dv.cols(); ++j) dx.col(j) = w.slopes[std::size_t(j)].transpose() * dv.col(j);
  }
};
static_assert(fm::ParametricField<GaussianField> && fm::VjpField<GaussianField>);
static_assert(!fm::TrainableField<GaussianField>);

/// Data N(m, S) and an observation of row 0, y = x_0 + noise of variance r. Given it, the data is Gaussian again.
struct Observed {
  GaussianField prior{Eigen::Vector2d(1, -1), (Eigen::Matrix2d() << 1.5, 0.6, 0.6, 0.8).finished()};
  double y = 2.5, r = 0.3;

  GaussianField posterior() const {
    const Eigen::Vector2d gain = prior.S.col(0) / (prior.S(0, 0) + r);
    return {prior.m + gain * (y - prior.m(0)), prior.S - gain * prior.S.row(0)};
  }
  /// d/dx1 log p(y | x1, t) for x1 = E[x1 | x_t], of which row 0 still has this variance at time t.
  auto likelihood() const {
    return [*this](const auto& x1, const auto& t, const auto&, auto& g) {
      g.setZero();
      for (Index j = 0; j < x1.cols(); ++j) {
        const double a = t(j), b = 1 - a;
        const Eigen::Matrix2d left =
            b * b * prior.S * (b * b * Eigen::Matrix2d::Identity() + a * a * prior.S).inverse();
        g(0, j) = (y - x1(0, j)) / (r + left(0, 0));
      }
    };
  }
};

}

TEMPLATE_TEST_CASE("guidance of scale 1 and 0 has the bits of the plain field with and without condition", "[guidance]",
                   float, double) {
  Problem<TestType> p(150);
  const auto with = p.velocity(p.net, p.c), without = p.velocity(p.net, p.null);
  CHECK(p.velocity(fm::ClassifierFreeGuidance(p.net, {.guidance_scale = 1}), p.c) == with);
  CHECK(p.velocity(fm::ClassifierFreeGuidance(p.net, {.guidance_scale = 0}), p.c) == without);
  CHECK(with != without);

  for (Index n : {1, 8, 9, 150}) {  // and its samples, one by one or in tiles
    const fm::Matrix<TestType> x0 = p.x.leftCols(n), c = p.c.leftCols(n), null = p.null.leftCols(n);
    const fm::ClassifierFreeGuidance one(p.net, {.guidance_scale = 1}), zero(p.net, {.guidance_scale = 0});
    CHECK(fm::transport(one, x0, c, fm::Heun{}, {.steps = 4}) == fm::transport(p.net, x0, c, fm::Heun{}, {.steps = 4}));
    CHECK(fm::transport(zero, x0, c, fm::Heun{}, {.steps = 4}) ==
          fm::transport(p.net, x0, null, fm::Heun{}, {.steps = 4}));
  }
}

TEMPLATE_TEST_CASE("guidance goes from the velocity without condition through that with it", "[guidance]", float,
                   double) {
  Problem<TestType> p(200);
  const auto with = p.velocity(p.net, p.c), without = p.velocity(p.net, p.null);
  for (const double s : {3., 0.5, -1.}) {
    const auto v = p.velocity(fm::ClassifierFreeGuidance(p.net, {.guidance_scale = s}), p.c);
    const fm::Matrix<TestType> want = without + TestType(s) * (with - without);
    CHECK(test::largest(v - want) <= 4 * std::numeric_limits<TestType>::epsilon() * test::largest(want));
  }
  // A field of one's own, with a null condition of one's own.
  const fm::VelocityMlp<TestType> own({.dim = 2, .condition_dim = 2, .hidden = {8}}, p.rng);
  const Eigen::Matrix<TestType, 2, 1> zero(0, 0);
  const auto v = p.velocity(fm::ClassifierFreeGuidance(own, zero, {.guidance_scale = 2}), p.c);
  const fm::Matrix<TestType> want = 2 * p.velocity(own, p.c) - p.velocity(own, fm::Matrix<TestType>::Zero(2, 200));
  CHECK(test::largest(v - want) <= 10 * std::numeric_limits<TestType>::epsilon() * test::largest(want));
}

TEMPLATE_TEST_CASE("outside its interval guidance is the plain conditional field to the bit, sample by sample",
                   "[guidance]", float, double) {
  Problem<TestType> p(200);
  p.t(0) = TestType(0.25), p.t(1) = TestType(0.75);  // the ends belong to it
  const auto with = p.velocity(p.net, p.c);
  const auto check = [&](const fm::GuidanceOptions& o, const auto& acts) {
    const auto v = p.velocity(fm::ClassifierFreeGuidance(p.net, o), p.c);
    const auto everywhere = p.velocity(fm::ClassifierFreeGuidance(p.net, {.guidance_scale = o.guidance_scale}), p.c);
    for (Index j = 0; j < 200; ++j) CHECK(v.col(j) == (acts(p.t(j)) ? everywhere : with).col(j));
  };
  for (double s : {2.5, 0.}) {
    check({.guidance_scale = s, .from = 0.25, .to = 0.75}, [](auto t) { return t >= 0.25 && t <= 0.75; });
    check({.guidance_scale = s, .to = 0.5}, [](auto t) { return t <= 0.5; });
    check({.guidance_scale = s, .from = 0.5}, [](auto t) { return t >= 0.5; });
  }
  p.t.setConstant(TestType(0.9));  // nobody is inside
  const auto late = p.velocity(p.net, p.c);
  CHECK(p.velocity(fm::ClassifierFreeGuidance(p.net, {.guidance_scale = 3, .to = 0.5}), p.c) == late);
  // What rounding makes of 1 is still the end.
  p.t.setConstant(TestType(1) + std::numeric_limits<TestType>::epsilon());
  CHECK(p.velocity(fm::ClassifierFreeGuidance(p.net, {.guidance_scale = 3}), p.c) != p.velocity(p.net, p.c));
}

TEST_CASE("a guided field goes into every solver and sampler, and allocates nothing when warm", "[guidance][sample]") {
  Problem<float> p(150);
  const fm::ClassifierFreeGuidance guided(p.net, {.guidance_scale = 2, .from = 0.2, .to = 0.8});
  const Eigen::MatrixXf by_heun = fm::transport(guided, p.x, p.c, fm::Heun{}, {.steps = 400});
  const Eigen::MatrixXf by_pair = fm::transport(guided, p.x, p.c, fm::DormandPrince{.rtol = 1e-4, .atol = 1e-4});
  CHECK(test::largest(by_heun - by_pair) < 2e-2f);  // the jumps cost Heun up to a step of 1/400 each
  Eigen::MatrixXf x = p.x;
  fm::integrate(guided, x, p.c, fm::Heun{}, {.steps = 400});
  CHECK(x == by_heun);
  fm::Threads team(2);
  x = p.x;
  fm::Sampler shared(guided, fm::Heun{}, {.steps = 400}, team);
  shared(p.c, x);
  CHECK(x == by_heun);

  fm::Sampler policy(guided, fm::Rk4{}, {.steps = 3});
  const auto reward = [](const auto& x1, const auto&, const auto&, auto& g) { g = -x1; };
  const fm::GradientGuidance pulled(p.net, reward);
  fm::Sampler puller(pulled, fm::Rk4{}, {.steps = 3});
  for (const Index n : {150, 3}) {
    x = p.x.leftCols(n);
    policy(p.c.leftCols(n), x);
    CHECK(test::allocations_in([&] { policy(p.c.leftCols(n), x); }) == 0);
    puller(p.c.leftCols(n), x);
    CHECK(test::allocations_in([&] { puller(p.c.leftCols(n), x); }) == 0);
  }
  // New weights reach it.
  p.net.parameters() *= 0.5f;
  policy.update({p.net, {.guidance_scale = 2, .from = 0.2, .to = 0.8}});
  x = p.x;
  policy(p.c, x);
  CHECK(x == fm::transport(fm::ClassifierFreeGuidance(p.net, {.guidance_scale = 2, .from = 0.2, .to = 0.8}), p.x, p.c,
                           fm::Rk4{}, {.steps = 3}));
}

TEST_CASE("guidance costs two evaluations where it acts, and one elsewhere and at scale 1 and 0", "[guidance]") {
  struct Counting : fm::VelocityMlp<float> {
    Index* columns;
    void forward(fm::MatrixIn<float> x, fm::RowVectorIn<float> t, fm::MatrixIn<float> c, fm::MatrixRef<float> v,
                 Workspace& w) const {
      CHECK(x.cols() <= fm::tile_columns);
      *columns += x.cols();
      fm::VelocityMlp<float>::forward(x, t, c, v, w);
    }
  };
  Problem<float> p(150);
  Index columns = 0;
  const Counting net{fm::VelocityMlp<float>({.dim = 2, .condition_dim = 2, .hidden = {4}}, p.rng), &columns};
  p.t.setConstant(0.5f);
  const auto cost = [&](const fm::GuidanceOptions& options) {
    columns = 0;
    p.velocity(fm::ClassifierFreeGuidance(net, Eigen::VectorXf::Zero(2), options), p.c);
    return columns;
  };
  CHECK(cost({.guidance_scale = 2}) == 300);
  CHECK(cost({.guidance_scale = 2, .to = 0.4}) == 150);
  CHECK(cost({.guidance_scale = 1}) == 150);
  CHECK(cost({.guidance_scale = 0}) == 150);
}

TEST_CASE("mistakes in guidance are refused", "[guidance]") {
  const Problem<float> p(3);
  const auto message = [&](const fm::GuidanceOptions& o, const Eigen::VectorXf& null) {
    return test::message_of<std::invalid_argument>([&] { fm::ClassifierFreeGuidance(p.net, null, o); });
  };
  const Eigen::VectorXf none = p.net.null_condition();
  CHECK(message({}, none) == "nothing thrown");
  CHECK(message({.from = 0.6, .to = 0.5}, none) ==
        "flowmatch: ClassifierFreeGuidance: expected options.from <= options.to, got 0.6 and 0.5");
  CHECK(message({.guidance_scale = INFINITY}, none) ==
        "flowmatch: ClassifierFreeGuidance: expected a finite options.guidance_scale, got inf");
  CHECK(message({}, Eigen::VectorXf::Zero(3)) == "flowmatch: ClassifierFreeGuidance: expected 2 rows in null, got 3");
  CHECK(message({}, Eigen::VectorXf::Constant(2, NAN)).find("expected finite numbers in null") != std::string::npos);
  const auto zero = [](const auto&, const auto&, const auto&, auto& g) { g.setZero(); };
  CHECK(test::message_of<std::invalid_argument>([&] {
          fm::GradientGuidance(p.net, zero, fm::PosteriorStrength{}, -1);
        }) == "flowmatch: GradientGuidance: expected observation_dim >= 0, got -1");
  Eigen::MatrixXf v(2, 3);
  CHECK(test::message_of<std::invalid_argument>([&] {
          fm::GradientGuidance(p.net, zero, fm::PosteriorStrength{}, 1)(p.x, p.t, p.c, v);
        }) == "flowmatch: GradientGuidance: expected 3 rows in c, got 2");
}

TEST_CASE("the gradient that guides is that of the function at the sample expected from x", "[guidance]") {
  Problem<double> p(20);
  const auto value = [](const auto& x1) {  // column by column
    return Eigen::RowVectorXd(x1.row(0).array().sin() * x1.row(1).array() - x1.row(1).array().square());
  };
  const auto gradient = [](const auto& x1, const auto&, const auto&, auto& g) {
    g.row(0) = x1.row(0).array().cos() * x1.row(1).array();
    g.row(1) = x1.row(0).array().sin() - 2 * x1.row(1).array();
  };
  const auto strength = [](double t) { return 2 + t; };
  const Eigen::MatrixXd plain = p.velocity(p.net, p.c);
  const Eigen::MatrixXd guided = p.velocity(fm::GradientGuidance(p.net, gradient, strength), p.c);
  const auto sum = [&] {
    const Eigen::MatrixXd v = p.velocity(p.net, p.c);
    const Eigen::RowVectorXd left = 1 - p.t.array();
    return value(Eigen::MatrixXd(p.x + (v.array().rowwise() * left.array()).matrix())).sum();
  };
  const Eigen::VectorXd want = test::numerical_gradient(sum, p.x, 0x1p-6);
  for (Index j = 0; j < 20; ++j)
    CHECK(test::largest((guided.col(j) - plain.col(j)) / strength(p.t(j)) - want.segment(2 * j, 2)) < 1e-8);
}

TEST_CASE("with an exact gradient and the posterior's strength guidance is the flow to the posterior", "[guidance]") {
  const Observed problem;
  fm::Rng rng(2);
  const Index n = 40;
  const Eigen::MatrixXd x = test::normal<double>(rng, 2, n);
  const Eigen::RowVectorXd t = test::uniform<double>(rng, n, 0.06, 1);  // above the start of the strength
  const Eigen::MatrixXd none(0, n);
  Eigen::MatrixXd guided(2, n), exact(2, n);
  fm::GradientGuidance(problem.prior, problem.likelihood())(x, t, none, guided);
  GaussianField::Workspace w;
  problem.posterior().forward(x, t, none, exact, w);
  CHECK(test::largest(guided - exact) < 1e-12 * test::largest(exact));
}

TEST_CASE("guided samples have the mean and covariance of the posterior", "[guidance][sample][long]") {
  const Observed problem;
  const GaussianField posterior = problem.posterior();
  fm::Rng rng(3);
  const fm::GradientGuidance guided(problem.prior, problem.likelihood(), fm::PosteriorStrength{.start = 1e-3});
  const Index n = 2000;
  const Eigen::MatrixXd x = fm::sample(guided, n, rng, fm::Rk4{}, {.steps = 50});
  const Eigen::Vector2d mean = x.rowwise().mean();
  const Eigen::MatrixXd centred = x.colwise() - mean;
  const Eigen::Matrix2d covariance = centred * centred.transpose() / double(n);
  // Four standard deviations of the mean of n samples are 0.08, of their covariance 0.1. Below t = 0.001 guidance
  // lacks, which Rk4's first stage sees: less than 0.01.
  CHECK(test::largest(mean - posterior.m) < 0.09);
  CHECK(test::largest(covariance - posterior.S) < 0.11);
  CHECK(std::abs(problem.prior.m(0) - posterior.m(0)) > 0.8);  // the observation says something
}

TEST_CASE("each sample can have an observation of its own, in any solver", "[guidance][sample]") {
  const Observed problem;
  fm::Rng rng(4);
  const auto observed = [&](const auto& x1, const auto&, const auto& c, auto& g) {
    g.setZero();
    g.row(0) = (c - x1.row(0)) / 1e-2;
  };
  const fm::GradientGuidance guided(
      problem.prior, observed, [](double t) { return 0.1 * (1 - t); }, 1);
  const Index n = 150;
  const Eigen::MatrixXd x0 = test::normal<double>(rng, 2, n);
  const Eigen::MatrixXd y = Eigen::RowVectorXd::LinSpaced(n, -2, 4);
  const Eigen::MatrixXd x = fm::transport(guided, x0, y, fm::Rk4{}, {.steps = 100});
  const Eigen::MatrixXd adaptive = fm::transport(guided, x0, y, fm::Tsitouras{.rtol = 1e-7, .atol = 1e-7});
  CHECK(test::largest(x - adaptive) < 1e-4);
  const Eigen::MatrixXd plain = fm::transport(problem.prior, x0, fm::Rk4{}, {.steps = 100});
  CHECK((x.row(0) - y).cwiseAbs().mean() < 0.3 * (plain.row(0) - y).cwiseAbs().mean());
}

TEST_CASE("a net with dropped labels learns each moon and both, and guidance keeps them apart", "[guidance][train]") {
  fm::Rng rng(5);
  const Index samples = 4000;
  Eigen::MatrixXf data = fm::toy::two_moons(rng, samples);
  // Which moon is nearer: the outer one is the upper half of a circle, the inner one its mirror image at (1/2, 1/4).
  const auto to_outer = [](const Eigen::Vector2f& x) {
    return x(1) > 0 ? std::abs(x.norm() - 1) : (x.cwiseAbs() - Eigen::Vector2f(1, 0)).norm();
  };
  const auto moon = [&](const Eigen::Vector2f& x) {
    return to_outer(x) < to_outer(Eigen::Vector2f(1, 0.5f) - x) ? 0.f : 1.f;
  };
  Eigen::MatrixXf labels(1, samples);
  for (Index j = 0; j < samples; ++j) labels(0, j) = moon(data.col(j));

  fm::ConditionalVelocityMlp net({.dim = 2, .classes = 2, .embedding_dim = 4, .hidden = {32, 32}}, rng);
  const Eigen::VectorXf null = net.null_condition();
  fm::LinearPath path;
  fm::FlowMatchingLoss loss(net);
  fm::Adam adam(net.parameters(), {.learning_rate = 5e-3});
  fm::Epoch epoch(samples);
  Eigen::MatrixXf x0(2, 128), x1, c, x_t, u_t;
  Eigen::RowVectorXf t(128);
  Eigen::VectorXf gradient;
  for (int step = 0; step < 1500; ++step) {
    const auto indices = epoch.draw(rng, 128);
    fm::take_columns(data, indices, x1);
    fm::take_columns(labels, indices, c);
    fm::drop_condition(rng, 0.2, null, c);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    loss(net, x_t, t, c, u_t, gradient);
    adam.step(net.parameters(), gradient);
  }

  // Over eight seeds: 94 to 98 % on the right moon, with guidance 99.6 to 100 %; without a condition, which few columns
  // teach, 43 to 69 % on the outer one.
  const Index n = 500;
  const auto right = [&](const auto& field, float label) {
    const Eigen::MatrixXf x = fm::sample(field, Eigen::MatrixXf::Constant(1, n, label), rng, fm::Heun{}, {.steps = 25});
    Index count = 0;
    for (Index j = 0; j < n; ++j) count += moon(x.col(j)) == label;
    return double(count) / double(n);
  };
  const fm::ClassifierFreeGuidance guided(net, {.guidance_scale = 2});
  for (const float label : {0.f, 1.f}) {
    const double plain = right(net, label), with_guidance = right(guided, label);
    CAPTURE(label, plain, with_guidance);
    CHECK(plain > 0.9);
    CHECK(with_guidance > 0.98);
    CHECK(with_guidance > plain);
  }
  // Without a condition, both moons.
  const Eigen::MatrixXf x = fm::sample(net, null.replicate(1, n), rng, fm::Heun{}, {.steps = 25});
  double outer = 0;
  for (Index j = 0; j < n; ++j) outer += moon(x.col(j)) == 0;
  CHECK(std::abs(outer / double(n) - 0.5) < 0.3);
}
