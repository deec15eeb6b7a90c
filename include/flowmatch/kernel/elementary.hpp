// SPDX-License-Identifier: MIT
// Elementary functions on vectors, from arithmetic alone: no call of the C library, so that results do not depend on
// its version or on the CPU, and every instruction set gives the same bits where it has FMA. L is a Lanes type;
// arguments and results go by reference (see kernel/vectors.hpp).
#pragma once

#include <bit>
#include <limits>
#include <numbers>

#include "flowmatch/kernel/vectors.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_VERSION {
namespace simd {

/// y = c[0] x^(n - 1) + ... + c[n - 1], by Horner's rule.
template <class L, std::size_t n>
FLOWMATCH_INLINE inline void polynomial(const typename L::Scalar (&c)[n], const typename L::V& x, typename L::V& y) {
  y = typename L::V{} + c[0];
#pragma GCC unroll 32
  for (std::size_t k = 1; k < n; ++k) y = y * x + c[k];
}

/// y = e^x for x <= 0: n = round(x log2 e), r = x - n ln 2, then 2^n e^r with a polynomial on |r| <= ln(2) / 2.
/// Relative error below 2 ulp; 0 where the result would be below the normal numbers. NaN gives anything.
template <class L> FLOWMATCH_INLINE inline void exp_of_negative(const typename L::V& x, typename L::V& y) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  using I = typename L::I;
  constexpr bool single = sizeof(Scalar) == 4;
  constexpr int bias = single ? 127 : 1023, mantissa = single ? 23 : 52;
  constexpr Scalar lowest = single ? Scalar(-87.3) : Scalar(-708.3);
  // ln 2 in two parts, the first with zeros at its end so that its product with n is exact
  constexpr Scalar ln2_high = single ? Scalar(0.693359375) : Scalar(0x1.62e42feep-1);
  constexpr Scalar ln2_low = single ? Scalar(-2.12194440054690583e-4) : Scalar(0x1.a39ef358p-33);
  const V low = V{} + lowest;
  const V bounded = x < low ? low : x;
  typename L::Integers exponent;
  I power;
  V n;
  L::convert(bounded * std::numbers::log2e_v<Scalar> + Scalar(bias + 0.5), exponent);
  L::convert(exponent, n);
  L::convert(exponent, power);
  n -= Scalar(bias);
  V r = bounded - n * ln2_high;
  r = r - n * ln2_low;
  V p;
  if constexpr (single) {  // minimax
    p = r * Scalar(0.00831247773) + Scalar(0.0418905504);
    p = p * r + Scalar(0.166671157);
    p = p * r + Scalar(0.499992281);
  } else {  // Taylor
    p = V{} + Scalar(1. / 6227020800);
    constexpr Scalar inverse_factorials[] = {1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880,
                                             1. / 40320,     1. / 5040,     1. / 720,     1. / 120,
                                             1. / 24,        1. / 6,        1. / 2};
#pragma GCC unroll 16
    for (int k = 0; k < 11; ++k) p = p * r + inverse_factorials[k];
  }
  p = (p * r + Scalar(1)) * r + Scalar(1);
  y = p * __builtin_bit_cast(V, power << mantissa);
  y = x < low ? V{} : y;
}

/// y = log(1 + e) for 0 <= e <= 1: 2 artanh(s) with s = e / (2 + e) <= 1/3, by its series.
template <class L> FLOWMATCH_INLINE inline void log1p_of_unit(const typename L::V& e, typename L::V& y) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  constexpr int last = sizeof(Scalar) == 4 ? 15 : 33;
  const V s = e / (e + Scalar(2)), s2 = s * s;
  V series = V{} + Scalar(1) / Scalar(last);
#pragma GCC unroll 16
  for (int k = last - 2; k >= 1; k -= 2) series = series * s2 + Scalar(1) / Scalar(k);
  y = s * series * Scalar(2);
}

/// y = sqrt(x) for x >= 0, to 2 ulp for normal numbers, and infinity for infinity: Newton's iteration for 1 / sqrt(x)
/// from a guess on the bits (there is no vector square root without intrinsics).
template <class L> FLOWMATCH_INLINE inline void square_root(const typename L::V& x, typename L::V& y) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  using U = typename L::U;
  constexpr std::uint64_t guess = sizeof(Scalar) == 4 ? 0x5f375a86u : 0x5fe6eb50c7b537a9u;
  using Bits = std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>;
  V inverse = __builtin_bit_cast(V, static_cast<Bits>(guess) - (__builtin_bit_cast(U, x) >> 1));
#pragma GCC unroll 4
  for (int k = 0; k < (sizeof(Scalar) == 4 ? 3 : 4); ++k) {
    const V half = x * inverse * Scalar(0.5);
    inverse += inverse * (Scalar(0.5) - half * inverse);
  }
  y = x > V{} + std::numeric_limits<Scalar>::max() ? x : x * inverse;
}

/// y = log u for u in (0, 1]: u = 2^e m with m in [sqrt(1/2), sqrt(2)), and log m = 2 artanh(s), s = (m - 1) / (m + 1).
template <class L> FLOWMATCH_INLINE inline void log_of_unit(const typename L::V& u, typename L::V& y) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  using I = typename L::I;
  constexpr bool single = sizeof(Scalar) == 4;
  constexpr int mantissa = single ? 23 : 52;
  constexpr auto root_half = std::bit_cast<typename L::Bit>(Scalar(std::numbers::sqrt2 / 2));
  const I above = __builtin_bit_cast(I, u) - root_half;
  typename L::Integers exponent;
  V e;
  L::convert(above >> mantissa, exponent);
  L::convert(exponent, e);
  const V m = __builtin_bit_cast(V, root_half + (above & ((typename L::Bit(1) << mantissa) - 1)));
  const V s = (m - Scalar(1)) / (m + Scalar(1)), s2 = s * s;
  constexpr int last = single ? 9 : 23;  // series s + s^3/3 + ... + s^last/last, |s| < 0.172
  V series = V{} + Scalar(1) / Scalar(last);
#pragma GCC unroll 16
  for (int k = last - 2; k >= 1; k -= 2) series = series * s2 + Scalar(1) / Scalar(k);
  y = e * Scalar(std::numbers::ln2) + Scalar(2) * s * series;
}

/// cosine = cos 2 pi v and sine = sin 2 pi v for v in [0, 1): reduced to an eighth of a turn, then Taylor's series.
template <class L>
FLOWMATCH_INLINE inline void cos_sin_of_turn(const typename L::V& v, typename L::V& cosine, typename L::V& sine) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  using I = typename L::I;
  using Bit = typename L::Bit;
  typename L::Integers whole;
  I quarter;
  V quarters;
  L::convert(v * Scalar(4) + Scalar(0.5), whole);
  L::convert(whole, quarter);
  L::convert(whole, quarters);
  const V a = (v - quarters * Scalar(0.25)) * Scalar(2 * std::numbers::pi), a2 = a * a;
  constexpr int last = sizeof(Scalar) == 4 ? 10 : 18;
  V c = V{} + Scalar(1), s = c;  // cos a = 1 - a^2/2 (1 - a^2/12 (...)), sin a = a (1 - a^2/6 (1 - a^2/20 (...)))
#pragma GCC unroll 16
  for (int k = last; k >= 2; k -= 2) {
    c = Scalar(1) - a2 * c * (Scalar(1) / Scalar(k * (k - 1)));
    s = Scalar(1) - a2 * s * (Scalar(1) / Scalar(k * (k + 1)));
  }
  s *= a;
  const I odd = (quarter & Bit(1)) != 0;
  constexpr int sign = 8 * int(sizeof(Bit)) - 1;  // the bits of 2 below move there
  cosine = __builtin_bit_cast(V, __builtin_bit_cast(I, odd ? s : c) ^ (((quarter + Bit(1)) & Bit(2)) << (sign - 1)));
  sine = __builtin_bit_cast(V, __builtin_bit_cast(I, odd ? c : s) ^ ((quarter & Bit(2)) << (sign - 1)));
}

/// x = x - floor(x), in [0, 1], for |x| < 2^31
template <class L> FLOWMATCH_INLINE inline void fraction(typename L::V& x) {
  using V = typename L::V;
  typename L::Integers whole;
  V floor;
  L::convert(x, whole);
  L::convert(whole, floor);
  x -= floor;
  x += x < V{} ? V{} + typename L::Scalar(1) : V{};
}

/// y = x where x >= 0, else -x, and back: the sign bit alone.
template <class L> FLOWMATCH_INLINE inline void absolute(const typename L::V& x, typename L::V& y) {
  constexpr auto magnitude = std::numeric_limits<typename L::Bit>::max();
  y = __builtin_bit_cast(typename L::V, __builtin_bit_cast(typename L::I, x) & (typename L::I{} + magnitude));
}
template <class L> FLOWMATCH_INLINE inline void with_sign_of(const typename L::V& x, typename L::V& y) {
  constexpr auto sign = std::numeric_limits<typename L::Bit>::min();
  using I = typename L::I;
  y = __builtin_bit_cast(typename L::V, __builtin_bit_cast(I, y) | (__builtin_bit_cast(I, x) & (I{} + sign)));
}

/// y = NaN where x is: reads the bits, so that it holds under -ffast-math too.
template <class L> FLOWMATCH_INLINE inline void keep_nan(const typename L::V& x, typename L::V& y) {
  using Scalar = typename L::Scalar;
  using I = typename L::I;
  constexpr auto infinity = std::bit_cast<typename L::Bit>(std::numeric_limits<Scalar>::infinity());
  typename L::V magnitude;
  absolute<L>(x, magnitude);
  const I all = I{} - 1, none = {};
  y = __builtin_bit_cast(typename L::V,
                         __builtin_bit_cast(I, y) | (__builtin_bit_cast(I, magnitude) > I{} + infinity ? all : none));
}

/// y = e^x - 1 for x <= 0, given e = e^x: without cancellation near 0, where Taylor's series takes over.
template <class L>
FLOWMATCH_INLINE inline void expm1_of_negative(const typename L::V& x, const typename L::V& e, typename L::V& y) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  constexpr int last = sizeof(Scalar) == 4 ? 8 : 15;
  V series = V{} + Scalar(1);  // x (1 + x/2 (1 + x/3 (...)))
#pragma GCC unroll 16
  for (int k = last; k >= 2; --k) series = series * x * (Scalar(1) / Scalar(k)) + Scalar(1);
  y = x < V{} - Scalar(0.5) ? e - Scalar(1) : x * series;
}

/// y = tanh(x) for 0 <= x <= 0.6 as x + x^3 p(x^2), p fitted in Chebyshev's sense to a quarter ulp.
template <class L> FLOWMATCH_INLINE inline void tanh_near_zero(const typename L::V& x, typename L::V& y) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  constexpr Scalar single[] = {Scalar(-0.00621213867389644982), Scalar(0.0210743841278688662),
                               Scalar(-0.0538667495845292488), Scalar(0.13332871156814893),
                               Scalar(-0.333333299234536883)};
  constexpr Scalar twice[] = {
      Scalar(-0.0000179713108262701709), Scalar(0.0000809140496400412922), Scalar(-0.000231784724075856288),
      Scalar(0.000587864595592562613),   Scalar(-0.00145541838261438668),  Scalar(0.00359207615552252144),
      Scalar(-0.00886323147150602601),   Scalar(0.0218694883501632818),    Scalar(-0.0539682539638683882),
      Scalar(0.133333333333292893),      Scalar(-0.333333333333333272)};
  const V x2 = x * x;
  V p;
  if constexpr (sizeof(Scalar) == 4)
    polynomial<L>(single, x2, p);
  else
    polynomial<L>(twice, x2, p);
  y = x + x * x2 * p;
}

/// phi = Phi(x), the normal distribution function, and its density: Phi(-|x|) = e^(-x^2/2) t q(t) with
/// t = 1 / (1 + a |x|) and a fitted polynomial q, which keeps the tail accurate. x^2 is taken as h^2 + (x - h) (x + h),
/// h being x with its last half of digits cut off: rounding x^2 would grow to x^2 / 2 ulp in the exponential.
template <class L>
FLOWMATCH_INLINE inline void normal_distribution(const typename L::V& x, typename L::V& phi, typename L::V& density) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  using I = typename L::I;
  constexpr bool is_single = sizeof(Scalar) == 4;
  constexpr Scalar a = is_single ? Scalar(0.35) : Scalar(0.3);
  constexpr Scalar single[] = {
      Scalar(0.0219232840655810751), Scalar(-0.121744138826876735), Scalar(0.26492750530664751),
      Scalar(-0.261546550443018105), Scalar(0.0965152612831968441), Scalar(-0.0413925058976125077),
      Scalar(0.0524017536094169699), Scalar(0.0870232670965683173), Scalar(0.12263786727723948),
      Scalar(0.139624350092637652),  Scalar(0.13962990886485155)};
  constexpr Scalar twice[] = {
      Scalar(-0.00369218551473464459), Scalar(0.0439367531270491612),  Scalar(-0.239633951437664766),
      Scalar(0.787224385056762975),    Scalar(-1.71436752453721546),   Scalar(2.54311750689137583),
      Scalar(-2.47496421766620725),    Scalar(1.25285801070669762),    Scalar(0.345845726477468415),
      Scalar(-1.27083058657895648),    Scalar(1.27242871330460211),    Scalar(-0.84456178544086559),
      Scalar(0.42695920577603961),     Scalar(-0.150491161530647052),  Scalar(0.0430501750672081854),
      Scalar(-0.0253622321000934598),  Scalar(-0.0117820579828583643), Scalar(0.000115541917660927484),
      Scalar(0.0265452768601964081),   Scalar(0.0579592523888109775),  Scalar(0.0873685525193898328),
      Scalar(0.108911234239612719),    Scalar(0.119682684338564694),   Scalar(0.119682684117803599)};
  constexpr auto first_half = is_single ? typename L::Bit(-4096) : typename L::Bit(-134217728);
  const V one = V{} + Scalar(1);
  V size, e, q;
  absolute<L>(x, size);
  size = size < V{} + Scalar(39) ? size : V{} + Scalar(39);  // beyond, the tail is 0
  const V h = __builtin_bit_cast(V, __builtin_bit_cast(I, size) & (I{} + first_half));
  const V rest = (size - h) * (size + h) * Scalar(0.5);
  exp_of_negative<L>(h * h * Scalar(-0.5), e);
  e *= one - rest * (one - rest * Scalar(0.5) * (one - rest * Scalar(1. / 3) * (one - rest * Scalar(0.25))));
  const V t = one / (one + a * size);
  if constexpr (is_single)
    polynomial<L>(single, t, q);
  else
    polynomial<L>(twice, t, q);
  const V tail = e * t * q;
  phi = x > V{} ? one - tail : tail;
  density = e * Scalar(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
}

}
}
}
