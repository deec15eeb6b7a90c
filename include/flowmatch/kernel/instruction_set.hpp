// SPDX-License-Identifier: MIT
// Chooses the kernels' instruction set (kernel/vectors.hpp) once per process, from the CPU or
// FLOWMATCH_INSTRUCTION_SET.
#pragma once

#include <cstdlib>
#include <cstring>

#include "flowmatch/core/check.hpp"
#include "flowmatch/kernel/vectors.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// "baseline", "avx2" or "avx512": the values of the environment variable FLOWMATCH_INSTRUCTION_SET.
inline const char* name(InstructionSet set) {
  if (set == InstructionSet::avx512) return "avx512";
  return set == InstructionSet::avx2 ? "avx2" : "baseline";
}

namespace detail {

using namespace simd;
using simd::dispatch;

inline InstructionSet choose_instruction_set() {
  const InstructionSet widest = widest_of_cpu();
  const char* wanted = std::getenv("FLOWMATCH_INSTRUCTION_SET");
  if (!wanted) return widest;
  for (const InstructionSet set : {InstructionSet::baseline, InstructionSet::avx2, InstructionSet::avx512})
    if (std::strcmp(wanted, name(set)) == 0) {
      if (set > widest) fail("FLOWMATCH_INSTRUCTION_SET", {"this CPU does not have ", wanted});
      return set;
    }
  fail("FLOWMATCH_INSTRUCTION_SET", {"expected baseline, avx2 or avx512, got ", wanted});
}

}

/// The instruction set that the kernels use: the widest of this CPU, or the narrower one that the environment variable
/// FLOWMATCH_INSTRUCTION_SET names (baseline, avx2, avx512). Found out once.
inline InstructionSet instruction_set() {
  static const InstructionSet chosen = detail::choose_instruction_set();
  return chosen;
}

namespace detail {

template <class Body> void dispatch(const Body& body) { dispatch(instruction_set(), body); }

}
}
}
