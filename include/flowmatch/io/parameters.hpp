// SPDX-License-Identifier: MIT
// The parameters of a net, as the tensors of a safetensors file.
#pragma once

#include "flowmatch/field/mlp.hpp"
#include "flowmatch/io/tensor_numbers.hpp"

namespace flowmatch::inline FLOWMATCH_ABI::detail {

/// The parameters that the blocks lay out, from a file in which block i has the name names[i] ("": it has none), with
/// these shapes and finite numbers, in any order, and which holds nothing else; all that is missing, unknown or of
/// another shape is in one error. A file of dtype "" may hold any that tensor_numbers converts.
template <class Scalar>
Vector<Scalar> read_parameters(const Safetensors& file, const std::vector<ParameterBlock>& blocks,
                               const std::vector<std::string>& names, const std::string& dtype,
                               const std::string& expected) {
  const auto by_name = [](const auto* a, const auto* b) { return a->name < b->name; };
  std::vector<const TensorEntry*> sorted;
  for (const TensorEntry& tensor : file.tensors) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(), by_name);
  std::vector<const TensorEntry*> tensors;
  std::vector<bool> used(sorted.size());
  std::string missing, unknown, wrong;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    TensorEntry wanted;
    wanted.name = names[i];
    const auto place = std::lower_bound(sorted.begin(), sorted.end(), &wanted, by_name);
    if (place == sorted.end() || (*place)->name != wanted.name || wanted.name.empty()) {
      missing += concat({"; no tensor ", wanted.name.empty() ? "for \"" : "\"",
                         wanted.name.empty() ? blocks[i].name : wanted.name, "\""});
      continue;
    }
    const TensorEntry& tensor = **place;
    tensors.push_back(&tensor);
    used[std::size_t(place - sorted.begin())] = true;
    const bool right_dtype = dtype.empty() ? tensor.dtype == "F32" || tensor.dtype == "F64" || tensor.dtype == "F16" ||
                                                 tensor.dtype == "BF16"
                                           : tensor.dtype == dtype;
    if (!right_dtype || tensor.shape != blocks[i].shape)
      wrong +=
          concat({"; tensor \"", tensor.name, "\" should be ", dtype.empty() ? "F32, F64, F16 or BF16" : dtype, " [",
                  comma_separated(blocks[i].shape), "], is ", tensor.dtype, " [", comma_separated(tensor.shape), "]"});
  }
  for (std::size_t k = 0; k < sorted.size(); ++k)
    if (!used[k]) unknown += concat({"; unknown tensor \"", sorted[k]->name, "\""});
  if (!(missing + unknown + wrong).empty()) fail_file(file.path, {"expected ", expected, missing, unknown, wrong});

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
