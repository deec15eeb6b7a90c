// SPDX-License-Identifier: MIT
// A small fork-join team of threads that the user makes and passes to loss and sampler. There is no global pool.
#pragma once

#include <atomic>
#include <cfenv>
#include <exception>
#include <thread>
#include <vector>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// n threads, the calling one among them. Objects may share a team in turn, not at the same time, and it must outlive
/// them. Idle threads spin for some microseconds, so that the many short calls of a training loop find them awake, and
/// then sleep. How many there are never changes a result.
class Threads {
 public:
  /// Throws std::invalid_argument if n < 1, std::system_error if the system has no more threads.
  explicit Threads(int n) : Threads(n, Idle()) {
    for (int i = 1; i < n; ++i) threads_.emplace_back([this, i] { work(i); });
  }
  ~Threads() {
    call_ = nullptr;
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int size() const { return size_; }

  /// Calls f(0), ..., f(size() - 1), each on its own thread, f(0) on this one, and returns when all have ended. They
  /// see the caller's floating-point mode. If some throw, rethrows the exception of the lowest number. Allocates
  /// nothing.
  /// Throws std::logic_error if the team is at work already, in another thread or around this call (a team of one
  /// just calls f).
  template <class F> void run(const F& f) {
    if (size_ == 1) return f(0);
    run([](const void* context, int i) { (*static_cast<const F*>(context))(i); }, &f);
  }

 private:
  void run(void (*call)(const void*, int), const void* context) {
    if (busy_.exchange(true, std::memory_order_acquire))
      detail::raise<std::logic_error>("flowmatch: Threads::run: the team is in use, share it in turn");
    call_ = call;
    context_ = context;
    std::fegetenv(&mode_);
    running_.store(size_ - 1, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    guarded(0);
    for (int n = running_.load(std::memory_order_acquire), spins = 0; n > 0;
         n = running_.load(std::memory_order_acquire))
      if (pause(); ++spins > patience) running_.wait(n, std::memory_order_acquire);
    std::exception_ptr first;
    for (std::exception_ptr& error : errors_) {
      if (!first) first = error;
      error = nullptr;
    }
    busy_.store(false, std::memory_order_release);  // the next call may begin
    if (first) std::rethrow_exception(first);
  }

  /// No threads yet. The public constructor delegates to this one: once it has returned, the destructor joins the
  /// threads even if the public constructor throws.
  struct Idle {};
  Threads(int n, Idle) : size_(n), errors_(std::size_t(std::max(n, 1))) {
    detail::check_at_least("Threads", "n", n, 1);
  }

  static constexpr int patience = 2000;  // looks at the counter before sleeping: some 20 microseconds
  static void pause() {                  // tells the processor that this is a spin
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  void work(int i) {
    for (unsigned seen = 0;; ++seen) {
      for (int spins = 0; round_.load(std::memory_order_acquire) == seen;)
        if (pause(); ++spins > patience) round_.wait(seen, std::memory_order_acquire);
      if (!call_) return;
      std::fesetenv(&mode_);
      guarded(i);
      if (running_.fetch_sub(1, std::memory_order_release) == 1) running_.notify_one();
    }
  }

  void guarded(int i) {
    errors_[std::size_t(i)] = detail::caught([this, i] { call_(context_, i); });
  }

  int size_;
  std::vector<std::thread> threads_;
  std::vector<std::exception_ptr> errors_;
  void (*call_)(const void*, int) = nullptr;
  const void* context_ = nullptr;
  std::fenv_t mode_{};
  std::atomic<bool> busy_ = false;
  std::atomic<unsigned> round_ = 0;
  std::atomic<int> running_ = 0;
};

namespace detail {

/// The part of 0 .. count - 1 that belongs to thread i of n: consecutive, and equal but for one.
struct Share {
  Index begin, end;
};
inline Share share(Index count, int i, int n) { return {count * i / n, count * (i + 1) / n}; }

}
}
}
