// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>
#include <string>

#include "flowmatch/format/safetensors.hpp"
#include "support/files.hpp"

namespace test {

/// A file of this header, of a length that may be false, and data.
inline std::string safetensors_bytes(std::uint64_t length, const std::string& header, const std::string& data = "") {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}
inline std::string safetensors_bytes(const std::string& header, const std::string& data = "") {
  return safetensors_bytes(header.size(), header, data);
}

/// As flowmatch's, but without waiting for the disk.
inline void write_safetensors(const std::string& path, const flowmatch::Safetensors& file) {
  write(path, flowmatch::detail::serialized_header(file) + std::string(file.data.begin(), file.data.end()));
}

}
