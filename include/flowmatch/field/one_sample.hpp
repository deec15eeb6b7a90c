// SPDX-License-Identifier: MIT
// An Mlp for one sample at a time, for control loops, on the kernels of one_sample_kernel.hpp.
#pragma once

#include "flowmatch/field/mlp.hpp"
#include "flowmatch/kernel/one_sample_kernel.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// Outputs are padded to a multiple of this, which the vectors of every instruction set divide.
inline constexpr Index output_block = 64;

/// z = W x + b, or z += W x + b where add, in blocks of as many sums at a time as hide their latency. Then, unless
/// scale is null, y = the layer norm of the first `out` entries of z; its shift stands `stride` behind the scale.
template <class Scalar>
void layer_of_one(const Scalar* transposed, Index in, Index out, Index stride, const Scalar* x, bool add, Scalar* z,
                  const Scalar* scale, Scalar* y) {
  dispatch([=](auto width) FLOWMATCH_INLINE {
    using L = Lanes<Scalar, decltype(width)::bytes>;
    constexpr int vectors = most_sums<L>;
    for (Index o = 0; o < stride; o += vectors * L::width)
      simd::product_of_one<L, vectors>(transposed + o, in, stride, x, add, z + o);
    if (scale) normalize_one<L>(scale, scale + stride, z, out, y);
  });
}

/// A snapshot of a net and all memory that a call needs.
template <std::floating_point Scalar> class MlpOfOne {
 public:
  explicit MlpOfOne(const Mlp<Scalar>& net) : options_(net.options()), layers_(std::size_t(options_.last() + 1)) {
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
      layer_of_one<Scalar>(layer.transposed.data(), options_.width(l), n, layer.stride, a_.data(), residual, z_.data(),
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
}
}
