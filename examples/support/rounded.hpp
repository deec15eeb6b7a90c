// SPDX-License-Identifier: MIT
// A number in words: three digits.
#pragma once

#include <cstdio>
#include <string>

namespace support {

inline std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

}
