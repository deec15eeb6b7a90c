// SPDX-License-Identifier: MIT
// Nets as files: weights under their PyTorch names and the architecture as metadata, in safetensors.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "flowmatch/field/velocity_mlp.hpp"
#include "flowmatch/io/safetensors.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

namespace detail {

template <class Scalar> const char* dtype_of() { return sizeof(Scalar) == 4 ? "F32" : "F64"; }

/// The strings of a file's metadata, each used exactly once.
class Metadata {
 public:
  Metadata(const std::string& path, std::vector<std::pair<std::string, std::string>> entries)
      : path_(path), entries_(std::move(entries)) {}

  std::string take(const std::string& key) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry)
      if (entry->first == key) {
        std::string value = std::move(entry->second);
        entries_.erase(entry);
        return value;
      }
    fail_file(path_, "expected \"", key, "\" in the metadata, found none");
  }
  std::vector<Index> take_numbers(const std::string& key) {
    const std::string text = take(key);
    std::vector<Index> values;
    for (std::size_t at = 0; at < text.size(); ++at) {
      std::size_t digits = 0;
      while (at + digits < text.size() && text[at + digits] >= '0' && text[at + digits] <= '9') ++digits;
      if (digits < 1 || digits > 7 || (at + digits < text.size() && text[at + digits] != ',') ||
          at + digits + 1 == text.size() || values.size() == 10000)  // so that products and sums of them fit an Index
        fail_file(path_, "expected up to 10000 whole numbers below 10^7 in metadata \"", key, "\", got \"", text, "\"");
      values.push_back(std::stol(text.substr(at, digits)));
      at += digits;
    }
    return values;
  }
  Index take_number(const std::string& key) {
    const std::vector<Index> values = take_numbers(key);
    if (values.size() != 1) fail_file(path_, "expected one number in metadata \"", key, "\"");
    return values[0];
  }
  bool take_flag(const std::string& key) {
    const Index value = take_number(key);
    if (value > 1) fail_file(path_, "expected 0 or 1 in metadata \"", key, "\", got ", value);
    return value == 1;
  }
  void expect(const std::string& key, const std::string& value) {
    const std::string found = take(key);
    if (found != value) fail_file(path_, "expected \"", value, "\" as metadata \"", key, "\", got \"", found, "\"");
  }
  void expect_empty() const {
    if (!entries_.empty()) fail_file(path_, "unknown metadata \"", entries_[0].first, "\"");
  }

 private:
  const std::string& path_;
  std::vector<std::pair<std::string, std::string>> entries_;
};

/// The parameters that the blocks lay out, from a file that holds these tensors, in any order, in this scalar, and
/// nothing else; throws otherwise.
template <class Scalar>
Vector<Scalar> read_parameters(const std::string& path, const Safetensors& file,
                               const std::vector<ParameterBlock>& blocks) {
  std::vector<const TensorEntry*> tensors;
  std::string missing, unknown, wrong;
  for (const ParameterBlock& block : blocks) {
    const auto named = [&](const TensorEntry& tensor) { return tensor.name == block.name; };
    const auto tensor = std::find_if(file.tensors.begin(), file.tensors.end(), named);
    if (tensor == file.tensors.end())
      missing += concat("; no tensor \"", block.name, "\"");
    else if (tensor->dtype != dtype_of<Scalar>() || tensor->shape != block.shape)
      wrong += concat("; tensor \"", block.name, "\" should be ", dtype_of<Scalar>(), " [",
                      comma_separated(block.shape), "], is ", tensor->dtype, " [", comma_separated(tensor->shape), "]");
    else
      tensors.push_back(&*tensor);
  }
  for (const TensorEntry& tensor : file.tensors) {
    const auto named = [&](const ParameterBlock& block) { return tensor.name == block.name; };
    if (std::none_of(blocks.begin(), blocks.end(), named)) unknown += concat("; unknown tensor \"", tensor.name, "\"");
  }
  if (!(missing + unknown + wrong).empty())
    fail_file(path, "expected the tensors of the net in the metadata", missing, unknown, wrong);
  Vector<Scalar> parameters(blocks.back().offset + blocks.back().size());
  for (std::size_t i = 0; i < blocks.size(); ++i)
    std::memcpy(parameters.data() + blocks[i].offset, file.data.data() + tensors[i]->begin,
                std::size_t(blocks[i].size()) * sizeof(Scalar));
  return parameters;
}

}

/// Writes architecture and weights; the file appears whole or not at all. Throws std::runtime_error with path and
/// reason.
template <std::floating_point Scalar> void save(const std::string& path, const VelocityMlp<Scalar>& net) {
  const VelocityMlpOptions& o = net.options();
  Safetensors file;
  file.metadata = {{"format", "flowmatch"},
                   {"format_version", "1"},
                   {"kind", "velocity_mlp"},
                   {"dim", std::to_string(o.dim)},
                   {"condition_dim", std::to_string(o.condition_dim)},
                   {"hidden", detail::comma_separated(o.hidden)},
                   {"activation", std::string(name(o.activation))},
                   {"residual", o.residual ? "1" : "0"},
                   {"time_frequencies", std::to_string(o.time_frequencies)},
                   {"zero_output", o.zero_output ? "1" : "0"}};
  for (const ParameterBlock& block : net.parameter_blocks()) {
    const std::size_t begin = std::size_t(block.offset) * sizeof(Scalar);
    file.tensors.push_back({.name = block.name,
                            .dtype = detail::dtype_of<Scalar>(),
                            .shape = block.shape,
                            .begin = begin,
                            .end = begin + std::size_t(block.size()) * sizeof(Scalar)});
  }
  const auto* bytes = reinterpret_cast<const char*>(net.parameters().data());
  file.data.assign(bytes, bytes + std::size_t(net.parameters().size()) * sizeof(Scalar));
  write_safetensors(path, file);
}

/// Reads what save wrote, strictly: every name, shape, dtype and metadata key must be what this architecture has, none
/// more and none less, and every weight finite; the order is free. Throws std::runtime_error that names file, tensor,
/// expected and found.
template <std::floating_point Scalar = float> VelocityMlp<Scalar> load_velocity_mlp(const std::string& path) {
  const Safetensors file = read_safetensors(path);
  detail::Metadata metadata(path, file.metadata);
  metadata.expect("format", "flowmatch");
  metadata.expect("format_version", "1");
  metadata.expect("kind", "velocity_mlp");
  Rng unused(0);
  try {
    VelocityMlpOptions options;
    options.dim = metadata.take_number("dim");
    options.condition_dim = metadata.take_number("condition_dim");
    options.hidden = metadata.take_numbers("hidden");
    options.activation = activation_from_name(metadata.take("activation"));
    options.residual = metadata.take_flag("residual");
    options.time_frequencies = metadata.take_number("time_frequencies");
    options.zero_output = metadata.take_flag("zero_output");
    metadata.expect_empty();
    const auto blocks = detail::mlp_layout(detail::mlp_options(options));
    // Before the net is made, so that sizes which the metadata claims and the file does not hold take no memory.
    const Vector<Scalar> parameters = detail::read_parameters<Scalar>(path, file, blocks);
    VelocityMlp<Scalar> net(options, unused);
    net.set_parameters(parameters);
    return net;
  } catch (const std::invalid_argument& error) {
    detail::fail_file(path, error.what());
  }
}

}
