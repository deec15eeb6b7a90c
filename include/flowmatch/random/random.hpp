// SPDX-License-Identifier: MIT
// Random numbers as a value: Philox4x32-10 (Salmon et al. 2011), counter-based, so that the numbers depend on
// (seed, stream, position) alone, in any program, on any machine, on any number of threads.
//
// The stream is a sequence of 32-bit words. Words 4b .. 4b+3 are the Philox block with counter
// (b low, b high, stream low, stream high) and key (seed low, seed high). Every fill starts at a whole block: it first
// rounds the position up to a multiple of 4. Then, with w_0, w_1, ... the words from there:
//   uniform float i    (w_i >> 8) 2^-24                                                 in [0, 1)
//   uniform double i   ((w_2i + 2^32 w_2i+1) >> 11) 2^-53                               in [0, 1)
//   index i below n    the upper part of n (w_2i + 2^32 w_2i+1) / 2^64                   in {0, ..., n - 1}
//   normals 2i, 2i+1   r cos a and r sin a with r = sqrt(-2 log u), a = 2 pi v (Box-Muller), where
//            float     u = ((w_2i >> 1) + 1/2) 2^-31,                 v = uniform float from w_2i+1,   |normal| < 6.7
//            double    u = ((w_4i + 2^32 w_4i+1 >> 11) + 1/2) 2^-53,  v = uniform double from w_4i+2, w_4i+3
// A fill of an odd number of normals drops the last sine. Integers and uniforms are the same everywhere; normals go
// through sqrt, log, sin and cos of our own and agree between builds to a few units in the last place.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>

#include "flowmatch/kernel/elementary.hpp"
#include "flowmatch/kernel/instruction_set.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// The Philox4x32-10 bijection: four random words from a 128-bit counter and a 64-bit key.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t(0xD2511F53u) * counter[0], b = std::uint64_t(0xCD9E8D57u) * counter[2];
    counter = {std::uint32_t(b >> 32) ^ counter[1] ^ key[0], std::uint32_t(b),
               std::uint32_t(a >> 32) ^ counter[3] ^ key[1], std::uint32_t(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// A place in a random stream; copy it to replay, compare it to know. Its whole state is three integers. Streams of
/// one seed, and seeds, are independent of each other: give each thread, chain or purpose its own stream.
struct Rng {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
  std::uint64_t position = 0;  ///< in 32-bit words

  constexpr explicit Rng(std::uint64_t seed_, std::uint64_t stream_ = 0) : seed(seed_), stream(stream_) {}

  /// The four words of one block, wherever the position is.
  constexpr std::array<std::uint32_t, 4> block(std::uint64_t b) const {
    return philox4x32({std::uint32_t(b), std::uint32_t(b >> 32), std::uint32_t(stream), std::uint32_t(stream >> 32)},
                      {std::uint32_t(seed), std::uint32_t(seed >> 32)});
  }

  friend constexpr bool operator==(const Rng&, const Rng&) = default;
};

namespace detail {

/// Calls f(words, i) for the blocks i = 0, 1, ..., count - 1 from the next whole block on, and moves the position
/// there.
template <class F> void for_each_block(Rng& rng, Index count, const F& f) {
  const std::uint64_t first = (rng.position + 3) / 4;
  for (Index i = 0; i < count; ++i) f(rng.block(first + std::uint64_t(i)), i);
  rng.position = 4 * (first + std::uint64_t(count));
}

/// The same functions for one number.
using simd::cos_sin_of_turn;
using simd::log_of_unit;
template <Real Scalar> Scalar log_of_unit(Scalar u) {
  using L = Lanes<Scalar, int(sizeof(Scalar))>;
  typename L::V x = {u}, y;
  log_of_unit<L>(x, y);
  return y[0];
}
template <Real Scalar> std::array<Scalar, 2> cos_sin_of_turn(Scalar v) {
  using L = Lanes<Scalar, int(sizeof(Scalar))>;
  typename L::V x = {v}, c, s;
  cos_sin_of_turn<L>(x, c, s);
  return {c[0], s[0]};
}

/// a0 b0 a1 b1 ... and back.
template <class V, int... I> FLOWMATCH_INLINE inline void zip(V& a, V& b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  const V low = __builtin_shufflevector(a, b, (I / 2 + I % 2 * n)...);
  b = __builtin_shufflevector(a, b, (n / 2 + I / 2 + I % 2 * n)...);
  a = low;
}
template <class V, int... I> FLOWMATCH_INLINE inline void unzip(V& a, V& b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  const V even = __builtin_shufflevector(a, b, (I < n / 2 ? 2 * I : n + 2 * (I - n / 2))...);
  b = __builtin_shufflevector(a, b, (I < n / 2 ? 2 * I + 1 : n + 2 * (I - n / 2) + 1)...);
  a = even;
}

/// The words of `blocks` blocks from block `first` on, in the order of the stream; blocks is a multiple of 8. A block
/// fills four lanes of 64 bits, of which Philox uses 32: its products need the width.
inline void philox_words(const Rng& rng, std::uint64_t first, Index blocks, std::uint64_t* words) {
  dispatch([=](auto bytes) FLOWMATCH_INLINE {
    using U = typename Lanes<double, decltype(bytes)::bytes>::U;
    constexpr int width = int(sizeof(U) / 8);
    constexpr std::uint64_t low = 0xffffffffu, numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    U lanes;
    std::memcpy(&lanes, numbers, sizeof lanes);
    for (Index i = 0; i < blocks; i += width) {
      const U counter = lanes + (first + std::uint64_t(i));
      U c0 = counter & low, c1 = counter >> 32, c2 = U{} + (rng.stream & low), c3 = U{} + (rng.stream >> 32);
      std::uint64_t k0 = rng.seed & low, k1 = rng.seed >> 32;
      for (int round = 0; round < 10; ++round) {
        const U a = c0 * std::uint64_t(0xD2511F53u), b = c2 * std::uint64_t(0xCD9E8D57u);
        c0 = (b >> 32) ^ c1 ^ k0;
        c1 = b & low;
        c2 = (a >> 32) ^ c3 ^ k1;
        c3 = a & low;
        k0 = (k0 + 0x9E3779B9u) & low;
        k1 = (k1 + 0xBB67AE85u) & low;
      }
      U first_half = c0 | c1 << 32, second_half = c2 | c3 << 32;
      zip(first_half, second_half, std::make_integer_sequence<int, width>());
      std::memcpy(words + 2 * i, &first_half, sizeof(U));
      std::memcpy(words + 2 * i + width, &second_half, sizeof(U));
    }
  });
}

/// Numbers of one kind from the words of whole blocks: value = transform of each pair of vectors of words.
/// Words of a float have 32 bits, those of a double 64.
template <class L> struct Uniforms {
  using U = typename L::U;
  static constexpr bool single = sizeof(typename L::Scalar) == 4;

  FLOWMATCH_INLINE static void uniform(const U& w, typename L::V& x) {  // [0, 1)
    if constexpr (single)
      x = __builtin_convertvector((typename L::I)(w >> 8), typename L::V) * 0x1p-24f;
    else
      x = __builtin_convertvector((typename L::I)(w >> 11), typename L::V) * 0x1p-53;
  }
  FLOWMATCH_INLINE static void uniform_above_zero(const U& w, typename L::V& x) {  // (0, 1]
    if constexpr (single)
      x = (__builtin_convertvector((typename L::I)(w >> 1), typename L::V) + 0.5f) * 0x1p-31f;
    else
      x = (__builtin_convertvector((typename L::I)(w >> 11), typename L::V) + 0.5) * 0x1p-53;
  }
  FLOWMATCH_INLINE static void normal(const U& w0, const U& w1, typename L::V& z0, typename L::V& z1) {
    typename L::V u, v, logarithm, radius, c, s;
    uniform_above_zero(w0, u);
    uniform(w1, v);
    log_of_unit<L>(u, logarithm);
    square_root<L>(typename L::Scalar(-2) * logarithm, radius);
    cos_sin_of_turn<L>(v, c, s);
    z0 = radius * c;
    z1 = radius * s;
  }
};

/// Fills x from whole blocks on: convert<L>(a, b) turns two vectors of words, in the order of the stream, into two
/// vectors of numbers.
template <class Scalar, class Convert> void fill(Rng& rng, std::span<Scalar> x, const Convert& convert) {
  constexpr Index per_block = 16 / Index(sizeof(Scalar)), chunk = 64;  // blocks
  const Index n = Index(x.size());
  const std::uint64_t first = (rng.position + 3) / 4;
  alignas(64) std::uint64_t words[2 * chunk];
  alignas(64) Scalar numbers[chunk * per_block];
  for (Index i = 0; i < n; i += chunk * per_block) {
    const Index left = std::min(chunk * per_block, n - i);
    philox_words(rng, first + std::uint64_t(i / per_block), (left + 8 * per_block - 1) / (8 * per_block) * 8, words);
    dispatch([&](auto width) FLOWMATCH_INLINE {
      using L = Lanes<Scalar, decltype(width)::bytes>;
      for (Index k = 0; k < left; k += 2 * L::width) {
        typename L::U a, b;
        const char* at = reinterpret_cast<const char*>(words) + std::size_t(k) * sizeof(Scalar);
        std::memcpy(&a, at, sizeof a);
        std::memcpy(&b, at + sizeof a, sizeof b);
        typename L::V va, vb;
        convert(L(), a, b, va, vb);
        L::store(numbers + k, va);
        L::store(numbers + k + L::width, vb);
      }
    });
    std::memcpy(x.data() + i, numbers, std::size_t(left) * sizeof(Scalar));
  }
  rng.position = 4 * (first + std::uint64_t((n + per_block - 1) / per_block));
}

}

/// Fills x with independent uniform numbers in [0, 1).
template <Real Scalar> void fill_uniform(Rng& rng, std::span<Scalar> x) {
  detail::fill(rng, x, [](auto lanes, auto& a, auto& b, auto& va, auto& vb) FLOWMATCH_INLINE {
    using Words = detail::Uniforms<decltype(lanes)>;
    Words::uniform(a, va);
    Words::uniform(b, vb);
  });
}

/// Fills x with independent standard normal numbers.
template <Real Scalar> void fill_normal(Rng& rng, std::span<Scalar> x) {
  detail::fill(rng, x, [](auto lanes, auto& a, auto& b, auto& va, auto& vb) FLOWMATCH_INLINE {
    constexpr auto order = std::make_integer_sequence<int, decltype(lanes)::width>();
    detail::unzip(a, b, order);
    detail::Uniforms<decltype(lanes)>::normal(a, b, va, vb);
    detail::zip(va, vb, order);
  });
}

/// Fills x with independent integers, uniform on {0, ..., n - 1}, 1 <= n <= 2^32. The bias is below n / 2^64.
inline void fill_below(Rng& rng, Index n, std::span<Index> x) {
  if (n < 1 || std::uint64_t(n) > 0x100000000u) detail::fail("fill_below", {"expected n in [1, 2^32], got ", n});
  const Index count = Index(x.size());
  detail::for_each_block(rng, (count + 1) / 2, [&](const std::array<std::uint32_t, 4>& w, Index block) {
    for (Index k = 0; k < 2 && 2 * block + k < count; ++k) {
      const std::uint64_t low = w[std::size_t(2 * k)], high = w[std::size_t(2 * k + 1)], m = std::uint64_t(n);
      x[std::size_t(2 * block + k)] = Index((high * m + (low * m >> 32)) >> 32);
    }
  });
}

/// The same for a matrix, vector or row, in the order of its memory.
template <class Derived> void fill_uniform(Rng& rng, Eigen::PlainObjectBase<Derived>& x) {
  fill_uniform(rng, std::span<typename Derived::Scalar>(x.data(), std::size_t(x.size())));
}
template <class Derived> void fill_normal(Rng& rng, Eigen::PlainObjectBase<Derived>& x) {
  fill_normal(rng, std::span<typename Derived::Scalar>(x.data(), std::size_t(x.size())));
}

}
}
