// SPDX-License-Identifier: MIT
// Where the data of the examples lies.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#ifndef FLOWMATCH_EXAMPLE_DATA  // a string that the build sets to the absolute path of examples/data
#define FLOWMATCH_EXAMPLE_DATA "examples/data"
#endif

namespace support {

/// Path of a bundled data file. The environment variable FLOWMATCH_DATA names another folder.
/// Throws std::runtime_error if there is no such file.
inline std::filesystem::path data_file(const std::filesystem::path& name) {
  const char* folder = std::getenv("FLOWMATCH_DATA");
  const auto path = std::filesystem::path(folder && *folder ? folder : FLOWMATCH_EXAMPLE_DATA) / name;
  if (!std::filesystem::is_regular_file(path))
    throw std::runtime_error("no data file " + path.string() + " (FLOWMATCH_DATA can name another folder)");
  return path;
}

}
