// SPDX-License-Identifier: MIT
// The other operations on a tile: activations, time features and layer norm. A sample stays in its lane, so that all of
// them are elementwise and nothing is summed across lanes.
#pragma once

#include <cmath>

#include "flowmatch/field/activation.hpp"
#include "flowmatch/field/kernel.hpp"

namespace flowmatch::inline FLOWMATCH_ABI::detail {

/// y = f(z), slope = f'(z). y may be z.
template <class Scalar> void activate(Activation f, TileIn<Scalar> z, Tile<Scalar> y, Tile<Scalar> slope) {
  const Index samples = z.rows(), features = z.cols();
  const Index z_stride = z.outerStride(), y_stride = y.outerStride(), slope_stride = slope.outerStride();
  const Scalar* in = z.data();
  Scalar *value = y.data(), *derivative = slope.data();
  with_activation(f, [=](auto constant) {
    dispatch([=](auto width) FLOWMATCH_INLINE {
      using L = Lanes<Scalar, decltype(width)::bytes>;
      for (Index k = 0; k < features; ++k)
        for (Index s = 0; s < samples; s += L::width) {
          typename L::V a, b, c;
          L::load(in + k * z_stride + s, a);
          evaluate<decltype(constant)::value, L>(a, b, c);
          L::store(value + k * y_stride + s, b);
          L::store(derivative + k * slope_stride + s, c);
        }
    });
  });
}

/// y = f(W x + b), slope = f'(W x + b), a few samples at a time, so that the sums are still in the nearest cache.
template <class Scalar>
void product(const Layer<const Scalar>& layer, TileIn<Scalar> x, Activation f, Tile<Scalar> y, Tile<Scalar> slope) {
  for (Index s = 0; s < x.rows(); s += lane_block) {
    const Index n = std::min(lane_block, x.rows() - s);
    product<Scalar>(layer, x.middleRows(s, n), y.middleRows(s, n));
    activate<Scalar>(f, y.middleRows(s, n), y.middleRows(s, n), slope.middleRows(s, n));
  }
}

/// sine = sin(k pi t), cosine = cos(k pi t) for each sample, columns k = 1, 2, ... of two tiles.
template <class Scalar> void time_features(TileIn<Scalar> t, Tile<Scalar> sine, Tile<Scalar> cosine) {
  const Index samples = t.rows(), frequencies = sine.cols(), stride = sine.outerStride();
  const Scalar* time = t.data();
  Scalar *sines = sine.data(), *cosines = cosine.data();
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    for (Index k = 1; k <= frequencies; ++k)
      for (Index s = 0; s < samples; s += L::width) {
        typename L::V turn, c, v;
        L::load(time + s, turn);
        turn *= Scalar(k) / 2;
        fraction<L>(turn);
        cos_sin_of_turn<L>(turn, c, v);
        L::store(sines + (k - 1) * stride + s, v);
        L::store(cosines + (k - 1) * stride + s, c);
      }
  });
}

/// Layer norm over the features of each sample (Ba et al. 2016; eq. 10): n = (z - mean) / sqrt(variance + 1e-5) with
/// the biased variance, y = scale n + shift. Keeps n and inverse_deviation (samples x 1) for normalize_back. A sample
/// stays in its lane, so that nothing is summed across lanes.
template <class Scalar>
void normalize(const Norm<const Scalar>& norm, TileIn<Scalar> z, Tile<Scalar> n, Tile<Scalar> inverse_deviation,
               Tile<Scalar> y) {
  const Index samples = z.rows(), features = z.cols();
  const Index z_stride = z.outerStride(), n_stride = n.outerStride(), y_stride = y.outerStride();
  const Scalar *in = z.data(), *scale = norm.scale.data(), *shift = norm.shift.data();
  Scalar *normalized = n.data(), *inverse = inverse_deviation.data(), *out = y.data();
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    for (Index s = 0; s < samples; s += L::width) {
      V mean = {}, variance = {}, v;
      for (Index k = 0; k < features; ++k) {
        L::load(in + k * z_stride + s, v);
        mean += v;
      }
      mean /= Scalar(features);
      for (Index k = 0; k < features; ++k) {
        L::load(in + k * z_stride + s, v);
        v -= mean;
        variance += v * v;
      }
      variance = variance / Scalar(features) + Scalar(1e-5);
      for (int lane = 0; lane < L::width; ++lane) variance[lane] = std::sqrt(variance[lane]);
      const V deviation = Scalar(1) / variance;
      L::store(inverse + s, deviation);
      for (Index k = 0; k < features; ++k) {
        L::load(in + k * z_stride + s, v);
        v = (v - mean) * deviation;
        L::store(normalized + k * n_stride + s, v);
        L::store(out + k * y_stride + s, v * scale[k] + shift[k]);
      }
    }
  });
}

/// The way back: dz += (d - mean(d) - n mean(d n)) inverse_deviation with d = scale dy, dscale += sum dy n,
/// dshift += sum dy.
template <class Scalar>
void normalize_back(const Norm<const Scalar>& norm, TileIn<Scalar> n, TileIn<Scalar> inverse_deviation,
                    TileIn<Scalar> dy, Norm<Scalar> gradient, Tile<Scalar> dz) {
  const Index samples = n.rows(), features = n.cols();
  const Index n_stride = n.outerStride(), dy_stride = dy.outerStride(), dz_stride = dz.outerStride();
  const Scalar *normalized = n.data(), *inverse = inverse_deviation.data(), *above = dy.data();
  const Scalar* scale = norm.scale.data();
  Scalar* below = dz.data();
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    using V = typename L::V;
    for (Index s = 0; s < samples; s += L::width) {
      V sum = {}, product_sum = {}, deviation, v, d;
      for (Index k = 0; k < features; ++k) {
        L::load(normalized + k * n_stride + s, v);
        L::load(above + k * dy_stride + s, d);
        d *= scale[k];
        sum += d;
        product_sum += d * v;
      }
      sum /= Scalar(features);
      product_sum /= Scalar(features);
      L::load(inverse + s, deviation);
      for (Index k = 0; k < features; ++k) {
        V before;
        L::load(normalized + k * n_stride + s, v);
        L::load(above + k * dy_stride + s, d);
        L::load(below + k * dz_stride + s, before);
        L::store(below + k * dz_stride + s, before + (d * scale[k] - sum - v * product_sum) * deviation);
      }
    }
  });
  for (Index k = 0; k < features; ++k) {
    gradient.shift(k) += sum_of_lanes(samples, [=](Index s) { return above[k * dy_stride + s]; });
    gradient.scale(k) +=
        sum_of_lanes(samples, [=](Index s) { return above[k * dy_stride + s] * normalized[k * n_stride + s]; });
  }
}

}
