// SPDX-License-Identifier: MIT
// Vectors of the machine, without intrinsics and without compiler flags. A kernel is one body, a generic lambda over
// the width of a vector; dispatch instantiates it for AVX-512, AVX2 with FMA and the baseline (SSE2, NEON; single
// numbers on a microcontroller). Bodies and what they call are always_inline, so that they are compiled for the
// wrapper's instruction set. Vectors travel by reference: by value they would change the ABI, and GCC warns in the
// user's file. Neither Eigen nor the C library is needed here, nor by kernel/elementary.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "flowmatch/core/real.hpp"
#include "flowmatch/version.hpp"

#if !defined(__clang__) && (!defined(__GNUC__) || __GNUC__ < 12)
#error "flowmatch needs the vector extensions of GCC 12 or clang 14, or newer"
#endif

#define FLOWMATCH_INLINE __attribute__((always_inline))

namespace flowmatch {
inline namespace FLOWMATCH_VERSION {

/// The instruction sets for which the kernels exist. baseline is what the program was compiled for.
enum class InstructionSet { baseline, avx2, avx512 };

namespace simd {

template <int Bytes> struct Width { static constexpr int bytes = Bytes; };

/// Vector width in bytes that the baseline of this target guarantees; 32-bit targets are treated as scalar (see
/// LanesOf).
inline constexpr int baseline_bytes = sizeof(void*) == 8 ? 16 : 4;

#if defined(__x86_64__)
inline constexpr int widest_bytes = 64;

// Without vzeroupper at the end of a kernel, all SSE code of the program runs 8 times slower. GCC adds it from -O2
// only.
template <class Body>
__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))) void run_avx512(const Body& body) {
  body(Width<64>());
  __builtin_ia32_vzeroupper();
}
template <class Body> __attribute__((target("avx2,fma"))) void run_avx2(const Body& body) {
  body(Width<32>());
  __builtin_ia32_vzeroupper();
}

inline InstructionSet widest_of_cpu() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return InstructionSet::baseline;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  return wide ? InstructionSet::avx512 : InstructionSet::avx2;
}
#else
inline constexpr int widest_bytes = baseline_bytes;

inline InstructionSet widest_of_cpu() { return InstructionSet::baseline; }
#endif

/// Calls body(Width) compiled for the given instruction set.
template <class Body> void dispatch(InstructionSet set, const Body& body) {
#if defined(__x86_64__)
  if (set == InstructionSet::avx512) return run_avx512(body);
  if (set == InstructionSet::avx2) return run_avx2(body);
#else
  (void)set;
#endif
  body(Width<baseline_bytes>());
}

/// Vectors of Bytes bytes: their types and memory access. Arithmetic is the compiler's own on these types.
template <Real ScalarType, int Bytes> struct Lanes {
  using Scalar = ScalarType;
  using Bit = std::conditional_t<sizeof(Scalar) == 4, std::int32_t, std::int64_t>;
  static constexpr int bytes = Bytes, width = Bytes / int(sizeof(Scalar));
  typedef Scalar V __attribute__((vector_size(Bytes)));
  typedef Bit I __attribute__((vector_size(Bytes)));
  typedef std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t> U __attribute__((vector_size(Bytes)));
  typedef std::int32_t Integers __attribute__((vector_size(width * 4)));  // what a conversion to whole numbers needs

  FLOWMATCH_INLINE static void load(const Scalar* p, V& v) { std::memcpy(&v, p, Bytes); }
  FLOWMATCH_INLINE static void store(Scalar* p, const V& v) { std::memcpy(p, &v, Bytes); }
  /// Partial load and store of the first n lanes; a load fills the others with zero.
  FLOWMATCH_INLINE static void load(const Scalar* p, std::ptrdiff_t n, V& v) {
    if (n >= width) return load(p, v);
    v = V{};
    if (n > 0) std::memcpy(&v, p, std::size_t(n) * sizeof(Scalar));
  }
  FLOWMATCH_INLINE static void store(Scalar* p, std::ptrdiff_t n, const V& v) {
    if (n >= width) return store(p, v);
    if (n > 0) std::memcpy(p, &v, std::size_t(n) * sizeof(Scalar));
  }

  FLOWMATCH_INLINE static Scalar first(const V& v) { return v[0]; }
  template <class From, class To> FLOWMATCH_INLINE static void convert(const From& from, To& to) {
    to = __builtin_convertvector(from, To);
  }
};

/// The same for a machine without vectors: a vector is a number. (One of vector_size would lie in memory.)
template <Real ScalarType> struct OneLane {
  using Scalar = ScalarType;
  using Bit = std::conditional_t<sizeof(Scalar) == 4, std::int32_t, std::int64_t>;
  static constexpr int bytes = int(sizeof(Scalar)), width = 1;
  using V = Scalar;
  using I = Bit;
  using U = std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>;
  using Integers = std::int32_t;

  static void load(const Scalar* p, V& v) { v = *p; }
  static void store(Scalar* p, const V& v) { *p = v; }
  static void load(const Scalar* p, std::ptrdiff_t n, V& v) { v = n > 0 ? *p : 0; }
  static void store(Scalar* p, std::ptrdiff_t n, const V& v) {
    if (n > 0) *p = v;
  }

  static Scalar first(const V& v) { return v; }
  template <class From, class To> static void convert(const From& from, To& to) { to = static_cast<To>(from); }
};

/// What a kernel works with that dispatch has called with this width.
template <class Scalar, class Width>
using LanesOf = std::conditional_t<(Width::bytes > int(sizeof(Scalar))), Lanes<Scalar, Width::bytes>, OneLane<Scalar>>;

}
}
}
