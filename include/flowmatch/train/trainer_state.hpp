// SPDX-License-Identifier: MIT
// How a Trainer begins or resumes a run, what it holds out and carries from step to step, and how it takes back a step
// that diverged.
#pragma once

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "flowmatch/train/trainer.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
std::vector<Index> Trainer<Net, P, T>::split(MatrixIn<Scalar> data, MatrixIn<Scalar> c, const Rng& rng) {
  std::vector<Index> numbers(std::size_t(data.cols()));
  std::iota(numbers.begin(), numbers.end(), Index(0));
  if (options_.held_out == 0) return numbers;
  const Index count = Index(options_.held_out * double(data.cols()));
  if (count < 1) detail::fail(where, {"expected options.held_out to be at least one of ", data.cols(), " samples"});
  held_out_.emplace(detail::take_held_out(*net_, path_, data, c, Rng(rng.seed, ~rng.stream), count, numbers));
  return numbers;
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
void Trainer<Net, P, T>::begin(Rng& rng, Index samples, std::uint32_t checksum) {
  detail::check_finite(where, "net.parameters()", net_->parameters());
  if (options_.keep_best && !held_out_) detail::fail(where, {"options.keep_best needs a set that is held out"});
  if (!resumed_) {
    adam_ = AdamW(net_->parameters(), adam_.options);
    ema_ = Ema(net_->parameters(), {.decay = options_.ema_decay});
    state_ = {.weights = net_->parameters(), .rng = rng, .samples = samples, .checksum = checksum};
    if (options_.keep_best) state_.best = state_.weights;
  } else {
    if (samples != state_.samples)
      detail::fail(where, {"expected the ", state_.samples, " samples of the resumed training, got ", samples});
    if (rng.seed != state_.rng.seed || rng.stream != state_.rng.stream)
      detail::fail(where, {"expected a generator of seed ", state_.rng.seed, " and stream ", state_.rng.stream,
                           ", as of the resumed training, got ", rng.seed, " and ", rng.stream});
    if (state_.checksum != 0 && checksum != state_.checksum)
      detail::fail(where, {"expected the data of the resumed training, got others of the same size"});
    if (samples > 0) epoch_.seek(state_.order);
    rng = state_.rng;
  }
  resumed_ = ended_ = diverged_ = false;
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
TrainingState<typename Net::Scalar> Trainer<Net, P, T>::state() const {
  if (diverged_) detail::fail("Trainer::state", {"the run diverged: resume an earlier state"});
  TrainingState<Scalar> state = state_;
  if (!ended_) state.weights = net_->parameters();
  state.m = adam_.state.m;
  state.v = adam_.state.v;
  if (options_.ema_decay > 0) state.average = ema_.parameters();
  return state;
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
void Trainer<Net, P, T>::resume(TrainingState<Scalar> state) {
  detail::check_state("Trainer::resume", state, options_, state_.weights.size());
  ema_ = Ema(options_.ema_decay > 0 ? state.average : state.weights, {.decay = options_.ema_decay}, state.report.steps);
  adam_.state = {std::move(state.m), std::move(state.v), state.report.steps};
  state_ = std::move(state);
  net_->parameters() = state_.weights;
  resumed_ = state_.report.steps > 0;
  ended_ = diverged_ = false;
}

template <TrainableField Net, PathOfAnyKind P, TimeSampler T>
std::string Trainer<Net, P, T>::undone(const TrainingStep& now, const Vector<Scalar>& gradient, const char* reason) {
  std::string layer;
  if constexpr (requires { net_->parameter_blocks(); })
    for (const auto& block : net_->parameter_blocks())
      if (layer.empty() && !(all_finite(gradient.data() + block.offset, block.size()) &&
                             all_finite(net_->parameters().data() + block.offset, block.size())))
        layer = ", layer " + block.name;
  net_->parameters() = state_.weights;
  diverged_ = true;  // the optimizer's means hold the step that was taken back
  return detail::concat({"flowmatch: Trainer::run: training diverged in step ", now.step, " (learning rate ",
                         now.learning_rate, layer, "): ", reason});
}

}
}
