// SPDX-License-Identifier: MIT
// CRC-32, the checksum of zlib, PNG and gzip (ITU-T V.42): Python has it as zlib.crc32.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "flowmatch/core/types.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

namespace detail {

/// Entry [k][b]: the remainder of byte b followed by k zero bytes.
inline constexpr auto crc32_tables = [] {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t r = b;
    for (int bit = 0; bit < 8; ++bit) r = r >> 1 ^ (r & 1 ? 0xedb88320u : 0);
    tables[0][b] = r;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t b = 0; b < 256; ++b) {
      const std::uint32_t r = tables[k - 1][b];
      tables[k][b] = r >> 8 ^ tables[0][r & 255];
    }
  return tables;
}();

}

/// The checksum of all bytes added so far. Any change of up to 32 bits in a row gives another one, so any single bit
/// does; of larger changes one in 2^32 escapes. Eight bytes are taken at a time.
class Crc32 {
 public:
  void add(const void* bytes, std::size_t count) {
    const auto& tables = detail::crc32_tables;
    const auto* byte = static_cast<const unsigned char*>(bytes);
    for (; count >= 8; count -= 8, byte += 8) {
      std::uint64_t eight;
      std::memcpy(&eight, byte, 8);
      eight ^= rest_;
      rest_ = 0;
      for (std::size_t k = 0; k < 8; ++k) rest_ ^= tables[7 - k][eight >> 8 * k & 255];
    }
    for (; count > 0; --count, ++byte) rest_ = rest_ >> 8 ^ tables[0][(rest_ ^ *byte) & 255];
  }
  void add(std::string_view text) { add(text.data(), text.size()); }

  std::uint32_t value() const { return ~rest_; }

 private:
  std::uint32_t rest_ = ~std::uint32_t(0);
};

}
