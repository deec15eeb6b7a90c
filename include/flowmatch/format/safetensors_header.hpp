// SPDX-License-Identifier: MIT
// The header of a safetensors file, text to entries and back:
//   {"__metadata__":{"key":"value",...},"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...}
// What Python's safetensors refuses is refused here, and more: names and keys that are there twice, fields that the
// format does not have, NUL in a string.
#pragma once

#include <limits>

#include "flowmatch/format/file.hpp"
#include "flowmatch/format/sorted.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// One array of a file: dtype as the format names it ("F32", "F64", ...), its bytes at data[begin, end), row-major.
struct TensorEntry {
  std::string name, dtype;
  std::vector<Index> shape;
  std::uint64_t begin = 0, end = 0;
};

namespace detail {

// UTF-8 (RFC 3629), as far as a reader of foreign text needs it.
inline bool is_surrogate(unsigned code) { return code >= 0xd800 && code < 0xe000; }

/// Offset of the first invalid sequence (cut off, too long, a surrogate or beyond U+10FFFF), npos if there is none.
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

using StringEntry = std::pair<std::string, std::string>;
using StringMap = std::vector<StringEntry>;

/// Appends an entry: the one place where metadata grow, and where their values become text.
[[gnu::cold]] inline void add_entry(StringMap& metadata, std::string_view key, const Piece& value) {
  metadata.emplace_back(std::string(key), concat({value}));
}

/// Parser of the header's grammar, which is three levels deep and nothing else: no recursion, no general JSON.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, std::string_view text, std::size_t largest_rank)
      : path_(path), text_(text), largest_rank_(largest_rank) {}

  void parse(StringMap& metadata, std::vector<TensorEntry>& tensors) {
    at_ = find_invalid_utf8(text_);
    if (at_ != text_.npos) fail({"expected UTF-8"});
    at_ = 0;
    if (!text_.starts_with('{')) fail({"expected '{'"});  // blanks before it are not allowed, unlike those after it
    expect('{');
    std::vector<std::size_t> places;
    bool has_metadata = false;
    for (bool first = true; !take('}'); first = false) {
      if (!first) expect(',');
      const std::size_t place = at_;
      std::string name = string();
      expect(':');
      if (name != "__metadata__") {
        tensors.push_back(tensor(std::move(name)));
        places.push_back(place);
        continue;
      }
      if (has_metadata) fail_at(place, {"expected __metadata__ once, got it again"});
      has_metadata = true;
      parse_metadata(metadata);
    }
    skip_blanks();
    if (at_ != text_.size()) fail({"expected only blanks after the last '}'"});
    const auto [one, other] = find_repeated(sorted_by(&TensorEntry::name, tensors));
    if (one != other)
      fail_at(places[other],
              {"expected tensor \"", tensors[other].name, "\" once, got it at byte ", places[one], " too"});
  }

 private:
  void parse_metadata(StringMap& metadata) {
    std::vector<std::size_t> places;
    expect('{');
    for (bool first = true; !take('}'); first = false) {
      if (!first) expect(',');
      places.push_back(at_);
      std::string key = string();
      expect(':');
      metadata.emplace_back(std::move(key), string());
    }
    const auto [one, other] = find_repeated(sorted_by(&StringEntry::first, metadata));
    if (one != other)
      fail_at(places[other], {"expected key \"", metadata[other].first, "\" of __metadata__ once, got it at byte ",
                              places[one], " too"});
  }

  TensorEntry tensor(std::string name) {
    constexpr const char* fields[] = {"dtype", "shape", "data_offsets"};
    TensorEntry entry;
    entry.name = std::move(name);
    bool found[3] = {};
    expect('{');
    for (bool first = true; !take('}'); first = false) {
      if (!first) expect(',');
      const std::size_t place = at_;
      const std::string key = string();
      const std::size_t field = std::size_t(std::find(fields, fields + 3, key) - fields);
      if (field == 3 || found[field])
        fail_at(place, {"tensor \"", entry.name, "\": expected dtype, shape and data_offsets once each, got \"", key,
                        field == 3 ? "\"" : "\" again"});
      found[field] = true;
      expect(':');
      if (field == 0) entry.dtype = string();
      if (field == 1) entry.shape = numbers(entry.name, largest_rank_);
      if (field == 2) {
        const std::size_t start = at_;
        const std::vector<Index> offsets = numbers(entry.name, 2);
        if (offsets.size() != 2)
          fail_at(start, {"tensor \"", entry.name, "\": expected two data_offsets, got ", offsets.size()});
        entry.begin = std::uint64_t(offsets[0]);
        entry.end = std::uint64_t(offsets[1]);
      }
    }
    for (std::size_t field = 0; field < 3; ++field)
      if (!found[field]) fail({"tensor \"", entry.name, "\": expected a field ", fields[field], " before this end"});
    return entry;
  }

  std::vector<Index> numbers(const std::string& name, std::size_t most) {
    std::vector<Index> values;
    expect('[');
    for (bool first = true; !take(']'); first = false) {
      if (!first) expect(',');
      if (values.size() == most) fail({"tensor \"", name, "\": expected a list of up to ", most, " numbers, got more"});
      values.push_back(number());
    }
    return values;
  }

  Index number() {
    skip_blanks();
    const std::size_t start = at_;
    Index value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const Index digit = text_[at_] - '0';
      if (value > (std::numeric_limits<Index>::max() - digit) / 10) fail_at(start, {"expected a number below 2^63"});
      value = 10 * value + digit;
    }
    if (at_ == start) fail({"expected a whole number"});
    if (text_[start] == '0' && at_ > start + 1) fail_at(start, {"expected a number without leading zeros"});
    return value;
  }

  std::string string() {
    expect('"');
    std::string value;
    while (true) {
      const std::size_t place = at_;
      if (at_ == text_.size()) fail({"expected the closing quote of a string"});
      char c = text_[at_++];
      if (c == '"') return value;
      if (static_cast<unsigned char>(c) < 0x20) fail_at(place, {"expected control characters in a string as escapes"});
      if (c == '\\') {
        c = at_ < text_.size() ? text_[at_++] : '\0';
        if (c == 'u') {
          append_utf8(value, escaped_code(place));
          continue;
        }
        constexpr std::string_view codes = "\"\\/bfnrt", characters = "\"\\/\b\f\n\r\t";
        const std::size_t code = codes.find(c);
        if (code == codes.npos) fail_at(place, {"expected an escape that JSON has"});
        c = characters[code];
      }
      value += c;
    }
  }

  /// The code of \uXXXX, or of two of them that are a pair of surrogates; the first \u was read already.
  unsigned escaped_code(std::size_t place) {
    const unsigned first = hexadecimal(place);
    if (first == 0) fail_at(place, {"expected a string without NUL"});
    if (!is_surrogate(first)) return first;
    if (first < 0xdc00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const unsigned second = hexadecimal(place);
      if (second >= 0xdc00 && second < 0xe000) return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    }
    fail_at(place, {"expected a pair of surrogates, got one alone"});
  }
  unsigned hexadecimal(std::size_t place) {
    unsigned code = 0;
    for (int k = 0; k < 4; ++k, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0', lower = char(c | 0x20);
      if (!((c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'f')))
        fail_at(place, {"expected four digits after \\u"});
      code = 16 * code + unsigned(c <= '9' ? c - '0' : lower - 'a' + 10);
    }
    return code;
  }

  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }
  [[gnu::noinline]] bool take(char c) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  [[gnu::noinline]] void expect(char c) {
    if (!take(c)) fail({"expected '", std::string_view(&c, 1), "'"});
  }
  [[noreturn, gnu::cold]] void fail_at(std::size_t place, Pieces what) const {
    fail_file(path_, {"safetensors header, byte ", place, ": ", concat(what)});
  }
  /// Fails at this place, with what stands here.
  [[noreturn, gnu::cold]] void fail(Pieces what) const {
    const unsigned char c = at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : 0;
    const std::string got = at_ == text_.size()    ? "the end"
                            : c < 0x20 || c > 0x7e ? concat({"a byte of value ", unsigned(c)})
                                                   : concat({"'", std::string(1, char(c)), "'"});
    fail_at(at_, {concat(what), ", got ", got});
  }

  const std::string& path_;
  std::string_view text_;
  std::size_t largest_rank_, at_ = 0;
};

[[gnu::cold]] inline std::string comma_separated(const std::vector<Index>& numbers) {
  std::string text;
  for (const Index n : numbers) text += concat({text.empty() ? "" : ",", n});
  return text;
}

/// Appends a string as JSON has it.
[[gnu::cold]] inline void append_quoted(std::string& text, std::string_view s) {
  text += '"';
  for (const char c : s) {
    if (c == '"' || c == '\\') text += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) {
      text += c;
      continue;
    }
    char code[8];
    std::snprintf(code, sizeof code, "\\u%04x", unsigned(c));
    text += code;
  }
  text += '"';
}

/// The header, with blanks at the end so that the data begin at a multiple of 8.
[[gnu::cold]] inline std::string header_text(const StringMap& metadata, const std::vector<TensorEntry>& tensors) {
  std::string text = "{\"__metadata__\":{";
  for (const auto& [key, value] : metadata) {
    if (text.back() != '{') text += ',';
    append_quoted(text, key);
    text += ':';
    append_quoted(text, value);
  }
  text += '}';
  for (const TensorEntry& tensor : tensors) {
    text += ',';
    append_quoted(text, tensor.name);
    text += concat({":{\"dtype\":\"", tensor.dtype, "\",\"shape\":[", comma_separated(tensor.shape),
                    "],\"data_offsets\":[", tensor.begin, ",", tensor.end, "]}"});
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}
}
}
