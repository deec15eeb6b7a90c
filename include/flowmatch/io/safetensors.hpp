// SPDX-License-Identifier: MIT
// The safetensors format: named arrays with string metadata in one file that Python's safetensors opens too. A header
// length (8 bytes, little-endian), a JSON header of fixed shape, then the bytes of the arrays without gap or overlap.
#pragma once

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flowmatch/core/check.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

static_assert(std::endian::native == std::endian::little,
              "flowmatch: files are written on little-endian machines only");

/// One array of a file: dtype as the format names it ("F32", "F64", ...), its bytes at data[begin, end).
struct TensorEntry {
  std::string name, dtype;
  std::vector<Index> shape;
  std::size_t begin = 0, end = 0;
};

/// A whole file in memory.
struct Safetensors {
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<TensorEntry> tensors;
  std::vector<char> data;
};

namespace detail {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

template <class... Parts> [[noreturn]] void fail_file(const std::string& path, const Parts&... parts) {
  throw std::runtime_error(concat("flowmatch: ", path, ": ", parts...));
}

/// Bytes of one element, 0 for a dtype that the format does not know.
inline std::size_t dtype_size(const std::string& dtype) {
  for (const char* one : {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"})
    if (dtype == one) return 1;
  for (const char* two : {"U16", "I16", "F16", "BF16"})
    if (dtype == two) return 2;
  for (const char* four : {"U32", "I32", "F32"})
    if (dtype == four) return 4;
  for (const char* eight : {"U64", "I64", "F64"})
    if (dtype == eight) return 8;
  return 0;
}

/// Parser of the header's grammar, which is three levels deep and nothing else: no recursion, no general JSON.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, const std::string& text) : path_(path), text_(text) {}

  void parse(Safetensors& file) {
    expect('{');
    for (bool first = true; !take('}'); first = false) {
      if (!first) expect(',');
      const std::string name = string();
      expect(':');
      if (name == "__metadata__")
        parse_metadata(file);
      else
        parse_tensor(name, file);
    }
    blanks();
    if (at_ != text_.size()) fail("expected nothing after the header's last }");
  }

 private:
  void parse_metadata(Safetensors& file) {
    if (has_metadata_) fail("__metadata__ appears twice");
    has_metadata_ = true;
    expect('{');
    for (bool first = true; !take('}'); first = false) {
      if (!first) expect(',');
      std::string key = string();
      expect(':');
      for (const auto& entry : file.metadata)
        if (entry.first == key) fail("key \"", key, "\" appears twice in __metadata__");
      file.metadata.emplace_back(std::move(key), string());
    }
  }

  void parse_tensor(const std::string& name, Safetensors& file) {
    for (const auto& tensor : file.tensors)
      if (tensor.name == name) fail("tensor \"", name, "\" appears twice");
    TensorEntry tensor;
    tensor.name = name;
    bool dtype = false, shape = false, offsets = false;
    expect('{');
    for (bool first = true; !take('}'); first = false) {
      if (!first) expect(',');
      const std::string key = string();
      expect(':');
      if (key == "dtype" && !dtype) {
        tensor.dtype = string();
        dtype = true;
      } else if (key == "shape" && !shape) {
        for (const std::uint64_t n : numbers()) tensor.shape.push_back(Index(n));
        shape = true;
      } else if (key == "data_offsets" && !offsets) {
        const auto pair = numbers();
        if (pair.size() != 2) fail("expected two data_offsets of \"", name, "\", got ", pair.size());
        tensor.begin = std::size_t(pair[0]);
        tensor.end = std::size_t(pair[1]);
        offsets = true;
      } else {
        fail("unexpected or repeated field \"", key, "\" of tensor \"", name, "\"");
      }
    }
    if (!dtype || !shape || !offsets) fail("tensor \"", name, "\" lacks dtype, shape or data_offsets");
    file.tensors.push_back(std::move(tensor));
  }

  std::vector<std::uint64_t> numbers() {
    std::vector<std::uint64_t> values;
    expect('[');
    for (bool first = true; !take(']'); first = false) {
      if (!first) expect(',');
      values.push_back(number());
    }
    return values;
  }

  std::uint64_t number() {
    blanks();
    const std::size_t start = at_;
    std::uint64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (value >> 58) fail("a number is too large");  // before the product could wrap; the value stays below 2^62
      value = 10 * value + std::uint64_t(text_[at_] - '0');
    }
    if (at_ == start || (text_[start] == '0' && at_ > start + 1)) fail("expected a whole number");
    return value;
  }

  std::string string() {
    expect('"');
    std::string value;
    while (true) {
      if (at_ == text_.size()) fail("a string does not end");
      char c = text_[at_++];
      if (c == '"') return value;
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
      if (c == '\\') {
        c = at_ < text_.size() ? text_[at_++] : '\0';
        constexpr std::string_view codes = "\"\\/bfnrt", characters = "\"\\/\b\f\n\r\t";
        const std::size_t code = codes.find(c);
        if (c == '\0' || code == codes.npos) fail("an escape in a string that this reader does not take");
        c = characters[code];
      }
      value += c;
    }
  }

  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }
  bool take(char c) {
    blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail("expected ", std::string(1, c));
  }
  template <class... Parts> [[noreturn]] void fail(const Parts&... parts) const {
    fail_file(path_, "byte ", at_, " of the safetensors header: ", parts...);
  }

  const std::string& path_;
  const std::string& text_;
  std::size_t at_ = 0;
  bool has_metadata_ = false;
};

inline std::string comma_separated(const std::vector<Index>& numbers) {
  std::string text;
  for (Index n : numbers) {
    if (!text.empty()) text += ',';
    text += std::to_string(n);
  }
  return text;
}

inline std::string quoted(const std::string& s) {
  std::string text = "\"";
  for (char c : s) {
    if (static_cast<unsigned char>(c) < 0x20) fail("write_safetensors", "expected no control character in \"", s, "\"");
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}

}

/// Reads a file whole and checks it whole: grammar, dtypes, sizes against shapes, offsets that cover the data without
/// gap or overlap, no byte more or less. Throws std::runtime_error that names file, tensor, expected and found.
inline Safetensors read_safetensors(const std::string& path) {
  const detail::File in(std::fopen(path.c_str(), "rb"));
  if (!in) detail::fail_file(path, "cannot be opened: ", std::strerror(errno));
  std::string bytes;
  char buffer[1 << 16];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, in.get())) bytes.append(buffer, n);
  if (std::ferror(in.get())) detail::fail_file(path, "cannot be read: ", std::strerror(errno));

  std::uint64_t length = 0;
  if (bytes.size() < sizeof length)
    detail::fail_file(path, "expected a safetensors file, got ", bytes.size(), " bytes");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > bytes.size() - sizeof length)
    detail::fail_file(path, "expected a header of ", length, " bytes, but ", bytes.size() - sizeof length, " are left");

  Safetensors file;
  detail::HeaderParser(path, bytes.substr(sizeof length, std::size_t(length))).parse(file);
  file.data.assign(bytes.begin() + std::ptrdiff_t(sizeof length + length), bytes.end());

  std::size_t covered = 0;
  for (const TensorEntry& tensor : file.tensors) {
    const std::size_t element = detail::dtype_size(tensor.dtype);
    if (element == 0) detail::fail_file(path, "tensor \"", tensor.name, "\" has unknown dtype \"", tensor.dtype, "\"");
    std::uint64_t size = element;
    for (Index n : tensor.shape) {
      if (n > 0 && size > file.data.size() / std::uint64_t(n))
        detail::fail_file(path, "the shape of tensor \"", tensor.name, "\" is larger than the file");
      size *= std::uint64_t(n);
    }
    if (tensor.begin != covered || tensor.end < tensor.begin || tensor.end - tensor.begin != size)
      detail::fail_file(path, "expected tensor \"", tensor.name, "\" at bytes [", covered, ", ", covered + size,
                        "), got [", tensor.begin, ", ", tensor.end, ")");
    covered = tensor.end;
  }
  if (covered != file.data.size())
    detail::fail_file(path, "expected ", covered, " bytes of data, got ", file.data.size());
  return file;
}

/// Writes the file beside its place and renames it there, so that a reader sees the old file or the new one, whole.
/// Throws std::runtime_error that names path and reason; the old file is then untouched.
inline void write_safetensors(const std::string& path, const Safetensors& file) {
  using detail::concat, detail::quoted;
  std::string header = "{\"__metadata__\":{";
  for (const auto& [key, value] : file.metadata) {
    if (header.back() != '{') header += ',';
    header += concat(quoted(key), ":", quoted(value));
  }
  header += '}';
  for (const TensorEntry& tensor : file.tensors)
    header +=
        concat(",", quoted(tensor.name), ":{\"dtype\":", quoted(tensor.dtype), ",\"shape\":[",
               detail::comma_separated(tensor.shape), "],\"data_offsets\":[", tensor.begin, ",", tensor.end, "]}");
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::uint64_t length = header.size();

  const std::string beside = path + ".part";
  detail::File out(std::fopen(beside.c_str(), "wb"));
  if (!out) detail::fail_file(path, "cannot be written: ", std::strerror(errno));
  bool good = std::fwrite(&length, sizeof length, 1, out.get()) == 1 &&
              std::fwrite(header.data(), 1, header.size(), out.get()) == header.size() &&
              std::fwrite(file.data.data(), 1, file.data.size(), out.get()) == file.data.size();
  good = std::fclose(out.release()) == 0 && good;
  if (!good || std::rename(beside.c_str(), path.c_str()) != 0) {
    const std::string reason = std::strerror(errno);
    std::remove(beside.c_str());
    detail::fail_file(path, "cannot be written: ", reason);
  }
}

}
