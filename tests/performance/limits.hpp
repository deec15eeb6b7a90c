// SPDX-License-Identifier: MIT
// What the machine can do at most: multiply-adds in registers and reads of memory, in GCC and clang vector extensions
// with the widest instructions that the processor has, whatever the compiler's flags.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

namespace limits {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <int Bytes> struct Vector {
  typedef float type __attribute__((vector_size(Bytes), may_alias, aligned(Bytes)));
};

/// Counts * Bytes / 4 floats a round, each in one multiply-add; the accumulators fit in registers and do not wait for
/// each other.
template <int Bytes, std::size_t... Counts>
__attribute__((always_inline)) inline float multiply_add(long rounds, std::index_sequence<Counts...>) {
  using V = typename Vector<Bytes>::type;
  V a[] = {(V{} + 1 + float(Counts) / 1024)...};
  const V factor = V{} + 0.9999f, summand = V{} + 1e-4f;
  for (long k = 0; k < rounds; ++k) ((a[Counts] = a[Counts] * factor + summand), ...);
  V sum = a[0];
  ((sum += a[Counts]), ...);
  return sum[0];
}

/// The sum of n floats (a multiple of 8 vectors), `rounds` times.
template <int Bytes> __attribute__((always_inline)) inline float read(const float* values, std::size_t n, long rounds) {
  using V = typename Vector<Bytes>::type;
  V s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{};
  const V* const end = reinterpret_cast<const V*>(values + n);
  for (long k = 0; k < rounds; ++k) {
    for (const V* v = reinterpret_cast<const V*>(values); v != end; v += 8) {
      s0 += v[0], s1 += v[1], s2 += v[2], s3 += v[3];
      s4 += v[4], s5 += v[5], s6 += v[6], s7 += v[7];
    }
    asm volatile("" ::: "memory");  // each round reads again
  }
  s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7;
  return s0[0];
}

/// One instruction set: its name, its kernels, and the floats that one round of multiply_add handles.
struct Instructions {
  const char* name;
  float (*multiply_add)(long rounds);
  float (*read)(const float* values, std::size_t n, long rounds);
  double floats;
};

#if defined(__x86_64__)
__attribute__((target("avx512f,fma"))) inline float multiply_add_avx512(long rounds) {
  return multiply_add<64>(rounds, std::make_index_sequence<24>());
}
__attribute__((target("avx512f,fma"))) inline float read_avx512(const float* values, std::size_t n, long rounds) {
  return read<64>(values, n, rounds);
}
__attribute__((target("avx2,fma"))) inline float multiply_add_avx2(long rounds) {
  return multiply_add<32>(rounds, std::make_index_sequence<12>());
}
__attribute__((target("avx2,fma"))) inline float read_avx2(const float* values, std::size_t n, long rounds) {
  return read<32>(values, n, rounds);
}
#endif
inline float multiply_add_baseline(long rounds) { return multiply_add<16>(rounds, std::make_index_sequence<12>()); }
inline float read_baseline(const float* values, std::size_t n, long rounds) { return read<16>(values, n, rounds); }

inline Instructions widest() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {"AVX-512", multiply_add_avx512, read_avx512, 24 * 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {"AVX2", multiply_add_avx2, read_avx2, 12 * 8};
#endif
  return {"baseline", multiply_add_baseline, read_baseline, 12 * 4};
}

/// Seconds that `threads` threads take for work(0 .. threads - 1), from the moment when all are there.
template <class Work> double together(int threads, Work work) {
  std::atomic<int> missing = threads;
  std::vector<std::thread> others;
  const auto run = [&](int i) {
    --missing;
    while (missing > 0) {}
    work(i);
  };
  for (int i = 1; i < threads; ++i) others.emplace_back(run, i);
  --missing;
  while (missing > 0) {}
  const double start = seconds();
  work(0);
  for (std::thread& t : others) t.join();
  return seconds() - start;
}

/// So that the compiler does not leave out what made the value.
inline void keep(float value) { asm volatile("" : : "m"(value)); }

/// float32 GFLOP/s, the best of twenty tries of about 1 ms each.
inline double peak_gflops(int threads) {
  const Instructions cpu = widest();
  const auto rate = [&](long rounds) {
    const double s = together(threads, [&](int) { keep(cpu.multiply_add(rounds)); });
    return 2e-9 * threads * double(rounds) * cpu.floats / s;
  };
  const long rounds = long(1e-3 * 1e9 * rate(20'000) / (2 * threads * cpu.floats)) + 1;
  double best = 0;
  for (int k = 0; k < 20; ++k) best = std::max(best, rate(rounds));
  return best;
}

/// Bytes read in a second / 1e9, the best of five, from `kilobytes` of memory for each thread.
inline double read_gigabytes(int threads, std::size_t kilobytes) {
  const Instructions cpu = widest();
  const std::size_t n = kilobytes * 256;
  const long rounds = std::max(2l, long(50e6 / double(n)));
  struct alignas(64) Line {
    float values[16];
  };
  std::vector<std::vector<Line>> memory(std::size_t(threads), std::vector<Line>(n / 16));
  double best = 0;
  for (int k = 0; k < 5; ++k) {
    const double s =
        together(threads, [&](int i) { keep(cpu.read(memory[std::size_t(i)].data()->values, n, rounds)); });
    best = std::max(best, 4e-9 * threads * double(n) * double(rounds) / s);
  }
  return best;
}

}
