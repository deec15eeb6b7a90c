// SPDX-License-Identifier: MIT
// Generation: start points, noise or your own, carried through the field from t = 0 to 1.
#pragma once

#include "flowmatch/core/random.hpp"
#include "flowmatch/core/threads.hpp"
#include "flowmatch/field/kernel.hpp"
#include "flowmatch/field/trainable.hpp"
#include "flowmatch/ode/integrate.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

/// A snapshot of a field with stepper, grid and all memory, for loops: policy(c, x) carries x in place. After the first
/// call of a batch size it allocates nothing. One for each thread; update(field) takes over new weights.
template <TrainableField Field, Stepper S> class Sampler {
 public:
  using Scalar = typename Field::Scalar;

  /// Throws std::invalid_argument if the options are wrong (see time_grid).
  Sampler(Field field, S stepper, const OdeOptions& options = {})
      : field_(std::move(field)), stepper_(stepper), times_(time_grid(options)), memory_(1) {}
  /// With a team of threads, which must outlive this object and shares the samples of a call.
  Sampler(Field field, S stepper, const OdeOptions& options, Threads& team)
      : field_(std::move(field)),
        stepper_(stepper),
        times_(time_grid(options)),
        team_(&team),
        memory_(std::size_t(team.size())) {}

  /// x: dim x n start points, in place; c: condition_dim x n. Throws std::invalid_argument if a shape is wrong or a
  /// number not finite, std::runtime_error with sample and time if the solution leaves the finite numbers; x is then
  /// somewhere on its way.
  void operator()(MatrixIn<Scalar> c, MatrixRef<Scalar> x) {
    detail::check_rows("Sampler", "x", x.rows(), field_.dim());
    detail::check_shape("Sampler", "c", c, field_.condition_dim(), x.cols());
    detail::check_finite("Sampler", "x", x);
    detail::check_finite("Sampler", "c", c);
    const Index tiles = (x.cols() + tile_columns - 1) / tile_columns;
    const int threads = team_ && tiles > 1 ? team_->size() : 1;
    const auto work = [&](int thread) {
      Memory& memory = memory_[std::size_t(thread)];
      auto velocity = [&](const auto& y, const auto& t, const auto& condition, auto& v) {
        field_.forward(y, t, condition, v, memory.workspace);
      };
      const detail::Share mine = detail::share(tiles, thread, threads);
      for (Index tile = mine.begin; tile < mine.end; ++tile) {  // a tile goes through all steps while in cache
        const Index first = tile * tile_columns, n = std::min(tile_columns, x.cols() - first);
        detail::integrate_tile<Scalar>(velocity, x.middleCols(first, n), c.middleCols(first, n), stepper_, times_,
                                       memory.stepper, first, NoObserver());
      }
    };
    if (threads > 1)
      team_->run(work);
    else
      work(0);
  }

  /// Without a condition.
  void operator()(MatrixRef<Scalar> x) {
    no_condition_.resize(0, x.cols());
    (*this)(no_condition_, x);
  }

  /// Takes over the parameters of a field of the same shape.
  void update(const Field& field) {
    detail::check_size("Sampler::update", "field.parameters()", field.parameters().size(), field_.parameters().size());
    field_.parameters() = field.parameters();
  }

  /// Evaluations of the field for each sample of a call.
  Index evaluations() const { return Index(times_.size() - 1) * S::evaluations; }

 private:
  Field field_;
  S stepper_;
  std::vector<double> times_;
  struct Memory {  // of one thread
    typename Field::Workspace workspace;
    StepperMemory<Scalar> stepper;
  };
  Threads* team_ = nullptr;
  std::vector<Memory> memory_;
  Matrix<Scalar> no_condition_;
};

/// n samples (dim x n) from standard normal noise: dx/dt = v(x, t), t from 0 to 1. Throws as Sampler does, and
/// std::invalid_argument if n is negative or the times do not start at 0, where noise is.
template <TrainableField Field, Stepper S>
Matrix<typename Field::Scalar> sample(const Field& field, Index n, Rng& rng, const S& stepper,
                                      const OdeOptions& options = {}) {
  detail::check_at_least("sample", "n", double(n), 0);
  return sample(field, Matrix<typename Field::Scalar>(0, n), rng, stepper, options);
}

/// One sample for each condition, a column of c.
template <TrainableField Field, Stepper S>
Matrix<typename Field::Scalar> sample(const Field& field, MatrixIn<typename Field::Scalar> c, Rng& rng,
                                      const S& stepper, const OdeOptions& options = {}) {
  if (time_grid(options).front() != 0)
    detail::fail("sample", "expected times that start at 0, where noise is, got ", time_grid(options).front());
  Matrix<typename Field::Scalar> x(field.dim(), c.cols());
  fill_normal(rng, x);
  Sampler(field, stepper, options)(c, x);
  return x;
}

/// Where given start points x0 (dim x n) end: for a source that is not noise, for data back to noise
/// ({.from = 1, .to = 0}), or for noise of your own. c: conditions, one column per start point.
template <TrainableField Field, Stepper S>
Matrix<typename Field::Scalar> transport(const Field& field, MatrixIn<typename Field::Scalar> x0,
                                         MatrixIn<typename Field::Scalar> c, const S& stepper,
                                         const OdeOptions& options = {}) {
  Matrix<typename Field::Scalar> x = x0;
  Sampler(field, stepper, options)(c, x);
  return x;
}
template <TrainableField Field, Stepper S>
Matrix<typename Field::Scalar> transport(const Field& field, MatrixIn<typename Field::Scalar> x0, const S& stepper,
                                         const OdeOptions& options = {}) {
  return transport(field, x0, Matrix<typename Field::Scalar>(0, x0.cols()), stepper, options);
}

}
