// SPDX-License-Identifier: MIT
#include "flowmatch/core/checksum.hpp"

#include <string>

#include "catch.hpp"

namespace {

std::uint32_t crc32(const std::string& bytes) {
  flowmatch::Crc32 crc;
  crc.add(bytes);
  return crc.value();
}

}

TEST_CASE("the CRC-32 has its check values", "[io]") {
  CHECK(crc32("") == 0);
  CHECK(crc32("123456789") == 0xcbf43926u);  // the check value of the catalogue
  CHECK(crc32(std::string(32, '\0')) == 0x190a55adu);
  CHECK(crc32(std::string(32, '\xff')) == 0xff6cab0bu);
}

TEST_CASE("a CRC-32 in pieces is that of the whole, wherever it is cut", "[io]") {
  std::string bytes;
  for (int i = 0; i < 40; ++i) bytes += char(i * i * 7 + 3);
  for (std::size_t a = 0; a <= bytes.size(); ++a)
    for (std::size_t b = a; b <= bytes.size(); ++b) {
      flowmatch::Crc32 crc;
      crc.add(bytes.data(), a);
      crc.add(bytes.data() + a, b - a);
      crc.add(bytes.data() + b, bytes.size() - b);
      CHECK(crc.value() == crc32(bytes));
    }
}

TEST_CASE("every change of up to 32 bits in a row gives another CRC-32", "[io]") {
  const std::string bytes = "a flow carries noise to data, and a checksum tells";
  const std::uint32_t whole = crc32(bytes);
  for (const std::uint64_t pattern : {0x1ull, 0x3ull, 0x5ull, 0x80000001ull, 0xffffffffull, 0xdb710641ull})
    for (std::size_t bit = 0; bit + 64 <= 8 * bytes.size(); ++bit) {
      std::string other = bytes;
      for (std::size_t k = 0; k < 32; ++k)
        if (pattern >> k & 1) other[(bit + k) / 8] = char(other[(bit + k) / 8] ^ 1 << (bit + k) % 8);
      CHECK(crc32(other) != whole);
    }
}
