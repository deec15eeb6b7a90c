// SPDX-License-Identifier: MIT
// The parameters of a net, as the tensors of a safetensors file.
#pragma once

#include "flowmatch/field/mlp.hpp"
#include "flowmatch/io/tensor_numbers.hpp"

namespace flowmatch::inline FLOWMATCH_ABI::detail {

/// The tensor of each block, from a file in which block i has the name names[i] ("": it has none), with these shapes,
/// in any order, and which holds nothing else; all that is missing, unknown or of another shape is in one error. A file
/// of dtype "" may hold any that tensor_numbers converts.
inline std::vector<const TensorEntry*> find_tensors(const Safetensors& file, const std::vector<ParameterBlock>& blocks,
                                                    const std::vector<std::string>& names, std::string_view dtype,
                                                    const char* expected) {
  const std::vector<SortKey> sorted = sorted_by(&TensorEntry::name, file.tensors);
  std::vector<const TensorEntry*> tensors(blocks.size());
  std::vector<bool> used(sorted.size());
  std::string missing, unknown, wrong;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto key = std::lower_bound(sorted.begin(), sorted.end(), SortKey{.name = names[i]});
    if (key == sorted.end() || key->name != names[i] || names[i].empty()) {
      missing += concat(
          {"; no tensor ", names[i].empty() ? "for \"" : "\"", names[i].empty() ? blocks[i].name : names[i], "\""});
      continue;
    }
    const TensorEntry& tensor = file.tensors[key->place];
    tensors[i] = &tensor;
    used[key->place] = true;
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
  if (!(missing + unknown + wrong).empty()) fail_file(file.path, {"expected ", expected, missing, unknown, wrong});
  return tensors;
}

/// The parameters that the blocks lay out, from the tensors that find_tensors finds. Throws std::runtime_error if a
/// number is not finite.
template <class Scalar>
Vector<Scalar> read_parameters(const Safetensors& file, const std::vector<ParameterBlock>& blocks,
                               const std::vector<std::string>& names, std::string_view dtype, const char* expected) {
  const std::vector<const TensorEntry*> tensors = find_tensors(file, blocks, names, dtype, expected);
  Vector<Scalar> parameters(blocks.back().offset + blocks.back().size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Vector<Scalar> numbers = tensor_numbers<Scalar>(file, *tensors[i]);
    const Index place = find_non_finite(numbers)[0];
    if (place >= 0)
      fail_file(file.path,
                {"tensor \"", names[i], "\": expected finite numbers, got ", numbers(place), " at place ", place});
    parameters.segment(blocks[i].offset, numbers.size()) = numbers;
  }
  return parameters;
}

inline std::vector<std::string> names_of(const std::vector<ParameterBlock>& blocks) {
  std::vector<std::string> names;
  for (const ParameterBlock& block : blocks) names.push_back(block.name);
  return names;
}

/// The file of these parameters, without metadata: one tensor for each block.
template <class Scalar> Safetensors file_of(const std::vector<ParameterBlock>& blocks, VectorIn<Scalar> parameters) {
  Safetensors file;
  file.data.reserve(std::size_t(parameters.size()) * sizeof(Scalar));
  for (const ParameterBlock& block : blocks)
    add_tensor(file, block.name, block.shape,
               std::span<const Scalar>(parameters.data() + block.offset, std::size_t(block.size())));
  return file;
}

}
