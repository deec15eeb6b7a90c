// SPDX-License-Identifier: MIT
// Activations, each as one formula for the value f(z) and its slope f'(z), on vectors of the machine.
// To add one: a name, a case in evaluate, a row in the table of kernel/activation_name.hpp.
#pragma once

#include "flowmatch/kernel/elementary.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_VERSION {

enum class Activation { silu, gelu, tanh, relu, selu, softplus };

namespace simd {

/// y = f(z), slope = f'(z), elementwise on vectors of L. Values are within 9 ulp, and so are slopes, but those
/// of silu and gelu near their zero, which are within some epsilons; beside an absolute 1e-36 in float (what lies below
/// e^-87 is taken as 0) and 1e-305 in double. -ffast-math gives that up. NaN stays NaN in y. f is an argument, not a
/// template parameter, so that a kernel holds each formula once; where f is a constant, the others vanish.
template <class L>
FLOWMATCH_INLINE inline void evaluate(Activation f, const typename L::V& z, typename L::V& y, typename L::V& slope) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  using enum Activation;
  const V zero = {}, one = zero + Scalar(1);
  y = slope = zero;
  V size = {}, e = {}, inverse = {};  // |z|; e^-|z| (tanh: e^-2|z|), which cannot overflow; 1 / (1 + e)
  if (f != relu && f != gelu) {
    absolute<L>(z, size);
    const V exponent = f == tanh ? -(size + size) : -size;
    exp_of_negative<L>(exponent, e);
    inverse = one / (one + e);
  }
  switch (f) {
    case silu: {  // z sigmoid(z), sigmoid = 1 / (1 + e^-z)
      const V sigmoid = z < zero ? e * inverse : inverse;
      y = z * sigmoid;
      slope = sigmoid + y * (one - sigmoid);
      break;
    }
    case gelu: {  // z Phi(z), exact, with the normal distribution function Phi
      V phi, density;
      normal_distribution<L>(z, phi, density);
      y = z * phi;
      slope = phi + z * density;
      break;
    }
    case tanh: {
      V odd;
      tanh_near_zero<L>(size, odd);
      y = (one - e) * inverse;
      y = size < zero + Scalar(0.6) ? odd : y;
      with_sign_of<L>(z, y);
      slope = Scalar(4) * e * inverse * inverse;  // 1 - y^2 without its cancellation
      break;
    }
    case relu:
      y = z < zero ? zero : z;
      slope = z > zero ? one : zero;
      break;
    case selu: {  // Klambauer et al. 2017
      constexpr Scalar scale = Scalar(1.0507009873554804934193349852946);
      constexpr Scalar scale_alpha = scale * Scalar(1.6732632423543772848170429916717);
      V minus_one;  // e^z - 1 for z < 0
      expm1_of_negative<L>(-size, e, minus_one);
      y = z > zero ? scale * z : scale_alpha * minus_one;
      slope = z > zero ? zero + scale : scale_alpha * e;
      break;
    }
    case softplus: {  // log(1 + e^z) without overflow
      V logarithm;
      log1p_of_unit<L>(e, logarithm);
      y = (z < zero ? zero : z) + logarithm;
      slope = z < zero ? e * inverse : inverse;
      break;
    }
  }
  keep_nan<L>(z, y);
}

}
}
}
