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

#include "flowmatch/core/check.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

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

constexpr std::uint64_t join(std::uint32_t low, std::uint32_t high) { return low | std::uint64_t(high) << 32; }
constexpr float uniform(std::uint32_t w) { return float(w >> 8) * 0x1p-24f; }
constexpr double uniform(std::uint64_t w) { return double(w >> 11) * 0x1p-53; }
constexpr float uniform_above_zero(std::uint32_t w) { return (float(std::int32_t(w >> 1)) + 0.5f) * 0x1p-31f; }
constexpr double uniform_above_zero(std::uint64_t w) { return (double(w >> 11) + 0.5) * 0x1p-53; }

/// log u for u in (0, 1]: u = 2^e m with m in [sqrt(1/2), sqrt(2)), and log m = 2 artanh(s), s = (m - 1) / (m + 1).
template <std::floating_point Scalar> Scalar log_of_unit(Scalar u) {
  constexpr bool single = sizeof(Scalar) == 4;
  using Bits = std::conditional_t<single, std::int32_t, std::int64_t>;
  constexpr int mantissa = single ? 23 : 52;
  constexpr Bits root_half = std::bit_cast<Bits>(Scalar(std::numbers::sqrt2 / 2));
  const Bits above = std::bit_cast<Bits>(u) - root_half, e = above >> mantissa;
  const Scalar m = std::bit_cast<Scalar>(root_half + (above & ((Bits(1) << mantissa) - 1)));
  const Scalar s = (m - 1) / (m + 1), s2 = s * s;
  constexpr int last = single ? 9 : 23;  // series s + s^3/3 + ... + s^last/last, |s| < 0.172
  Scalar series = Scalar(1) / last;
  for (int k = last - 2; k >= 1; k -= 2) series = series * s2 + Scalar(1) / Scalar(k);
  return Scalar(e) * Scalar(std::numbers::ln2) + 2 * s * series;
}

/// {cos 2 pi v, sin 2 pi v} for v in [0, 1): reduced to an eighth of a turn, then Taylor's series.
template <std::floating_point Scalar> std::array<Scalar, 2> cos_sin_of_turn(Scalar v) {
  const int quarter = int(v * 4 + Scalar(0.5));
  const Scalar a = (v - Scalar(quarter) / 4) * Scalar(2 * std::numbers::pi), a2 = a * a;  // |a| <= pi / 4
  constexpr int last = sizeof(Scalar) == 4 ? 10 : 18;
  Scalar cosine = 1, sine = 1;  // cos a = 1 - a^2/2 (1 - a^2/12 (...)), sin a = a (1 - a^2/6 (1 - a^2/20 (...)))
  for (int k = last; k >= 2; k -= 2) {
    cosine = 1 - a2 * cosine * (Scalar(1) / Scalar(k * (k - 1)));
    sine = 1 - a2 * sine * (Scalar(1) / Scalar(k * (k + 1)));
  }
  sine *= a;
  const bool odd = quarter % 2, minus_cosine = quarter == 1 || quarter == 2, minus_sine = quarter == 2 || quarter == 3;
  const Scalar c = odd ? sine : cosine, s = odd ? cosine : sine;
  return {minus_cosine ? -c : c, minus_sine ? -s : s};
}

template <std::floating_point Scalar, class Word> std::array<Scalar, 2> normal_pair(Word w0, Word w1) {
  const Scalar radius = std::sqrt(-2 * log_of_unit(uniform_above_zero(w0)));
  const auto [c, s] = cos_sin_of_turn(uniform(w1));
  return {radius * c, radius * s};
}

}

/// Fills x with independent uniform numbers in [0, 1).
template <std::floating_point Scalar> void fill_uniform(Rng& rng, std::span<Scalar> x) {
  constexpr Index per_block = 16 / Index(sizeof(Scalar));
  const Index n = Index(x.size());
  detail::for_each_block(rng, (n + per_block - 1) / per_block, [&](const std::array<std::uint32_t, 4>& w, Index block) {
    for (Index k = 0; k < per_block && block * per_block + k < n; ++k) {
      Scalar& value = x[std::size_t(block * per_block + k)];
      if constexpr (sizeof(Scalar) == 4)
        value = detail::uniform(w[std::size_t(k)]);
      else
        value = detail::uniform(detail::join(w[std::size_t(2 * k)], w[std::size_t(2 * k + 1)]));
    }
  });
}

/// Fills x with independent standard normal numbers.
template <std::floating_point Scalar> void fill_normal(Rng& rng, std::span<Scalar> x) {
  constexpr Index per_block = 16 / Index(sizeof(Scalar));
  const Index n = Index(x.size());
  detail::for_each_block(rng, (n + per_block - 1) / per_block, [&](const std::array<std::uint32_t, 4>& w, Index block) {
    std::array<Scalar, per_block> z;
    if constexpr (sizeof(Scalar) == 4) {
      const auto a = detail::normal_pair<Scalar>(w[0], w[1]), b = detail::normal_pair<Scalar>(w[2], w[3]);
      z = {a[0], a[1], b[0], b[1]};
    } else {
      z = detail::normal_pair<Scalar>(detail::join(w[0], w[1]), detail::join(w[2], w[3]));
    }
    for (Index k = 0; k < per_block && block * per_block + k < n; ++k)
      x[std::size_t(block * per_block + k)] = z[std::size_t(k)];
  });
}

/// Fills x with independent integers, uniform on {0, ..., n - 1}, 1 <= n <= 2^32. The bias is below n / 2^64.
inline void fill_below(Rng& rng, Index n, std::span<Index> x) {
  if (n < 1 || std::uint64_t(n) > 0x100000000u) detail::fail("fill_below", "expected n in [1, 2^32], got ", n);
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
