// SPDX-License-Identifier: MIT
// A training as one file, from which it is resumed as if it had not stopped: weights, optimizer, averages, generator,
// order of the data, and the options that it had.
#pragma once

#include "flowmatch/io/description.hpp"
#include "flowmatch/io/model_file.hpp"
#include "flowmatch/train/trainer.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// What two trainings must share so that one can resume the other.
template <class Net, class P, class T> StringMap settings(const Trainer<Net, P, T>& trainer) {
  StringMap settings;
  const auto add = [&](const char* key, const Piece& value) { add_entry(settings, key, value); };
  if constexpr (requires(StringMap & map) { describe(trainer.net().options(), map); }) {
    add("net", kind_of(trainer.net().options()));
    describe(trainer.net().options(), settings);
  } else {
    add("net", "own");
  }
  const TrainerOptions& o = trainer.options();
  add("path", description(trainer.path()));
  add("times", description(trainer.times()));
  add("batch", o.batch);
  add("learning_rate", text_of(o.learning_rate));
  add("warmup", o.warmup);
  add("cosine", o.cosine ? o.steps : 0);  // without it, steps only says when to end
  add("weight_decay", text_of(o.weight_decay));
  add("clip_norm", text_of(o.clip_norm));
  add("drop_condition", text_of(o.drop_condition));
  add("ema_decay", text_of(o.ema_decay));
  add("held_out", text_of(o.held_out));
  add("evaluate_every", o.evaluate_every);
  add("keep_best", o.keep_best);
  return settings;
}

/// The other metadata of a training: where it is.
template <class Scalar> void describe(const TrainingState<Scalar>& state, StringMap& metadata) {
  const auto add = [&](const char* key, const Piece& value) { add_entry(metadata, key, value); };
  add("steps", state.report.steps);
  add("loss", text_of(state.report.loss));
  if (state.report.held_out_loss) add("held_out_loss", text_of(*state.report.held_out_loss));
  if (state.report.best_held_out_loss) add("best_held_out_loss", text_of(*state.report.best_held_out_loss));
  add("best_steps", state.report.best_steps);
  add("seed", state.rng.seed);
  add("stream", state.rng.stream);
  add("position", state.rng.position);
  add("samples", state.samples);
  if (state.checksum != 0) add("data_checksum", state.checksum);
  add("pass_position", state.order.pass.position);
  add("pass_drawn", state.order.drawn);
}
template <class Scalar> void take(Metadata& metadata, TrainingState<Scalar>& state) {
  state.report.steps = metadata.take_exactly<Index>("steps");
  state.report.loss = metadata.take_exactly<double>("loss");
  state.report.held_out_loss = metadata.find_exactly<double>("held_out_loss");
  state.report.best_held_out_loss = metadata.find_exactly<double>("best_held_out_loss");
  state.report.best_steps = metadata.take_exactly<Index>("best_steps");
  state.rng.seed = metadata.take_exactly<std::uint64_t>("seed");
  state.rng.stream = metadata.take_exactly<std::uint64_t>("stream");
  state.rng.position = metadata.take_exactly<std::uint64_t>("position");
  state.samples = metadata.take_exactly<Index>("samples");
  state.checksum = metadata.find_exactly<std::uint32_t>("data_checksum").value_or(0);
  state.order.pass = state.rng;  // of the same stream
  state.order.pass.position = metadata.take_exactly<std::uint64_t>("pass_position");
  state.order.drawn = metadata.take_exactly<Index>("pass_drawn");
}

/// Calls part(prefix of the tensors' names, values) for each vector of a state.
template <class State, class Part> void for_each_vector(State& state, const Part& part) {
  part("", state.weights);
  part("opt.m.", state.m);
  part("opt.v.", state.v);
  part("ema.", state.average);
  part("best.", state.best);
}

/// The tensors of a net; one if it does not name them.
template <class Net> std::vector<ParameterBlock> blocks_of(const Net& net) {
  std::vector<ParameterBlock> blocks;
  if constexpr (requires { net.parameter_blocks(); })
    blocks = net.parameter_blocks();
  else
    append_block(blocks, "parameters", {net.parameters().size()});
  return blocks;
}

}

/// Writes all that a training needs to be resumed: trainer.state(), and its options, path and architecture, to be
/// compared. Call it in an observer, or after one has ended the run. The weights of the last step have the names of the
/// net's tensors; opt.m.*, opt.v.*, ema.* and best.* the same behind these words. The file appears whole or not at all.
/// Throws std::invalid_argument if the training diverged or a number of the state is not finite, std::runtime_error
/// with path and reason if the file cannot be written.
template <class Net, class P, class T> void save(const std::string& path, const Trainer<Net, P, T>& trainer) {
  using Scalar = typename Net::Scalar;
  const TrainingState<Scalar> state = trainer.state();
  detail::check_state("save", state, trainer.options(), trainer.net().parameters().size());
  const auto blocks = detail::blocks_of(trainer.net());
  Safetensors file;
  detail::add_entry(file.metadata, "kind", "training");
  for (const auto& [key, value] : detail::settings(trainer)) detail::add_entry(file.metadata, key, value);
  detail::describe(state, file.metadata);
  detail::for_each_vector(state, [&](const std::string& prefix, const Vector<Scalar>& values) {
    if (values.size() == 0) return;
    for (const ParameterBlock& block : blocks)
      add_tensor(file, prefix + block.name, block.shape,
                 std::span<const Scalar>(values.data() + block.offset, std::size_t(block.size())));
  });
  write_safetensors(path, file);
}

/// Reads what save wrote, as strictly as load_velocity_mlp, and lets the next run of the trainer continue from it, bit
/// for bit as if it had not stopped: see Trainer::resume for what that run must get. The trainer's net, path, time
/// sampler and options must be those of the file; only threads may differ, and options.steps, unless the rate is a
/// cosine over them (a held-out loss at the old end stays in the report). Paths and samplers that are not the library's
/// are not compared. Throws std::runtime_error that names all that differs or is wrong in the file; trainer and net are
/// then as they were.
template <class Net, class P, class T> void resume(const std::string& path, Trainer<Net, P, T>& trainer) {
  using Scalar = typename Net::Scalar;
  const Safetensors file = read_safetensors(path);
  detail::Metadata metadata(file);
  metadata.expect("kind", "training");
  std::string different;
  for (const auto& [key, value] : detail::settings(trainer)) {
    const std::string* found = metadata.find(key);
    if (!found || *found != value)
      different += detail::concat({"; ", key, " is ", value, ", in the file ", found ? *found : "none"});
  }
  if (!different.empty())
    detail::fail_file(path, {"expected a training with the trainer's net and options", different});
  detail::reading(path, [&] {
    TrainingState<Scalar> state = trainer.state();
    detail::take(metadata, state);
    metadata.expect_empty();
    const auto blocks = detail::blocks_of(trainer.net());
    std::vector<ParameterBlock> all;
    state.average.resize(trainer.options().ema_decay > 0 ? state.weights.size() : 0);
    state.best.resize(trainer.options().keep_best ? state.weights.size() : 0);
    detail::for_each_vector(state, [&](const std::string& prefix, const Vector<Scalar>& values) {
      if (values.size() == 0) return;
      for (const ParameterBlock& block : blocks) detail::append_block(all, prefix + block.name, block.shape);
    });
    const Vector<Scalar> numbers = detail::read_parameters<Scalar>(file, all);
    Index at = 0;
    detail::for_each_vector(state, [&](const std::string&, Vector<Scalar>& values) {
      values = numbers.segment(at, values.size());
      at += values.size();
    });
    trainer.resume(std::move(state));
  });
}

}
}
