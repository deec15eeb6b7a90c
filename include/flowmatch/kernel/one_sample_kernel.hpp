// SPDX-License-Identifier: MIT
// The products and the layer norm of a net for one sample at a time. With a single sample there is nothing to fill the
// vector lanes but the outputs of a layer, so the weights are kept the other way round: in + 1 rows of `stride`
// outputs, the last row is the bias. Every sum has the order that it has in the kernels for tiles: the sample gets the
// same bits. Needs no Eigen.
#pragma once

#include <cmath>

#include "flowmatch/kernel/vectors.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_VERSION {
namespace simd {

/// As many sums at a time as hide their latency, in vectors.
template <class L> inline constexpr int most_sums = L::bytes == 64 ? 4 : 8;

/// z = W x + b, or z += W x + b where add, for the outputs of `vectors` vectors, the first of them at transposed and z.
template <class L, int vectors>
FLOWMATCH_INLINE inline void product_single(const typename L::Scalar* transposed, std::ptrdiff_t in,
                                            std::ptrdiff_t stride, const typename L::Scalar* x, bool add,
                                            typename L::Scalar* z) {
  typename L::V sum[vectors] = {}, v;
  for (std::ptrdiff_t i = 0; i < in; ++i, transposed += stride) {
#pragma GCC unroll 8
    for (int k = 0; k < vectors; ++k) {
      L::load(transposed + k * L::width, v);
      sum[k] += v * x[i];
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < vectors; ++k) {
    L::load(transposed + k * L::width, v);
    sum[k] += v;
    if (add) {
      L::load(z + k * L::width, v);
      sum[k] += v;
    }
    L::store(z + k * L::width, sum[k]);
  }
}

/// y = scale n + shift with n = (z - mean) / sqrt(variance + 1e-5), as normalize; all are padded to whole vectors. The
/// sums have vectors whose lanes are equal: a compiler may turn a loop over single numbers into other roundings (a
/// product of its own and then a sum, say, instead of a fused one).
template <class L>
FLOWMATCH_INLINE inline void normalize_single(const typename L::Scalar* scale, const typename L::Scalar* shift,
                                              const typename L::Scalar* z, std::ptrdiff_t features,
                                              typename L::Scalar* y) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  V mean = {}, variance = {}, v;
  for (std::ptrdiff_t k = 0; k < features; ++k) mean += z[k];
  mean /= Scalar(features);
  for (std::ptrdiff_t k = 0; k < features; ++k) {
    v = z[k] - mean;
    variance += v * v;
  }
  variance = variance / Scalar(features) + Scalar(1e-5);
  const V deviation = V{} + 1 / std::sqrt(L::first(variance));
  for (std::ptrdiff_t k = 0; k < features; k += L::width) {
    V factor, summand;
    L::load(z + k, v);
    L::load(scale + k, factor);
    L::load(shift + k, summand);
    v = (v - mean) * deviation;
    L::store(y + k, v * factor + summand);
  }
}

}
}
}
