// SPDX-License-Identifier: MIT
// Files appear whole or not at all: written beside their place, then renamed.
#pragma once

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace support {

/// Writes the bytes into path. Throws std::runtime_error naming the path if that fails; an older file then stays.
inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::path beside = path;
  beside += ".part";
  std::ofstream file(beside, std::ios::binary);
  file.write(bytes.data(), std::streamsize(bytes.size()));
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(beside, path, error);
  if (!file || error) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    throw std::runtime_error("cannot write " + path.string() + (error ? ": " + error.message() : ""));
  }
}

}
