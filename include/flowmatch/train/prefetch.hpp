// SPDX-License-Identifier: MIT
// Work done ahead: the next item is made on a thread of its own while the present one is used.
#pragma once

#include <atomic>
#include <cfenv>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>

#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Items number k = first, first + 1, ..., which make(rng, k, item) writes. Item k has random numbers of its own, those
/// of the given generator from its position on, plus 2^36 k words. So it depends on k and the generator alone: not on
/// whether it was made ahead, and a run resumed at k gets what the first run would have got. The generator must
/// be of a stream that nothing else uses.
///
/// make must use nothing that the caller changes meanwhile, and what it refers to must outlive this object.
template <class Item, class Make> class Prefetch {
 public:
  /// ahead: makes one item in advance on a second thread, else next makes each when it is asked for.
  Prefetch(Make make, const Rng& rng, bool ahead = true, std::uint64_t first = 0)
      : make_(std::move(make)), rng_(rng), next_(first), made_(first), wanted_(first) {
    std::fegetenv(&mode_);
    if (ahead) worker_ = std::thread([this, first] { work(first); });
  }
  /// Waits for the item that is being made.
  ~Prefetch() {
    stopped_.store(true, std::memory_order_relaxed);
    want(none);
    if (worker_.joinable()) worker_.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  /// The next item, valid until the next call; the caller may change it. Rethrows an exception of make; so does every
  /// later call.
  Item& next() {
    const std::uint64_t k = next_;
    if (error_at_.load(std::memory_order_acquire) == k) std::rethrow_exception(error_);
    if (worker_.joinable()) {
      want(k + 2);  // item k - 1 is released and its slot reused for item k + 1
      for (std::uint64_t made = made_.load(std::memory_order_acquire); made <= k;
           made = made_.load(std::memory_order_acquire))
        made_.wait(made, std::memory_order_acquire);
    } else {
      make(k);
    }
    if (error_at_.load(std::memory_order_acquire) == k) std::rethrow_exception(error_);
    next_ = k + 1;
    return items_[k % 2];
  }

 private:
  static constexpr std::uint64_t none = ~std::uint64_t(0);

  void make(std::uint64_t k) {
    Rng rng = rng_;
    rng.position += k << 36;
    error_ = detail::caught([&] { make_(rng, k, items_[k % 2]); });
    if (error_) error_at_.store(k, std::memory_order_release);
  }

  /// Allows the items below this number to be made.
  void want(std::uint64_t below) {
    wanted_.store(below, std::memory_order_release);
    wanted_.notify_one();
  }

  void work(std::uint64_t first) {
    std::fesetenv(&mode_);
    for (std::uint64_t k = first; error_at_.load(std::memory_order_relaxed) == none; ++k) {
      for (std::uint64_t wanted = wanted_.load(std::memory_order_acquire); wanted <= k;
           wanted = wanted_.load(std::memory_order_acquire))
        wanted_.wait(wanted, std::memory_order_acquire);
      if (stopped_.load(std::memory_order_relaxed)) return;
      make(k);
      made_.store(k + 1, std::memory_order_release);
      made_.notify_one();
    }
  }

  Make make_;
  Rng rng_;
  std::uint64_t next_;
  Item items_[2] = {};
  std::exception_ptr error_;
  std::atomic<std::uint64_t> error_at_ = none, made_, wanted_;  // numbers of items
  std::atomic<bool> stopped_ = false;
  std::fenv_t mode_{};
  std::thread worker_;  // last, so that it starts when all else is there
};

}
}
