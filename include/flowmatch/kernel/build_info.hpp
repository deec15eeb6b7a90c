// SPDX-License-Identifier: MIT
// What a bug report should begin with.
#pragma once

#include <string>
#include <thread>

#include "flowmatch/kernel/instruction_set.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Lines of text: versions of flowmatch, compiler and Eigen, the instruction set of the kernels beside the widest of
/// this CPU, their lanes, what the compiler's flags enable, and how many threads the machine runs at once.
inline std::string build_info() {
  const InstructionSet set = instruction_set();
  const int bytes = set == InstructionSet::avx512 ? 64 : set == InstructionSet::avx2 ? 32 : 16;
  std::string flags;
#if defined(NDEBUG)
  flags += " NDEBUG";
#endif
#if defined(__OPTIMIZE__)
  flags += " optimized";
#endif
#if defined(__FAST_MATH__)
  flags += " fast-math";
#endif
#if !defined(__cpp_exceptions)
  flags += " no-exceptions";
#endif
  return detail::concat({"flowmatch ",
                         FLOWMATCH_VERSION_MAJOR,
                         ".",
                         FLOWMATCH_VERSION_MINOR,
                         ".",
                         FLOWMATCH_VERSION_PATCH,
                         "\ncompiler ",
                         __VERSION__,
                         "\nEigen ",
                         EIGEN_WORLD_VERSION,
                         ".",
                         EIGEN_MAJOR_VERSION,
                         ".",
                         EIGEN_MINOR_VERSION,
                         ", alignment ",
                         EIGEN_MAX_ALIGN_BYTES,
                         "\nkernels ",
                         name(set),
                         ", the CPU has ",
                         name(detail::widest_of_cpu()),
                         "; lanes: ",
                         bytes / 4,
                         " float, ",
                         bytes / 8,
                         " double\nflags",
                         flags,
                         "\nthreads ",
                         std::thread::hardware_concurrency(),
                         "\n"});
}

}
}
