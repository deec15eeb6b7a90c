// SPDX-License-Identifier: MIT
// Vectors of the machine, without intrinsics and without compiler flags. A kernel is one body, a generic lambda over
// the width of a vector; dispatch instantiates it for AVX-512, AVX2 with FMA and the baseline (SSE2, NEON), and picks
// the widest that the CPU has. Bodies and what they call are always_inline, so that they are compiled for the wrapper's
// instruction set. Vectors travel by reference: by value they would change the ABI, and GCC warns in the user's file.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "flowmatch/core/check.hpp"

#if !defined(__clang__) && (!defined(__GNUC__) || __GNUC__ < 12)
#error "flowmatch needs the vector extensions of GCC 12 or clang 14, or newer"
#endif

#define FLOWMATCH_INLINE __attribute__((always_inline))

namespace flowmatch::inline FLOWMATCH_ABI {

/// The instruction sets for which the kernels exist. baseline is what the program was compiled for.
enum class InstructionSet { baseline, avx2, avx512 };

namespace detail {

template <int Bytes> struct Width { static constexpr int bytes = Bytes; };

#if defined(__x86_64__)
template <class Body>
__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))) void run_avx512(const Body& body) {
  body(Width<64>());
}
template <class Body> __attribute__((target("avx2,fma"))) void run_avx2(const Body& body) { body(Width<32>()); }

inline InstructionSet widest_of_cpu() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return InstructionSet::baseline;
  const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  return wide ? InstructionSet::avx512 : InstructionSet::avx2;
}
#else
inline InstructionSet widest_of_cpu() { return InstructionSet::baseline; }
#endif

inline InstructionSet choose_instruction_set() {
  const InstructionSet widest = widest_of_cpu();
  const char* wanted = std::getenv("FLOWMATCH_INSTRUCTION_SET");
  if (!wanted) return widest;
  for (const auto& [set, name] : {std::pair{InstructionSet::baseline, "baseline"},
                                  std::pair{InstructionSet::avx2, "avx2"}, std::pair{InstructionSet::avx512, "avx512"}})
    if (std::strcmp(wanted, name) == 0) {
      if (set > widest) fail("FLOWMATCH_INSTRUCTION_SET", "this CPU does not have ", wanted);
      return set;
    }
  fail("FLOWMATCH_INSTRUCTION_SET", "expected baseline, avx2 or avx512, got ", wanted);
}

}

/// The instruction set that the kernels use: the widest of this CPU, or the narrower one that the environment variable
/// FLOWMATCH_INSTRUCTION_SET names (baseline, avx2, avx512). Found out once.
inline InstructionSet instruction_set() {
  static const InstructionSet chosen = detail::choose_instruction_set();
  return chosen;
}

namespace detail {

/// Calls body(Width) compiled for the given instruction set.
template <class Body> void dispatch(InstructionSet set, const Body& body) {
#if defined(__x86_64__)
  if (set == InstructionSet::avx512) return run_avx512(body);
  if (set == InstructionSet::avx2) return run_avx2(body);
#else
  (void)set;
#endif
  body(Width<16>());
}
template <class Body> void dispatch(const Body& body) { dispatch(instruction_set(), body); }

/// Vectors of Bytes bytes: their types and memory access. Arithmetic is the compiler's own on these types.
template <std::floating_point ScalarType, int Bytes> struct Lanes {
  using Scalar = ScalarType;
  using Bit = std::conditional_t<sizeof(Scalar) == 4, std::int32_t, std::int64_t>;
  static constexpr int width = Bytes / int(sizeof(Scalar));
  typedef Scalar V __attribute__((vector_size(Bytes)));
  typedef Bit I __attribute__((vector_size(Bytes)));
  typedef std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t> U __attribute__((vector_size(Bytes)));
  typedef std::uint64_t U64 __attribute__((vector_size(Bytes < 8 ? 8 : Bytes)));
  typedef std::int32_t Integers __attribute__((vector_size(width * 4)));  // what a conversion to whole numbers needs

  FLOWMATCH_INLINE static void load(const Scalar* p, V& v) { std::memcpy(&v, p, Bytes); }
  FLOWMATCH_INLINE static void store(Scalar* p, const V& v) { std::memcpy(p, &v, Bytes); }
  /// The first n lanes, the rest zero, and the way back; any n.
  FLOWMATCH_INLINE static void load(const Scalar* p, Index n, V& v) {
    if (n >= width) return load(p, v);
    v = V{};
    if (n > 0) std::memcpy(&v, p, std::size_t(n) * sizeof(Scalar));
  }
  FLOWMATCH_INLINE static void store(Scalar* p, Index n, const V& v) {
    if (n >= width) return store(p, v);
    if (n > 0) std::memcpy(p, &v, std::size_t(n) * sizeof(Scalar));
  }
};

}
}
