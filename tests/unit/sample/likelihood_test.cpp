// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/data/toy.hpp>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/path/path.hpp>
#include <flowmatch/random/draw.hpp>
#include <flowmatch/sample/likelihood.hpp>
#include <flowmatch/sample/sample.hpp>
#include <flowmatch/train/loss.hpp>
#include <flowmatch/train/optimizer.hpp>
#include <limits>
#include <numbers>
#include <string>
#include <utility>

#include "catch.hpp"
#include "support/golden_net.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using fm::Index;

namespace {

/// The exact field between N(0, I) and N(m, diag(s^2)) of eq. 7, a scalar equation for each row, and with a jvp: a
/// field of one's own. A condition is added to the mean.
class GaussianField {
 public:
  using Scalar = double;
  struct Workspace {
    Eigen::RowVectorXd t;
  };

  Index dim() const { return 2; }
  Index condition_dim() const { return 2; }
  Eigen::Vector2d& parameters() { return mean_; }
  const Eigen::Vector2d& parameters() const { return mean_; }
  static Eigen::Vector2d deviation() { return {0.5, 1.5}; }

  void forward(fm::MatrixIn<double> x, fm::RowVectorIn<double> t, fm::MatrixIn<double> c, fm::MatrixRef<double> v,
               Workspace& w) const {
    w.t = t;
    for (Index j = 0; j < x.cols(); ++j) {
      const Eigen::Vector2d m = mean_ + c.col(j);
      v.col(j) = m + slope(t(j)).cwiseProduct(x.col(j) - t(j) * m);
    }
  }
  void jvp(fm::MatrixIn<double> dx, fm::MatrixRef<double> dv, Workspace& w) const {
    for (Index j = 0; j < dx.cols(); ++j) dv.col(j) = slope(w.t(j % w.t.size())).cwiseProduct(dx.col(j));
  }
  void backward(fm::MatrixIn<double>, Workspace&, fm::VectorRef<double>) const {}

 private:
  static Eigen::Vector2d slope(double t) {
    const Eigen::Array2d s2 = deviation().array().square();
    return (t * s2 - (1 - t)) / ((1 - t) * (1 - t) + t * t * s2);
  }
  Eigen::Vector2d mean_ = {1.5, -0.5};
};
static_assert(fm::JvpField<GaussianField>);
static_assert(fm::JvpField<fm::VelocityMlp<float>> && fm::JvpField<fm::VelocityMlp<double>>);

template <class Scalar> fm::VelocityMlp<Scalar> small_net(Index condition_dim = 0, Index dim = 2) {
  fm::Rng rng(5);
  return {{.dim = dim, .condition_dim = condition_dim, .hidden = {16, 16}, .time_frequencies = 2}, rng};
}

/// v = A x + b t + b': its divergence is the trace of A everywhere, which a solver integrates exactly.
fm::VelocityMlp<double> linear_net(Index dim) {
  fm::Rng rng(6);
  return {{.dim = dim}, rng};
}
double trace(const fm::VelocityMlp<double>& net) {
  double sum = 0;
  for (Index i = 0; i < net.dim(); ++i) sum += net.parameters()(i * (net.dim() + 1) + i);
  return sum;
}

template <class Scalar> fm::Matrix<Scalar> normals(Index rows, Index columns, std::uint64_t seed = 3) {
  fm::Rng rng(seed);
  return test::normal<Scalar>(rng, rows, columns);
}
template <class F> std::string invalid_argument_of(const F& f) { return test::message_of<std::invalid_argument>(f); }

}

TEST_CASE("the log-likelihood of the flow between Gaussians is that of the Gaussian", "[likelihood]") {
  const GaussianField field;
  const Eigen::MatrixXd x = 2 * normals<double>(2, 300), c = normals<double>(2, 300, 4);
  const Eigen::RowVectorXd got = fm::log_likelihood(field, x, c, fm::Rk4{}, {.steps = 400});
  for (Index j = 0; j < 300; ++j) {
    double want = 0;
    for (Index i = 0; i < 2; ++i) {
      const double s = field.deviation()(i), z = (x(i, j) - field.parameters()(i) - c(i, j)) / s;
      want -= z * z / 2 + std::log(s) + std::log(2 * std::numbers::pi) / 2;
    }
    CHECK_THAT(got(j), WithinAbs(want, 1e-8));  // it errs by 8e-9 after 200 steps, a sixteenth of that after 400
  }
}

TEST_CASE("any solver finds the log-likelihood", "[likelihood]") {
  const GaussianField field;
  const Eigen::MatrixXd x = 2 * normals<double>(2, 300), c = normals<double>(2, 300, 4);
  const Eigen::RowVectorXd exact = fm::log_likelihood(field, x, c, fm::Rk4{}, {.steps = 400});
  const fm::Tsitouras tight{.rtol = 1e-11, .atol = 1e-11};
  const Eigen::RowVectorXd adaptive = fm::log_likelihood(field, x, c, tight);
  CHECK(test::largest(adaptive - exact) < 1e-8);
  // Samples leave the batch when they are done: each keeps its condition and its probes.
  CHECK(fm::log_likelihood(field, x.middleCols(140, 7), c.middleCols(140, 7), tight) == adaptive.segment(140, 7));
  fm::Threads team(3);
  CHECK(fm::log_likelihood(field, x, c, tight, {.team = &team}) == adaptive);
  const auto net = small_net<double>(1, 3);
  const Eigen::MatrixXd y = normals<double>(3, 150), d = normals<double>(1, 150, 4);
  fm::Rng a(1), b(1);
  CHECK(test::largest(fm::log_likelihood(net, y, d, a, tight, {.probes = 2}) -
                      fm::log_likelihood(net, y, d, b, fm::Rk4{}, {.steps = 200, .probes = 2})) < 1e-8);
  const auto [samples, log_p] = fm::sample_with_log_likelihood(net, d, a, tight);
  CHECK(test::largest(fm::log_likelihood(net, samples, d, tight) - log_p) < 1e-8);
  CHECK(test::message_of<std::runtime_error>([&] {
          fm::log_likelihood(net, y, d, fm::Tsitouras{.max_steps = 1});
        }).starts_with("flowmatch: log_likelihood: sample 0 stopped at t = "));
}

TEST_CASE("log-likelihoods are those of an independent program with PyTorch", "[likelihood][golden]") {
  const test::Golden nets("torch_velocity.txt"), golden("likelihood.txt");
  using enum fm::Activation;
  const std::pair<std::string, fm::VelocityMlpOptions> all[] = {
      {"silu", {.dim = 2, .hidden = {12, 10, 8}}},
      {"residual_gelu",
       {.dim = 3,
        .condition_dim = 2,
        .hidden = {8, 8, 8},
        .activation = gelu,
        .residual = true,
        .time_frequencies = 3}},
      {"tanh", {.dim = 1, .hidden = {9, 7}, .activation = tanh, .time_frequencies = 2}},
      {"softplus", {.dim = 2, .condition_dim = 1, .hidden = {10}, .activation = softplus, .time_frequencies = 4}},
      {"linear", {.dim = 3, .condition_dim = 1, .time_frequencies = 2}}};
  for (const auto& [name, options] : all) {
    INFO(name);
    fm::Rng rng(1);
    fm::VelocityMlp<double> net(options, rng);
    net.set_parameters(test::golden_blocks(nets, name + "/parameter/", net));
    const auto got =
        fm::log_likelihood(net, nets.columns(name + "/x"), nets.columns(name + "/c"), fm::Rk4{}, {.steps = 200});
    const Eigen::VectorXd want = golden.flat(name);
    CHECK(test::largest(got.transpose() - want) < 1e-8);  // it took 400 steps
  }
}

TEST_CASE("the divergence is the trace of the Jacobian, with more directions than go through the net at a time",
          "[likelihood]") {
  for (const auto& [dim, n] : {std::pair<Index, Index>{1, 1}, {5, 130}, {300, 3}}) {
    INFO(dim << " dimensions, " << n << " samples");
    const auto net = linear_net(dim);
    const Eigen::MatrixXd x = normals<double>(dim, n);
    const Eigen::MatrixXd x0 = fm::transport(net, x, fm::Heun{}, {.steps = 3, .from = 1, .to = 0});
    const Eigen::RowVectorXd want = fm::StandardNormal()(x0).array() - trace(net);
    const double scale = test::largest(want);
    CHECK(test::largest(fm::log_likelihood(net, x, fm::Heun{}, {.steps = 3}) - want) < 5e-13 * scale);
  }
}

TEST_CASE("the source may be any density", "[likelihood]") {
  const auto net = linear_net(2);
  const Eigen::MatrixXd x = normals<double>(2, 20);
  const Eigen::MatrixXd x0 = fm::transport(net, x, fm::Rk4{}, {.steps = 4, .from = 1, .to = 0});
  const auto laplace = [](const auto& y) {
    return Eigen::RowVectorXd(-y.cwiseAbs().colwise().sum().array() - 2 * std::log(2.0));
  };
  const Eigen::RowVectorXd want = laplace(x0).array() - trace(net);
  CHECK(test::largest(fm::log_likelihood(net, x, fm::Rk4{}, {.steps = 4}, laplace) - want) < 1e-13);

  // Where the source has no density, neither has the flow.
  const auto square = [](const auto& y) {
    Eigen::RowVectorXd log_p(y.cols());
    for (Index j = 0; j < y.cols(); ++j) log_p(j) = test::largest(y.col(j)) < 1 ? -std::log(4.0) : -INFINITY;
    return log_p;
  };
  const Eigen::RowVectorXd log_p = fm::log_likelihood(net, x, fm::Rk4{}, {.steps = 4}, square);
  for (Index j = 0; j < 20; ++j) {
    const bool inside = test::largest(x0.col(j)) < 1;
    CHECK(std::isinf(log_p(j)) == !inside);
    if (inside) CHECK_THAT(log_p(j), WithinAbs(-std::log(4.0) - trace(net), 1e-13));
  }
}

TEST_CASE("a learned density integrates to 1", "[likelihood]") {
  fm::Rng rng(7);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 5000);
  fm::VelocityMlp net({.dim = 2, .hidden = {32, 32}}, rng);
  fm::FlowMatchingLoss loss(net);
  fm::Adam adam(net.parameters(), {.learning_rate = 5e-3});
  Eigen::MatrixXf x0(2, 256), x1(2, 256), x_t, u_t;
  Eigen::RowVectorXf t(256);
  Eigen::VectorXf gradient;
  for (int step = 0; step < 1000; ++step) {
    fm::draw_columns(rng, data, x1);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    fm::LinearPath().sample(x0, x1, t, x_t, u_t);
    loss(net, x_t, t, u_t, gradient);
    adam.step(net.parameters(), gradient);
  }
  constexpr Index cells = 160;
  constexpr float side = 8, width = side / cells;
  Eigen::MatrixXf grid(2, cells * cells);
  for (Index j = 0; j < grid.cols(); ++j)
    grid.col(j) << width * (float(j % cells) + 0.5f) - side / 2, width * (float(j / cells) + 0.5f) - side / 2;
  const Eigen::RowVectorXf log_p = fm::log_likelihood(net, grid, fm::Rk4{}, {.steps = 20});
  const double integral = log_p.cast<double>().array().exp().sum() * width * width;
  CHECK_THAT(integral, WithinAbs(1, 1e-5));  // cells of 0.05, 20 steps and float: it errs by 2e-7

  // It learned something: fresh data are likelier than under the normal distribution of their mean and covariance S,
  // where the mean log-likelihood is -ln(2 pi e) - ln(det S) / 2.
  const Eigen::MatrixXf fresh = fm::toy::two_moons(rng, 1000);
  const Eigen::MatrixXf centred = fresh.colwise() - fresh.rowwise().mean().eval();
  const Eigen::MatrixXf s = centred * centred.transpose() / 1000;
  const float normal = -std::log(2 * std::numbers::pi_v<float> * std::numbers::e_v<float>) -
                       std::log(s(0, 0) * s(1, 1) - s(0, 1) * s(1, 0)) / 2;
  CHECK(fm::log_likelihood(net, fresh, fm::Rk4{}, {.steps = 20}).mean() > normal + 0.5f);
}

TEST_CASE("Hutchinson's estimate is unbiased, and more probes vary less", "[likelihood]") {
  const auto net = small_net<double>(1, 3);
  constexpr Index n = 2000;
  const Eigen::MatrixXd x = normals<double>(3, 1).replicate(1, n), c = Eigen::MatrixXd::Constant(1, n, 0.7);
  const double exact = fm::log_likelihood(net, x.col(0), c.col(0), fm::Rk4{}, {.steps = 6})(0);
  double variance[2] = {};
  for (const fm::Probe probe : {fm::Probe::rademacher, fm::Probe::gaussian})
    for (const Index probes : {1, 4}) {
      fm::Rng rng(8);
      const auto estimates =
          fm::log_likelihood(net, x, c, rng, fm::Rk4{}, {.steps = 6, .probes = probes, .probe = probe});
      const double mean = estimates.mean();
      const double spread = (estimates.array() - mean).square().sum() / double(n - 1);
      CHECK(spread > 1e-6);
      CHECK(estimates(0) != estimates(fm::tile_columns));                 // probes of its own for each sample
      CHECK(std::abs(mean - exact) < 4 * std::sqrt(spread / double(n)));  // 1 in 16000 seeds would fail
      if (probes == 1) variance[probe == fm::Probe::gaussian] = spread;
      // A variance from 2000 estimates is good to 5 percent or so: the ratio of two to about 15, twice.
      if (probes == 4) CHECK_THAT(variance[probe == fm::Probe::gaussian] / spread, WithinAbs(4, 1.2));
    }
  CHECK(variance[0] < variance[1]);
}

TEST_CASE("probes are those of the generator, the same for all of a solve", "[likelihood]") {
  const auto net = small_net<double>(0, 3);
  const Eigen::MatrixXd x = normals<double>(3, 150);
  const auto estimate = [&](std::uint64_t seed, auto stepper, Index steps) {
    fm::Rng rng(seed);
    return fm::log_likelihood(net, x, rng, stepper, {.steps = steps, .probes = 2});
  };
  CHECK(estimate(1, fm::Rk4{}, 5) == estimate(1, fm::Rk4{}, 5));
  CHECK(estimate(1, fm::Rk4{}, 5) != estimate(2, fm::Rk4{}, 5));
  // Were they drawn anew in each evaluation, other steps would give another estimate.
  CHECK(test::largest(estimate(1, fm::Rk4{}, 20) - estimate(1, fm::Rk4{}, 40)) < 1e-6);

  fm::Rng rng(1), untouched(1);
  fm::log_likelihood(net, x, rng, fm::Euler{}, {.steps = 2, .probes = 2});
  CHECK(rng.position == 3 * 150 * 2 * 2);  // two words for a number in double
  rng = untouched;
  CHECK(fm::log_likelihood(net, x, rng, fm::Euler{}, {.steps = 2}) ==
        fm::log_likelihood(net, x, fm::Euler{}, {.steps = 2}));
  CHECK(rng == untouched);
}

TEMPLATE_TEST_CASE("samples come with the log-density that the way back finds", "[likelihood]", float, double) {
  const auto net = small_net<TestType>(), policy = small_net<TestType>(2);
  const double tolerance = sizeof(TestType) == 4 ? 3e-5 : 1e-10;  // float: its roundings in 400 evaluations
  fm::Rng rng(9), replay(9);
  const auto [x, log_p] = fm::sample_with_log_likelihood(net, 200, rng, fm::Rk4{}, {.steps = 50});
#ifdef __FMA__  // a compiler may fuse products and sums in one of the two loops only
  CHECK(test::largest(x - fm::sample(net, 200, replay, fm::Rk4{}, {.steps = 50})) <=
        100 * std::numeric_limits<TestType>::epsilon());
#else
  CHECK(x == fm::sample(net, 200, replay, fm::Rk4{}, {.steps = 50}));
#endif
  CHECK(double(test::largest(fm::log_likelihood(net, x, fm::Rk4{}, {.steps = 50}) - log_p)) < tolerance);

  const fm::Matrix<TestType> c = normals<TestType>(2, 200, 10);
  const std::vector<double> grid = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1};
  const auto steered = fm::sample_with_log_likelihood(policy, c, rng, fm::Rk4{}, {.grid = grid});
  CHECK(double(test::largest(fm::log_likelihood(policy, steered.x, c, fm::Rk4{}, {.grid = grid}) -
                             steered.log_likelihood)) < 3e-4);  // coarser
  fm::Rng a(11), b(11);
  const auto estimated = fm::sample_with_log_likelihood(policy, c, a, fm::Rk4{}, {.steps = 20, .probes = 1});
  CHECK(estimated.x == fm::sample_with_log_likelihood(policy, c, b, fm::Rk4{}, {.steps = 20}).x);  // noise comes first
  CHECK(a.position > b.position);
}

TEMPLATE_TEST_CASE("a log-likelihood does not depend on the batch or the threads", "[likelihood]", float, double) {
  const auto net = small_net<TestType>(1);
  const fm::Matrix<TestType> x = normals<TestType>(2, 300), c = normals<TestType>(1, 300, 4);
  const auto of = [&](Index first, Index n) {
    return fm::log_likelihood(net, x.middleCols(first, n), c.middleCols(first, n), fm::Rk4{}, {.steps = 4});
  };
  const fm::RowVector<TestType> together = of(0, 300);
#ifdef __FMA__
  const TestType tolerance = 200 * std::numeric_limits<TestType>::epsilon();
#else
  const TestType tolerance = 0;
#endif
  for (const auto& [first, n] : {std::pair<Index, Index>{0, 128}, {128, 128}, {0, 1}, {7, 1}, {299, 1}, {3, 200}})
    CHECK(test::largest(of(first, n) - together.segment(first, n)) <= tolerance);

  fm::Threads team(3);
  CHECK(fm::log_likelihood(net, x, c, fm::Rk4{}, {.steps = 4, .team = &team}) == together);
  fm::Rng a(1), b(1);
  CHECK(fm::log_likelihood(net, x, c, a, fm::Rk4{}, {.steps = 4, .probes = 3, .team = &team}) ==
        fm::log_likelihood(net, x, c, b, fm::Rk4{}, {.steps = 4, .probes = 3}));
  CHECK(fm::log_likelihood(net, x.leftCols(0), c.leftCols(0), fm::Rk4{}).size() == 0);
  CHECK(fm::sample_with_log_likelihood(small_net<TestType>(), 0, a, fm::Rk4{}).log_likelihood.size() == 0);
}

TEST_CASE("bits per dimension are nats over dim ln 2", "[likelihood]") {
  CHECK_THAT(fm::bits_per_dimension(-3 * std::log(2.0), 1), WithinAbs(3, 1e-15));
  CHECK_THAT(fm::bits_per_dimension(-784 * std::log(256.0), 784), WithinAbs(8, 1e-14));
  CHECK(invalid_argument_of([] { fm::bits_per_dimension(-1, 0); }) ==
        "flowmatch: bits_per_dimension: expected dim >= 1, got 0");
}

TEMPLATE_TEST_CASE("the standard normal's log-density is its formula", "[likelihood]", float, double) {
  fm::Matrix<TestType> x(3, 2);
  x << 0, 1, 0, 2, 0, -3;
  const fm::RowVector<TestType> log_p = fm::StandardNormal()(x);
  CHECK_THAT(double(log_p(0)), WithinAbs(-2.756815599614018, 1e-6));
  CHECK_THAT(double(log_p(1)), WithinAbs(-2.756815599614018 - 7, 1e-6));
}

TEMPLATE_TEST_CASE("likelihoods refuse what they cannot do, and say what", "[likelihood]", float, double) {
  using M = fm::Matrix<TestType>;
  const auto net = small_net<TestType>(1);
  const M x = normals<TestType>(2, 5), c = normals<TestType>(1, 5), none(0, 5);
  fm::Rng rng(1);
  const std::string where = "flowmatch: log_likelihood: expected ";
  const auto refused = [&](const M& x_, const M& c_, const fm::LikelihoodOptions& options = {}) {
    return invalid_argument_of([&] { fm::log_likelihood(net, x_, c_, fm::Euler{}, options); });
  };
  CHECK(refused(x.topRows(1), c) == where + "2 rows in x, got 1");
  CHECK(refused(x, none) == where + "1 rows in c, got 0");
  CHECK(refused(x, c.leftCols(4)) == where + "5 columns in c, got 4");
  CHECK(invalid_argument_of([&] { fm::log_likelihood(net, x, fm::Euler{}); }) == where + "1 rows in c, got 0");
  const auto with_nan = [](M m) {
    m(0, 3) = std::numeric_limits<TestType>::quiet_NaN();
    return m;
  };
  CHECK(refused(with_nan(x), c).starts_with(where + "finite numbers in x, got "));
  CHECK(refused(x, with_nan(c)).starts_with(where + "finite numbers in c, got "));
  CHECK(refused(x, c, {.probes = 2}) == where + "an Rng, for options.probes = 2");
  CHECK(refused(x, c, {.probes = -1}) == where + "options.probes >= 0, got -1");
  CHECK(refused(x, c, {.steps = 0}) == "flowmatch: time_grid: expected options.steps >= 1, got 0");
  CHECK(refused(x, c, {.grid = {1, 0.5, 0}}) == where + "times that start at 0, where the source is, got 1");

  const auto short_row = [](const auto&) { return fm::RowVector<TestType>::Zero(4).eval(); };
  CHECK(invalid_argument_of([&] { fm::log_likelihood(net, x, c, fm::Euler{}, {}, short_row); }) ==
        where + "5 columns in what log_p0 returns, got 4");
  for (const TestType bad : {std::numeric_limits<TestType>::quiet_NaN(), std::numeric_limits<TestType>::infinity()}) {
    const auto improper = [&](const auto& y) { return fm::RowVector<TestType>::Constant(y.cols(), bad).eval(); };
    CHECK(invalid_argument_of([&] {
            fm::log_likelihood(net, x, c, fm::Euler{}, {}, improper);
          }).starts_with(where + "numbers or -inf from log_p0, got "));
  }

  const std::string sampling = "flowmatch: sample_with_log_likelihood: expected ";
  CHECK(invalid_argument_of([&] { fm::sample_with_log_likelihood(net, -1, rng, fm::Euler{}); }) ==
        sampling + "n >= 0, got -1");
  CHECK(invalid_argument_of([&] { fm::sample_with_log_likelihood(net, 3, rng, fm::Euler{}); }) ==
        sampling + "1 rows in c, got 0");
  CHECK(invalid_argument_of([&] {
          fm::sample_with_log_likelihood(net, with_nan(c), rng, fm::Euler{});
        }).starts_with(sampling + "finite numbers in c, got "));
  CHECK(invalid_argument_of([&] {
          fm::sample_with_log_likelihood(net, c, rng, fm::Euler{}, {.grid = {0.5, 1}});
        }) == sampling + "times that start at 0, where the source is, got 0.5");
  CHECK(rng == fm::Rng(1));

  auto broken = net;
  broken.parameters().setConstant(std::numeric_limits<TestType>::max());
  CHECK(test::message_of<std::runtime_error>([&] {
          fm::log_likelihood(broken, x, c, fm::Euler{}, {.steps = 2});
        }).starts_with("flowmatch: log_likelihood: sample 0 is not finite at t = 0.5"));
}
