// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/sample/sample.hpp>
#include <limits>
#include <string>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/largest.hpp"

namespace fm = flowmatch;

namespace {

/// The exact velocity of the linear path between N(0, I) and N(m, S), x0 and x1 independent. x_t and u_t = x1 - x0 are
/// jointly normal with E x_t = t m, Cov x_t = (1-t)^2 I + t^2 S, Cov(u_t, x_t) = t S - (1-t) I, so that
///   v(x, t) = E[u_t | x_t = x] = m + (t S - (1-t) I) ((1-t)^2 I + t^2 S)^-1 (x - t m).
/// With S = Q diag(s^2) Q' it splits into two scalar equations in the coordinates Q' (x - t m), whose solutions are
/// y(1) = s y(0): the flow carries x0 to m + Q diag(s) Q' x0. The mean is the field's parameter.
template <class ScalarType> class GaussianField {
 public:
  using Scalar = ScalarType;
  struct Workspace {
    fm::RowVector<Scalar> t;
  };
  using Two = Eigen::Matrix<Scalar, 2, 1>;
  using TwoByTwo = Eigen::Matrix<Scalar, 2, 2>;

  fm::Index dim() const { return 2; }
  fm::Index condition_dim() const { return 0; }
  Two& parameters() { return mean_; }
  const Two& parameters() const { return mean_; }

  void forward(fm::MatrixIn<Scalar> x, fm::RowVectorIn<Scalar> t, fm::MatrixIn<Scalar>, fm::MatrixRef<Scalar> v,
               Workspace& w) const {
    w.t = t;
    TwoByTwo a;
    for (fm::Index j = 0; j < x.cols(); ++j) {
      if (j == 0 || t(j) != t(j - 1)) a = slope(t(j));
      v.col(j) = mean_ + a * (x.col(j) - t(j) * mean_);
    }
  }
  void backward(fm::MatrixIn<Scalar> dv, Workspace& w, fm::VectorRef<Scalar> gradient) const {
    for (fm::Index j = 0; j < dv.cols(); ++j) gradient += dv.col(j) - w.t(j) * slope(w.t(j)) * dv.col(j);
  }

  static TwoByTwo root() { return rotated(deviation()); }   ///< Q diag(s) Q'
  static TwoByTwo covariance() { return root() * root(); }  ///< S
  TwoByTwo slope(Scalar t) const {
    Two diagonal;
    for (int i = 0; i < 2; ++i) {
      const Scalar s2 = deviation()(i) * deviation()(i);
      diagonal(i) = (t * s2 - (1 - t)) / ((1 - t) * (1 - t) + t * t * s2);
    }
    return rotated(diagonal);
  }

 private:
  static Two deviation() { return {Scalar(0.5), Scalar(1.5)}; }
  static TwoByTwo rotated(const Two& diagonal) {
    TwoByTwo q;
    q << Scalar(0.8), Scalar(-0.6), Scalar(0.6), Scalar(0.8);
    return q * diagonal.asDiagonal() * q.transpose();
  }
  Two mean_ = {Scalar(1.5), Scalar(-0.5)};
};
static_assert(fm::TrainableField<GaussianField<float>> && fm::TrainableField<GaussianField<double>>);

template <class Scalar> fm::Matrix<Scalar> normals(fm::Index rows, fm::Index columns, std::uint64_t seed = 3) {
  fm::Rng rng(seed);
  fm::Matrix<Scalar> x(rows, columns);
  fm::fill_normal(rng, x);
  return x;
}

template <class Scalar> fm::VelocityMlp<Scalar> small_net(fm::Index condition_dim = 0, std::uint64_t seed = 5) {
  fm::Rng rng(seed);
  return {{.dim = 2, .condition_dim = condition_dim, .hidden = {16, 16}, .time_frequencies = 2}, rng};
}

/// Mean and covariance of the columns of x against those of the field's data, up to 5 sigma of their estimates from n
/// samples (one false alarm in a million) beside the solver's error.
template <class Scalar> void check_moments(const fm::Matrix<Scalar>& samples, double solver_error) {
  const GaussianField<double> field;
  const fm::Matrix<double> x = samples.template cast<double>();
  const double n = double(x.cols());
  const fm::Vector<double> mean = x.rowwise().mean();
  const fm::Matrix<double> centred = x.colwise() - mean, covariance = centred * centred.transpose() / n;
  const Eigen::Matrix2d s = field.covariance();
  for (int i = 0; i < 2; ++i) {
    CHECK(std::abs(mean(i) - field.parameters()(i)) < 5 * std::sqrt(s(i, i) / n) + solver_error);
    for (int j = 0; j < 2; ++j)
      CHECK(std::abs(covariance(i, j) - s(i, j)) <
            5 * std::sqrt((s(i, j) * s(i, j) + s(i, i) * s(j, j)) / n) + 10 * solver_error);
  }
}

template <class Error, class F> std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing thrown";
}
template <class F> std::string invalid_argument_of(F&& f) { return message_of<std::invalid_argument>(f); }

}

TEST_CASE("the exact flow between Gaussians carries x0 to m + S^(1/2) x0, and noise to N(m, S)", "[sample]") {
  const GaussianField<double> field;
  const fm::Matrix<double> start = normals<double>(2, 5000);
  fm::Matrix<double> x = start;
  const auto velocity = [&](const auto& y, const auto& t, const auto&, auto& v) {  // the formula, matrices and all
    const double time = t(0);
    const Eigen::Matrix2d s = field.covariance(), one = Eigen::Matrix2d::Identity();
    const Eigen::Matrix2d a = (1 - time) * (1 - time) * one + time * time * s, b = time * s - (1 - time) * one;
    Eigen::Matrix2d inverse;
    inverse << a(1, 1), -a(0, 1), -a(1, 0), a(0, 0);
    inverse /= a(0, 0) * a(1, 1) - a(0, 1) * a(1, 0);
    v = (b * inverse * (y.colwise() - time * field.parameters())).colwise() + field.parameters();
  };
  fm::integrate(velocity, x, fm::Rk4{}, {.steps = 50});
  const fm::Matrix<double> expected = (field.root() * start).colwise() + field.parameters();
  // h^4 = 1.6e-7, with a constant that was measured as 0.1
  CHECK(test::largest(x - expected) < 2e-7);
  check_moments(x, 2e-7);
}

TEMPLATE_TEST_CASE("a Sampler with the exact velocity between Gaussians makes N(m, S) of noise", "[sample]", float,
                   double) {
  const GaussianField<TestType> field;
  fm::Rng rng(8);
  const fm::Matrix<TestType> x = fm::sample(field, 5000, rng, fm::Rk4{}, {.steps = 50});
  REQUIRE(x.cols() == 5000);
  check_moments(x, sizeof(TestType) == 4
                       ? 1e-5
                       : 2e-7);  // float: 200 evaluations with roundings of 6e-8 beside the solver's error

  fm::Rng replay(8);
  fm::Matrix<TestType> noise(2, 5000);
  fm::fill_normal(replay, noise);
  const fm::Matrix<TestType> expected = (field.root() * noise).colwise() + field.parameters();
  CHECK(test::largest(x - expected) < (sizeof(TestType) == 4 ? 5e-5 : 2e-7));
}

TEMPLATE_TEST_CASE("transport of data back to noise and forward again returns to the start", "[sample]", float,
                   double) {
  const GaussianField<TestType> field;
  const fm::Matrix<TestType> noise = normals<TestType>(2, 500);
  const fm::Matrix<TestType> data = fm::transport(field, noise, fm::Rk4{}, {.steps = 50});
  CHECK((data - noise).norm() > 1);
  const fm::Matrix<TestType> back = fm::transport(field, data, fm::Rk4{}, {.steps = 50, .from = 1, .to = 0});
  CHECK(test::largest(back - noise) < (sizeof(TestType) == 4 ? 1e-4 : 4e-7));  // twice the error above
}

TEMPLATE_TEST_CASE("a Sampler equals integrate on its field, for any number of columns", "[sample]", float, double) {
  const auto net = small_net<TestType>();
  const auto check = [&](const auto& stepper, const fm::OdeOptions& options) {
    fm::Sampler sampler(net, stepper, options);
    for (const fm::Index n : {1, 2, 127, 128, 129, 256, 300}) {
      fm::Matrix<TestType> expected = normals<TestType>(2, n), x = expected;
      fm::integrate(net, expected, stepper, options);
      sampler(x);
      CAPTURE(n);
#ifdef __FMA__  // a compiler may fuse products and sums in one of the two loops only
      CHECK(test::largest(x - expected) <= 100 * std::numeric_limits<TestType>::epsilon());
#else
      CHECK(x == expected);
#endif
    }
  };
  check(fm::Euler{}, {.steps = 8});
  check(fm::Rk4{}, {.steps = 5});
  check(fm::Heun{}, {.steps = 4, .from = 1, .to = 0.25});
  check(fm::Midpoint{}, {.grid = {0, 0.3, 0.4, 1}});
}

TEMPLATE_TEST_CASE("a sample does not depend on the batch that it is in", "[sample]", float, double) {
  const auto net = small_net<TestType>();
  const fm::Matrix<TestType> all = normals<TestType>(2, 300);
  const fm::Matrix<TestType> together = fm::transport(net, all, fm::Heun{}, {.steps = 6});
  const fm::Matrix<TestType> tile = fm::transport(net, all.middleCols(128, 128), fm::Heun{}, {.steps = 6});
  CHECK(tile == together.middleCols(128, 128));  // split where tiles begin: to the bit
  for (const fm::Index j : {0, 1, 128, 299}) {
    const fm::Matrix<TestType> alone = fm::transport(net, all.col(j), fm::Heun{}, {.steps = 6});
    // other kernels for one column: 12 evaluations of sums of 16 terms below 1
    CHECK(test::largest(alone - together.col(j)) <= 200 * std::numeric_limits<TestType>::epsilon());
  }
}

TEMPLATE_TEST_CASE("a Sampler works in place on vectors, matrices and blocks", "[sample]", float, double) {
  const auto net = small_net<TestType>();
  fm::Sampler policy(net, fm::Euler{}, {.steps = 8});
  fm::Vector<TestType> one = normals<TestType>(2, 1);
  fm::Matrix<TestType> matrix = one, large = fm::Matrix<TestType>::Zero(4, 3);
  large.block(1, 1, 2, 1) = one;
  policy(one);
  policy(matrix);
  policy(large.block(1, 1, 2, 1));
  CHECK(one == matrix);
  CHECK(large.block(1, 1, 2, 1) == one);
  CHECK(large.col(0).isZero(0));
  CHECK(large.row(0).isZero(0));
}

TEMPLATE_TEST_CASE("a Sampler is a snapshot: training changes it by update only", "[sample]", float, double) {
  auto net = small_net<TestType>();
  const auto other = small_net<TestType>(0, 6);
  const fm::Matrix<TestType> start = normals<TestType>(2, 10);
  const auto carried = [&](auto& sampler) {
    fm::Matrix<TestType> x = start;
    sampler(x);
    return x;
  };
  fm::Sampler sampler(net, fm::Rk4{}, {.steps = 4}), fresh(other, fm::Rk4{}, {.steps = 4});
  const fm::Matrix<TestType> before = carried(sampler);
  net.set_parameters(other.parameters());
  CHECK(carried(sampler) == before);
  sampler.update(net);
  CHECK(carried(sampler) == carried(fresh));
  CHECK(carried(sampler) != before);

  fm::Rng rng(1);
  const fm::VelocityMlp<TestType> larger({.dim = 2, .hidden = {17, 16}, .time_frequencies = 2}, rng);
  CHECK(invalid_argument_of([&] { sampler.update(larger); }) ==
        "flowmatch: Sampler::update: expected 434 entries in field.parameters(), got 458");
  CHECK(carried(sampler) == carried(fresh));
}

TEMPLATE_TEST_CASE("conditions steer their own samples", "[sample]", float, double) {
  const auto net = small_net<TestType>(3);
  const fm::Matrix<TestType> start = normals<TestType>(2, 200), c = normals<TestType>(3, 200, 9);
  const fm::Matrix<TestType> x = fm::transport(net, start, c, fm::Rk4{}, {.steps = 4});
  fm::Matrix<TestType> expected = start;
  fm::integrate(net, expected, c, fm::Rk4{}, {.steps = 4});
  CHECK(test::largest(x - expected) <= 100 * std::numeric_limits<TestType>::epsilon());

  fm::Matrix<TestType> changed = c;
  changed.col(150) *= 2;  // in the second tile
  const fm::Matrix<TestType> y = fm::transport(net, start, changed, fm::Rk4{}, {.steps = 4});
  for (fm::Index j = 0; j < 200; ++j) REQUIRE((x.col(j) == y.col(j)) == (j != 150));

  fm::Rng rng(4), replay(4);
  const fm::Matrix<TestType> sampled = fm::sample(net, c, rng, fm::Rk4{}, {.steps = 4});
  fm::Matrix<TestType> noise(2, 200);
  fm::fill_normal(replay, noise);
  CHECK(sampled == fm::transport(net, noise, c, fm::Rk4{}, {.steps = 4}));
}

TEMPLATE_TEST_CASE("samples depend on net and rng only, and take one word of rng for each float normal", "[sample]",
                   float, double) {
  const auto net = small_net<TestType>();
  fm::Rng a(12), b(12), other(13);
  const fm::Matrix<TestType> x = fm::sample(net, 7, a, fm::Euler{}, {.steps = 5});
  CHECK(x == fm::sample(net, 7, b, fm::Euler{}, {.steps = 5}));
  CHECK(a == b);
  CHECK(a.position == (sizeof(TestType) == 4 ? 16 : 28));  // 14 normals in whole blocks of 4 (float) or 2 (double)
  CHECK(x != fm::sample(net, 7, other, fm::Euler{}, {.steps = 5}));
  CHECK(x != fm::sample(net, 7, a, fm::Euler{}, {.steps = 5}));  // the next ones
}

TEMPLATE_TEST_CASE("zero samples are an empty matrix", "[sample]", float, double) {
  fm::Rng rng(1);
  const fm::Matrix<TestType> x = fm::sample(small_net<TestType>(), 0, rng, fm::Rk4{});
  CHECK(x.rows() == 2);
  CHECK(x.cols() == 0);
  CHECK(rng == fm::Rng(1));
}

TEST_CASE("a Sampler tells the evaluations for each sample", "[sample]") {
  const auto net = small_net<float>();
  CHECK(fm::Sampler(net, fm::Euler{}, {.steps = 8}).evaluations() == 8);
  CHECK(fm::Sampler(net, fm::Rk4{}).evaluations() == 200);
  CHECK(fm::Sampler(net, fm::Heun{}, {.grid = {0, 0.5, 0.75, 1}}).evaluations() == 6);
}

TEMPLATE_TEST_CASE("a warm Sampler allocates nothing", "[sample]", float, double) {
  if (!test::counts_allocations) return;
  fm::Rng rng(2);
  const fm::VelocityMlp<TestType> net({.dim = 2, .hidden = {64, 64, 64}}, rng);
  const fm::VelocityMlp<TestType> rich({.dim = 2,
                                        .condition_dim = 3,
                                        .hidden = {64, 64, 64},
                                        .activation = fm::Activation::gelu,
                                        .residual = true,
                                        .time_frequencies = 8},
                                       rng);
  const auto check = [&](const auto& stepper, fm::Index n) {
    CAPTURE(n);
    fm::Matrix<TestType> x = normals<TestType>(2, n), c = normals<TestType>(3, n);
    fm::Vector<TestType> vector = normals<TestType>(2, 1);
    fm::Sampler sampler(net, stepper, {.steps = 3}), conditioned(rich, stepper, {.steps = 3});
    CHECK(test::allocations_in([&] { sampler(x); }) > 0);
    conditioned(c, x);
    CHECK(test::allocations_in([&] { sampler(x); }) == 0);
    CHECK(test::allocations_in([&] { sampler(vector); }) == 0);  // a smaller batch
    CHECK(test::allocations_in([&] { sampler(x); }) == 0);       // and back
    CHECK(test::allocations_in([&] { conditioned(c, x); }) == 0);
    CHECK(test::allocations_in([&] { sampler.update(net); }) == 0);
  };
  for (const fm::Index n : {1, 300}) {
    check(fm::Euler{}, n);
    check(fm::Rk4{}, n);
  }
}

TEMPLATE_TEST_CASE("sampling refuses what it cannot do, and says what", "[sample]", float, double) {
  using M = fm::Matrix<TestType>;
  const auto net = small_net<TestType>(), conditional = small_net<TestType>(3);
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN();
  fm::Rng rng(1);
  M x = normals<TestType>(2, 200);
  fm::Sampler sampler(net, fm::Euler{}, {.steps = 2}), steered(conditional, fm::Euler{}, {.steps = 2});

  CHECK(invalid_argument_of([&] { fm::sample(net, -1, rng, fm::Rk4{}); }) ==
        "flowmatch: sample: expected n >= 0, got -1");
  CHECK(invalid_argument_of([&] { fm::sample(net, 3, rng, fm::Rk4{}, {.from = 0.5}); }) ==
        "flowmatch: sample: expected times that start at 0, where noise is, got 0.5");
  CHECK(invalid_argument_of([&] { fm::sample(net, 3, rng, fm::Rk4{}, {.from = 1, .to = 0}); }) ==
        "flowmatch: sample: expected times that start at 0, where noise is, got 1");
  CHECK(invalid_argument_of([&] {
          fm::sample(net, 3, rng, fm::Rk4{}, {.grid = {0.25, 1}});
        }) == "flowmatch: sample: expected times that start at 0, where noise is, got 0.25");
  CHECK(invalid_argument_of([&] { fm::sample(net, 3, rng, fm::Rk4{}, {.steps = 0}); }) ==
        "flowmatch: time_grid: expected options.steps >= 1, got 0");
  CHECK(rng == fm::Rng(1));  // none of these took a number
  CHECK(invalid_argument_of([&] { fm::sample(conditional, 3, rng, fm::Rk4{}); }) ==
        "flowmatch: Sampler: expected 3 rows in c, got 0");
  CHECK(invalid_argument_of([&] { fm::transport(net, M(M::Zero(3, 2)), fm::Rk4{}); }) ==
        "flowmatch: Sampler: expected 2 rows in x, got 3");
  CHECK(invalid_argument_of([&] { fm::Sampler(net, fm::Rk4{}, {.grid = {1}}); }) ==
        "flowmatch: time_grid: expected at least 2 times in options.grid, got 1");
  M wrong = M::Zero(3, 2);
  CHECK(invalid_argument_of([&] { sampler(wrong); }) == "flowmatch: Sampler: expected 2 rows in x, got 3");
  CHECK(invalid_argument_of([&] { sampler(M(M::Zero(1, 200)), x); }) ==
        "flowmatch: Sampler: expected 0 rows in c, got 1");
  CHECK(invalid_argument_of([&] { steered(x); }) == "flowmatch: Sampler: expected 3 rows in c, got 0");
  CHECK(invalid_argument_of([&] { steered(M(M::Zero(3, 199)), x); }) ==
        "flowmatch: Sampler: expected 200 columns in c, got 199");
  M c = M::Zero(3, 200);
  c(2, 131) = nan;
  CHECK(invalid_argument_of([&] { steered(c, x); }) ==
        "flowmatch: Sampler: expected finite numbers in c, got nan in row 2, column 131");
  x(1, 199) = nan;
  CHECK(invalid_argument_of([&] { sampler(x); }) ==
        "flowmatch: Sampler: expected finite numbers in x, got nan in row 1, column 199");
}

TEMPLATE_TEST_CASE("a sample that leaves the finite numbers is named by its place in the whole batch", "[sample]",
                   float, double) {
  auto net = small_net<TestType>();
  net.parameters() *= std::sqrt(std::numeric_limits<TestType>::max());  // two layers of it are beyond all numbers
  fm::Matrix<TestType> x = fm::Matrix<TestType>::Zero(2, 200);
  net.parameters().tail(2).setZero();
  fm::Sampler sampler(net, fm::Euler{}, {.steps = 4});
  CHECK(message_of<std::runtime_error>([&] {
          sampler(x);
        }).find("flowmatch: Sampler: sample 0 is not finite at t = 0.25 (row 0: ") == 0);

  // A field of which only sample 150 is large: v = x^2, by hand.
  struct Square {
    using Scalar = TestType;
    struct Workspace {};
    fm::Vector<Scalar> none;
    fm::Index dim() const { return 1; }
    fm::Index condition_dim() const { return 0; }
    fm::Vector<Scalar>& parameters() { return none; }
    const fm::Vector<Scalar>& parameters() const { return none; }
    void forward(fm::MatrixIn<Scalar> y, fm::RowVectorIn<Scalar>, fm::MatrixIn<Scalar>, fm::MatrixRef<Scalar> v,
                 Workspace&) const {
      v = y.array().square();
    }
    void backward(fm::MatrixIn<Scalar>, Workspace&, fm::VectorRef<Scalar>) const {}
  };
  fm::Matrix<TestType> y = fm::Matrix<TestType>::Zero(1, 200);
  y(0, 150) = std::numeric_limits<TestType>::max() / 2;
  fm::Sampler square(Square{}, fm::Euler{}, {.steps = 4});
  CHECK(message_of<std::runtime_error>([&] { square(y); }) ==
        "flowmatch: Sampler: sample 150 is not finite at t = 0.25 (row 0: inf)");
}

TEMPLATE_TEST_CASE("an adaptive method samples as closely as its tolerance says", "[sample]", float, double) {
  const GaussianField<TestType> field;
  fm::Rng rng(8), replay(8);
  const fm::Matrix<TestType> x = fm::sample(field, 1000, rng, fm::DormandPrince{.rtol = 1e-5, .atol = 1e-5});
  fm::Matrix<TestType> noise(2, 1000);
  fm::fill_normal(replay, noise);
  const fm::Matrix<TestType> expected = (field.root() * noise).colwise() + field.parameters();
  CHECK(test::largest(x - expected) < TestType(4e-4));  // errors of 1e-5 (1 + |x|) in each of some ten steps
  const fm::Matrix<TestType> back = fm::transport(field, x, fm::Tsitouras{}, {.from = 1, .to = 0});
  CHECK(test::largest(back - noise) < TestType(1e-3));  // and errors grow by up to 2 on the way back
}

TEMPLATE_TEST_CASE("adaptive samples of a net have the same bits alone, in any batch and on any number of threads",
                   "[sample]", float, double) {
  const auto net = small_net<TestType>(3);
  const fm::Matrix<TestType> start = normals<TestType>(2, 257), c = normals<TestType>(3, 257, 9);
  const fm::Tsitouras method{.rtol = 1e-6, .atol = 1e-6};
  fm::Sampler sampler(net, method);
  fm::Matrix<TestType> x = start;
  sampler(c, x);
  const fm::AdaptiveReport report = sampler.report();
  CHECK(report.samples.size() == 257);
  const auto [few, many] = std::minmax_element(report.samples.begin(), report.samples.end(),
                                               [](auto& a, auto& b) { return a.evaluations < b.evaluations; });
  CHECK(few->evaluations < many->evaluations);  // they leave the batch at different times
  for (fm::Index j = 0; j < 257; ++j) {
    fm::Matrix<TestType> alone = start.col(j);  // in weights turned round
    sampler(c.col(j), alone);
    REQUIRE(alone == x.col(j));
    REQUIRE(sampler.report().samples.size() == 1);
    REQUIRE(sampler.report().evaluations() == report.samples[std::size_t(j)].evaluations);
  }
  fm::Matrix<TestType> part = start.middleCols(100, 50);
  sampler(c.middleCols(100, 50), part);
  CHECK(part == x.middleCols(100, 50));

  fm::Threads team(3);
  fm::Matrix<TestType> shared = start, plain = start;
  fm::Sampler(net, method, {}, team)(c, shared);
  CHECK(shared == x);
  fm::integrate(net, plain, c, method);
  CHECK(plain == x);
}

TEST_CASE("an adaptive Sampler allocates nothing when warm, and names the sample that cannot reach the end",
          "[sample]") {
  const auto net = small_net<float>();
  fm::Matrix<float> x = normals<float>(2, 300);
  fm::Sampler sampler(net, fm::DormandPrince{});
  sampler(x);
  if (test::counts_allocations) CHECK(test::allocations_in([&] { sampler(x); }) == 0);
  CHECK(invalid_argument_of([&] { fm::Sampler(net, fm::DormandPrince{.atol = 0}); }) ==
        "flowmatch: Sampler: expected atol > 0, got 0");
  fm::Sampler limited(net, fm::DormandPrince{.rtol = 1e-6, .atol = 1e-6, .max_steps = 2, .first_step = 1e-3});
  const auto message = message_of<std::runtime_error>([&] { limited(x); });
  CHECK(message.find("flowmatch: Sampler: sample 0 stopped at t = 0.0") == 0);
  CHECK(message.find(" after 2 steps: the limit") != message.npos);
  CHECK(limited.report().samples[299].accepted == 2);
}
