// SPDX-License-Identifier: MIT
// CRC-32, the checksum of zlib, PNG and gzip (ITU-T V.42): Python has it as zlib.crc32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "flowmatch/core/types.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// Entry [k][b]: the remainder of byte b followed by k zero bytes. Filled by the first checksum of a program: as
/// constants, every file that includes this header would take the time to compute them when it is compiled.
struct Crc32Tables {
  std::uint32_t entries[8][256];

  Crc32Tables() {
    for (std::uint32_t b = 0; b < 256; ++b) {
      std::uint32_t r = b;
      for (int bit = 0; bit < 8; ++bit) r = r >> 1 ^ (r & 1 ? 0xedb88320u : 0);
      entries[0][b] = r;
    }
    for (int k = 1; k < 8; ++k)
      for (int b = 0; b < 256; ++b) {
        const std::uint32_t r = entries[k - 1][b];
        entries[k][b] = r >> 8 ^ entries[0][r & 255];
      }
  }
};

}

/// The checksum of all bytes added so far. Any change of up to 32 bits in a row gives another one, so any single bit
/// does; of larger changes one in 2^32 escapes. Eight bytes are taken at a time.
class Crc32 {
 public:
  void add(const void* bytes, std::size_t count) {
    static const detail::Crc32Tables tables;
    const auto* byte = static_cast<const unsigned char*>(bytes);
    for (; count >= 8; count -= 8, byte += 8) {
      std::uint64_t eight;
      std::memcpy(&eight, byte, 8);
      eight ^= rest_;
      rest_ = 0;
      for (std::size_t k = 0; k < 8; ++k) rest_ ^= tables.entries[7 - k][eight >> 8 * k & 255];
    }
    for (; count > 0; --count, ++byte) rest_ = rest_ >> 8 ^ tables.entries[0][(rest_ ^ *byte) & 255];
  }
  void add(std::string_view text) { add(text.data(), text.size()); }

  std::uint32_t value() const { return ~rest_; }

 private:
  std::uint32_t rest_ = ~std::uint32_t(0);
};

}
}
