// SPDX-License-Identifier: MIT
// Argument checks at the public edge: once a call, never in an inner loop. They throw std::invalid_argument that names
// function, argument, what was expected and what was given; the text is built only on failure.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "flowmatch/core/error.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// True unless x is infinite or NaN. Reads the exponent bits, so that it holds under -ffast-math too, where
/// std::isfinite answers true for NaN.
template <Real Scalar> bool is_finite(const Scalar& x) {
  using Bits = std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits exponent = sizeof(Scalar) == 4 ? Bits(0x7f800000u) : Bits(0x7ff0000000000000u);
  return (std::bit_cast<Bits>(x) & exponent) != exponent;
}

/// True if the n numbers at x are all finite.
template <Real Scalar> bool all_finite(const Scalar* x, Index n) {
  constexpr Index block = 32;  // a loop of known length and without branches: compilers vectorise it at -O2
  Index i = 0;
  for (; i + block <= n; i += block) {
    int finite = 1;
    for (Index k = 0; k < block; ++k) finite &= int(is_finite(x[i + k]));
    if (!finite) return false;
  }
  for (; i < n; ++i)
    if (!is_finite(x[i])) return false;
  return true;
}

namespace detail {

/// Where the entries of a matrix, map or block lie: `count` stretches of `length` numbers, `stride` apart.
template <class Scalar> struct Memory {
  const Scalar* data;
  Index length, count, stride;

  const Scalar* end() const { return length > 0 && count > 0 ? data + (count - 1) * stride + length : data; }
};
template <class Derived> Memory<typename Derived::Scalar> memory_of(const Eigen::DenseBase<Derived>& m) {
  static_assert(Derived::InnerStrideAtCompileTime == 1, "flowmatch: expected entries without gaps");
  return {m.derived().data(), m.innerSize(), m.outerSize(), m.outerStride()};
}

/// Place in its stretch and number of the stretch; {-1, -1} if all are finite.
template <class Scalar> std::array<Index, 2> place_of_non_finite(const Memory<Scalar>& m) {
  if ((m.stride == m.length || m.count <= 1) && all_finite(m.data, m.length * m.count)) return {-1, -1};
  for (Index j = 0; j < m.count; ++j)
    for (Index i = 0; i < m.length; ++i)
      if (!is_finite(m.data[j * m.stride + i])) return {i, j};
  return {-1, -1};
}

}

/// Row and column of the first entry of m that is infinite or NaN, column by column; {-1, -1} if there is none.
/// m is a matrix, map or block in column-major order.
template <class Derived> std::array<Index, 2> find_non_finite(const Eigen::DenseBase<Derived>& m) {
  const auto [inner, outer] = detail::place_of_non_finite(detail::memory_of(m));
  if constexpr (Derived::IsRowMajor) return {outer, inner};
  return {inner, outer};
}

namespace detail {

/// A piece of a message: a text, a whole number or a real one. Views its text.
struct Piece {
  enum { is_text, is_whole, is_count, is_real } kind;
  union {
    std::string_view text;
    long long whole;
    unsigned long long count;
    double real;
  };

  Piece(const char* s) : kind(is_text), text(s) {}
  Piece(const std::string& s) : kind(is_text), text(s) {}
  Piece(std::string_view s) : kind(is_text), text(s) {}
  Piece(std::signed_integral auto i) : kind(is_whole), whole(i) {}
  Piece(std::unsigned_integral auto i) : kind(is_count), count(i) {}
  Piece(std::floating_point auto x) : kind(is_real), real(double(x)) {}
};
/// Pieces come as a list, not as a pack, so that a message is no instantiation of its own.
using Pieces = std::initializer_list<Piece>;

/// The pieces in a row.
inline std::string concat(Pieces pieces) {
  std::string message;
  for (const Piece& piece : pieces) {
    char number[32];
    if (piece.kind == Piece::is_whole) std::snprintf(number, sizeof number, "%lld", piece.whole);
    if (piece.kind == Piece::is_count) std::snprintf(number, sizeof number, "%llu", piece.count);
    if (piece.kind == Piece::is_real) std::snprintf(number, sizeof number, "%.6g", piece.real);
    message += piece.kind == Piece::is_text ? piece.text : number;
  }
  return message;
}

/// Throws Error("flowmatch: where: what went wrong").
template <class Error = std::invalid_argument>
[[noreturn, gnu::cold]] inline void fail(std::string_view where, Pieces what) {
  raise<Error>(concat({"flowmatch: ", where, ": ", concat(what)}));
}

/// A function of its own, so that a check costs its caller no more than a comparison.
[[noreturn, gnu::cold, gnu::noinline]] inline void fail_count(const char* where, Index expected, const char* what,
                                                              const char* name, Index given) {
  fail(where, {"expected ", expected, what, name, ", got ", given});
}
inline void check_rows(const char* where, const char* name, Index given, Index expected) {
  if (given != expected) fail_count(where, expected, " rows in ", name, given);
}
inline void check_columns(const char* where, const char* name, Index given, Index expected) {
  if (given != expected) fail_count(where, expected, " columns in ", name, given);
}
template <class Derived>
void check_shape(const char* where, const char* name, const Eigen::EigenBase<Derived>& m, Index rows, Index columns) {
  check_rows(where, name, m.rows(), rows);
  check_columns(where, name, m.cols(), columns);
}
inline void check_size(const char* where, const char* name, Index given, Index expected) {
  if (given != expected) fail_count(where, expected, " entries in ", name, given);
}
inline void check_at_least(const char* where, const char* name, double given, double least) {
  if (!(is_finite(given) && given >= least)) fail(where, {"expected ", name, " >= ", least, ", got ", given});
}
void check_at_least(const char* where, const char* name, std::integral auto given, Index least) {
  if (Index(given) < least) fail(where, {"expected ", name, " >= ", least, ", got ", given});
}
inline void check_positive(const char* where, const char* name, double given) {
  if (!(is_finite(given) && given > 0)) fail(where, {"expected ", name, " > 0, got ", given});
}
/// [low, high), the range of a decay or of a probability that may not be 1
inline void check_below(const char* where, const char* name, double given, double low, double high) {
  if (!(is_finite(given) && given >= low && given < high))
    fail(where, {"expected ", name, " in [", low, ", ", high, "), got ", given});
}
inline void check_probability(const char* where, const char* name, double given) {
  if (!(is_finite(given) && given >= 0 && given <= 1)) fail(where, {"expected ", name, " in [0, 1], got ", given});
}
template <class Scalar> void check_finite(const char* where, const char* name, const Memory<Scalar>& m, bool is_row) {
  if (const auto [i, j] = place_of_non_finite(m); i >= 0)
    fail(where, {"expected finite numbers in ", name, ", got ", m.data[j * m.stride + i], " in row ", is_row ? j : i,
                 ", column ", is_row ? i : j});
}
template <class Derived> void check_finite(const char* where, const char* name, const Eigen::DenseBase<Derived>& m) {
  check_finite(where, name, memory_of(m), Derived::IsRowMajor);
}
/// Times of the path: every entry in [0, 1].
template <class Derived> void check_times(const char* where, const Eigen::DenseBase<Derived>& t) {
  check_finite(where, "t", t);
  const auto* times = t.derived().data();
  for (Index j = 0; j < t.size(); ++j)
    if (!(times[j] >= 0 && times[j] <= 1)) fail(where, {"expected t in [0, 1], got ", times[j], " in column ", j});
}

/// True if a and b lie in overlapping stretches of memory.
template <class Scalar> bool overlap(const Memory<Scalar>& a, const Memory<Scalar>& b) {
  const std::less<const Scalar*> before;
  return a.data != a.end() && b.data != b.end() && before(a.data, b.end()) && before(b.data, a.end());
}
template <class A, class B> bool overlap(const Eigen::DenseBase<A>& a, const Eigen::DenseBase<B>& b) {
  return overlap(memory_of(a), memory_of(b));
}

}
}
}
