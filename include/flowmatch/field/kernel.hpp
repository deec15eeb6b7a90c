// SPDX-License-Identifier: MIT
// The boundary between mathematics and speed: the few operations on a tile that a net is made of.
//
// A tile holds up to tile_columns samples the other way round from the user's matrices: one row per sample, one column
// per feature, column-major. A feature of all samples is then contiguous, so that samples fill the vector lanes,
// weights are only broadcast and can be read where they are, and normalisation over features is elementwise.
#pragma once

#include <algorithm>
#include <utility>

#include "flowmatch/core/tile.hpp"
#include "flowmatch/field/microkernel.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

/// Columns of a batch that loss and sampler hand to a net at a time, so that activations stay in cache.
inline constexpr Index tile_columns = 128;

namespace detail {

template <class Scalar> using Tile = Eigen::Ref<std::type_identity_t<Matrix<Scalar>>>;  // samples x features
template <class Scalar> using TileIn = const Eigen::Ref<const std::type_identity_t<Matrix<Scalar>>>&;

/// One affine layer: views into the flat parameters, or into a gradient of the same order. The weight [out, in] in
/// row-major order (PyTorch's) is, byte for byte, the in x out matrix here.
template <class Scalar> struct Layer {
  using Plain = std::remove_const_t<Scalar>;
  template <class M> using View = Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, const M, M>>;
  View<Matrix<Plain>> weight;
  View<RowVector<Plain>> bias;
};

/// Scale and shift of a layer norm, or their gradients.
template <class Scalar> struct Norm {
  typename Layer<Scalar>::template View<RowVector<std::remove_const_t<Scalar>>> scale, shift;
};

template <class L>
inline constexpr int block_columns = L::width * sizeof(typename L::Scalar) == 64 ? 12 : 6;  // what registers can hold

/// z = W x + b, or z += W x + b where add: a residual block's end. Every sum runs over the inputs in order.
template <class Scalar> void product(const Layer<const Scalar>& layer, TileIn<Scalar> x, bool add, Tile<Scalar> z) {
  const Index in = layer.weight.rows(), out = layer.weight.cols(), samples = x.rows();
  const Index x_stride = x.outerStride(), z_stride = z.outerStride();
  const Scalar *input = x.data(), *weight = layer.weight.data(), *bias = layer.bias.data();
  Scalar* output = z.data();
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    for (Index s = 0; s < samples; s += 2 * L::width)
      panel<L, 2, block_columns<L>>(
          input + s, x_stride, weight, 1, in, in, 0, out, [](V& sum, Index, int) FLOWMATCH_INLINE { sum = V{}; },
          [=](const V& sum, Index o, int v) FLOWMATCH_INLINE {
            Scalar* p = output + o * z_stride + s + v * L::width;
            V value = sum + bias[o];
            if (add) {
              V before;
              L::load(p, before);
              value += before;
            }
            L::store(p, value);
          });
  });
}
template <class Scalar> void product(const Layer<const Scalar>& layer, TileIn<Scalar> x, Tile<Scalar> z) {
  product<Scalar>(layer, x, false, z);
}
template <class Scalar> void add_product(const Layer<const Scalar>& layer, TileIn<Scalar> x, Tile<Scalar> z) {
  product<Scalar>(layer, x, true, z);
}

/// dx = slope * W' dz, elementwise by the slope; without a slope dx = W' dz. The sum over outputs is cut into blocks,
/// so that the rows of W in use stay in cache; it is one chain all the same, continued where the last block left it.
template <class Scalar>
void back_product(const Layer<const Scalar>& layer, TileIn<Scalar> dz, const Scalar* slope, Index slope_stride,
                  Tile<Scalar> dx) {
  const Index in = layer.weight.rows(), out = layer.weight.cols(), samples = dz.rows();
  const Index dz_stride = dz.outerStride(), dx_stride = dx.outerStride();
  const Scalar *output = dz.data(), *weight = layer.weight.data();
  Scalar* input = dx.data();
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    constexpr Index block = 128;
    for (Index k = 0; k < out; k += block)
      for (Index s = 0; s < samples; s += 2 * L::width)
        panel<L, 2, block_columns<L>>(
            output + k * dz_stride + s, dz_stride, weight + k * in, in, 1, std::min(block, out - k), 0, in,
            [=](V& sum, Index i, int v) FLOWMATCH_INLINE {
              if (k == 0)
                sum = V{};
              else
                L::load(input + i * dx_stride + s + v * L::width, sum);
            },
            [=](const V& sum, Index i, int v) FLOWMATCH_INLINE {
              V value = sum;
              if (slope && k + block >= out) {
                V factor;
                L::load(slope + i * slope_stride + s + v * L::width, factor);
                value *= factor;
              }
              L::store(input + i * dx_stride + s + v * L::width, value);
            });
  });
}
template <class Scalar>
void back_product(const Layer<const Scalar>& layer, TileIn<Scalar> dz, TileIn<Scalar> slope, Tile<Scalar> dx) {
  back_product<Scalar>(layer, dz, slope.data(), slope.outerStride(), dx);
}
template <class Scalar> void back_product(const Layer<const Scalar>& layer, TileIn<Scalar> dz, Tile<Scalar> dx) {
  back_product<Scalar>(layer, dz, nullptr, 0, dx);
}

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
template <class L>
FLOWMATCH_INLINE inline void transpose(const typename L::Scalar* from, Index from_stride, Index rows, Index columns,
                                       typename L::Scalar* to, Index to_stride) {
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
}

/// The sum of term(s) over samples in 16 chains (s modulo 16) and a tree over them: fixed, yet fast.
template <class Term> FLOWMATCH_INLINE inline auto sum_of_lanes(Index samples, const Term& term) {
  decltype(term(0)) sums[16] = {};
  Index s = 0;
  for (; s + 16 <= samples; s += 16)
    for (int k = 0; k < 16; ++k) sums[k] += term(s + k);
  for (; s < samples; ++s) sums[s % 16] += term(s);
  for (int half = 8; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
  return sums[0];
}

/// dW += dz x', db += sum of dz over samples. Here the inputs fill the lanes, since they are what is contiguous in a
/// row of W: x is turned round, 32 features at a time. Samples are added in their order, so that tiles do not show in
/// W's bits; db adds 16 partial sums (samples modulo 16) in each tile.
template <class Scalar> void gradient_product(TileIn<Scalar> x, TileIn<Scalar> dz, Layer<Scalar> gradient) {
  const Index in = gradient.weight.rows(), out = gradient.weight.cols(), samples = x.rows();
  const Index x_stride = x.outerStride(), dz_stride = dz.outerStride();
  const Scalar *input = x.data(), *output = dz.data();
  Scalar *weight = gradient.weight.data(), *bias = gradient.bias.data();
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    constexpr Index features = 32;
    alignas(64) Scalar turned[tile_columns * features];  // sample s: features i .. i + 31 at turned + 32 s
    for (Index first = 0; first < samples; first += tile_columns)
      for (Index i = 0; i < in; i += features) {
        const Index n = std::min(tile_columns, samples - first), here = std::min(features, in - i);
        if (here < features) std::fill(turned, turned + n * features, Scalar(0));
        transpose<L>(input + i * x_stride + first, x_stride, here, n, turned, features);
        for (Index lane = 0; lane < here; lane += 2 * L::width) {
          Scalar* column = weight + i + lane;
          const Index left = here - lane;
          panel<L, 2, block_columns<L>>(
              turned + lane, features, output + first, 1, dz_stride, n, 0, out,
              [=](V& sum, Index o, int v)
                  FLOWMATCH_INLINE { L::load(column + o * in + v * L::width, left - v * L::width, sum); },
              [=](const V& sum, Index o, int v)
                  FLOWMATCH_INLINE { L::store(column + o * in + v * L::width, left - v * L::width, sum); });
        }
      }
  });
  for (Index o = 0; o < out; ++o) bias[o] += sum_of_lanes(samples, [=](Index s) { return output[o * dz_stride + s]; });
}

}
}
