// SPDX-License-Identifier: MIT
// The training loop as a bundle, for those who do not want to write it: batches, loss, optimizer, average, a held-out
// loss, and an early end when training diverges. It is the loop of README.md and gives the same bits.
#pragma once

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flowmatch/core/checksum.hpp"
#include "flowmatch/path/noisy.hpp"
#include "flowmatch/path/time_sampler.hpp"
#include "flowmatch/random/drop_condition.hpp"
#include "flowmatch/train/ema.hpp"
#include "flowmatch/train/held_out.hpp"
#include "flowmatch/train/loss.hpp"
#include "flowmatch/train/optimizer.hpp"
#include "flowmatch/train/trainer_options.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

template <class P>
concept PathOfAnyKind = Path<P> || NoisyPath<P> || PathFromNoise<P>;

/// Trains a net, which must outlive this object, from the weights that it has. Each run is a training of its own, with
/// a new optimizer and average, unless resume() comes before it (in files: io/checkpoint.hpp). During a run the net has
/// the weights of the step. After it, unless ema_decay is 0, it has their average, as one wants it for sampling, or
/// with keep_best those of the least held-out loss; last() has the weights of the last step. The path is any of the
/// three kinds of path/path.hpp, and the times come from any sampler of path/time_sampler.hpp.
template <TrainableField Net, PathOfAnyKind P = LinearPath, TimeSampler T = UniformTime> class Trainer {
 public:
  using Scalar = typename Net::Scalar;

  /// Throws std::invalid_argument for an option outside its range.
  explicit Trainer(Net& net, TrainerOptions options = {}, P path = {}, T times = {});
  /// With a team of threads, which must outlive this object and changes no bit.
  Trainer(Net& net, TrainerOptions options, Threads& team, P path = {}, T times = {});

  /// Trains from standard normal noise to data (dim x n, c: condition_dim x n), in passes without replacement. rng
  /// gives the samples (Epoch), noise and times of each step in turn, as in the loop by hand. The held-out fraction,
  /// its noise and its times come from the stream ~rng.stream: the same for every run and net of a seed, and none of
  /// rng's numbers. Throws std::invalid_argument if a shape is wrong or a number not finite. If loss, gradient or
  /// weights are no longer finite, throws std::runtime_error with step, learning rate and layer, and the net has the
  /// last finite weights. Allocates nothing after the first step. Beside the loop it costs four passes over the
  /// weights.
  template <TrainingObserver OnStep = NoObserver>
  TrainingReport run(MatrixIn<Scalar> data, MatrixIn<Scalar> c, Rng& rng, OnStep&& on_step = {});
  template <TrainingObserver OnStep = NoObserver>
  TrainingReport run(MatrixIn<Scalar> data, Rng& rng, OnStep&& on_step = {});

  /// Trains on what fill gives. Throws also if options.held_out is not 0. Not for a path that draws its start itself,
  /// and so would ignore the x0 of fill.
  template <BatchFill<Scalar> Fill, TrainingObserver OnStep = NoObserver>
  requires(!PathFromNoise<P>) TrainingReport run(Fill&& fill, Rng& rng, OnStep&& on_step = {}) {
    if (options_.held_out > 0)
      detail::fail(where, {"options.held_out is a fraction of data, which a fill is not: give a set to hold_out"});
    begin(rng, 0, 0);
    if constexpr (requires { fill.seek(state_.report.steps); })
      if (state_.report.steps > 0) fill.seek(state_.report.steps);
    return train(fill, rng, on_step);
  }

  /// A held-out set instead of a fraction: see HeldOutLoss. For a path without noise of its own.
  void hold_out(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, MatrixIn<Scalar> c) requires Path<P>;

  /// The averaged weights after the last step. Throws std::invalid_argument if options.ema_decay is 0.
  const Vector<Scalar>& averaged() const {
    if (options_.ema_decay == 0)
      detail::fail("Trainer::averaged", {"there is no average, since options.ema_decay is 0"});
    return ema_.parameters();
  }
  /// The weights after the last step of run, before the average took their place.
  const Vector<Scalar>& last() const { return state_.weights; }
  const Net& net() const { return *net_; }
  const TrainerOptions& options() const { return options_; }
  const P& path() const { return path_; }
  const T& times() const { return times_; }

  /// A copy of what the training carries from step to step; in an observer, as of its step. (An observer takes random
  /// numbers, if any, from another generator than the run's.) Throws std::invalid_argument after a run that diverged.
  TrainingState<Scalar> state() const;

  /// Loads the state's weights into the net and lets the next run continue from it. It needs the same data or fill, the
  /// same held-out set, if any, the same options, and a generator of the same seed and stream, which it moves to its
  /// place; threads may differ. Throws std::invalid_argument if a size is not that of this net and options, a number
  /// not finite, or more steps are done than options.steps; nothing has changed then. (Options are compared by resume
  /// of io/checkpoint.hpp.)
  void resume(TrainingState<Scalar> state);

 private:
  static constexpr auto where = "Trainer::run";
  static constexpr bool weighted = requires(const T& times) { times.weight(0.5); };

  Trainer(Net& net, const TrainerOptions& o, P path, T times, FlowMatchingLoss<Net> loss);

  /// Starts a new run, or continues the resumed one; samples: size of the training set (0: batches of a fill).
  void begin(Rng& rng, Index samples, std::uint32_t checksum);

  /// The loop of README.md, and what a careful user writes around it.
  template <class Fill, class OnStep> TrainingReport train(Fill& fill, Rng& rng, OnStep& on_step);

  /// The weight of each time, if the sampler has one.
  const RowVector<Scalar>& weigh(const RowVector<Scalar>& t, RowVector<Scalar>& weights) const {
    for (Index j = 0; j < t.size(); ++j) weights(j) = Scalar(times_.weight(double(t(j))));
    return weights;
  }

  /// What stands for no condition; empty if the net has none.
  Vector<Scalar> null_condition() const;

  double clip(Vector<Scalar>& gradient) const;

  /// The held-out loss, if a set is held out, of the weights that the net would end with now.
  std::optional<double> evaluate(const TrainingStep& now, const Vector<Scalar>& gradient);

  /// The numbers of the samples to train on; a held-out fraction is taken out of them and kept.
  std::vector<Index> split(MatrixIn<Scalar> data, MatrixIn<Scalar> c, const Rng& rng);

  /// The value of loss(), whose std::runtime_error says that training diverged.
  template <class Loss> double guarded(const TrainingStep& now, const Vector<Scalar>& gradient, const Loss& loss) {
    return double(
        detail::explained<std::runtime_error>(loss, [&](const char* reason) { return undone(now, gradient, reason); }));
  }

  [[noreturn]] void fail(const TrainingStep& now, const Vector<Scalar>& gradient, const char* reason) {
    detail::raise<std::runtime_error>(undone(now, gradient, reason));
  }

  /// Restores the weights from before the step and returns the message. It names the first layer whose gradient or
  /// weights are not finite.
  std::string undone(const TrainingStep& now, const Vector<Scalar>& gradient, const char* reason);

  Net* net_;
  TrainerOptions options_;
  P path_;
  T times_;
  FlowMatchingLoss<Net> loss_;
  std::optional<HeldOutLoss<Net>> held_out_;
  AdamW<Scalar> adam_;
  Ema<Scalar> ema_;
  Epoch epoch_{1};
  TrainingState<Scalar> state_;           // but m, v and average, which adam_ and ema_ have
  bool resumed_ = false, ended_ = false;  // resume() was called; the net has the weights to sample from, not the last
  bool diverged_ = false;
};

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
Trainer<Net, P, T>::Trainer(Net& net, TrainerOptions options, P path, T times)
    : Trainer(net, options, path, times, FlowMatchingLoss<Net>(net)) {}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
Trainer<Net, P, T>::Trainer(Net& net, TrainerOptions options, Threads& team, P path, T times)
    : Trainer(net, options, path, times, FlowMatchingLoss<Net>(net, team)) {}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
template <TrainingObserver OnStep>
TrainingReport Trainer<Net, P, T>::run(MatrixIn<Scalar> data, MatrixIn<Scalar> c, Rng& rng, OnStep&& on_step) {
  detail::check_rows(where, "data", data.rows(), net_->dim());
  detail::check_at_least(where, "data.cols()", data.cols(), 1);
  detail::check_shape(where, "c", c, net_->condition_dim(), data.cols());
  detail::check_finite(where, "data", data);
  detail::check_finite(where, "c", c);
  const std::vector<Index> training = split(data, c, rng);
  epoch_ = Epoch(Index(training.size()));
  Crc32 checksum;  // so that a training is not resumed on other data
  for (const auto* part : {&data, &c})
    for (Index j = 0; j < part->cols(); ++j)
      checksum.add(part->col(j).data(), std::size_t(part->rows()) * sizeof(Scalar));
  begin(rng, Index(training.size()), checksum.value());
  std::vector<Index> chosen(std::size_t(options_.batch));
  const auto fill = [&](Rng& r, Matrix<Scalar>& x0, Matrix<Scalar>& x1, Matrix<Scalar>& condition) {
    const auto indices = epoch_.draw(r, options_.batch);
    for (std::size_t j = 0; j < chosen.size(); ++j) chosen[j] = training[std::size_t(indices[j])];
    take_columns<Scalar>(data, chosen, x1);
    take_columns<Scalar>(c, chosen, condition);
    if constexpr (!PathFromNoise<P>) fill_normal(r, x0);
  };
  return train(fill, rng, on_step);
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
template <TrainingObserver OnStep>
TrainingReport Trainer<Net, P, T>::run(MatrixIn<Scalar> data, Rng& rng, OnStep&& on_step) {
  return run(data, Matrix<Scalar>(0, data.cols()), rng, on_step);
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
void Trainer<Net, P, T>::hold_out(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t,
                                  MatrixIn<Scalar> c) requires Path<P> {
  if (options_.held_out > 0)
    detail::fail("Trainer::hold_out",
                 {"expected options.held_out = 0 beside a set of hold_out, got ", options_.held_out});
  held_out_.emplace(*net_, path_, x0, x1, t, c);
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
Trainer<Net, P, T>::Trainer(Net& net, const TrainerOptions& o, P path, T times, FlowMatchingLoss<Net> loss)
    : net_(&net),
      options_(o),
      path_(path),
      times_(times),
      loss_(std::move(loss)),
      adam_(net.parameters()),
      ema_(net.parameters()),
      state_{.weights = net.parameters()} {
  detail::check_options("Trainer", o);
  adam_.options.weight_decay = o.weight_decay;
  if (o.keep_best) state_.best = state_.weights;
  if (o.drop_condition > 0 && null_condition().size() == 0)
    detail::fail("Trainer", {"expected a net with null_condition() for options.drop_condition = ", o.drop_condition});
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
template <class Fill, class OnStep>
TrainingReport Trainer<Net, P, T>::train(Fill& fill, Rng& rng, OnStep& on_step) {
  Net& net = *net_;
  Matrix<Scalar> x0(net.dim(), options_.batch), x1(x0), c(net.condition_dim(), options_.batch), x_t, u_t;
  RowVector<Scalar> t(options_.batch), weights(weighted ? options_.batch : 0);
  Vector<Scalar> gradient;
  const Vector<Scalar> null = null_condition();
  for (bool more = true; more && state_.report.steps < options_.steps;) {
    TrainingStep now{.step = state_.report.steps,
                     .learning_rate = detail::learning_rate(options_, state_.report.steps)};
    state_.weights = net.parameters();  // what a step that diverges goes back to
    fill(rng, x0, x1, c);
    if (options_.drop_condition > 0) drop_condition(rng, options_.drop_condition, null, c);
    times_(rng, t);
    detail::sample_path<P, Scalar>(path_, rng, x0, x1, t, x_t, u_t);
    now.loss = guarded(now, gradient, [&] {
      if constexpr (!weighted)
        return loss_(net, x_t, t, c, u_t, gradient);
      else
        return loss_(net, x_t, t, c, u_t, weigh(t, weights), gradient);
    });
    now.gradient_norm = clip(gradient);
    if (!is_finite(now.gradient_norm)) fail(now, gradient, "the gradient is not finite");
    adam_.options.learning_rate = now.learning_rate;
    adam_.step(net.parameters(), gradient);
    if (!all_finite(net.parameters().data(), gradient.size())) fail(now, gradient, "the step makes weights infinite");
    if (options_.ema_decay > 0) ema_.update(net.parameters());

    state_.report.loss = now.loss;
    state_.rng = rng;
    if (state_.samples > 0) state_.order = epoch_.position();
    if (++state_.report.steps % options_.evaluate_every == 0 || state_.report.steps == options_.steps)
      now.held_out_loss = evaluate(now, gradient);
    if constexpr (std::is_void_v<decltype(on_step(std::as_const(now)))>)
      on_step(std::as_const(now));
    else
      more = on_step(std::as_const(now));
  }
  state_.weights = net.parameters();
  if (options_.ema_decay > 0) net.parameters() = ema_.parameters();
  if (options_.keep_best && state_.report.best_held_out_loss) net.parameters() = state_.best;
  ended_ = true;
  return state_.report;
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
Vector<typename Net::Scalar> Trainer<Net, P, T>::null_condition() const {
  if constexpr (requires { net_->null_condition(); })
    return net_->null_condition();
  else
    return {};
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
double Trainer<Net, P, T>::clip(Vector<Scalar>& gradient) const {
  double norm = std::numeric_limits<double>::infinity();
  if (all_finite(gradient.data(), gradient.size())) norm = double(gradient.stableNorm());
  if (is_finite(norm) && options_.clip_norm > 0) clip_norm(gradient, options_.clip_norm);
  return norm;
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
std::optional<double> Trainer<Net, P, T>::evaluate(const TrainingStep& now, const Vector<Scalar>& gradient) {
  if (!held_out_) return {};
  state_.weights = net_->parameters();
  if (options_.ema_decay > 0) net_->parameters() = ema_.parameters();
  const double loss = guarded(now, gradient, [&] { return (*held_out_)(*net_); });
  state_.report.held_out_loss = loss;
  if (!state_.report.best_held_out_loss || loss < *state_.report.best_held_out_loss) {
    state_.report.best_held_out_loss = loss;
    state_.report.best_steps = state_.report.steps;
    if (options_.keep_best) state_.best = net_->parameters();
  }
  net_->parameters() = state_.weights;
  return loss;
}

}
}

// The members declared above that are not the loop.
#include "flowmatch/train/trainer_state.hpp"
