// SPDX-License-Identifier: MIT
// Choosing training samples: independent draws with replacement, columns by their numbers, and shuffled passes in which
// every sample appears once.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// Puts a random selection of `count` distinct entries, in random order, at the front of `order` (Fisher-Yates): for
/// k = 0, 1, ... entry k trades places with entry k + i, i an index below order.size() - k. Each i takes its own Philox
/// block.
inline void shuffle_front(Rng& rng, std::span<Index> order, Index count) {
  const Index n = Index(order.size());
  for (Index k = 0; k < count; ++k) {
    Index i = 0;
    fill_below(rng, n - k, {&i, 1});
    std::swap(order[std::size_t(k)], order[std::size_t(k + i)]);
  }
}

/// to_j = from_i
template <class Scalar> void copy_column(MatrixIn<Scalar> from, Index i, Matrix<Scalar>& to, Index j) {
  std::copy_n(from.data() + i * from.outerStride(), from.rows(), to.data() + j * to.rows());
}

}

/// Fills x with columns of data, drawn independently and with replacement: x_j = data_i, i uniform. data: dim x n, n >=
/// 1; x: dim x any number, its size is the caller's. Uses the random numbers of one fill_below of x.cols() indices.
/// Throws std::invalid_argument if the rows differ, data has no column, or x is part of data. Does not allocate.
template <Real Scalar> void draw_columns(Rng& rng, MatrixIn<Scalar> data, Matrix<Scalar>& x) {
  detail::check_rows("draw_columns", "x", x.rows(), data.rows());
  detail::check_at_least("draw_columns", "data.cols()", data.cols(), 1);
  if (detail::overlap(x, data)) detail::fail("draw_columns", {"x must not share memory with data"});
  // 64 indices are 32 whole Philox blocks, so that drawing them piece by piece does not change the numbers.
  std::array<Index, 64> chunk;
  for (Index j = 0; j < x.cols(); j += 64) {
    const std::span<Index> indices(chunk.data(), std::size_t(std::min<Index>(64, x.cols() - j)));
    fill_below(rng, data.cols(), indices);
    for (Index k = 0; k < Index(indices.size()); ++k)
      detail::copy_column<Scalar>(data, indices[std::size_t(k)], x, j + k);
  }
}

/// x_j = data_i with i = indices[j]. data: dim x n; x is resized to dim x indices.size() and must not be data itself.
/// Throws std::invalid_argument if an index is not in [0, n). Allocates only when the size of x changes.
template <Real Scalar> void take_columns(MatrixIn<Scalar> data, std::span<const Index> indices, Matrix<Scalar>& x) {
  x.resize(data.rows(), Index(indices.size()));
  for (Index j = 0; j < x.cols(); ++j) {
    const Index i = indices[std::size_t(j)];
    if (i < 0 || i >= data.cols())
      detail::fail("take_columns", {"expected indices in [0, ", data.cols(), "), got ", i, " at position ", j});
    detail::copy_column<Scalar>(data, i, x, j);
  }
}

/// State of an Epoch: the generator as it was before the current shuffle, and how many indices of the pass were drawn.
struct EpochPosition {
  Rng pass{0};
  Index drawn = 0;

  friend bool operator==(const EpochPosition&, const EpochPosition&) = default;
};

/// Passes over `samples` samples, each pass in a new random order; take_columns then picks data, labels and conditions
/// by the same indices.
class Epoch {
 public:
  /// Throws std::invalid_argument unless samples >= 1. Allocates all that draws of up to `samples` indices need.
  explicit Epoch(Index samples) {
    detail::check_at_least("Epoch", "samples", samples, 1);
    order_.resize(std::size_t(samples));
    batch_.reserve(std::size_t(samples));
    next_ = samples;
  }

  /// The next n indices, valid until the next draw. A batch that reaches the end of a pass continues in the next one,
  /// so that its size is constant. A pass is shuffled when its first index is drawn, from the natural order, and so
  /// depends on rng at that moment alone. Throws std::invalid_argument unless n >= 1. Does not allocate if n <=
  /// samples.
  std::span<const Index> draw(Rng& rng, Index n) {
    detail::check_at_least("Epoch::draw", "n", n, 1);
    batch_.clear();
    while (Index(batch_.size()) < n) {
      const Index samples = Index(order_.size());
      if (next_ == samples) shuffle(rng);
      const Index count = std::min(n - Index(batch_.size()), samples - next_);
      for (const Index end = next_ + count; next_ < end; ++next_) batch_.push_back(order_[std::size_t(next_)]);
    }
    return batch_;
  }

  EpochPosition position() const { return {pass_, next_}; }
  /// Goes to a position of an Epoch of as many samples: from here on both draw the same. Throws std::invalid_argument
  /// unless 0 <= drawn <= samples; then nothing has changed.
  void seek(const EpochPosition& position) {
    detail::check_at_least("Epoch::seek", "drawn", position.drawn, 0);
    detail::check_at_least("Epoch::seek", "samples", order_.size(), position.drawn);
    Rng rng = position.pass;
    shuffle(rng);
    next_ = position.drawn;
  }

 private:
  void shuffle(Rng& rng) {
    pass_ = rng;
    std::iota(order_.begin(), order_.end(), Index(0));
    detail::shuffle_front(rng, order_, Index(order_.size()));
    next_ = 0;
  }

  std::vector<Index> order_, batch_;
  Index next_ = 0;
  Rng pass_{0};
};

}
}
