// SPDX-License-Identifier: MIT
// UTF-8 (RFC 3629), as far as a reader of foreign text needs it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "flowmatch/core/types.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

inline bool is_surrogate(unsigned code) { return code >= 0xd800 && code < 0xe000; }

/// Where the first character begins that is none: cut off, longer than needed, a surrogate or beyond U+10FFFF; npos if
/// all are well.
inline std::size_t find_invalid_utf8(std::string_view text) {
  constexpr unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};  // code of a character of that many bytes
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t k) { return unsigned(static_cast<unsigned char>(text[i + k])); };
    const unsigned first = byte(0);
    const std::size_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 0 || first > 0xf4 || length > text.size() - i) return i;
    unsigned code = length == 1 ? first : first & (0x7fu >> length);
    for (std::size_t k = 1; k < length; ++k) {
      if ((byte(k) & 0xc0) != 0x80) return i;
      code = code << 6 | (byte(k) & 0x3f);
    }
    if (code < least[length] || code > 0x10ffff || is_surrogate(code)) return i;
    i += length;
  }
  return text.npos;
}

/// Appends the character of this code, below 0x110000 and no surrogate.
inline void append_utf8(std::string& text, unsigned code) {
  const auto tail = [&](int shift) { return char(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80)
    text += char(code);
  else if (code < 0x800)
    text.append({char(0xc0 | code >> 6), tail(0)});
  else if (code < 0x10000)
    text.append({char(0xe0 | code >> 12), tail(6), tail(0)});
  else
    text.append({char(0xf0 | code >> 18), tail(12), tail(6), tail(0)});
}

}
}
}
