// SPDX-License-Identifier: MIT
// The safetensors format: named arrays with string metadata in one file that Python's safetensors opens too. The length
// of the header (8 bytes, little-endian), the header (safetensors_header.hpp), then the bytes of the arrays without gap
// or overlap. A file written here has two keys of flowmatch in its metadata: flowmatch.format_version and
// flowmatch.checksum.
#pragma once

#include <bit>
#include <concepts>
#include <span>

#include "flowmatch/core/checksum.hpp"
#include "flowmatch/format/safetensors_header.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// A whole file in memory.
struct Safetensors {
  std::vector<std::pair<std::string, std::string>> metadata;  // without the keys of flowmatch
  std::vector<TensorEntry> tensors;
  std::vector<char> data;
  std::string path = {};  // where it was read, for messages

  /// Throws std::runtime_error if there is no tensor of that name.
  const TensorEntry& tensor(const std::string& name) const {
    for (const TensorEntry& entry : tensors)
      if (entry.name == name) return entry;
    detail::fail_file(path, {"expected a tensor \"", name, "\", found none"});
  }
};

/// What read_safetensors takes at most. That the file holds what it claims is checked besides, before any memory is
/// taken for it.
struct SafetensorsLimits {
  std::uint64_t header = 100'000'000;                                     ///< bytes; that of Python's safetensors
  std::uint64_t data = std::uint64_t(std::numeric_limits<Index>::max());  ///< bytes
  std::size_t rank = 64;                                                  ///< dimensions of a tensor
};

namespace detail {

inline constexpr Index format_version = 1;
inline constexpr std::string_view key_of_ours = "flowmatch.";
inline constexpr const char *version_key = "flowmatch.format_version", *checksum_key = "flowmatch.checksum";

/// Bytes of one element, 0 for a dtype that this reader does not know.
[[gnu::cold]] inline std::uint64_t dtype_size(std::string_view dtype) {
  for (const char* one : {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"})
    if (dtype == one) return 1;
  for (const char* two : {"U16", "I16", "F16", "BF16"})
    if (dtype == two) return 2;
  for (const char* four : {"U32", "I32", "F32"})
    if (dtype == four) return 4;
  for (const char* eight : {"U64", "I64", "F64", "C64"})
    if (dtype == eight) return 8;
  return 0;
}

/// The dtype of these numbers in a file.
template <class Number> constexpr const char* dtype_of() {
  static_assert(std::same_as<Number, float> || std::same_as<Number, double> || std::same_as<Number, std::int64_t> ||
                    std::same_as<Number, std::uint8_t>,
                "flowmatch: tensors hold float, double, std::int64_t or std::uint8_t");
  if (std::floating_point<Number>) return sizeof(Number) == 4 ? "F32" : "F64";
  return sizeof(Number) == 8 ? "I64" : "U8";
}

/// The first fault in dtypes, sizes and places of the tensors of a file with that many bytes of data, else empty. The
/// order of tensors is free, their bytes must follow each other from the first to the last.
[[gnu::cold]] inline std::string layout_fault(const std::vector<TensorEntry>& tensors, std::uint64_t data) {
  std::vector<SortKey> order(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorEntry& tensor = tensors[i];
    const auto fault = [&](Pieces what) { return concat({"tensor \"", tensor.name, "\": expected ", concat(what)}); };
    const auto type = [&] { return concat({tensor.dtype, " [", comma_separated(tensor.shape), "]"}); };
    const auto offsets = [&] { return concat({"[", tensor.begin, ", ", tensor.end, ")"}); };
    std::uint64_t bytes = dtype_size(tensor.dtype);
    if (bytes == 0) return fault({"a dtype such as F32, got \"", tensor.dtype, "\""});
    for (const Index n : tensor.shape) {
      if (n < 0 || (n > 0 && bytes > std::numeric_limits<std::uint64_t>::max() / std::uint64_t(n)))
        return fault({"a shape of less than 2^64 bytes, got ", type()});
      bytes *= std::uint64_t(n);
    }
    if (tensor.end < tensor.begin) return fault({"data_offsets in their order, got ", offsets()});
    if (tensor.end - tensor.begin != bytes)
      return fault({bytes, " bytes for ", type(), ", got data_offsets ", offsets()});
    if (tensor.end > data) return fault({"its bytes within the ", data, " of data, got data_offsets ", offsets()});
    order[i] = {tensor.begin, tensor.end, "", i};
  }
  sort(order);
  std::uint64_t covered = 0;
  for (const auto& [begin, end, none, i] : order) {
    if (begin != covered)
      return concat({"tensor \"", tensors[i].name, "\": expected its bytes from ", covered, " on, got data_offsets [",
                     begin, ", ", end, begin < covered ? "), an overlap" : "), behind a gap"});
    covered = end;
  }
  return covered == data ? "" : concat({"expected ", covered, " bytes of data for the tensors, got ", data});
}

/// The CRC-32, in hexadecimal, of: each key and value of the metadata but the checksum's, in the order of keys; then of
/// each tensor, in the order of names, its name, dtype and shape with commas; a NUL after each of these; and its bytes.
/// So it does not depend on the order in a file.
[[gnu::cold]] inline std::string checksum(const StringMap& metadata, const std::vector<TensorEntry>& tensors,
                                          const std::vector<char>& data) {
  Crc32 crc;
  const auto add = [&](const std::string& text) { crc.add(text.c_str(), text.size() + 1); };
  for (const SortKey& key : sorted_by(&StringEntry::first, metadata)) {
    if (key.name == checksum_key) continue;
    add(metadata[key.place].first);
    add(metadata[key.place].second);
  }
  for (const SortKey& key : sorted_by(&TensorEntry::name, tensors)) {
    const TensorEntry& tensor = tensors[key.place];
    add(tensor.name);
    add(tensor.dtype);
    add(comma_separated(tensor.shape));
    crc.add(data.data() + tensor.begin, std::size_t(tensor.end - tensor.begin));
  }
  char text[16];
  std::snprintf(text, sizeof text, "%08x", crc.value());
  return text;
}

/// Checks version and checksum, and removes flowmatch's keys from the metadata. If any of them is present all are
/// required, so a damaged key cannot switch the check off.
[[gnu::cold]] inline void take_keys_of_ours(Safetensors& file) {
  const std::string *first = nullptr, *version = nullptr, *given = nullptr;
  for (const auto& [key, value] : file.metadata) {
    if (!key.starts_with(key_of_ours)) continue;
    if (!first) first = &key;
    if (key == version_key) version = &value;
    if (key == checksum_key) given = &value;
  }
  if (!first) return;
  if (!version || !given)
    fail_file(file.path, {"expected \"", version ? checksum_key : version_key, "\" in the metadata beside \"", *first,
                          "\", found none"});
  if (*version != concat({format_version}))
    fail_file(file.path, {"expected format version ", format_version, ", got \"", *version,
                          "\": was the file written by a newer flowmatch?"});
  const std::string expected = checksum(file.metadata, file.tensors, file.data);
  if (*given != expected)
    fail_file(file.path, {"expected checksum ", expected, " for what is in the file, got \"", *given,
                          "\": the file is damaged, or another program changed it and kept the metadata"});
  StringMap others;
  for (auto& [key, value] : file.metadata) {
    if (key == version_key || key == checksum_key) continue;
    if (key.starts_with(key_of_ours)) fail_file(file.path, {"unknown metadata \"", key, "\""});
    others.emplace_back(std::move(key), std::move(value));
  }
  file.metadata = std::move(others);
}

/// Throws std::invalid_argument for what read_safetensors would refuse.
[[gnu::cold]] inline void check_file(const Safetensors& file) {
  constexpr const char* where = "write_safetensors";
  const auto check_text = [](const std::string& text, const char* what) {
    if (find_invalid_utf8(text) != text.npos || text.find('\0') != text.npos)
      fail(where, {"expected UTF-8 without NUL as ", what, ", got \"", text, "\""});
  };
  const auto check_names = [&](auto name, const auto& entries, const char* what) {
    for (const auto& entry : entries) check_text(entry.*name, what);
    const auto [one, other] = find_repeated(sorted_by(name, entries));
    if (one != other) fail(where, {"expected each ", what, " once, got \"", entries[one].*name, "\" twice"});
  };
  for (const StringEntry& entry : file.metadata)
    if (entry.first.starts_with(key_of_ours))
      fail(where, {"expected no metadata of the user that starts with ", key_of_ours, ", got \"", entry.first, "\""});
  check_names(&StringEntry::first, file.metadata, "metadata key");
  for (const StringEntry& entry : file.metadata) check_text(entry.second, "metadata value");
  check_names(&TensorEntry::name, file.tensors, "name of a tensor");
  for (const TensorEntry& tensor : file.tensors)
    if (tensor.name == "__metadata__") fail(where, {"expected another name for a tensor than __metadata__"});
  const std::string fault = layout_fault(file.tensors, file.data.size());
  if (!fault.empty()) fail(where, {fault});
}

/// All bytes before the data of a file that check_file would pass.
[[gnu::cold]] inline std::string serialized_header(const Safetensors& file) {
  StringMap metadata;
  add_entry(metadata, checksum_key, "");
  add_entry(metadata, version_key, format_version);
  for (const auto& [key, value] : file.metadata) add_entry(metadata, key, value);
  metadata[0].second = checksum(metadata, file.tensors, file.data);
  std::string text = header_text(metadata, file.tensors);
  const std::uint64_t length = text.size();
  return text.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
}

/// write_safetensors for a file that is right by the way it was made: a program that only saves nets is spared the time
/// to compile the checks.
inline void write_unchecked(const std::string& path, const Safetensors& file) {
  const std::string header = serialized_header(file);
  NewFile out(path);
  out.write(header.data(), header.size());
  out.write(file.data.data(), file.data.size());
  out.finish();
}

}

/// Reads a file whole and checks it whole: grammar, dtypes, sizes against shapes, offsets that cover the data without
/// gap or overlap, no byte more or less, and the checksum if flowmatch wrote the file. Throws std::runtime_error that
/// names file, tensor, place, expected and found. Takes memory for the header and the data, each once its length is
/// known to be within limits and in the file.
inline Safetensors read_safetensors(const std::string& path, const SafetensorsLimits& limits = {}) {
  detail::SizedFile bytes(path);
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length) bytes.fail({"expected a safetensors file, got ", bytes.size(), " bytes"});
  bytes.read(&length, sizeof length, "header length");
  const std::uint64_t rest = bytes.size() - sizeof length;
  if (length > limits.header) bytes.fail({"expected a header of up to ", limits.header, " bytes, got ", length});
  if (length > rest) bytes.fail({"expected a header of ", length, " bytes, but ", rest, " are left"});
  if (rest - length > limits.data) bytes.fail({"expected up to ", limits.data, " bytes of data, got ", rest - length});

  Safetensors file;
  file.path = path;
  std::string header(std::size_t(length), '\0');
  bytes.read(header.data(), header.size(), "header");
  detail::HeaderParser(path, header, limits.rank).parse(file.metadata, file.tensors);
  const std::string fault = detail::layout_fault(file.tensors, rest - length);
  if (!fault.empty()) bytes.fail({fault});
  file.data.resize(std::size_t(rest - length));
  bytes.read(file.data.data(), file.data.size(), "data");
  detail::take_keys_of_ours(file);
  return file;
}

/// Writes the file beside its place, flushes it to the disk and renames it there, so that after a kill or a full disk
/// at any time the old file or the new one is there, whole. Adds format version and checksum to the metadata. Throws
/// std::invalid_argument for what read_safetensors would refuse, std::runtime_error with path and reason if the file
/// cannot be written; the old file is then untouched.
inline void write_safetensors(const std::string& path, const Safetensors& file) {
  detail::check_file(file);
  detail::write_unchecked(path, file);
}

namespace detail {

/// The bytes may be at null if there are none.
[[gnu::cold]] inline void add_tensor(Safetensors& file, std::string name, const char* dtype, std::vector<Index> shape,
                                     const void* bytes, std::size_t count) {
  const std::size_t begin = file.data.size();
  file.tensors.push_back({std::move(name), dtype, std::move(shape), begin, begin + count});
  file.data.resize(begin + count);
  if (count > 0) std::memcpy(file.data.data() + begin, bytes, count);
}

}

/// Appends an array, row-major: float, double, std::int64_t or std::uint8_t. That there are as many numbers as the
/// shape says is checked by write_safetensors.
template <class Number>
void add_tensor(Safetensors& file, std::string name, std::vector<Index> shape, std::span<const Number> numbers) {
  detail::add_tensor(file, std::move(name), detail::dtype_of<Number>(), std::move(shape), numbers.data(),
                     numbers.size_bytes());
}

}
}
