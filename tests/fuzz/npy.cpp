// SPDX-License-Identifier: MIT
// Any bytes are a .npy file, whose array is not larger than they are, or a std::runtime_error.
#include <stdexcept>

#include "flowmatch/format/npy.hpp"
#include "memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const Eigen::MatrixXf x = flowmatch::load_npy<float>(fuzz::memory_file(bytes, size));
    fuzz::expect(std::size_t(x.size()) <= size);
  } catch (const std::runtime_error&) {}
  return 0;
}
