// SPDX-License-Identifier: MIT
// A net for one sample at a time, for control loops, on the kernels of one_sample_kernel.hpp.
#pragma once

#include "flowmatch/field/velocity_mlp.hpp"
#include "flowmatch/kernel/one_sample_kernel.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// Outputs are padded to a multiple of this, which the vectors of every instruction set divide.
inline constexpr Index output_block = 64;

/// z = W x + b, or z += W x + b where add, in blocks of as many sums at a time as hide their latency. Then, unless
/// scale is null, y = the layer norm of the first `out` entries of z; its shift stands `stride` behind the scale.
template <class Scalar>
void layer_single(const Scalar* transposed, Index in, Index out, Index stride, const Scalar* x, bool add, Scalar* z,
                  const Scalar* scale, Scalar* y) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    constexpr int vectors = most_sums<L>;
    for (Index o = 0; o < stride; o += vectors * L::width)
      simd::product_single<L, vectors>(transposed + o, in, stride, x, add, z + o);
    if (scale) normalize_single<L>(scale, scale + stride, z, out, y);
  });
}

/// A snapshot of a net and all memory that a call needs.
template <Real Scalar> class MlpSingle {
 public:
  explicit MlpSingle(const Mlp<Scalar>& net) : options_(net.options()), layers_(std::size_t(options_.last() + 1)) {
    Index widest = 0;
    for (Index l = 0; l <= options_.last() + 1; ++l) widest = std::max(widest, options_.width(l));
    for (Memory* memory : {&a_, &z_, &slope_}) memory->resize(std::size_t(padded(widest)));
    update(net);
  }

  /// Takes over the parameters of a net of the same options.
  void update(const Mlp<Scalar>& net) {
    for (Index l = 0; l <= options_.last(); ++l) {
      Layer& layer = layers_[std::size_t(l)];
      const auto from = net.layer(l);
      layer.stride = padded(from.out);
      layer.transposed.resize(std::size_t(layer.stride * (from.in + 1)));
      transpose(from.weight, from.in, from.out, from.in, layer.transposed.data(), layer.stride);
      std::copy_n(from.bias, from.out, layer.transposed.data() + layer.stride * from.in);
      if (options_.has_norm(l)) {
        const Norm<const Scalar> norm = net.norm(l);
        layer.norm.resize(std::size_t(2 * padded(from.in)));
        std::copy_n(norm.scale, from.in, layer.norm.data());
        std::copy_n(norm.shift, from.in, layer.norm.data() + padded(from.in));
      }
    }
  }

  /// in() numbers to fill before a call.
  Scalar* input() { return a_.data(); }

  /// The output, out() numbers.
  const Scalar* operator()() {
    for (Index l = 0; l <= options_.last(); ++l) {
      const Layer& layer = layers_[std::size_t(l)];
      const bool residual = options_.residual && l > 0 && l < options_.last(), norm = options_.has_norm(l + 1);
      const Index n = options_.width(l + 1);
      layer_single<Scalar>(layer.transposed.data(), options_.width(l), n, layer.stride, a_.data(), residual, z_.data(),
                           norm ? layers_[std::size_t(l + 1)].norm.data() : nullptr, a_.data());
      if (l == options_.last()) break;
      activate<Scalar>(options_.activation, as_tile(norm ? a_ : z_, n), as_tile(a_, n), as_tile(slope_, n));
    }
    return z_.data();
  }

 private:
  using Memory = std::vector<Scalar, CacheLineAllocator<Scalar>>;
  struct Layer {
    Memory transposed, norm;  // norm: scale, then shift
    Index stride = 0;
  };

  static Index padded(Index outputs) { return (outputs + output_block - 1) / output_block * output_block; }
  /// To the activation, n numbers are n samples of one feature.
  static Tile<Scalar> as_tile(Memory& memory, Index n) { return {memory.data(), n, 1, 0}; }

  MlpOptions options_;
  std::vector<Layer> layers_;
  Memory a_, z_, slope_;
};

}

/// A snapshot of the field for one sample at a time, with all memory that a call needs and the same bits as forward:
/// one(x, t, c, v) with x, v: dim x 1, t: one time, c: condition_dim x 1. Sampler uses it.
template <Real ScalarType> class VelocityMlp<ScalarType>::OneSample {
 public:
  explicit OneSample(const VelocityMlp& field);

  /// Takes over the parameters of a field of the same options. Allocates nothing.
  void update(const VelocityMlp& field);

  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v);

 private:
  VelocityMlpOptions options_;
  detail::MlpSingle<Scalar> mlp_;
  detail::TileMemory<Scalar> time_;
  Index size_;
};

template <Real ScalarType>
VelocityMlp<ScalarType>::OneSample::OneSample(const VelocityMlp& field)
    : options_(field.options_), mlp_(field.mlp_), size_(field.parameters().size()) {
  time_.resize(1, 1 + 2 * options_.time_frequencies);
}

template <Real ScalarType> void VelocityMlp<ScalarType>::OneSample::update(const VelocityMlp& field) {
  detail::check_size("OneSample::update", "field.parameters()", field.parameters().size(), size_);
  mlp_.update(field.mlp_);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::OneSample::operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                                    MatrixRef<Scalar> v) {
  constexpr auto where = "VelocityMlp::OneSample";
  detail::check_shape(where, "x", x, options_.dim, 1);
  detail::check_columns(where, "t", t.cols(), 1);
  detail::check_shape(where, "c", c, options_.condition_dim, 1);
  detail::check_shape(where, "v", v, options_.dim, 1);
  const Index frequencies = options_.time_frequencies;
  Scalar* input = std::copy_n(x.data(), options_.dim, mlp_.input());
  *input++ = t(0);
  if (frequencies > 0) {
    const auto time = time_.view(1, 1 + 2 * frequencies);
    detail::check_time_of_features<Scalar>(t);
    *time.data = t(0);
    detail::time_features<Scalar>(time.features_from(0, 1), time.features_from(1, frequencies),
                                  time.features_from(1 + frequencies, frequencies));
    for (Index k = 1; k <= 2 * frequencies; ++k) *input++ = *time.feature(k);
  }
  std::copy_n(c.data(), options_.condition_dim, input);
  std::copy_n(mlp_(), options_.dim, v.data());
}

}
}
