// SPDX-License-Identifier: MIT
// Counts what this thread takes from the heap, by operator new or by malloc as Eigen does: for tests that promise that
// a call allocates nothing; and lets one of these allocations fail. Works by standing in front of glibc's malloc;
// elsewhere, and under the sanitizers, which bring their own, counts_allocations is false and the count stays 0.
#pragma once

#include <atomic>
#include <cerrno>
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
inline thread_local long allocations_until_failure = -1;  // below 0: none fails
/// False if this allocation is to fail.
inline bool count_allocation() noexcept {
  if (allocations_until_failure >= 0 && allocations_until_failure-- == 0) {
    errno = ENOMEM;
    return false;
  }
  ++allocation_count;
  allocation_count_of_all.fetch_add(1, std::memory_order_relaxed);
  return true;
}
}

/// Calls to malloc, calloc, realloc and aligned_alloc by this thread while body runs; operator new calls malloc.
template <class Body> long allocations_in(const Body& body) {
  const long before = detail::allocation_count;
  body();
  return detail::allocation_count - before;
}

/// While this lives, the allocation of this thread that comes after so many others fails, and only that one.
class FailingAllocation {
 public:
  explicit FailingAllocation(long after) { detail::allocations_until_failure = after; }
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  ~FailingAllocation() { detail::allocations_until_failure = -1; }

  bool happened() const { return detail::allocations_until_failure < 0; }
};

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
  return test::detail::count_allocation() ? __libc_malloc(n) : nullptr;
}
__attribute__((weak)) void* calloc(std::size_t n, std::size_t size) noexcept {
  return test::detail::count_allocation() ? __libc_calloc(n, size) : nullptr;
}
__attribute__((weak)) void* realloc(void* p, std::size_t n) noexcept {
  return test::detail::count_allocation() ? __libc_realloc(p, n) : nullptr;
}
__attribute__((weak)) void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
  return test::detail::count_allocation() ? __libc_memalign(alignment, n) : nullptr;
}
__attribute__((weak)) int posix_memalign(void** p, std::size_t alignment, std::size_t n) noexcept {
  *p = test::detail::count_allocation() ? __libc_memalign(alignment, n) : nullptr;
  return *p ? 0 : 12;  // ENOMEM
}
}

#endif
