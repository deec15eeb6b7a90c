// SPDX-License-Identifier: MIT
// The strings in a file's metadata: written, and taken out one by one until none is left.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "flowmatch/format/safetensors.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// The shortest text that from_chars reads as the same number.
inline std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// Throws std::runtime_error unless the text is up to 10000 whole numbers below 10^7 with commas between them, so that
/// products and sums of them fit an Index.
[[gnu::cold]] inline void check_numbers(const std::string& path, std::string_view key, const std::string& text) {
  std::size_t numbers = 1, digits = 0;
  bool valid = true;
  for (const char c : text) {
    valid = valid && (c == ',' ? digits > 0 : c >= '0' && c <= '9' && digits < 7);
    digits = c == ',' ? 0 : digits + 1;
    numbers += c == ',';
  }
  if (!text.empty() && !(valid && digits > 0 && numbers <= 10000))
    fail_file(path, {"expected up to 10000 whole numbers below 10^7 in metadata \"", key, "\", got \"", text, "\""});
}

/// The strings of a file's metadata, each used exactly once. Functions that take one throw std::runtime_error if it is
/// not there or not of its kind.
class Metadata {
 public:
  explicit Metadata(const Safetensors& file) : path_(file.path), entries_(file.metadata), used_(entries_.size()) {}

  /// Null if there is none.
  const std::string* find(std::string_view key) {
    for (std::size_t i = 0; i < used_.size(); ++i)
      if (!used_[i] && entries_[i].first == key) {
        used_[i] = 1;
        return &entries_[i].second;
      }
    return nullptr;
  }
  const std::string& take(const char* key) {
    if (const std::string* value = find(key)) return *value;
    fail_file(path_, {"expected \"", key, "\" in the metadata, found none"});
  }
  std::vector<Index> take_numbers(const char* key) {
    const std::string& text = take(key);
    check_numbers(path_, key, text);
    std::vector<Index> values;
    for (const char c : text) {
      if (c == ',' || values.empty()) values.push_back(0);
      if (c != ',') values.back() = 10 * values.back() + (c - '0');
    }
    return values;
  }
  Index take_number(const char* key) {
    const std::vector<Index> values = take_numbers(key);
    if (values.size() != 1) fail_file(path_, {"expected one number in metadata \"", key, "\""});
    return values[0];
  }
  bool take_flag(const char* key) {
    const Index value = take_number(key);
    if (value > 1) fail_file(path_, {"expected 0 or 1 in metadata \"", key, "\", got ", value});
    return value == 1;
  }
  /// A number that takes up the whole text, such as a count below 2^63, a word of 64 bits, or a finite double.
  template <class Number> Number take_exactly(const char* key) { return exactly<Number>(key, take(key)); }
  template <class Number> std::optional<Number> find_exactly(const char* key) {
    const std::string* text = find(key);
    return text ? std::optional(exactly<Number>(key, *text)) : std::nullopt;
  }
  void expect(const char* key, const char* value) {
    const std::string& found = take(key);
    if (found != value) fail_file(path_, {"expected \"", value, "\" as metadata \"", key, "\", got \"", found, "\""});
  }
  void expect_empty() const {
    for (std::size_t i = 0; i < used_.size(); ++i)
      if (!used_[i]) fail_file(path_, {"unknown metadata \"", entries_[i].first, "\""});
  }

 private:
  template <class Number> Number exactly(const char* key, const std::string& text) const {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    bool fits = error == std::errc() && end == text.data() + text.size();
    if constexpr (std::floating_point<Number>) fits = fits && is_finite(value);
    if (!fits) fail_file(path_, {"expected a number in metadata \"", key, "\", got \"", text, "\""});
    return value;
  }

  const std::string& path_;
  const StringMap& entries_;
  std::vector<char> used_;
};

}
}
}
