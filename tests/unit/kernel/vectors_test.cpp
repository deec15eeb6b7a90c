// SPDX-License-Identifier: MIT
#include <flowmatch/kernel/vectors.hpp>

#include "catch.hpp"

#if defined(__x86_64__) && !defined(__AVX__)
#include <cpuid.h>

#include <cstdint>
#include <vector>

namespace {

/// Whether the upper parts of vector registers hold anything, as the CPU tells (XGETBV with 1, bits 2 and 6).
bool upper_parts_in_use() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  return (low & 0b1000100) != 0;
}

bool cpu_tells_upper_parts_in_use() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(0xd, 1, &a, &b, &c, &d) || (a & 0b100) == 0) return false;
  if (flowmatch::simd::widest_of_cpu() == flowmatch::InstructionSet::baseline) return false;
  __asm__ volatile("vzeroupper");
  return !upper_parts_in_use();  // an emulator may say that everything is always in use
}

}  // namespace

// While they are in use, each SSE instruction of the user's program waits for the one before it.
TEST_CASE("a kernel leaves the upper parts of the vector registers empty, at any level of optimization", "[vectors]") {
  namespace fm = flowmatch;
  if (!cpu_tells_upper_parts_in_use()) return;
  for (const auto set : {fm::InstructionSet::avx2, fm::InstructionSet::avx512}) {
    if (set > fm::simd::widest_of_cpu()) continue;
    std::vector<float> numbers(16, 2);
    fm::simd::dispatch(set, [&](auto width) FLOWMATCH_INLINE {
      using L = fm::simd::Lanes<float, decltype(width)::bytes>;
      typename L::V v;
      L::load(numbers.data(), v);
      v = v * v + v;
      L::store(numbers.data(), v);
    });
    const bool left = upper_parts_in_use();
    CHECK_FALSE(left);
    CHECK(numbers.front() == 6);
  }
}
#endif
