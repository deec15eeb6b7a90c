// SPDX-License-Identifier: MIT
// The numbers of a safetensors tensor, converted: F64, F32, F16 and BF16 to real numbers, I64 and U8 to indices.
#pragma once

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
template <std::floating_point Scalar = float>
Vector<Scalar> tensor_numbers(const Safetensors& file, const TensorEntry& tensor) {
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

}
}
