// SPDX-License-Identifier: MIT
// The strings in a file's metadata: written, and taken out one by one until none is left.
#pragma once

#include <charconv>
#include <optional>

#include "flowmatch/io/safetensors.hpp"

namespace flowmatch::inline FLOWMATCH_ABI::detail {

/// The shortest text that from_chars reads as the same number.
inline std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// The strings of a file's metadata, each used exactly once. Functions that take one throw std::runtime_error if it is
/// not there or not of its kind.
class Metadata {
 public:
  explicit Metadata(const Safetensors& file) : path_(file.path), entries_(file.metadata) {}

  std::optional<std::string> find(const std::string& key) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry)
      if (entry->first == key) {
        std::string value = std::move(entry->second);
        entries_.erase(entry);
        return value;
      }
    return {};
  }
  std::string take(const std::string& key) {
    if (auto value = find(key)) return *value;
    fail_file(path_, {"expected \"", key, "\" in the metadata, found none"});
  }
  std::vector<Index> take_numbers(const std::string& key) {
    const std::string text = take(key);
    std::vector<Index> values;
    for (std::size_t at = 0; at < text.size(); ++at) {
      std::size_t digits = 0;
      while (at + digits < text.size() && text[at + digits] >= '0' && text[at + digits] <= '9') ++digits;
      if (digits < 1 || digits > 7 || (at + digits < text.size() && text[at + digits] != ',') ||
          at + digits + 1 == text.size() || values.size() == 10000)  // so that products and sums of them fit an Index
        fail_file(path_,
                  {"expected up to 10000 whole numbers below 10^7 in metadata \"", key, "\", got \"", text, "\""});
      values.push_back(std::stol(text.substr(at, digits)));
      at += digits;
    }
    return values;
  }
  Index take_number(const std::string& key) {
    const std::vector<Index> values = take_numbers(key);
    if (values.size() != 1) fail_file(path_, {"expected one number in metadata \"", key, "\""});
    return values[0];
  }
  bool take_flag(const std::string& key) {
    const Index value = take_number(key);
    if (value > 1) fail_file(path_, {"expected 0 or 1 in metadata \"", key, "\", got ", value});
    return value == 1;
  }
  /// A number that takes up the whole text, such as a count below 2^63, a word of 64 bits, or a finite double.
  template <class Number> Number take_exactly(const std::string& key) {
    const std::string text = take(key);
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    bool fits = error == std::errc() && end == text.data() + text.size();
    if constexpr (std::floating_point<Number>) fits = fits && is_finite(value);
    if (!fits) fail_file(path_, {"expected a number in metadata \"", key, "\", got \"", text, "\""});
    return value;
  }
  bool has(const std::string& key) const {
    return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first == key; });
  }
  std::optional<double> find_real(const std::string& key) {
    return has(key) ? std::optional(take_exactly<double>(key)) : std::nullopt;
  }
  void expect(const std::string& key, const std::string& value) {
    const std::string found = take(key);
    if (found != value) fail_file(path_, {"expected \"", value, "\" as metadata \"", key, "\", got \"", found, "\""});
  }
  void expect_empty() const {
    if (!entries_.empty()) fail_file(path_, {"unknown metadata \"", entries_[0].first, "\""});
  }

 private:
  const std::string& path_;
  StringMap entries_;
};

}
