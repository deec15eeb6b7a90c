// SPDX-License-Identifier: MIT
// The boundary between mathematics and speed: the few operations on a tile that a net is made of.
// Samples fill the vector lanes; weights are only broadcast and can be read where they are.
#pragma once

#include <algorithm>

#include "flowmatch/kernel/microkernel.hpp"
#include "flowmatch/kernel/tile.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// One affine layer: pointers into the flat parameters, or into a gradient of the same order. The weight [out, in] is
/// row-major, PyTorch's order.
template <class Scalar> struct Layer {
  Scalar *weight, *bias;
  Index in, out;
};

/// Scale and shift of a layer norm, or their gradients.
template <class Scalar> struct Norm { Scalar *scale, *shift; };

/// z = W x + b, or z += W x + b where add: a residual block's end. Every sum runs over the inputs in order.
template <class Scalar> void product(const Layer<const Scalar>& layer, TileIn<Scalar> x, bool add, TileOut<Scalar> z) {
  add_up<true, Scalar>({.a = x.data,
                        .a_stride = x.stride,
                        .b = layer.weight,
                        .b_stride = layer.in,
                        .depth = layer.in,
                        .c = z.data,
                        .c_stride = z.stride,
                        .finish = add ? Finish::add_with_and_before : Finish::add_with,
                        .with = layer.bias},
                       layer.out, x.samples);
}

/// dx = slope * W' dz, elementwise by the slope; without a slope (data is null) dx = W' dz. The sum over outputs is cut
/// into blocks, so that the rows of W in use stay in cache; it is one chain all the same, continued where the last
/// block left it.
template <class Scalar>
void product_backward(const Layer<const Scalar>& layer, TileIn<Scalar> dz, TileIn<Scalar> slope, TileOut<Scalar> dx) {
  constexpr Index block = 128;
  for (Index k = 0; k < layer.out; k += block)
    add_up<false, Scalar>({.a = dz.feature(k),
                           .a_stride = dz.stride,
                           .b = layer.weight + k * layer.in,
                           .b_stride = layer.in,
                           .depth = std::min(block, layer.out - k),
                           .c = dx.data,
                           .c_stride = dx.stride,
                           .continued = k > 0,
                           .finish = slope.data && k + block >= layer.out ? Finish::multiply_with : Finish::store,
                           .with = slope.data,
                           .with_stride = slope.stride},
                          layer.in, dz.samples);
}

/// sums[k] += sum over samples of a's feature k, times b's unless its data is null: in 16 chains (sample modulo 16) and
/// a tree over them, fixed, yet fast, since the trees of 16 features are added at once, transposed.
template <class Scalar> void add_sums(TileIn<Scalar> a, TileIn<Scalar> b, Scalar* sums) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    constexpr Index chains = 16;
    alignas(64) Scalar chain[chains * chains] = {}, transposed[chains * chains];  // zeros where there is no feature
    Scalar ones[chains];
    std::fill_n(ones, chains, Scalar(1));
    for (Index first = 0; first < a.features; first += chains) {
      const Index n = std::min(chains, a.features - first), whole = a.samples / chains * chains;
      for (Index k = 0; k < n; ++k) {
        const Scalar *x = a.feature(first + k), *y = b.data ? b.feature(first + k) : ones;
        V sum[chains / L::width] = {};
        const auto add = [&](const Scalar* p, const Scalar* q) FLOWMATCH_INLINE {
#pragma GCC unroll 8
          for (int v = 0; v < chains / L::width; ++v) {
            V term, factor;
            L::load(p + v * L::width, term);
            L::load(q + v * L::width, factor);
            sum[v] += term * factor;
          }
        };
        for (Index s = 0; s < whole; s += chains) add(x + s, b.data ? y + s : y);
        if (whole < a.samples) {
          Scalar last[2][chains] = {};
          std::copy(x + whole, x + a.samples, last[0]);
          std::copy_n(b.data ? y + whole : y, a.samples - whole, last[1]);
          add(last[0], last[1]);
        }
        std::memcpy(chain + k * chains, sum, sizeof(sum));
      }
      transpose(chain, chains, chains, chains, transposed, chains);
      for (Index half = chains / 2; half > 0; half /= 2)
        for (Index k = 0; k < half * chains; k += L::width) {
          V one, other;
          L::load(transposed + k, one);
          L::load(transposed + half * chains + k, other);
          L::store(transposed + k, one + other);
        }
      for (Index k = 0; k < n; ++k) sums[first + k] += transposed[k];
    }
  });
}

/// sums[k row + lane column] += sum over samples of x(lane) y(k) for 32 lanes at most: x transposed, sample s at
/// x + 32 s. Sums that are no whole block in memory go through a small copy.
template <class Scalar>
void gradient_panel(const Scalar* x, Index lanes, TileIn<Scalar> y, Scalar* sums, Index row, Index column) {
  constexpr Index block = lane_block, few = 4;
  const auto add = [&](Index first, Index columns, Scalar* to, Index stride) {
    add_up<true, Scalar>({.a = x,
                          .a_stride = block,
                          .b = y.feature(first),
                          .b_stride = y.stride,
                          .depth = y.samples,
                          .c = to,
                          .c_stride = stride,
                          .continued = true},
                         columns, lanes);
  };
  if (lanes == block && column == 1) return add(0, y.features, sums, row);
  alignas(64) Scalar copy[few * block] = {};
  for (Index first = 0; first < y.features; first += few) {
    const Index m = std::min(few, y.features - first);
    Scalar* corner = sums + first * row;
    for (Index k = 0; k < m; ++k)
      for (Index i = 0; i < lanes; ++i) copy[k * block + i] = corner[k * row + i * column];
    add(first, m, copy, block);
    for (Index k = 0; k < m; ++k)
      for (Index i = 0; i < lanes; ++i) corner[k * row + i * column] = copy[k * block + i];
  }
}

/// dW += dz x', db += sum of dz over samples. Here the inputs fill the lanes, since they are what is contiguous in a
/// row of W, or the outputs where the inputs are few; what fills them is transposed, 32 features at a time. Samples
/// are added in their order, so that tiles do not show in W's bits; db adds 16 partial sums (samples modulo 16) in each
/// tile.
template <class Scalar> void gradient_product(TileIn<Scalar> x, TileIn<Scalar> dz, const Layer<Scalar>& gradient) {
  alignas(64) Scalar transposed[tile_columns * lane_block];
  const bool narrow = x.features <= 16 && 4 * x.features <= dz.features;
  const auto lanes = narrow ? dz : x, columns = narrow ? x : dz;
  const Index row = narrow ? 1 : gradient.in, column = narrow ? gradient.in : 1;
  for (Index first = 0; first < x.samples; first += tile_columns)
    for (Index i = 0; i < lanes.features; i += lane_block) {
      const Index n = std::min(tile_columns, x.samples - first), here = std::min(lane_block, lanes.features - i);
      if (here < lane_block) std::fill_n(transposed, n * lane_block, Scalar(0));
      transpose(lanes.feature(i) + first, lanes.stride, here, n, transposed, lane_block);
      gradient_panel<Scalar>(transposed, here, columns.samples_from(first, n), gradient.weight + i * column, row,
                             column);
    }
  add_sums<Scalar>(dz, {}, gradient.bias);
}

}
}
}
