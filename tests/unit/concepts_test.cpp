// SPDX-License-Identifier: MIT
// The contracts between the parts: what meets them, what does not, and a user's own field that trains and samples.
#include <cmath>
#include <flowmatch/flowmatch.hpp>
#include <string>

#include "catch.hpp"
#include "support/largest.hpp"

namespace fm = flowmatch;

namespace {

/// A field as a user would write it: v(x, t) = W [x; t; 1].
template <class ScalarType> class LinearField {
 public:
  using Scalar = ScalarType;
  struct Workspace {
    fm::Matrix<Scalar> features;
  };
  explicit LinearField(fm::Index dim) : dim_(dim), parameters_(fm::Vector<Scalar>::Zero(dim * (dim + 2))) {}

  fm::Index dim() const { return dim_; }
  fm::Index condition_dim() const { return 0; }
  fm::Vector<Scalar>& parameters() { return parameters_; }
  const fm::Vector<Scalar>& parameters() const { return parameters_; }

  void forward(fm::MatrixIn<Scalar> x, fm::RowVectorIn<Scalar> t, fm::MatrixIn<Scalar>, fm::MatrixRef<Scalar> v,
               Workspace& w) const {
    w.features.resize(dim_ + 2, x.cols());
    w.features << x, t, fm::RowVector<Scalar>::Ones(x.cols());
    v = Eigen::Map<const fm::Matrix<Scalar>>(parameters_.data(), dim_, dim_ + 2) * w.features;
  }
  void backward(fm::MatrixIn<Scalar> dv, Workspace& w, fm::VectorRef<Scalar> gradient) const {
    Eigen::Map<fm::Matrix<Scalar>>(gradient.data(), dim_, dim_ + 2) += dv * w.features.transpose();
  }

 private:
  fm::Index dim_;
  fm::Vector<Scalar> parameters_;
};

// Fields that train.
static_assert(fm::TrainableField<fm::VelocityMlp<float>> && fm::TrainableField<fm::VelocityMlp<double>>);
static_assert(fm::TrainableField<LinearField<float>> && fm::TrainableField<LinearField<double>>);
static_assert(!fm::TrainableField<fm::Mlp<float>>);  // has no time
static_assert(!fm::TrainableField<int> && !fm::TrainableField<fm::Matrix<float>>);

struct WithoutBackward {
  using Scalar = float;
  struct Workspace {};
  fm::Vector<float> p;
  fm::Index dim() const { return 1; }
  fm::Index condition_dim() const { return 0; }
  fm::Vector<float>& parameters() { return p; }
  const fm::Vector<float>& parameters() const { return p; }
  void forward(fm::MatrixIn<float>, fm::RowVectorIn<float>, fm::MatrixIn<float>, fm::MatrixRef<float>,
               Workspace&) const {}
};
struct WithBackward : WithoutBackward {
  void backward(fm::MatrixIn<float>, Workspace&, fm::VectorRef<float>) const {}
};
struct OfIntegers : WithBackward {
  using Scalar = int;
};
struct ReadOnly : WithBackward {
  const fm::Vector<float>& parameters() const { return p; }
};
struct WithoutDefaultWorkspace : WithBackward {
  struct Workspace {
    explicit Workspace(int) {}
  };
};
static_assert(!fm::TrainableField<WithoutBackward>);
static_assert(fm::TrainableField<WithBackward>);
static_assert(!fm::TrainableField<OfIntegers>);
static_assert(!fm::TrainableField<ReadOnly>);
static_assert(!fm::TrainableField<WithoutDefaultWorkspace>);

// What can be integrated.
constexpr auto lambda = [](const auto& x, const auto&, const auto&, auto& v) { v = x; };
constexpr auto of_two = [](const auto& x, auto& v) { v = x; };
static_assert(fm::VelocityField<fm::VelocityMlp<float>, float> && fm::VelocityField<fm::VelocityMlp<double>, double>);
static_assert(fm::VelocityField<const fm::VelocityMlp<float>, float>);
static_assert(fm::VelocityField<decltype(lambda), float> && fm::VelocityField<decltype(lambda), double>);
static_assert(!fm::VelocityField<fm::VelocityMlp<float>, double>);
static_assert(!fm::VelocityField<decltype(of_two), float>);
static_assert(!fm::VelocityField<fm::Matrix<float>, float> && !fm::VelocityField<int, double>);

// Numbers: float and double, and the compiler says so at the door.
template <class T>
concept HasNet = requires {
  typename fm::VelocityMlp<T>;
};
static_assert(HasNet<float> && HasNet<double> && !HasNet<long double> && !HasNet<int>);

// Optimisers.
static_assert(fm::Optimizer<fm::Adam<float>, float> && fm::Optimizer<fm::AdamW<double>, double>);
static_assert(fm::Optimizer<fm::Sgd<float>, float>);
static_assert(!fm::Optimizer<fm::Adam<float>, double>);
static_assert(!fm::Optimizer<fm::Ema<float>, float> && !fm::Optimizer<fm::Rk4, float>);
struct WithoutRate {
  void step(fm::VectorRef<float>, fm::VectorIn<float>) {}
};
static_assert(!fm::Optimizer<WithoutRate, float>);

// Steppers.
static_assert(fm::Stepper<fm::Euler> && fm::Stepper<fm::Midpoint> && fm::Stepper<fm::Heun> && fm::Stepper<fm::Rk4>);
struct WithoutOrder {
  static constexpr int evaluations = 1;
  template <fm::Real Scalar, fm::VelocityField<Scalar> F>
  void step(F&&, double, double, fm::MatrixIn<Scalar>, fm::MatrixRef<Scalar>, fm::StepperMemory<Scalar>&) const {}
};
struct WithOrder : WithoutOrder {
  static constexpr int order = 1;
};
struct WithoutStep {
  static constexpr int order = 1, evaluations = 1;
};
static_assert(!fm::Stepper<WithoutOrder> && fm::Stepper<WithOrder> && !fm::Stepper<WithoutStep>);
static_assert(!fm::Stepper<double> && !fm::Stepper<fm::LinearPath>);

// Paths and schedules.
struct WithoutVelocity {
  template <fm::Real Scalar>
  void sample(fm::MatrixIn<Scalar>, fm::MatrixIn<Scalar>, fm::RowVectorIn<Scalar>, fm::Matrix<Scalar>&) const {}
};
struct FloatSchedule {
  fm::ScheduleValue<float> operator()(float t) const { return {t, 1 - t, 1, -1}; }
};
static_assert(fm::Path<fm::LinearPath> && !fm::Path<WithoutVelocity> && !fm::Path<fm::LinearSchedule>);
static_assert(fm::Schedule<fm::LinearSchedule> && !fm::Schedule<FloatSchedule> && !fm::Schedule<fm::LinearPath>);

}

TEST_CASE("a loss hands a user's own field the gradient of its parameters", "[concepts]") {
  fm::Rng rng(2);
  LinearField<double> field(2);
  fm::fill_normal(rng, field.parameters());
  fm::Matrix<double> x(2, 300), u(2, 300);
  fm::RowVector<double> t(300);
  fm::Vector<double> gradient, unused, direction(8);
  fm::fill_normal(rng, x);
  fm::fill_normal(rng, u);
  fm::fill_uniform(rng, t);
  fm::fill_normal(rng, direction);
  fm::FlowMatchingLoss loss(field);
  loss(field, x, t, u, gradient);
  LinearField<double> ahead = field, behind = field;
  ahead.parameters() += 1e-3 * direction;
  behind.parameters() -= 1e-3 * direction;
  const double slope = (loss(ahead, x, t, u, unused) - loss(behind, x, t, u, unused)) / 2e-3;
  CHECK(std::abs(slope - gradient.dot(direction)) < 1e-10);  // exact up to rounding / 1e-3: the loss is a square
}

TEMPLATE_TEST_CASE("a user's own field trains by the same loop and samples", "[concepts]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(3);
  LinearField<Scalar> field(2);
  const fm::Vector<Scalar> mean = Eigen::Matrix<Scalar, 2, 1>(Scalar(2), Scalar(-1));
  fm::LinearPath path;
  fm::FlowMatchingLoss loss(field);
  fm::Adam adam(field.parameters(), {.learning_rate = 2e-2});
  fm::Matrix<Scalar> x0(2, 256), x1(2, 256), x_t, u_t;
  fm::RowVector<Scalar> t(256);
  fm::Vector<Scalar> gradient;
  Scalar first = 0, last = 0;
  constexpr int steps = 1000;
  for (int step = 0; step < steps; ++step) {
    adam.options.learning_rate = fm::CosineRate{.peak = 2e-2, .steps = steps}(step);
    fm::fill_normal(rng, x1);
    x1 = (Scalar(0.5) * x1).colwise() + mean;
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    last = loss(field, x_t, t, u_t, gradient);
    if (step == 0) first = last;
    adam.step(field.parameters(), gradient);
  }
  CHECK(last < first / 2);

  // The best linear field has mean velocity m at every t (its residual is orthogonal to 1 and t), so the mean of its
  // samples is m, up to training noise (gradients of 256 samples, averaged over the last hundreds of steps: about
  // 0.01) and the mean of 4,000 samples (deviation below 1 / sqrt(4000) = 0.016). 0.1 is five times both together.
  const fm::Matrix<Scalar> x = fm::sample(field, 4000, rng, fm::Rk4{}, {.steps = 10});
  CHECK(test::largest(x.rowwise().mean() - mean) < Scalar(0.1));
  fm::Matrix<Scalar> start(2, 10);
  fm::fill_normal(rng, start);
  const fm::Matrix<Scalar> end = fm::transport(field, start, fm::Rk4{}, {.steps = 20});
  const fm::Matrix<Scalar> back = fm::transport(field, end, fm::Rk4{}, {.steps = 20, .from = 1, .to = 0});
  CHECK(test::largest(back - start) < Scalar(1e-4));  // h^4 = 6e-6 and roundings of float
}
