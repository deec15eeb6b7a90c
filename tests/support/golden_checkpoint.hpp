// SPDX-License-Identifier: MIT
// What the files in tests/golden/checkpoint hold: numbers that any machine computes alike.
#pragma once

#include "flowmatch/io/checkpoint.hpp"
#include "flowmatch/io/flow_model_file.hpp"

namespace test {

inline flowmatch::VelocityMlp<double> golden_velocity_mlp() {
  flowmatch::Rng rng(1);
  flowmatch::VelocityMlp<double> net({.dim = 2,
                                      .condition_dim = 1,
                                      .hidden = {4, 4},
                                      .activation = flowmatch::Activation::gelu,
                                      .residual = true,
                                      .time_frequencies = 1},
                                     rng);
  auto p = net.parameters();
  for (flowmatch::Index i = 0; i < p.size(); ++i) p(i) = double(i - 30) / 64;
  return net;
}

inline flowmatch::FlowModel<> golden_flow_model() {
  flowmatch::Rng rng(1);
  flowmatch::VelocityMlp<float> net({.dim = 2, .condition_dim = 2, .hidden = {3}}, rng);
  auto p = net.parameters();
  for (flowmatch::Index i = 0; i < p.size(); ++i) p(i) = float(i - 10) / 16;
  auto normalizer = flowmatch::Normalizer<float>::identity(3), condition = flowmatch::Normalizer<float>::identity(2);
  normalizer.mean << 1, -2, 0.5f;
  normalizer.scale << 2, 0, 0.25f;
  normalizer.components.resize(2, 3);
  normalizer.components << 0.6f, 0, 0.8f, 0, -1, 0;
  normalizer.deviation.resize(2);
  normalizer.deviation << 3, 0.125f;
  condition.mean << 7, 8;
  return {net, normalizer, condition};
}

/// A training of golden_velocity_mlp in the middle of its second pass over 50 samples.
inline flowmatch::TrainerOptions golden_options() {
  return {.steps = 100,
          .batch = 8,
          .learning_rate = 1e-3,
          .warmup = 5,
          .cosine = true,
          .weight_decay = 0.1,
          .clip_norm = 1,
          .ema_decay = 0.99,
          .held_out = 0.2,
          .evaluate_every = 10,
          .keep_best = true};
}
inline flowmatch::TrainingState<double> golden_state() {
  const auto some = [](double start) {
    return flowmatch::Vector<double>(golden_velocity_mlp().parameters().array() / 4 + start);
  };
  flowmatch::TrainingState<double> state;
  state.report = {.steps = 12, .loss = 1.1, .held_out_loss = 0.75, .best_held_out_loss = 0.7, .best_steps = 10};
  state.weights = some(1);
  state.m = some(2);
  state.v = some(64);
  state.average = some(-1);
  state.best = some(-2);
  state.rng = flowmatch::Rng(42, 0xffffffffffffffff);
  state.rng.position = 123456789012345;
  state.samples = 40;
  state.order = {state.rng, 16};
  state.order.pass.position = 1234;
  return state;
}

}
