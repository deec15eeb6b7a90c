// SPDX-License-Identifier: MIT
// A tile is a block of samples stored transposed, samples x features: one feature of all samples is contiguous and
// fills the vector lanes.
#pragma once

#include <new>
#include <vector>

#include "flowmatch/kernel/instruction_set.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// Samples that the kernels compute together: they read and write tiles up to a multiple of this.
inline constexpr Index lane_block = 32;

/// A view of samples x features: feature k of sample s is at data[k stride + s].
template <class Scalar> struct Tile {
  Scalar* data;
  Index samples, features, stride;

  Scalar* feature(Index k) const { return data + k * stride; }
  Tile features_from(Index first, Index n) const { return {feature(first), samples, n, stride}; }
  Tile samples_from(Index first, Index n) const { return {data + first, n, features, stride}; }
  operator Tile<const Scalar>() const requires(!std::is_const_v<Scalar>) { return {data, samples, features, stride}; }
};
template <class Scalar> using TileIn = std::type_identity_t<Tile<const Scalar>>;
template <class Scalar> using TileOut = std::type_identity_t<Tile<Scalar>>;

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

/// Zero-initialized. Entries past the last sample are padding with unspecified contents.
template <class Scalar> class TileMemory {
 public:
  /// Allocates it anew, for up to this many samples and features.
  void resize(Index samples, Index features) {
    samples_ = samples;
    // columns a power of two apart would share few cache sets
    stride_ = (samples + lane_block - 1) / lane_block * lane_block + lane_block / 2;
    memory_ = std::vector<Scalar, CacheLineAllocator<Scalar>>(std::size_t(stride_ * features));
  }

  Index samples() const { return samples_; }

  /// The first `samples` samples and `features` features.
  Tile<Scalar> view(Index samples, Index features) { return {memory_.data(), samples, features, stride_}; }

 private:
  Index samples_ = 0, stride_ = 0;
  std::vector<Scalar, CacheLineAllocator<Scalar>> memory_;
};

/// to[c to_stride + r] = from[r from_stride + c], by squares in registers.
template <class L, int Half, int... I, class V>
FLOWMATCH_INLINE inline void exchange(V& a, V& b, std::integer_sequence<int, I...>) {
  constexpr int n = L::width;
  const V low = __builtin_shufflevector(a, b, (I & Half ? n + I - Half : I)...);
  b = __builtin_shufflevector(a, b, (I & Half ? n + I : I + Half)...);
  a = low;
}
template <class L, int Half, class V> FLOWMATCH_INLINE inline void transpose_square(V (&rows)[L::width]) {
  if constexpr (Half > 0) {
#pragma GCC unroll 16
    for (int r = 0; r < L::width; ++r)
      if (!(r & Half)) exchange<L, Half>(rows[r], rows[r + Half], std::make_integer_sequence<int, L::width>());
    transpose_square<L, Half / 2>(rows);
  }
}
template <class Scalar>
void transpose(const Scalar* from, Index from_stride, Index rows, Index columns, Scalar* to, Index to_stride) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    constexpr Index n = L::width;
    const Index full_rows = rows / n * n, full_columns = columns / n * n;
    for (Index r = 0; r < full_rows; r += n)
      for (Index c = 0; c < full_columns; c += n) {
        typename L::V square[n];
#pragma GCC unroll 16
        for (int k = 0; k < n; ++k) L::load(from + (r + k) * from_stride + c, square[k]);
        transpose_square<L, n / 2>(square);
#pragma GCC unroll 16
        for (int k = 0; k < n; ++k) L::store(to + (c + k) * to_stride + r, square[k]);
      }
    for (Index r = 0; r < rows; ++r)
      for (Index c = r < full_rows ? full_columns : 0; c < columns; ++c)
        to[c * to_stride + r] = from[r * from_stride + c];
  });
}

/// From the user's matrix (features x samples) to a tile, and back.
template <class Scalar> void read(MatrixIn<Scalar> x, TileOut<Scalar> tile) {
  transpose<Scalar>(x.data(), x.outerStride(), x.cols(), x.rows(), tile.data, tile.stride);
}
template <class Scalar> void write(TileIn<Scalar> tile, MatrixRef<Scalar> x) {
  transpose<Scalar>(tile.data, tile.stride, tile.features, tile.samples, x.data(), x.outerStride());
}

}
}
}
