// SPDX-License-Identifier: MIT
// Memory of a tile: samples x features, column-major, as the kernels want it.
#pragma once

#include <new>
#include <vector>

#include "flowmatch/core/types.hpp"

namespace flowmatch::inline FLOWMATCH_ABI::detail {

/// Samples that the kernels compute together: they read and write tiles up to a multiple of this.
inline constexpr Index lane_block = 32;

/// Vectors that straddle cache lines cost up to a tenth of a step.
template <class Scalar> struct CacheLineAllocator {
  using value_type = Scalar;
  CacheLineAllocator() = default;
  template <class Other> CacheLineAllocator(const CacheLineAllocator<Other>&) {}
  Scalar* allocate(std::size_t n) {
    return static_cast<Scalar*>(::operator new(n * sizeof(Scalar), std::align_val_t(64)));
  }
  void deallocate(Scalar* p, std::size_t) { ::operator delete(p, std::align_val_t(64)); }
  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) { return true; }
};

/// Zero at first; holds what does not belong to a sample beyond the last of them.
template <class Scalar> class TileMemory {
 public:
  using View = Eigen::Map<Matrix<Scalar>, 0, Eigen::OuterStride<>>;

  TileMemory() = default;
  TileMemory(Index samples, Index features)
      : samples_(samples),
        // columns a power of two apart would share few cache sets
        stride_((samples + lane_block - 1) / lane_block * lane_block + lane_block / 2),
        memory_(std::size_t(stride_ * features)) {}

  Index samples() const { return samples_; }

  /// The first `samples` samples and `features` features.
  View view(Index samples, Index features) {
    return View(memory_.data(), samples, features, Eigen::OuterStride<>(stride_));
  }

 private:
  Index samples_ = 0, stride_ = 0;
  std::vector<Scalar, CacheLineAllocator<Scalar>> memory_;
};

}
