// SPDX-License-Identifier: MIT
// The safetensors format: named arrays with string metadata in one file that Python's safetensors opens too. The length
// of the header (8 bytes, little-endian), the header (safetensors_header.hpp), then the bytes of the arrays without gap
// or overlap. A file written here has two keys of ours in its metadata: flowmatch.format_version and
// flowmatch.checksum.
#pragma once

#include <bit>
#include <concepts>
#include <span>

#include "flowmatch/core/checksum.hpp"
#include "flowmatch/io/safetensors_header.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

/// A whole file in memory.
struct Safetensors {
  std::vector<std::pair<std::string, std::string>> metadata;  // without the keys of ours
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
inline std::uint64_t dtype_size(std::string_view dtype) {
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
inline std::string layout_fault(const std::vector<TensorEntry>& tensors, std::uint64_t data) {
  std::vector<const TensorEntry*> order;
  for (const TensorEntry& tensor : tensors) {
    const auto fault = [&](Pieces what) { return concat({"tensor \"", tensor.name, "\": expected ", concat(what)}); };
    std::uint64_t bytes = dtype_size(tensor.dtype);
    if (bytes == 0) return fault({"a dtype such as F32, got \"", tensor.dtype, "\""});
    for (const Index n : tensor.shape) {
      if (n < 0 || (n > 0 && bytes > std::numeric_limits<std::uint64_t>::max() / std::uint64_t(n)))
        return fault({"a shape of less than 2^64 bytes, got ", tensor.dtype, " [", comma_separated(tensor.shape), "]"});
      bytes *= std::uint64_t(n);
    }
    const std::string offsets = concat({"[", tensor.begin, ", ", tensor.end, ")"});
    if (tensor.end < tensor.begin) return fault({"data_offsets in their order, got ", offsets});
    if (tensor.end - tensor.begin != bytes)
      return fault(
          {bytes, " bytes for ", tensor.dtype, " [", comma_separated(tensor.shape), "], got data_offsets ", offsets});
    if (tensor.end > data) return fault({"its bytes within the ", data, " of data, got data_offsets ", offsets});
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const TensorEntry* a, const TensorEntry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  std::uint64_t covered = 0;
  for (const TensorEntry* tensor : order) {
    if (tensor->begin != covered)
      return concat({"tensor \"", tensor->name, "\": expected its bytes from ", covered, " on, got data_offsets [",
                     tensor->begin, ", ", tensor->end, tensor->begin < covered ? "), an overlap" : "), behind a gap"});
    covered = tensor->end;
  }
  return covered == data ? "" : concat({"expected ", covered, " bytes of data for the tensors, got ", data});
}

/// The CRC-32, in hexadecimal, of: each key and value of the metadata but the checksum's, in the order of keys; then of
/// each tensor, in the order of names, its name, dtype and shape with commas; a NUL after each of these; and its bytes.
/// So it does not depend on the order in a file.
inline std::string checksum(const StringMap& metadata, const std::vector<TensorEntry>& tensors,
                            const std::vector<char>& data) {
  const auto sorted = [](const auto& entries, const auto& key) {
    std::vector<std::size_t> order(entries.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    return order;
  };
  Crc32 crc;
  const auto add = [&](std::string_view text) {
    crc.add(text);
    crc.add(std::string_view("\0", 1));
  };
  for (const std::size_t i : sorted(metadata, [&](std::size_t k) { return std::string_view(metadata[k].first); })) {
    if (metadata[i].first == checksum_key) continue;
    add(metadata[i].first);
    add(metadata[i].second);
  }
  for (const std::size_t i : sorted(tensors, [&](std::size_t k) { return std::string_view(tensors[k].name); })) {
    const TensorEntry& tensor = tensors[i];
    add(tensor.name);
    add(tensor.dtype);
    add(comma_separated(tensor.shape));
    crc.add(data.data() + tensor.begin, std::size_t(tensor.end - tensor.begin));
  }
  char text[16];
  return {text, std::size_t(std::snprintf(text, sizeof text, "%08x", crc.value()))};
}

/// Checks version and checksum, and takes the keys of ours out of the metadata. One such key makes all compulsory, so
/// that a damaged key hides nothing.
inline void take_keys_of_ours(Safetensors& file) {
  const auto ours = [](const auto& entry) { return std::string_view(entry.first).starts_with(key_of_ours); };
  const auto first = std::find_if(file.metadata.begin(), file.metadata.end(), ours);
  if (first == file.metadata.end()) return;
  const auto value_of = [&](const char* key) {
    for (const auto& entry : file.metadata)
      if (entry.first == key) return entry.second;
    fail_file(file.path, {"expected \"", key, "\" in the metadata beside \"", first->first, "\", found none"});
  };
  const std::string version = value_of(version_key), given = value_of(checksum_key);
  if (version != std::to_string(format_version))
    fail_file(file.path, {"expected format version ", format_version, ", got \"", version,
                          "\": was the file written by a newer flowmatch?"});
  const std::string expected = checksum(file.metadata, file.tensors, file.data);
  if (given != expected)
    fail_file(file.path, {"expected checksum ", expected, " for what is in the file, got \"", given,
                          "\": the file is damaged, or another program changed it and kept the metadata"});
  std::erase_if(file.metadata,
                [](const auto& entry) { return entry.first == version_key || entry.first == checksum_key; });
  for (const auto& entry : file.metadata)
    if (ours(entry)) fail_file(file.path, {"unknown metadata \"", entry.first, "\""});
}

/// All bytes before the data.
inline std::string serialized_header(const Safetensors& file) {
  constexpr const char* where = "write_safetensors";
  const auto check_strings = [](const std::vector<std::string_view>& strings, const char* what) {
    for (const std::string_view s : strings)
      if (find_invalid_utf8(s) != s.npos || s.find('\0') != s.npos)
        fail(where, {"expected UTF-8 without NUL as ", what, ", got \"", std::string(s), "\""});
  };
  const auto check_names = [&](const std::vector<std::string_view>& names, const char* what) {
    check_strings(names, what);
    const auto [one, other] = find_repeated(names);
    if (one != other) fail(where, {"expected each ", what, " once, got \"", std::string(names[one]), "\" twice"});
  };
  std::vector<std::string_view> keys, values, names;
  for (const auto& [key, value] : file.metadata) {
    if (std::string_view(key).starts_with(key_of_ours))
      fail(where,
           {"expected no metadata of the user that starts with ", std::string(key_of_ours), ", got \"", key, "\""});
    keys.push_back(key);
    values.push_back(value);
  }
  for (const TensorEntry& tensor : file.tensors) names.push_back(tensor.name);
  check_names(keys, "metadata key");
  check_strings(values, "metadata value");
  check_names(names, "name of a tensor");
  if (std::find(names.begin(), names.end(), "__metadata__") != names.end())
    fail(where, {"expected another name for a tensor than __metadata__"});
  const std::string fault = layout_fault(file.tensors, file.data.size());
  if (!fault.empty()) fail(where, {fault});

  StringMap metadata = {{version_key, std::to_string(format_version)}};
  metadata.insert(metadata.end(), file.metadata.begin(), file.metadata.end());
  metadata.insert(metadata.begin(), {checksum_key, checksum(metadata, file.tensors, file.data)});
  const std::string text = header_text(metadata, file.tensors);
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
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
  const std::string header = detail::serialized_header(file);
  detail::NewFile out(path);
  out.write(header.data(), header.size());
  out.write(file.data.data(), file.data.size());
  out.finish();
}

/// Appends an array, row-major: float, double, std::int64_t or std::uint8_t. That there are as many numbers as the
/// shape says is checked by write_safetensors.
template <class Number>
void add_tensor(Safetensors& file, std::string name, std::vector<Index> shape, std::span<const Number> numbers) {
  const std::uint64_t begin = file.data.size(), end = begin + numbers.size_bytes();
  const auto* bytes = reinterpret_cast<const char*>(numbers.data());
  file.tensors.push_back({std::move(name), detail::dtype_of<Number>(), std::move(shape), begin, end});
  file.data.insert(file.data.end(), bytes, bytes + numbers.size_bytes());
}

}
