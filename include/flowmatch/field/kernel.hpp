// SPDX-License-Identifier: MIT
// The boundary between mathematics and speed: the few operations on a tile that a net is made of.
//
// A tile holds up to tile_columns samples the other way round from the user's matrices: one row per sample, one column
// per feature, column-major. A feature of all samples is then contiguous, so that samples fill the vector lanes,
// weights are only broadcast and can be read where they are, and normalisation over features is elementwise.
#pragma once

#include "flowmatch/field/activation.hpp"

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

/// z = W x + b
template <class Scalar> void product(const Layer<const Scalar>& layer, TileIn<Scalar> x, Tile<Scalar> z) {
  z.noalias() = x * layer.weight;
  z.rowwise() += layer.bias;
}

/// z += W x + b: a residual block's end
template <class Scalar> void add_product(const Layer<const Scalar>& layer, TileIn<Scalar> x, Tile<Scalar> z) {
  z.noalias() += x * layer.weight;
  z.rowwise() += layer.bias;
}

/// dx = W' dz
template <class Scalar> void back_product(const Layer<const Scalar>& layer, TileIn<Scalar> dz, Tile<Scalar> dx) {
  dx.noalias() = dz * layer.weight.transpose();
}

/// dW += dz x', db += sum of dz over samples
template <class Scalar> void gradient_product(TileIn<Scalar> x, TileIn<Scalar> dz, Layer<Scalar> gradient) {
  gradient.weight.noalias() += x.transpose() * dz;
  gradient.bias += dz.colwise().sum();
}

/// y = f(z), slope = f'(z). y may be z.
template <class Scalar> void activate(Activation f, TileIn<Scalar> z, Tile<Scalar> y, Tile<Scalar> slope) {
  constexpr int width = 16;
  using Pack = Eigen::Array<Scalar, width, 1>;
  with_activation(f, [&](auto constant) {
    Pack in = Pack::Zero(), value, derivative;
    for (Index k = 0; k < z.cols(); ++k)
      for (Index j = 0; j < z.rows(); j += width) {
        const Index n = std::min<Index>(width, z.rows() - j);
        if (n == width) {
          in = z.col(k).template segment<width>(j);
          evaluate<constant.value>(in, value, derivative);
          y.col(k).template segment<width>(j) = value;
          slope.col(k).template segment<width>(j) = derivative;
        } else {
          in.head(n) = z.col(k).segment(j, n);
          evaluate<constant.value>(in, value, derivative);
          y.col(k).segment(j, n) = value.head(n);
          slope.col(k).segment(j, n) = derivative.head(n);
        }
      }
  });
}

/// Layer norm over the features of each sample (Ba et al. 2016): n = (z - mean) / sqrt(variance + 1e-5) with the biased
/// variance, y = scale n + shift. Keeps n and inverse_deviation (one entry per sample) for normalize_back.
template <class Scalar>
void normalize(const Norm<const Scalar>& norm, TileIn<Scalar> z, Tile<Scalar> n, VectorRef<Scalar> inverse_deviation,
               Tile<Scalar> y) {
  const Scalar features = Scalar(z.cols());
  auto& mean = inverse_deviation;  // its memory, until the deviation is known
  mean = z.rowwise().sum() / features;
  n = z.colwise() - mean;
  inverse_deviation.array() = (n.array().square().rowwise().sum() / features + Scalar(1e-5)).sqrt().inverse();
  n.array().colwise() *= inverse_deviation.array();
  for (Index k = 0; k < z.cols(); ++k) y.col(k).array() = n.col(k).array() * norm.scale(k) + norm.shift(k);
}

/// The way back: dz += (d - mean(d) - n mean(d n)) inverse_deviation with d = scale dy, dscale += sum dy n,
/// dshift += sum dy. Overwrites dy with d; sums is scratch (samples x 2).
template <class Scalar>
void normalize_back(const Norm<const Scalar>& norm, TileIn<Scalar> n, VectorIn<Scalar> inverse_deviation,
                    Tile<Scalar> dy, Tile<Scalar> sums, Norm<Scalar> gradient, Tile<Scalar> dz) {
  const Scalar features = Scalar(n.cols());
  gradient.scale += dy.cwiseProduct(n).colwise().sum();
  gradient.shift += dy.colwise().sum();
  for (Index k = 0; k < n.cols(); ++k) dy.col(k) *= norm.scale(k);
  sums.col(0) = dy.rowwise().sum() / features;
  sums.col(1) = dy.cwiseProduct(n).rowwise().sum() / features;
  for (Index k = 0; k < n.cols(); ++k)
    dz.col(k).array() +=
        (dy.col(k) - sums.col(0) - n.col(k).cwiseProduct(sums.col(1))).array() * inverse_deviation.array();
}

}
}
