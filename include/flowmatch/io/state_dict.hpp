// SPDX-License-Identifier: MIT
// Weights from PyTorch: what save_file(model.state_dict()) of the Python package safetensors writes.
#pragma once

#include "flowmatch/io/parameters.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Which tensor of a file is which block of a net: {"layers.0.weight", "encoder.weight"}, for instance.
using TensorNames = std::vector<std::pair<std::string, std::string>>;

namespace detail {

/// The module and the parameter in a name such as net.2.weight: {"net.2", "weight"}, split at the last dot.
inline std::pair<std::string_view, std::string_view> module_and_parameter(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == name.npos) return {{}, name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

/// Where the number at the end of a module starts, as in "net.2"; the module's size if there is none.
inline std::size_t number_place(std::string_view module) { return module.find_last_not_of("0123456789") + 1; }

/// The modules of tensors whose names are all prefix, number, ".weight" or ".bias", by their numbers: {"net.0",
/// "net.2"}. Empty if a name is otherwise or the prefixes differ.
inline std::vector<std::string> numbered_modules(const std::vector<std::string>& tensors) {
  std::vector<SortKey> modules;
  std::string_view prefix;
  for (const std::string_view tensor : tensors) {
    const auto [module, parameter] = module_and_parameter(tensor);
    const std::size_t digits = number_place(module), count = module.size() - digits;
    if (modules.empty()) prefix = module.substr(0, digits);
    if ((parameter != "weight" && parameter != "bias") || count < 1 || count > 9 || module.substr(0, digits) != prefix)
      return {};
    modules.push_back({.name = module});
    for (const char digit : module.substr(digits))
      modules.back().first = 10 * modules.back().first + unsigned(digit - '0');
  }
  sort(modules);
  std::vector<std::string> names;
  for (const SortKey& module : modules)
    if (names.empty() || names.back() != module.name) names.emplace_back(module.name);
  return names;
}

/// The name in the file of each block: that of the map; else, if its own has no number, its own; the others by number,
/// from the tensors that are left, and by their own names if these are not numbered.
inline std::vector<std::string> state_dict_names(const Safetensors& file, const std::vector<ParameterBlock>& blocks,
                                                 const TensorNames& names) {
  std::vector<std::string> found(blocks.size()), left;
  std::vector<char> by_number(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    found[i] = blocks[i].name;
    const std::string_view module = module_and_parameter(found[i]).first;
    by_number[i] = number_place(module) < module.size();
  }
  for (const auto& [block, tensor] : names) {
    std::size_t i = 0;
    while (i < blocks.size() && blocks[i].name != block) ++i;
    if (i == blocks.size()) fail("load_state_dict", {"expected names of the net's blocks, got \"", block, "\""});
    found[i] = tensor;
    by_number[i] = 0;
  }
  for (const TensorEntry& tensor : file.tensors) {
    bool taken = false;
    for (std::size_t i = 0; i < blocks.size(); ++i) taken = taken || (!by_number[i] && found[i] == tensor.name);
    if (!taken) left.push_back(tensor.name);
  }
  const std::vector<std::string> modules = numbered_modules(left);
  std::string_view last;
  std::size_t number = 0;
  for (std::size_t i = 0; i < blocks.size() && !modules.empty(); ++i) {
    if (!by_number[i]) continue;
    const auto [module, parameter] = module_and_parameter(blocks[i].name);
    if (!last.empty() && module != last) ++number;
    last = module;
    found[i] = number < modules.size() ? concat({modules[number], ".", parameter}) : "";
  }
  return found;
}

}

/// Sets the weights of a net to those of a PyTorch module of the same architecture, from the file of its state_dict:
/// torch.nn.Linear as [out, in] and [out], torch.nn.LayerNorm as [width] twice; F32, F64, F16 or BF16, rounded to the
/// net's scalar. Layers and norms are found by number, whatever stands before it and with gaps, as nn.Sequential counts
/// activations too: net.0.weight, net.0.bias, net.2.weight, ... are these blocks in their order (parameter_blocks).
/// Where the file's names have no such numbers, blocks are found by the net's own names, and so is always what has no
/// number in it, as condition_embedding.weight. A map of the user names the tensor of any block, and comes first.
/// A VelocityMlp takes the rows [x; t; sines; cosines; c] (eq. 8), in this order.
/// Throws std::runtime_error that lists all tensors that are missing, unknown or of another shape or dtype, or names
/// one that is not finite; the net then stays as it was. Throws std::invalid_argument if the map has a block that the
/// net has not.
template <class Net> void load_state_dict(const std::string& path, Net& net, const TensorNames& names = {}) {
  const auto& blocks = net.parameter_blocks();
  const Safetensors file = read_safetensors(path);
  const std::vector<std::string> found = detail::state_dict_names(file, blocks, names);
  net.set_parameters(
      detail::read_parameters<typename Net::Scalar>(file, blocks, &found, "", "the tensors of this net"));
}

}
}
