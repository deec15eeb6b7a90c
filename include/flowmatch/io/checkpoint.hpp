// SPDX-License-Identifier: MIT
// Nets as files: weights under their PyTorch names and the architecture as metadata, in safetensors.
#pragma once

#include <string>

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
          at + digits + 1 == text.size())
        fail_file(path_, "expected whole numbers in metadata \"", key, "\", got \"", text, "\"");
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

}

namespace detail {

/// Throws unless the file holds these blocks, in their order, in this scalar, and nothing else.
template <class Scalar>
void check_tensors(const std::string& path, const Safetensors& file, const std::vector<ParameterBlock>& blocks) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i == file.tensors.size()) fail_file(path, "expected tensor \"", blocks[i].name, "\", found no more tensors");
    const TensorEntry& tensor = file.tensors[i];
    if (tensor.name != blocks[i].name)
      fail_file(path, "expected tensor \"", blocks[i].name, "\", found \"", tensor.name, "\"");
    if (tensor.dtype != dtype_of<Scalar>())
      fail_file(path, "expected dtype ", dtype_of<Scalar>(), " of tensor \"", tensor.name, "\", found ", tensor.dtype);
    if (tensor.shape != blocks[i].shape)
      fail_file(path, "expected shape [", comma_separated(blocks[i].shape), "] of tensor \"", tensor.name,
                "\", found [", comma_separated(tensor.shape), "]");
  }
  if (file.tensors.size() > blocks.size())
    fail_file(path, "expected ", blocks.size(), " tensors, found also \"", file.tensors[blocks.size()].name, "\"");
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

/// Reads what save wrote, strictly: every name, shape, dtype and metadata key must be what this architecture has, and
/// every weight finite. Throws std::runtime_error that names file, tensor, expected and found.
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
    options.residual = metadata.take_number("residual") != 0;
    options.time_frequencies = metadata.take_number("time_frequencies");
    options.zero_output = metadata.take_number("zero_output") != 0;
    metadata.expect_empty();
    detail::check_tensors<Scalar>(path, file, detail::mlp_layout(detail::mlp_options(options)));
    VelocityMlp<Scalar> net(options, unused);
    Vector<Scalar> parameters(net.parameters().size());
    std::memcpy(parameters.data(), file.data.data(), file.data.size());
    net.set_parameters(parameters);
    return net;
  } catch (const std::invalid_argument& error) {
    detail::fail_file(path, error.what());
  }
}

}
