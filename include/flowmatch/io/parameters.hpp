// SPDX-License-Identifier: MIT
// The numbers of a safetensors tensor, converted (F64, F32, F16 and BF16 to real numbers, I64 and U8 to indices), and
// the parameters of a net as such tensors.
#pragma once

#include "flowmatch/field/mlp.hpp"
#include "flowmatch/format/safetensors.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// The value of IEEE 754 binary16, exactly: 1 bit of sign, 5 of exponent, 10 of fraction.
inline float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t(bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 1023u;
  if (exponent == 0) {  // fraction 2^-24, which a float holds as a normal number
    const float value = float(fraction) / 16777216.0f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  return std::bit_cast<float>(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
}
/// The value of bfloat16: the upper half of a float.
inline float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t(bits) << 16); }

/// out[i] = convert(number i of the tensor), for a tensor of Raw numbers that layout_fault found right.
template <class Raw, class Out, class Convert>
void convert_tensor(const Safetensors& file, const TensorEntry& tensor, Out* out, const Convert& convert) {
  const char* bytes = file.data.data() + tensor.begin;
  for (std::uint64_t left = tensor.end - tensor.begin; left > 0; left -= sizeof(Raw), bytes += sizeof(Raw)) {
    Raw raw;
    std::memcpy(&raw, bytes, sizeof raw);
    *out++ = Out(convert(raw));
  }
}

}

/// The numbers of a tensor of dtype F64, F32, F16 or BF16 of a file that was read, row-major, rounded to Scalar if they
/// are wider; infinite and NaN values pass. Throws std::runtime_error for another dtype.
template <Real Scalar = float> Vector<Scalar> tensor_numbers(const Safetensors& file, const TensorEntry& tensor) {
  const std::uint64_t size = detail::dtype_size(tensor.dtype);
  const auto same = [](auto x) { return x; };
  Vector<Scalar> numbers(size == 0 ? 0 : Index((tensor.end - tensor.begin) / size));
  if (tensor.dtype == "F64")
    detail::convert_tensor<double>(file, tensor, numbers.data(), same);
  else if (tensor.dtype == "F32")
    detail::convert_tensor<float>(file, tensor, numbers.data(), same);
  else if (tensor.dtype == "F16")
    detail::convert_tensor<std::uint16_t>(file, tensor, numbers.data(), detail::from_f16);
  else if (tensor.dtype == "BF16")
    detail::convert_tensor<std::uint16_t>(file, tensor, numbers.data(), detail::from_bf16);
  else
    detail::fail_file(file.path, {"tensor \"", tensor.name, "\": expected F64, F32, F16 or BF16, got ", tensor.dtype});
  return numbers;
}

/// The indices of a tensor of dtype I64 or U8 of a file that was read, row-major. Throws std::runtime_error for another
/// dtype.
inline std::vector<std::int64_t> tensor_indices(const Safetensors& file, const TensorEntry& tensor) {
  const auto same = [](auto x) { return x; };
  const std::uint64_t bytes = tensor.end - tensor.begin;
  std::vector<std::int64_t> indices;
  if (tensor.dtype == "I64") {
    indices.resize(std::size_t(bytes / 8));
    detail::convert_tensor<std::int64_t>(file, tensor, indices.data(), same);
  } else if (tensor.dtype == "U8") {
    indices.resize(std::size_t(bytes));
    detail::convert_tensor<std::uint8_t>(file, tensor, indices.data(), same);
  } else {
    detail::fail_file(file.path, {"tensor \"", tensor.name, "\": expected I64 or U8, got ", tensor.dtype});
  }
  return indices;
}

namespace detail {

/// Finds the tensor of each block. names[i] is the name of block i in the file, "" if the file has none; without names,
/// blocks keep their own. The file may have any order but nothing else; one error lists all that is missing, unknown or
/// of another shape. dtype "" accepts F64, F32, F16 and BF16.
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
