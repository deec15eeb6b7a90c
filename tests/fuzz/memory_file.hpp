// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

namespace fuzz {

/// The path of a file in memory that holds these bytes until the next call.
inline const std::string& memory_file(const std::uint8_t* bytes, std::size_t size) {
  static const int descriptor = memfd_create("input", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  if (descriptor < 0 || ftruncate(descriptor, 0) != 0 || pwrite(descriptor, bytes, size, 0) != ssize_t(size))
    std::abort();
  return path;
}

/// Ends the program, which the fuzzer then reports, unless that is so.
inline void expect(bool so) {
  if (!so) std::abort();
}

}
