// SPDX-License-Identifier: MIT
// Counts what this thread takes from the heap, by operator new or by malloc as Eigen does: for tests that promise that
// a call allocates nothing. Works by standing in front of glibc's malloc; elsewhere, and under the sanitizers, which
// bring their own, counts_allocations is false and the count stays 0.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>

// GCC says it by macros, clang by __has_feature, which Eigen defines as 0 where it is missing.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FLOWMATCH_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define FLOWMATCH_TEST_SANITIZED 1
#endif
#endif

namespace test {

#if defined(__GLIBC__) && !defined(FLOWMATCH_TEST_SANITIZED)
inline constexpr bool counts_allocations = true;
#else
inline constexpr bool counts_allocations = false;
#endif

namespace detail {
inline thread_local long allocation_count = 0;
inline std::atomic<long> allocation_count_of_all = 0;
inline void count_allocation() noexcept {
  ++allocation_count;
  allocation_count_of_all.fetch_add(1, std::memory_order_relaxed);
}
}

/// Calls to malloc, calloc, realloc and aligned_alloc by this thread while body runs; operator new calls malloc.
template <class Body> long allocations_in(const Body& body) {
  const long before = detail::allocation_count;
  body();
  return detail::allocation_count - before;
}

/// The same by all threads of the program.
template <class Body> long allocations_of_all_in(const Body& body) {
  const long before = detail::allocation_count_of_all;
  body();
  return detail::allocation_count_of_all - before;
}

}

#if defined(__GLIBC__) && !defined(FLOWMATCH_TEST_SANITIZED)

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

// Weak, so that several test files may include this: the linker keeps one of each.
__attribute__((weak)) void* malloc(std::size_t n) noexcept {
  test::detail::count_allocation();
  return __libc_malloc(n);
}
__attribute__((weak)) void* calloc(std::size_t n, std::size_t size) noexcept {
  test::detail::count_allocation();
  return __libc_calloc(n, size);
}
__attribute__((weak)) void* realloc(void* p, std::size_t n) noexcept {
  test::detail::count_allocation();
  return __libc_realloc(p, n);
}
__attribute__((weak)) void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
  test::detail::count_allocation();
  return __libc_memalign(alignment, n);
}
__attribute__((weak)) int posix_memalign(void** p, std::size_t alignment, std::size_t n) noexcept {
  test::detail::count_allocation();
  *p = __libc_memalign(alignment, n);
  return *p ? 0 : 12;  // ENOMEM
}
}

#endif
