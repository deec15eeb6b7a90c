// SPDX-License-Identifier: MIT
// Which of the kernels' instruction sets is used (core/vectors.hpp), found out once for a program.
#pragma once

#include <cstdlib>
#include <cstring>
#include <utility>

#include "flowmatch/core/check.hpp"
#include "flowmatch/core/vectors.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

namespace detail {

using namespace simd;
using simd::dispatch;

inline InstructionSet choose_instruction_set() {
  const InstructionSet widest = widest_of_cpu();
  const char* wanted = std::getenv("FLOWMATCH_INSTRUCTION_SET");
  if (!wanted) return widest;
  for (const auto& [set, name] : {std::pair{InstructionSet::baseline, "baseline"},
                                  std::pair{InstructionSet::avx2, "avx2"}, std::pair{InstructionSet::avx512, "avx512"}})
    if (std::strcmp(wanted, name) == 0) {
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
