// SPDX-License-Identifier: MIT
// The one loop in which a net spends its time: a block of sums in registers. All three products of a layer use it, so
// that it is compiled once for each instruction set and order of the weights.
#pragma once

#include <algorithm>

#include "flowmatch/kernel/instruction_set.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// What becomes of a finished sum, given the number or vector `with` of its column.
enum class Finish { store, add_with, add_with_and_before, multiply_with };

/// Operands and results of c_j[lane] = sum over k of a_k[lane] b_kj, with k in order: every sum is one chain, whatever
/// the width of a vector. a_k is at a + k a_stride, and c_j at c + j c_stride. Either the b of one column are
/// contiguous and columns are b_stride apart, or those of one k are contiguous and the k are b_stride apart.
template <class Scalar> struct Sums {
  const Scalar* a;
  Index a_stride;
  const Scalar* b;
  Index b_stride, depth;
  Scalar* c;
  Index c_stride;
  bool continued = false;  ///< the sums start from what c holds, not from zero
  Finish finish = Finish::store;
  const Scalar* with = nullptr;  ///< with[j], or for multiply_with a vector at with + j with_stride
  Index with_stride = 0;
};

/// The columns j .. j + used - 1, 1 <= used <= Columns, for the two vectors of lanes from `lane` on. Columns beyond the
/// used repeat the last one, with the same sums.
template <class L, int Columns, bool contiguous_depth>
FLOWMATCH_INLINE inline void multiply_add(const Sums<typename L::Scalar>& x, Index lane, Index j, Index used) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  const auto column = [&](int i) FLOWMATCH_INLINE { return std::min<Index>(i, used - 1); };
  V sum[Columns][2] = {}, v;
  Scalar* const c = x.c + j * x.c_stride + lane;
  const Scalar* with = x.with;
  if (x.continued) {
#pragma GCC unroll 12
    for (int i = 0; i < Columns; ++i) {
      L::load(c + column(i) * x.c_stride, sum[i][0]);
      L::load(c + column(i) * x.c_stride + L::width, sum[i][1]);
    }
  }
  const Index b_depth = contiguous_depth ? 1 : x.b_stride, b_column = contiguous_depth ? x.b_stride : 1;
  const Scalar *a = x.a + lane, *b = x.b + j * b_column;
  for (Index k = 0; k < x.depth; ++k, a += x.a_stride, b += b_depth) {
    V a0, a1;
    L::load(a, a0);
    L::load(a + L::width, a1);
#pragma GCC unroll 12
    for (int i = 0; i < Columns; ++i) {
      const Scalar bi = b[column(i) * b_column];
      sum[i][0] += a0 * bi;
      sum[i][1] += a1 * bi;
    }
  }
  if (x.finish == Finish::add_with || x.finish == Finish::add_with_and_before) {
#pragma GCC unroll 12
    for (int i = 0; i < Columns; ++i) {
      sum[i][0] += with[j + column(i)];
      sum[i][1] += with[j + column(i)];
    }
  }
  if (x.finish == Finish::add_with_and_before) {
#pragma GCC unroll 12
    for (int i = 0; i < Columns; ++i) {
      L::load(c + column(i) * x.c_stride, v);
      sum[i][0] += v;
      L::load(c + column(i) * x.c_stride + L::width, v);
      sum[i][1] += v;
    }
  }
  if (x.finish == Finish::multiply_with) {
    with += j * x.with_stride + lane;
#pragma GCC unroll 12
    for (int i = 0; i < Columns; ++i) {
      L::load(with + column(i) * x.with_stride, v);
      sum[i][0] *= v;
      L::load(with + column(i) * x.with_stride + L::width, v);
      sum[i][1] *= v;
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < Columns; ++i) {
    L::store(c + column(i) * x.c_stride, sum[i][0]);
    L::store(c + column(i) * x.c_stride + L::width, sum[i][1]);
  }
}

/// All columns 0 .. columns - 1 for lanes 0 .. lanes - 1, rounded up to whole vectors: as many columns at a time as the
/// registers hold, then four at a time. Where there is something wider, the baseline does without the larger block.
template <bool contiguous_depth, class Scalar> void add_up(const Sums<Scalar>& x, Index columns, Index lanes) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    constexpr bool narrow = L::bytes < widest_bytes && L::bytes == baseline_bytes;
    constexpr int rest = 4, block = L::bytes == 64 ? 12 : narrow ? rest : 6;
    for (Index lane = 0; lane < lanes; lane += 2 * L::width) {
      Index j = 0;
      if constexpr (block > rest)
        for (; j + block <= columns; j += block) multiply_add<L, block, contiguous_depth>(x, lane, j, block);
      for (; j < columns; j += rest)
        multiply_add<L, rest, contiguous_depth>(x, lane, j, std::min<Index>(rest, columns - j));
    }
  });
}

}
}
}
