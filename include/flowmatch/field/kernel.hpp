// SPDX-License-Identifier: MIT
// The boundary between mathematics and speed: the few operations on a tile that a net is made of.
// Samples fill the vector lanes; weights are only broadcast and can be read where they are.
#pragma once

#include <algorithm>

#include "flowmatch/core/tile.hpp"
#include "flowmatch/field/microkernel.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

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
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    for (Index s = 0; s < x.samples; s += 2 * L::width)
      panel<L>(
          {x.data + s, x.stride, layer.weight, 1, layer.in, layer.in}, layer.out,
          [](V& sum, Index, int) FLOWMATCH_INLINE { sum = V{}; },
          [=](const V& sum, Index o, int v) FLOWMATCH_INLINE {
            Scalar* to = z.feature(o) + s + v * L::width;
            V value = sum + layer.bias[o];
            if (add) {
              V before;
              L::load(to, before);
              value += before;
            }
            L::store(to, value);
          });
  });
}

/// dx = slope * W' dz, elementwise by the slope; without a slope (data is null) dx = W' dz. The sum over outputs is cut
/// into blocks, so that the rows of W in use stay in cache; it is one chain all the same, continued where the last
/// block left it.
template <class Scalar>
void back_product(const Layer<const Scalar>& layer, TileIn<Scalar> dz, TileIn<Scalar> slope, TileOut<Scalar> dx) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    constexpr Index block = 128;
    for (Index k = 0; k < layer.out; k += block)
      for (Index s = 0; s < dz.samples; s += 2 * L::width)
        panel<L>(
            {dz.feature(k) + s, dz.stride, layer.weight + k * layer.in, layer.in, 1, std::min(block, layer.out - k)},
            layer.in,
            [=](V& sum, Index i, int v) FLOWMATCH_INLINE {
              sum = V{};
              if (k > 0) L::load(dx.feature(i) + s + v * L::width, sum);
            },
            [=](const V& sum, Index i, int v) FLOWMATCH_INLINE {
              V value = sum;
              if (slope.data && k + block >= layer.out) {
                V factor;
                L::load(slope.feature(i) + s + v * L::width, factor);
                value *= factor;
              }
              L::store(dx.feature(i) + s + v * L::width, value);
            });
  });
}

/// sums[k] += sum over samples of a's feature k, with `product` times b's: in 16 chains (sample modulo 16) and a tree
/// over them, fixed, yet fast, since the trees of 16 features are added at once, turned round.
template <bool product, class Scalar> void add_sums(TileIn<Scalar> a, TileIn<Scalar> b, Scalar* sums) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    constexpr Index chains = 16;
    alignas(64) Scalar chain[chains * chains] = {}, turned[chains * chains];  // zeros: no operand is left to chance
    for (Index first = 0; first < a.features; first += chains) {
      const Index n = std::min(chains, a.features - first), whole = a.samples / chains * chains;
      for (Index k = 0; k < n; ++k) {
        const Scalar *x = a.feature(first + k), *y = product ? b.feature(first + k) : x;
        V sum[chains / L::width] = {};
        const auto add = [&](const Scalar* p, const Scalar* q) FLOWMATCH_INLINE {
#pragma GCC unroll 8
          for (int v = 0; v < chains / L::width; ++v) {
            V term, factor;
            L::load(p + v * L::width, term);
            L::load(q + v * L::width, factor);
            sum[v] += product ? term * factor : term;
          }
        };
        for (Index s = 0; s < whole; s += chains) add(x + s, y + s);
        if (whole < a.samples) {
          Scalar last[2][chains] = {};
          std::copy(x + whole, x + a.samples, last[0]);
          std::copy(y + whole, y + a.samples, last[1]);
          add(last[0], last[1]);
        }
        std::memcpy(chain + k * chains, sum, sizeof(sum));
      }
      transpose(chain, chains, chains, chains, turned, chains);
      for (Index half = chains / 2; half > 0; half /= 2)
        for (Index k = 0; k < half * chains; k += L::width) {
          V one, other;
          L::load(turned + k, one);
          L::load(turned + half * chains + k, other);
          L::store(turned + k, one + other);
        }
      for (Index k = 0; k < n; ++k) sums[first + k] += turned[k];
    }
  });
}

/// sums[k row + lane column] += sum over samples of x(lane) y(k) for 32 lanes at most: x turned round, sample s at
/// x + 32 s. Sums that are no whole vectors in memory go through a small copy.
template <class Scalar>
void gradient_panel(const Scalar* x, Index lanes, TileIn<Scalar> y, Scalar* sums, Index row, Index column) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    constexpr Index block = 2 * L::width, few = 4;
    alignas(64) Scalar copy[few * block] = {};
    for (Index lane = 0; lane < lanes; lane += block) {
      const Index n = std::min(block, lanes - lane);
      const bool copied = n < block || column != 1;
      for (Index first = 0; first < y.features; first += copied ? few : y.features) {
        const Index m = copied ? std::min(few, y.features - first) : y.features;
        Scalar* corner = sums + first * row + lane * column;
        if (copied)
          for (Index k = 0; k < m; ++k)
            for (Index i = 0; i < n; ++i) copy[k * block + i] = corner[k * row + i * column];
        Scalar* to = copied ? copy : corner;
        const Index stride = copied ? block : row;
        panel<L>(
            {x + lane, 32, y.feature(first), 1, y.stride, y.samples}, m,
            [=](V& sum, Index k, int v) FLOWMATCH_INLINE { L::load(to + k * stride + v * L::width, sum); },
            [=](const V& sum, Index k, int v) FLOWMATCH_INLINE { L::store(to + k * stride + v * L::width, sum); });
        if (copied)
          for (Index k = 0; k < m; ++k)
            for (Index i = 0; i < n; ++i) corner[k * row + i * column] = copy[k * block + i];
      }
    }
  });
}

/// dW += dz x', db += sum of dz over samples. Here the inputs fill the lanes, since they are what is contiguous in a
/// row of W, or the outputs where the inputs are few; what fills them is turned round, 32 features at a time. Samples
/// are added in their order, so that tiles do not show in W's bits; db adds 16 partial sums (samples modulo 16) in each
/// tile.
template <class Scalar> void gradient_product(TileIn<Scalar> x, TileIn<Scalar> dz, const Layer<Scalar>& gradient) {
  constexpr Index most = 32;
  alignas(64) Scalar turned[tile_columns * most];
  const bool narrow = x.features <= 16 && 4 * x.features <= dz.features;
  const auto lanes = narrow ? dz : x, columns = narrow ? x : dz;
  const Index row = narrow ? 1 : gradient.in, column = narrow ? gradient.in : 1;
  for (Index first = 0; first < x.samples; first += tile_columns)
    for (Index i = 0; i < lanes.features; i += most) {
      const Index n = std::min(tile_columns, x.samples - first), here = std::min(most, lanes.features - i);
      if (here < most) std::fill_n(turned, n * most, Scalar(0));
      transpose(lanes.feature(i) + first, lanes.stride, here, n, turned, most);
      gradient_panel<Scalar>(turned, here, columns.samples_from(first, n), gradient.weight + i * column, row, column);
    }
  add_sums<false, Scalar>(dz, {}, gradient.bias);
}

}
}
