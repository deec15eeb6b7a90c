// SPDX-License-Identifier: MIT
// Nets as files: weights under their PyTorch names and the architecture as metadata, in safetensors.
#pragma once

#include <string>
#include <vector>

#include "flowmatch/field/conditional_velocity_mlp.hpp"
#include "flowmatch/io/metadata.hpp"
#include "flowmatch/io/parameters.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// As read_parameters above, for what save wrote: names and scalar are those of the net.
template <class Scalar>
Vector<Scalar> read_parameters(const Safetensors& file, const std::vector<ParameterBlock>& blocks) {
  return read_parameters<Scalar>(file, blocks, nullptr, dtype_of<Scalar>(), "the tensors that the metadata describe");
}

// An architecture, as the options of a net: its name, its metadata, these read again, and the tensors that it has.

inline const char* kind_of(const VelocityMlpOptions&) { return "velocity_mlp"; }
inline const char* kind_of(const ConditionalVelocityMlpOptions&) { return "conditional_velocity_mlp"; }

[[gnu::cold]] inline void describe(const VelocityMlpOptions& o, StringMap& metadata) {
  add_entry(metadata, "dim", o.dim);
  add_entry(metadata, "condition_dim", o.condition_dim);
  add_entry(metadata, "hidden", comma_separated(o.hidden));
  add_entry(metadata, "activation", name(o.activation));
  add_entry(metadata, "residual", o.residual);
  add_entry(metadata, "time_frequencies", o.time_frequencies);
  add_entry(metadata, "zero_output", o.zero_output);
}
[[gnu::cold]] inline void describe(const ConditionalVelocityMlpOptions& o, StringMap& metadata) {
  describe(velocity_options(o), metadata);
  add_entry(metadata, "classes", o.classes);
  add_entry(metadata, "embedding_dim", o.embedding_dim);
}

[[gnu::cold]] inline void take(Metadata& metadata, VelocityMlpOptions& options) {
  options.dim = metadata.take_number("dim");
  options.condition_dim = metadata.take_number("condition_dim");
  options.hidden = metadata.take_numbers("hidden");
  options.activation = activation_from_name(metadata.take("activation"));
  options.residual = metadata.take_flag("residual");
  options.time_frequencies = metadata.take_number("time_frequencies");
  options.zero_output = metadata.take_flag("zero_output");
}
[[gnu::cold]] inline void take(Metadata& metadata, ConditionalVelocityMlpOptions& options) {
  VelocityMlpOptions layers;
  take(metadata, layers);
  const Index classes = metadata.take_number("classes"), embedding_dim = metadata.take_number("embedding_dim");
  options = {.dim = layers.dim,
             .classes = classes,
             .embedding_dim = embedding_dim,
             .vector_dim = layers.condition_dim - embedding_dim,
             .hidden = layers.hidden,
             .activation = layers.activation,
             .residual = layers.residual,
             .time_frequencies = layers.time_frequencies,
             .zero_output = layers.zero_output};
}

inline std::vector<ParameterBlock> layout(const VelocityMlpOptions& options) {
  return mlp_layout(mlp_options(options));
}
inline std::vector<ParameterBlock> layout(const ConditionalVelocityMlpOptions& options) {
  auto blocks = layout(velocity_options(options));
  for (const ParameterBlock& block : embedding_blocks(options)) append_block(blocks, block.name, block.shape);
  return blocks;
}

template <class Net> using OptionsOf = std::decay_t<decltype(std::declval<const Net&>().options())>;

/// A net whose architecture a file can hold.
template <class Net>
concept StoredNet = requires(OptionsOf<Net> options, Metadata& metadata) {
  take(metadata, options);
  Net(options, std::declval<Rng&>());
};

/// read(). What it finds to be no valid argument is an error of the file.
template <class Read> auto reading(const std::string& path, const Read& read) {
  return explained<std::invalid_argument>(read, [&](const char* what) {
    return concat({"flowmatch: ", path, ": ", what});
  });
}

/// Says in a file's metadata which net it holds. Throws std::runtime_error if Metadata could not read that again.
template <class Options>
void add_architecture(StringMap& metadata, const std::string& path, const char* kind, const Options& options) {
  add_entry(metadata, "kind", kind);
  describe(options, metadata);
  for (const auto& [key, value] : metadata)
    if (key != "kind" && key != "activation") check_numbers(path, key, value);
}

template <StoredNet Net> void save_net(const std::string& path, const Net& net) {
  check_finite("save", "net.parameters()", net.parameters());
  Safetensors file = file_of<typename Net::Scalar>(net.parameter_blocks(), net.parameters());
  add_architecture(file.metadata, path, kind_of(net.options()), net.options());
  write_unchecked(path, file);
}

template <StoredNet Net> Net load_net(const std::string& path) {
  const Safetensors file = read_safetensors(path);
  Metadata metadata(file);
  Rng unused(0);
  return reading(path, [&] {
    OptionsOf<Net> options;
    metadata.expect("kind", kind_of(options));
    take(metadata, options);
    metadata.expect_empty();
    // Before the net is made, so that sizes which the metadata claims and the file does not hold take no memory.
    const auto parameters = read_parameters<typename Net::Scalar>(file, layout(options));
    Net net(options, unused);
    net.set_parameters(parameters);
    return net;
  });
}

}

/// Writes architecture and weights; the file appears whole or not at all. Throws std::invalid_argument if a weight is
/// not finite, std::runtime_error with path and reason if the file cannot be written or the net is too large to be read
/// again (10,000 layers, 10^7 wide).
template <Real Scalar> void save(const std::string& path, const VelocityMlp<Scalar>& net) {
  detail::save_net(path, net);
}

/// Reads what save wrote, strictly: every name, shape, dtype and metadata key must be what this architecture has, none
/// more and none less, and every weight finite; the order is free. Throws std::runtime_error that names file, tensor,
/// expected and found.
template <Real Scalar = float> VelocityMlp<Scalar> load_velocity_mlp(const std::string& path) {
  return detail::load_net<VelocityMlp<Scalar>>(path);
}

/// Writes a conditional net: the tensors of its layers, condition_embedding.weight [classes + 1, embedding_dim] and, if
/// it has a vector, condition_null [vector_dim]. Throws as above.
template <Real Scalar> void save(const std::string& path, const ConditionalVelocityMlp<Scalar>& net) {
  detail::save_net(path, net);
}

/// Reads what save wrote, as strictly as load_velocity_mlp.
template <Real Scalar = float> ConditionalVelocityMlp<Scalar> load_conditional_velocity_mlp(const std::string& path) {
  return detail::load_net<ConditionalVelocityMlp<Scalar>>(path);
}

}
}
