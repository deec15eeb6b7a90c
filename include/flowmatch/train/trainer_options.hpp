// SPDX-License-Identifier: MIT
// What a Trainer takes and gives: options, observers and sources of batches; what happened in a step and in all; and
// the state from which a training is resumed.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

#include "flowmatch/random/draw.hpp"
#include "flowmatch/train/learning_rate.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct TrainerOptions {
  Index steps = 5000;           ///< of the optimizer, >= 1
  Index batch = 256;            ///< samples in a step, >= 1
  double learning_rate = 1e-3;  ///< the highest, >= 0
  Index warmup = 0;             ///< first steps, in which the rate grows to the highest, >= 0
  bool cosine = false;          ///< the rate falls to 0 as half a cosine (CosineRate); false: it stays
  double weight_decay = 0;      ///< of AdamW, >= 0
  double clip_norm = 0;         ///< largest norm of a gradient, 0: any
  double drop_condition = 0;    ///< probability with which a condition is left out in a step, in [0, 1]; above 0 it
                                ///< needs a net that has a null_condition(): ConditionalVelocityMlp
  double ema_decay = 0.999;     ///< of the averaged weights, in [0, 1), 0: no average
  double held_out = 0;          ///< fraction of the data that is not trained on, in [0, 1)
  Index evaluate_every = 100;   ///< steps from one held-out loss to the next, >= 1
  bool keep_best = false;       ///< the net ends with the weights of the least held-out loss; needs a set held out
};

/// What happened in step k = 0, 1, ...
struct TrainingStep {
  Index step = 0;
  double loss = 0;                           ///< of the batch, before the step
  double learning_rate = 0;                  ///< of the step
  double gradient_norm = 0;                  ///< before clipping
  std::optional<double> held_out_loss = {};  ///< after every evaluate_every-th step and the last, if a set is held out
};

struct TrainingReport {
  Index steps = 0;                                                    ///< done
  double loss = 0;                                                    ///< of the last batch
  std::optional<double> held_out_loss = {}, best_held_out_loss = {};  ///< the last and the least, if a set is held out
  Index best_steps = 0;                                               ///< done when it was the least

  friend bool operator==(const TrainingReport&, const TrainingReport&) = default;
};

/// All that a training carries from one step to the next. A run resumed from it, with the same data, options and
/// generator, gives the same bits as one that never stopped.
template <Real Scalar> struct TrainingState {
  TrainingReport report = {};
  Vector<Scalar> weights = {};    ///< after the last step
  Vector<Scalar> m = {}, v = {};  ///< of the optimizer (AdamState)
  Vector<Scalar> average = {};    ///< of the weights; empty without ema_decay
  Vector<Scalar> best = {};       ///< weights of the least held-out loss; empty without keep_best
  Rng rng{0};                     ///< of the run, after the last step
  Index samples = 0;              ///< of the data that are trained on; 0: the batches come from a fill
  std::uint32_t checksum = 0;     ///< of data and conditions (Crc32); 0: of none, or not known
  EpochPosition order = {};       ///< in their order
};

/// Observer of a Trainer: gets each TrainingStep after it was taken. If it returns bool, false ends the training there.
template <class F>
concept TrainingObserver = requires(F& f, const TrainingStep& step) {
  requires std::is_void_v<decltype(f(step))> || std::same_as<decltype(f(step)), bool>;
};

/// fill(rng, x0, x1, c) writes a batch: start points, end points (dim x batch) and conditions (condition_dim x batch),
/// which have these sizes already. For pairs, sources that are not noise, simulators; a coupling is its last line.
/// A fill that has a state has seek(step), which a resumed run calls first: the next batch is that of step.
template <class F, class Scalar>
concept BatchFill = requires(F& fill, Rng& rng, Matrix<Scalar>& x) {
  fill(rng, x, x, x);
};

namespace detail {

inline void check_options(const char* where, const TrainerOptions& o) {
  check_at_least(where, "options.steps", o.steps, 1);
  check_at_least(where, "options.batch", o.batch, 1);
  check_at_least(where, "options.learning_rate", o.learning_rate, 0);
  check_at_least(where, "options.warmup", o.warmup, 0);
  check_at_least(where, "options.weight_decay", o.weight_decay, 0);
  check_at_least(where, "options.clip_norm", o.clip_norm, 0);
  check_probability(where, "options.drop_condition", o.drop_condition);
  check_below(where, "options.ema_decay", o.ema_decay, 0, 1);
  check_below(where, "options.held_out", o.held_out, 0, 1);
  check_at_least(where, "options.evaluate_every", o.evaluate_every, 1);
}

inline double learning_rate(const TrainerOptions& o, Index step) {
  if (o.cosine) return CosineRate{o.learning_rate, o.warmup, o.steps}(step);
  return WarmupRate{o.learning_rate, o.warmup}(step);
}

/// Throws unless the state fits these options and this number of parameters.
template <class Scalar>
void check_state(const char* where, const TrainingState<Scalar>& state, const TrainerOptions& o, Index size) {
  check_at_least(where, "state.report.steps", state.report.steps, 0);
  check_at_least(where, "options.steps", o.steps, state.report.steps);
  check_at_least(where, "state.samples", state.samples, 0);
  const auto check = [&](const char* name, const Vector<Scalar>& values, bool there) {
    check_size(where, name, values.size(), there ? size : 0);
    check_finite(where, name, values);
  };
  check("state.weights", state.weights, true);
  check("state.m", state.m, true);
  check("state.v", state.v, true);
  check("state.average", state.average, o.ema_decay > 0);
  check("state.best", state.best, o.keep_best);
}

}
}
}
