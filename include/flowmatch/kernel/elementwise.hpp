// SPDX-License-Identifier: MIT
// The other operations on a tile: activations, time features and layer norm. A sample stays in its lane, so that all of
// them are elementwise and nothing is summed across lanes.
#pragma once

#include <cmath>

#include "flowmatch/kernel/activation_name.hpp"
#include "flowmatch/kernel/products.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// y = f(z), slope = f'(z). y may be z.
template <class Scalar> void activate(Activation f, TileIn<Scalar> z, TileOut<Scalar> y, TileOut<Scalar> slope) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    for (Index k = 0; k < z.features; ++k)
      for (Index s = 0; s < z.samples; s += L::width) {
        typename L::V a, b, c;
        L::load(z.feature(k) + s, a);
        evaluate<L>(f, a, b, c);
        L::store(y.feature(k) + s, b);
        L::store(slope.feature(k) + s, c);
      }
  });
}

/// y = f(W x + b), slope = f'(W x + b), a few samples at a time, so that the sums are still in the nearest cache.
template <class Scalar>
void product(const Layer<const Scalar>& layer, TileIn<Scalar> x, Activation f, TileOut<Scalar> y,
             TileOut<Scalar> slope) {
  for (Index s = 0; s < x.samples; s += lane_block) {
    const Index n = std::min(lane_block, x.samples - s);
    const auto few = y.samples_from(s, n);
    product<Scalar>(layer, x.samples_from(s, n), false, few);
    activate<Scalar>(f, few, few, slope.samples_from(s, n));
  }
}

/// sine = sin(k pi t), cosine = cos(k pi t) for each sample, columns k = 1, 2, ... of two tiles.
template <class Scalar> void time_features(TileIn<Scalar> t, TileOut<Scalar> sine, TileOut<Scalar> cosine) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    for (Index k = 1; k <= sine.features; ++k)
      for (Index s = 0; s < t.samples; s += L::width) {
        typename L::V turn, c, v;
        L::load(t.data + s, turn);
        turn *= Scalar(k) / 2;
        fraction<L>(turn);
        cos_sin_of_turn<L>(turn, c, v);
        L::store(sine.feature(k - 1) + s, v);
        L::store(cosine.feature(k - 1) + s, c);
      }
  });
}

/// Layer norm over the features of each sample (Ba et al. 2016; eq. 10): n = (z - mean) / sqrt(variance + 1e-5) with
/// the biased variance, y = scale n + shift. Keeps n and inverse_deviation (samples x 1) for normalize_backward. A
/// sample stays in its lane, so that nothing is summed across lanes.
template <class Scalar>
void normalize(const Norm<const Scalar>& norm, TileIn<Scalar> z, TileOut<Scalar> n, TileOut<Scalar> inverse_deviation,
               TileOut<Scalar> y) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    for (Index s = 0; s < z.samples; s += L::width) {
      V mean = {}, variance = {}, v;
      for (Index k = 0; k < z.features; ++k) {
        L::load(z.feature(k) + s, v);
        mean += v;
      }
      mean /= Scalar(z.features);
      for (Index k = 0; k < z.features; ++k) {
        L::load(z.feature(k) + s, v);
        v -= mean;
        variance += v * v;
      }
      variance = variance / Scalar(z.features) + Scalar(1e-5);
      for (int lane = 0; lane < L::width; ++lane) variance[lane] = std::sqrt(variance[lane]);
      const V deviation = Scalar(1) / variance;
      L::store(inverse_deviation.data + s, deviation);
      for (Index k = 0; k < z.features; ++k) {
        L::load(z.feature(k) + s, v);
        v = (v - mean) * deviation;
        L::store(n.feature(k) + s, v);
        L::store(y.feature(k) + s, v * norm.scale[k] + norm.shift[k]);
      }
    }
  });
}

/// The tangents of a plain layer's activation: da = slope * dz. Each sample may have several: column j of dz and da
/// belongs to sample j modulo the samples of slope. da must not alias dz: stores are whole vectors and may run into the
/// next block.
template <class Scalar> void activate_tangent(TileIn<Scalar> slope, TileIn<Scalar> dz, TileOut<Scalar> da) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    for (Index k = 0; k < dz.features; ++k)
      for (Index first = 0; first < dz.samples; first += slope.samples)
        for (Index s = 0; s < slope.samples; s += L::width) {
          typename L::V factor, d;
          L::load(slope.feature(k) + s, factor);
          L::load(dz.feature(k) + first + s, d);
          L::store(da.feature(k) + first + s, factor * d);
        }
  });
}

/// The tangents of layer norm with the activation after it, from what normalize and activate kept:
/// da = slope scale (dz - mean(dz) - n mean(dz n)) inverse_deviation (eq. 30). Columns as in activate_tangent.
template <class Scalar>
void normalize_tangent(const Norm<const Scalar>& norm, TileIn<Scalar> n, TileIn<Scalar> inverse_deviation,
                       TileIn<Scalar> slope, TileIn<Scalar> dz, TileOut<Scalar> da) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    for (Index first = 0; first < dz.samples; first += n.samples)
      for (Index s = 0; s < n.samples; s += L::width) {
        V sum = {}, product_sum = {}, deviation, v, d, factor;
        for (Index k = 0; k < n.features; ++k) {
          L::load(n.feature(k) + s, v);
          L::load(dz.feature(k) + first + s, d);
          sum += d;
          product_sum += d * v;
        }
        sum /= Scalar(n.features);
        product_sum /= Scalar(n.features);
        L::load(inverse_deviation.data + s, deviation);
        for (Index k = 0; k < n.features; ++k) {
          L::load(n.feature(k) + s, v);
          L::load(slope.feature(k) + s, factor);
          L::load(dz.feature(k) + first + s, d);
          L::store(da.feature(k) + first + s, factor * norm.scale[k] * (d - sum - v * product_sum) * deviation);
        }
      }
  });
}

/// Backward pass of normalize: dz += (d - mean(d) - n mean(d n)) inverse_deviation with d = scale dy, dscale += sum dy
/// n, dshift += sum dy; without a gradient (its pointers are null) dz alone.
template <class Scalar>
void normalize_backward(const Norm<const Scalar>& norm, TileIn<Scalar> n, TileIn<Scalar> inverse_deviation,
                        TileIn<Scalar> dy, const Norm<Scalar>& gradient, TileOut<Scalar> dz) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    for (Index s = 0; s < n.samples; s += L::width) {
      V sum = {}, product_sum = {}, deviation, v, d;
      for (Index k = 0; k < n.features; ++k) {
        L::load(n.feature(k) + s, v);
        L::load(dy.feature(k) + s, d);
        d *= norm.scale[k];
        sum += d;
        product_sum += d * v;
      }
      sum /= Scalar(n.features);
      product_sum /= Scalar(n.features);
      L::load(inverse_deviation.data + s, deviation);
      for (Index k = 0; k < n.features; ++k) {
        V before;
        L::load(n.feature(k) + s, v);
        L::load(dy.feature(k) + s, d);
        L::load(dz.feature(k) + s, before);
        L::store(dz.feature(k) + s, before + (d * norm.scale[k] - sum - v * product_sum) * deviation);
      }
    }
  });
  if (gradient.scale) {
    add_sums<Scalar>(dy, {}, gradient.shift);
    add_sums<Scalar>(dy, n, gradient.scale);
  }
}

}
}
}
