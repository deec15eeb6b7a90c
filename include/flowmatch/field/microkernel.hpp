// SPDX-License-Identifier: MIT
// The one loop in which a net spends its time: a block of sums in registers, all three products of a layer use it.
#pragma once

#include "flowmatch/core/simd.hpp"

namespace flowmatch::inline FLOWMATCH_ABI::detail {

/// acc[j][v] += sum over k of a[k][lane] b(k, j), k in order: every sum is one chain, whatever the width of a vector.
/// a: rows of stride a_stride; b(k, j) = b[k b_depth + j b_column].
template <class L, int Vectors, int Columns, class Accumulators>
FLOWMATCH_INLINE inline void multiply_add(const typename L::Scalar* a, Index a_stride, const typename L::Scalar* b,
                                          Index b_depth, Index b_column, Index depth, Accumulators& acc) {
  for (Index k = 0; k < depth; ++k, a += a_stride, b += b_depth) {
    typename L::V av[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) L::load(a + v * L::width, av[v]);
#pragma GCC unroll 12
    for (int j = 0; j < Columns; ++j) {
      const typename L::Scalar bj = b[j * b_column];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) acc[j][v] += av[v] * bj;
    }
  }
}

/// All columns begin .. end - 1 of one panel of Vectors vectors of lanes, Columns at a time, then a third, then one.
/// start(sum, j, v) sets the sum of column j, vector v, finish(sum, j, v) takes it.
template <class L, int Vectors, int Columns, class Start, class Finish>
FLOWMATCH_INLINE inline void panel(const typename L::Scalar* a, Index a_stride, const typename L::Scalar* b,
                                   Index b_depth, Index b_column, Index depth, Index begin, Index end,
                                   const Start& start, const Finish& finish) {
  for (; end - begin >= Columns; begin += Columns) {
    typename L::V acc[Columns][Vectors];
#pragma GCC unroll 12
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) start(acc[j][v], begin + j, v);
    multiply_add<L, Vectors, Columns>(a, a_stride, b + begin * b_column, b_depth, b_column, depth, acc);
#pragma GCC unroll 12
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) finish(acc[j][v], begin + j, v);
  }
  if constexpr (Columns > 1)
    if (begin < end)
      panel<L, Vectors,
            (Columns > 8   ? 8
             : Columns > 4 ? 4
                           : Columns / 2)>(a, a_stride, b, b_depth, b_column, depth, begin, end, start, finish);
}

}
