// SPDX-License-Identifier: MIT
// Generation: start points, noise or your own, carried through the field from t = 0 to 1.
#pragma once

#include "flowmatch/core/threads.hpp"
#include "flowmatch/field/field.hpp"
#include "flowmatch/ode/carry.hpp"
#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// Field::OneSample, if there is one: a snapshot that is faster for a single sample (see VelocityMlp::OneSample).
struct NoOneSample {
  template <class Field> explicit NoOneSample(const Field&) {}
};
template <class Field> struct OneSampleOf { using Type = NoOneSample; };
template <class Field>
requires requires { typename Field::OneSample; }
struct OneSampleOf<Field> {
  using Type = typename Field::OneSample;
};

}

/// A snapshot of a field with solver, grid and all memory, for loops: policy(c, x) carries x in place. After the first
/// call of a batch size it allocates nothing. One for each thread; update(field) takes over new weights.
template <ParametricField Field, Solver S> class Sampler {
 public:
  using Scalar = typename Field::Scalar;

  /// Of the grid, an adaptive method takes the ends. Throws std::invalid_argument if an option is wrong (see time_grid
  /// and EmbeddedRungeKutta).
  Sampler(Field field, S solver, const OdeOptions& options = {})
      : field_(std::move(field)), one_sample_(field_), solver_(solver), times_(time_grid(options)), memory_(1) {
    if constexpr (AdaptiveMethod<S>) detail::check_method("Sampler", solver_);
  }
  /// With a team of threads, which must outlive this object and shares the samples of a call.
  Sampler(Field field, S solver, const OdeOptions& options, Threads& team)
      : Sampler(std::move(field), solver, options) {
    team_ = &team;
    memory_ = std::vector<Memory>(std::size_t(team.size()));
  }

  /// x: dim x n start points, in place; c: condition_dim x n. Throws std::invalid_argument if a shape is wrong or a
  /// number not finite, std::runtime_error with sample and time if the solution leaves the finite numbers or an
  /// adaptive method cannot reach the end; x is then somewhere on its way.
  void operator()(MatrixIn<Scalar> c, MatrixRef<Scalar> x) {
    detail::check_rows("Sampler", "x", x.rows(), field_.dim());
    detail::check_shape("Sampler", "c", c, field_.condition_dim(), x.cols());
    detail::check_finite("Sampler", "x", x);
    detail::check_finite("Sampler", "c", c);
    if constexpr (AdaptiveMethod<S>) report_.samples.resize(std::size_t(x.cols()));
    const bool one_by_one = has_one_sample && x.cols() <= few;
    const auto memory_of = [&](int thread) -> Memory& { return memory_[std::size_t(thread)]; };
    const auto carry = [&](Memory& memory, Index first, Index n) {
      auto velocity = [&](const auto& y, const auto& t, const auto& condition, auto& v) {
        if constexpr (has_one_sample)
          if (one_by_one) return one_sample_(y, t, condition, v);
        field_.forward(y, t, condition, v, memory.workspace);
      };
      detail::carry_tile<Scalar>("Sampler", velocity, x, c, first, n, solver_, times_, memory.solver, report_);
    };
    detail::for_each_tile(x.cols(), one_by_one ? 1 : tile_columns, one_by_one ? nullptr : team_, memory_of, carry);
    if constexpr (AdaptiveMethod<S>) detail::check_reached("Sampler", report_);
  }

  /// Without a condition.
  void operator()(MatrixRef<Scalar> x) {
    no_condition_.resize(0, x.cols());
    (*this)(no_condition_, x);
  }

  /// Takes over the parameters of a field of the same shape. Allocates nothing.
  void update(const Field& field) {
    detail::check_size("Sampler::update", "field.parameters()", field.parameters().size(), field_.parameters().size());
    field_.parameters() = field.parameters();
    if constexpr (has_one_sample) one_sample_.update(field);
  }

  /// Evaluations of the field for each sample of a call.
  Index evaluations() const requires Stepper<S> { return detail::evaluations_of<S>(Index(times_.size()) - 1); }
  /// What each sample of the last call took, and where it came to.
  const AdaptiveReport& report() const requires AdaptiveMethod<S> { return report_; }

 private:
  static constexpr bool has_one_sample = requires { typename Field::OneSample; };
  static constexpr Index few = 8;  // up to this many samples take less time one by one than together

  Field field_;
  typename detail::OneSampleOf<Field>::Type one_sample_;
  S solver_;
  std::vector<double> times_;
  struct Memory {  // of one thread
    typename Field::Workspace workspace;
    detail::SolverMemory<Scalar, S> solver;
  };
  Threads* team_ = nullptr;
  std::vector<Memory> memory_;
  AdaptiveReport report_;  // of an adaptive method
  Matrix<Scalar> no_condition_;
};

/// n samples (dim x n) from standard normal noise: dx/dt = v(x, t), t from 0 to 1. Throws as Sampler does, and
/// std::invalid_argument if n is negative or the times do not start at 0, where noise is.
template <ParametricField Field, Solver S>
Matrix<typename Field::Scalar> sample(const Field& field, Index n, Rng& rng, const S& solver,
                                      const OdeOptions& options = {}) {
  detail::check_at_least("sample", "n", n, 0);
  return sample(field, Matrix<typename Field::Scalar>(0, n), rng, solver, options);
}

/// One sample for each condition, a column of c.
template <ParametricField Field, Solver S>
Matrix<typename Field::Scalar> sample(const Field& field, MatrixIn<typename Field::Scalar> c, Rng& rng, const S& solver,
                                      const OdeOptions& options = {}) {
  if (time_grid(options).front() != 0)
    detail::fail("sample", {"expected times that start at 0, where noise is, got ", time_grid(options).front()});
  Matrix<typename Field::Scalar> x(field.dim(), c.cols());
  fill_normal(rng, x);
  Sampler(field, solver, options)(c, x);
  return x;
}

/// Where given start points x0 (dim x n) end: for a source that is not noise, for data back to noise
/// ({.from = 1, .to = 0}), or for noise of your own. c: conditions, one column per start point.
template <ParametricField Field, Solver S>
Matrix<typename Field::Scalar> transport(const Field& field, MatrixIn<typename Field::Scalar> x0,
                                         MatrixIn<typename Field::Scalar> c, const S& solver,
                                         const OdeOptions& options = {}) {
  Matrix<typename Field::Scalar> x = x0;
  Sampler(field, solver, options)(c, x);
  return x;
}
template <ParametricField Field, Solver S>
Matrix<typename Field::Scalar> transport(const Field& field, MatrixIn<typename Field::Scalar> x0, const S& solver,
                                         const OdeOptions& options = {}) {
  return transport(field, x0, Matrix<typename Field::Scalar>(0, x0.cols()), solver, options);
}

}
}
