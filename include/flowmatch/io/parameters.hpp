// SPDX-License-Identifier: MIT
// The parameters of a net, as the tensors of a safetensors file.
#pragma once

#include "flowmatch/field/mlp.hpp"
#include "flowmatch/io/tensor_numbers.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// The tensor of each block, from a file in which block i has the name names[i] ("": it has none; without names: its
/// own), with these shapes, in any order, and which holds nothing else; all that is missing, unknown or of another
/// shape is in one error. A file of dtype "" may hold any that tensor_numbers converts.
[[gnu::cold]] inline std::vector<const TensorEntry*> find_tensors(const Safetensors& file,
                                                                  const std::vector<ParameterBlock>& blocks,
                                                                  const std::vector<std::string>* names,
                                                                  std::string_view dtype, const char* expected) {
  const std::vector<SortKey> sorted = sorted_by(&TensorEntry::name, file.tensors);
  std::vector<const TensorEntry*> tensors(blocks.size());
  std::vector<char> used(file.tensors.size());
  std::string missing, unknown, wrong;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::string& name = names ? (*names)[i] : blocks[i].name;
    const auto key = std::lower_bound(sorted.begin(), sorted.end(), SortKey{.name = name});
    if (key == sorted.end() || key->name != name || name.empty()) {
      missing += concat({"; no tensor ", name.empty() ? "for " : "", "\"", name.empty() ? blocks[i].name : name, "\""});
      continue;
    }
    const TensorEntry& tensor = file.tensors[key->place];
    tensors[i] = &tensor;
    used[key->place] = 1;
    const bool right_dtype = dtype.empty() ? tensor.dtype == "F32" || tensor.dtype == "F64" || tensor.dtype == "F16" ||
                                                 tensor.dtype == "BF16"
                                           : tensor.dtype == dtype;
    if (!right_dtype || tensor.shape != blocks[i].shape)
      wrong +=
          concat({"; tensor \"", tensor.name, "\" should be ", dtype.empty() ? "F32, F64, F16 or BF16" : dtype, " [",
                  comma_separated(blocks[i].shape), "], is ", tensor.dtype, " [", comma_separated(tensor.shape), "]"});
  }
  for (const SortKey& key : sorted)
    if (!used[key.place]) unknown += concat({"; unknown tensor \"", key.name, "\""});
  missing += unknown + wrong;
  if (!missing.empty()) fail_file(file.path, {"expected ", expected, missing});
  return tensors;
}

/// The parameters that the blocks lay out, from the tensors that find_tensors finds. Throws std::runtime_error if a
/// number is not finite.
template <class Scalar>
Vector<Scalar> read_parameters(const Safetensors& file, const std::vector<ParameterBlock>& blocks,
                               const std::vector<std::string>* names, std::string_view dtype, const char* expected) {
  const std::vector<const TensorEntry*> tensors = find_tensors(file, blocks, names, dtype, expected);
  Vector<Scalar> parameters(blocks.back().offset + blocks.back().size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Vector<Scalar> numbers = tensor_numbers<Scalar>(file, *tensors[i]);
    const Index place = find_non_finite(numbers)[0];
    if (place >= 0)
      fail_file(file.path, {"tensor \"", tensors[i]->name, "\": expected finite numbers, got ", numbers(place),
                            " at place ", place});
    parameters.segment(blocks[i].offset, numbers.size()) = numbers;
  }
  return parameters;
}

/// The file of these parameters, without metadata: one tensor for each block.
template <class Scalar> Safetensors file_of(const std::vector<ParameterBlock>& blocks, const auto& parameters) {
  Safetensors file;
  for (const ParameterBlock& block : blocks)
    add_tensor(file, block.name, dtype_of<Scalar>(), block.shape, parameters.data() + block.offset,
               std::size_t(block.size()) * sizeof(Scalar));
  return file;
}

}
}
}
