// SPDX-License-Identifier: MIT
// NumPy's .npy files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
//   "\x93NUMPY", major, minor, header length (2 bytes in version 1, 4 in versions 2 and 3, little-endian), header, data
// The header is a Python dict, {'descr': '<f4', 'fortran_order': False, 'shape': (1797, 64), }, spaces and a newline.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "flowmatch/format/file.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

struct NpyHeader {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::uint64_t> shape;
  std::uint64_t size = 0;  // where the data begins, in bytes
};

/// The header's dict: these three keys in any order, each once, and nothing that NumPy would not write for an array of
/// numbers. Goes through the text once, without recursion.
class NpyHeaderParser {
 public:
  NpyHeaderParser(const SizedFile& file, std::string_view text) : file_(file), text_(text) {}

  NpyHeader parse() {
    NpyHeader header;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !descr) {
        descr = true;
        header.descr = string();
      } else if (key == "fortran_order" && !order) {
        order = true;
        header.fortran_order = boolean();
      } else if (key == "shape" && !shape) {
        shape = true;
        header.shape = tuple();
      } else {
        file_.fail({"expected the keys descr, fortran_order and shape once each in the header, found '", key, "'"});
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!(descr && order && shape))
      file_.fail({"expected the keys descr, fortran_order and shape in the header, found the end without ",
                  !descr   ? "descr"
                  : !order ? "fortran_order"
                           : "shape"});
    if (text_.find_first_not_of(' ', at_) != text_.size() - 1 || text_.back() != '\n')
      fail_here("only spaces and a newline");
    return header;
  }

 private:
  [[noreturn]] void fail_here(const char* expected) const {
    file_.fail(
        {"expected ", expected, " at byte ", at_, " of the header, found '", std::string(text_.substr(at_, 12)), "'"});
  }

  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool accept(char c) {
    skip_spaces();
    const bool found = at_ < text_.size() && text_[at_] == c;
    at_ += found;
    return found;
  }
  void expect(char c) {
    if (!accept(c)) fail_here(std::array{'\'', c, '\'', '\0'}.data());
  }
  std::string string() {
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'' && !accept('\'')) fail_here("a quoted string");
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) fail_here("a closing quote");
    std::string value(text_.substr(at_, end - at_));
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    skip_spaces();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    fail_here("True or False");
  }
  std::uint64_t number() {
    skip_spaces();
    const std::size_t first = at_;
    std::uint64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      const std::uint64_t digit = std::uint64_t(text_[at_] - '0');
      if (value > (std::uint64_t(std::numeric_limits<std::int64_t>::max()) - digit) / 10)
        fail_here("a length below 2^63");
      value = 10 * value + digit;
    }
    if (at_ == first) fail_here("a length");
    return value;
  }
  std::vector<std::uint64_t> tuple() {
    std::vector<std::uint64_t> lengths;
    expect('(');
    while (!accept(')')) {
      lengths.push_back(number());
      if (lengths.size() > 64) fail_here("at most 64 axes");
      const bool comma = accept(',');
      if (!comma && lengths.size() == 1) fail_here("',' after the only length");  // (5) is a number in Python
      if (!comma) {
        expect(')');
        break;
      }
    }
    return lengths;
  }

  const SizedFile& file_;
  std::string_view text_;
  std::size_t at_ = 0;
};

/// One number of the kinds i, u (integers) and f, of 1, 4 or 8 bytes.
struct NpyType {
  char kind = 0;
  std::size_t size = 0;
  bool big_endian = false;

  std::uint64_t bits(const unsigned char* bytes) const {
    std::uint64_t value = 0;
    for (std::size_t k = 0; k < size; ++k) value = value << 8 | bytes[big_endian ? k : size - 1 - k];
    return value;
  }
  std::int64_t integer(const unsigned char* bytes) const {
    if (kind == 'u') return std::int64_t(bits(bytes));
    return size == 1   ? std::bit_cast<std::int8_t>(std::uint8_t(bits(bytes)))
           : size == 4 ? std::bit_cast<std::int32_t>(std::uint32_t(bits(bytes)))
                       : std::bit_cast<std::int64_t>(bits(bytes));
  }
  template <Real Scalar> Scalar real(const unsigned char* bytes) const {
    return size == 4 ? Scalar(std::bit_cast<float>(std::uint32_t(bits(bytes))))
                     : Scalar(std::bit_cast<double>(bits(bytes)));
  }
};

inline NpyType npy_type(const SizedFile& file, const std::string& descr) {
  for (const char* known : {"|u1", "|i1", "<i4", ">i4", "<i8", ">i8", "<f4", ">f4", "<f8", ">f8"})
    if (descr == known) return {descr[1], std::size_t(descr[2] - '0'), descr[0] == '>'};
  file.fail({"expected dtype |u1, |i1, i4, i8, f4 or f8 with < or >, found '", descr, "'"});
}

/// Reads up to the end of the header.
inline NpyHeader read_npy_header(SizedFile& file) {
  std::array<unsigned char, 8> magic{};
  file.read(magic.data(), magic.size(), "magic and version");
  if (std::memcmp(magic.data(), "\x93NUMPY", 6) != 0) file.fail({"expected a .npy file, found other first bytes"});
  const int major = magic[6], minor = magic[7];
  if (major < 1 || major > 3 || minor != 0) file.fail({"expected version 1.0, 2.0 or 3.0, found ", major, ".", minor});

  std::array<unsigned char, 4> length{};
  const std::size_t length_size = major == 1 ? 2 : 4;
  file.read(length.data(), length_size, "header length");
  const std::uint64_t end = magic.size() + length_size + NpyType{'u', length_size, false}.bits(length.data());
  if (end > file.size()) file.fail({"expected a header up to byte ", end, ", found a file of ", file.size(), " bytes"});
  std::string text(std::size_t(end) - magic.size() - length_size, '\0');
  file.read(text.data(), text.size(), "header");
  NpyHeader header = NpyHeaderParser(file, text).parse();
  header.size = end;
  return header;
}

/// The product of all axes but the first, when all sizes that follow from the shape fit an Index and the file has just
/// the data.
inline std::uint64_t checked_npy_features(const SizedFile& file, const NpyHeader& header, std::size_t number_size) {
  if (header.shape.empty()) file.fail({"expected an array with at least one axis, found a single number"});
  // Lengths of 0 count as 1 in `most`, so that no product of the others can overflow either.
  std::uint64_t features = 1, most = std::uint64_t(std::numeric_limits<Index>::max()) / 8;
  for (std::size_t axis = 0; axis < header.shape.size(); ++axis) {
    const std::uint64_t length = header.shape[axis];
    if (length > most) file.fail({"expected a shape that fits into memory, found axis ", axis, " of length ", length});
    if (length > 0) most /= length;
    if (axis > 0) features *= length;
  }
  const std::uint64_t expected = header.shape[0] * features * number_size, found = file.size() - header.size;
  if (found != expected)
    file.fail({"expected ", expected, " bytes of data for the shape in the header, found ", found});
  return features;
}

}

/// The array in a .npy file, with one sample per column: shape (n, d) becomes d x n, (n,) becomes 1 x n, and
/// (n, a, b, ...) becomes (a b ...) x n with each sample flattened in C order, whatever the order in the file.
/// Versions 1.0, 2.0 and 3.0; dtypes |u1, |i1, i4, i8, f4, f8, of either byte order. Float values are rounded to
/// Scalar; infinite and NaN values pass. Integers that Scalar does not hold exactly for sure (beyond 2^24 for float,
/// 2^53 for double) are an error, since they would change silently. Throws std::runtime_error, naming the file and what
/// was expected and found, if the file cannot be read, is damaged, has bytes left over or holds anything else; the
/// sizes in the header are checked against that of the file before memory is taken for them.
template <Real Scalar = float> Matrix<Scalar> load_npy(const std::string& path) {
  detail::SizedFile file(path);
  const detail::NpyHeader header = detail::read_npy_header(file);
  const detail::NpyType type = detail::npy_type(file, header.descr);
  const std::uint64_t features = detail::checked_npy_features(file, header, type.size);
  const std::uint64_t samples = header.shape[0], count = samples * features;
  constexpr int digits = std::numeric_limits<Scalar>::digits;
  constexpr std::int64_t largest = std::int64_t(1) << digits;

  // Number `at` of the file in C order is feature f of sample s with at = s features + f. In Fortran order it is
  // at = s + samples g, where g counts the features with their first axis fastest.
  Matrix<Scalar> x;
  x.resize(Index(features), Index(samples));
  std::array<unsigned char, 8192> buffer;
  const std::uint64_t numbers = buffer.size() / type.size;
  for (std::uint64_t at = 0; at < count; ++at) {
    const std::uint64_t place = at % numbers;
    if (place == 0) file.read(buffer.data(), std::size_t(std::min(numbers, count - at)) * type.size, "data");
    std::uint64_t s = at / features, f = at % features;
    if (header.fortran_order) {
      s = at % samples, f = 0;
      std::uint64_t g = at / samples;
      for (std::size_t axis = 1; axis < header.shape.size(); g /= header.shape[axis++])
        f = f * header.shape[axis] + g % header.shape[axis];
    }
    const unsigned char* bytes = buffer.data() + place * type.size;
    if (type.kind == 'f') {
      x(Index(f), Index(s)) = type.template real<Scalar>(bytes);
      continue;
    }
    const std::int64_t integer = type.integer(bytes);
    if (integer > largest || integer < -largest)
      file.fail(
          {"expected integers of size up to 2^", digits, ", found ", integer, " in feature ", f, " of sample ", s});
    x(Index(f), Index(s)) = Scalar(integer);
  }
  return x;
}

/// Writes x, dim x n with one sample per column, as an array of shape (n, dim) in C order: dtype <f4 or <f8,
/// version 1.0. load_npy gives back equal bits; infinite and NaN values pass. The file appears whole or not at all:
/// throws std::runtime_error with path and reason, and an old file then stays as it was.
template <class Derived>
requires Real<typename Derived::Scalar>
void save_npy(const std::string& path, const Eigen::MatrixBase<Derived>& x) {
  using Scalar = typename Derived::Scalar;
  static_assert(sizeof(Scalar) == 4 || sizeof(Scalar) == 8, "flowmatch: save_npy writes float and double");
  const Eigen::Ref<const Matrix<Scalar>> samples(x.derived());
  std::string header = detail::concat({"{'descr': '<f", sizeof(Scalar), "', 'fortran_order': False, 'shape': (",
                                       samples.cols(), ", ", samples.rows(), "), }"});
  header.append(63 - (10 + header.size()) % 64, ' ') += '\n';  // so that the data begin at a multiple of 64
  const std::size_t size = header.size();                      // 118: below 2^16 for any shape
  header.insert(0, {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(size & 255), char(size >> 8)});

  detail::NewFile file(path);
  file.write(header.data(), header.size());
  for (Index j = 0; j < samples.cols(); ++j)
    file.write(samples.col(j).data(), std::size_t(samples.rows()) * sizeof(Scalar));
  file.finish();
}

}
}
