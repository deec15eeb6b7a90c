// SPDX-License-Identifier: MIT
#include "flowmatch/format/safetensors_header.hpp"

#include "catch.hpp"

using flowmatch::detail::append_utf8, flowmatch::detail::find_invalid_utf8, flowmatch::detail::is_surrogate;

TEST_CASE("the UTF-8 of every character is valid, and is not when it is cut off", "[io]") {
  std::size_t wrong = 0;
  for (unsigned code = 0; code < 0x110000; ++code) {
    std::string text;
    append_utf8(text, code);
    const std::size_t invalid = find_invalid_utf8(text);
    wrong += invalid != (is_surrogate(code) ? 0 : text.npos);
    if (text.size() > 1) wrong += find_invalid_utf8(text.substr(0, text.size() - 1)) != 0;
    if (text.size() > 1) wrong += find_invalid_utf8("ab" + text.substr(1)) != 2;
  }
  CHECK(wrong == 0);
  std::string text;
  for (const unsigned code : {0x61u, 0xe9u, 0x20acu, 0x1f600u}) append_utf8(text, code);
  CHECK(text == "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
}

TEST_CASE("of all pairs of bytes exactly those of RFC 3629 are UTF-8", "[io]") {
  int valid = 0;
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) valid += find_invalid_utf8(std::string{char(a), char(b)}) == std::string::npos;
  CHECK(valid == 128 * 128 + 30 * 64);  // two of one byte, or one of two bytes: C2 to DF, then 80 to BF
}

TEST_CASE("UTF-8 that is longer than needed, or beyond the last character, is refused at its place", "[io]") {
  for (const char* text : {"\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                           "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xff", "\xed\xbf\xbf"}) {
    CHECK(find_invalid_utf8(text) == 0);
    CHECK(find_invalid_utf8("\xC3\xA9" + std::string(text)) == 2);
  }
}
