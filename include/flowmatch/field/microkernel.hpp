// SPDX-License-Identifier: MIT
// The one loop in which a net spends its time: a block of sums in registers. All three products of a layer use it.
#pragma once

#include <algorithm>

#include "flowmatch/core/simd.hpp"

namespace flowmatch::inline FLOWMATCH_ABI::detail {

/// Operands of sum_j[lane] += sum over k of a[k a_stride + lane] b[k b_depth + j b_column], k in order: every sum is
/// one chain, whatever the width of a vector.
template <class Scalar> struct Operands {
  const Scalar* a;
  Index a_stride;
  const Scalar* b;
  Index b_depth, b_column, depth;
};

/// The sums of `used` <= Columns columns from j0 on, for two vectors of lanes. start(sum, j, v) sets the sum of column
/// j, vector v, finish(sum, j, v) takes it. Columns beyond the used are computed in vain, as a repetition of the last.
template <class L, int Columns, class Start, class Finish>
FLOWMATCH_INLINE inline void multiply_add(const Operands<typename L::Scalar>& x, Index j0, Index used,
                                          const Start& start, const Finish& finish) {
  typename L::V sum[Columns][2];
#pragma GCC unroll 12
  for (int j = 0; j < Columns; ++j)
    if (j < used) {
      start(sum[j][0], j0 + j, 0);
      start(sum[j][1], j0 + j, 1);
    } else {
      sum[j][0] = sum[j][1] = typename L::V{};
    }
  const typename L::Scalar *a = x.a, *b = x.b + j0 * x.b_column;
  for (Index k = 0; k < x.depth; ++k, a += x.a_stride, b += x.b_depth) {
    typename L::V a0, a1;
    L::load(a, a0);
    L::load(a + L::width, a1);
#pragma GCC unroll 12
    for (int j = 0; j < Columns; ++j) {
      const typename L::Scalar bj = b[std::min<Index>(j, used - 1) * x.b_column];
      sum[j][0] += a0 * bj;
      sum[j][1] += a1 * bj;
    }
  }
#pragma GCC unroll 12
  for (int j = 0; j < Columns; ++j)
    if (j < used) {
      finish(sum[j][0], j0 + j, 0);
      finish(sum[j][1], j0 + j, 1);
    }
}

/// All columns 0 .. columns - 1, as many at a time as the registers hold, then four at a time.
template <class L, class Start, class Finish>
FLOWMATCH_INLINE inline void panel(const Operands<typename L::Scalar>& x, Index columns, const Start& start,
                                   const Finish& finish) {
  constexpr int block = L::width * sizeof(typename L::Scalar) == 64 ? 12 : 6, rest = 4;
  Index j = 0;
  for (; j + block <= columns; j += block) multiply_add<L, block>(x, j, block, start, finish);
  for (; j < columns; j += rest) multiply_add<L, rest>(x, j, std::min<Index>(rest, columns - j), start, finish);
}

}
