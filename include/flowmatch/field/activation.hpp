// SPDX-License-Identifier: MIT
// Activations, each as one formula for the value f(z) and its slope f'(z), on vectors of the machine.
// To add one: a name, a row in the table, a branch in evaluate.
#pragma once

#include <string>
#include <string_view>

#include "flowmatch/core/elementary.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

enum class Activation { silu, gelu, tanh, relu, selu, softplus };

namespace detail {

struct ActivationName {
  Activation activation;
  std::string_view name;
};
inline constexpr ActivationName activation_names[] = {
    {Activation::silu, "silu"}, {Activation::gelu, "gelu"}, {Activation::tanh, "tanh"},
    {Activation::relu, "relu"}, {Activation::selu, "selu"}, {Activation::softplus, "softplus"},
};

}

/// "silu" for Activation::silu, and so on: the names in checkpoints and on command lines.
inline std::string_view name(Activation activation) {
  for (const auto& row : detail::activation_names)
    if (row.activation == activation) return row.name;
  detail::fail("name", "expected an Activation, got number ", int(activation));
}

/// The other way round. Throws std::invalid_argument for an unknown name.
inline Activation activation_from_name(std::string_view wanted) {
  std::string known;
  for (const auto& row : detail::activation_names) {
    if (row.name == wanted) return row.activation;
    known += known.empty() ? "" : ", ";
    known += row.name;
  }
  detail::fail("activation_from_name", "expected one of ", known, ", got \"", std::string(wanted), "\"");
}

namespace detail {

/// y = f(z), slope = f'(z), elementwise on vectors of L. Errors are below 8 ulp, beside an absolute 1e-36 in float
/// (what lies below e^-87 is taken as 0) and 1e-305 in double; -ffast-math gives that up. NaN stays NaN in y.
template <Activation f, class L>
FLOWMATCH_INLINE inline void evaluate(const typename L::V& z, typename L::V& y, typename L::V& slope) {
  using Scalar = typename L::Scalar;
  using V = typename L::V;
  const V zero = {}, one = zero + Scalar(1);
  if constexpr (f == Activation::relu) {
    y = z < zero ? zero : z;
    slope = z > zero ? one : zero;
  } else if constexpr (f == Activation::gelu) {  // z Phi(z), exact, with the normal distribution function Phi
    V phi, density;
    normal_distribution<L>(z, phi, density);
    y = z * phi;
    slope = phi + z * density;
  } else {
    V size, e;  // |z|, and e^-|z| which cannot overflow
    absolute<L>(z, size);
    exp_of_negative<L>(f == Activation::tanh ? -(size + size) : -size, e);
    if constexpr (f == Activation::silu) {  // z sigmoid(z), sigmoid = 1 / (1 + e^-z)
      const V inverse = one / (one + e), sigmoid = z < zero ? e * inverse : inverse;
      y = z * sigmoid;
      slope = sigmoid + y * (one - sigmoid);
    } else if constexpr (f == Activation::tanh) {
      y = (one - e) / (one + e);
      V odd;
      tanh_near_zero<L>(size, odd);
      y = size < zero + Scalar(0.6) ? odd : y;
      with_sign_of<L>(z, y);
      slope = one - y * y;
    } else if constexpr (f == Activation::selu) {  // Klambauer et al. 2017
      constexpr Scalar scale = Scalar(1.0507009873554804934193349852946);
      constexpr Scalar scale_alpha = scale * Scalar(1.6732632423543772848170429916717);
      V minus_one;  // e^z - 1 for z < 0
      expm1_of_negative<L>(-size, e, minus_one);
      y = z > zero ? scale * z : scale_alpha * minus_one;
      slope = z > zero ? zero + scale : scale_alpha * e;
    } else {  // softplus: log(1 + e^z) without overflow
      static_assert(f == Activation::softplus);
      V logarithm;
      log1p_of_unit<L>(e, logarithm);
      const V inverse = one / (one + e);
      y = (z < zero ? zero : z) + logarithm;
      slope = z < zero ? e * inverse : inverse;
    }
  }
  keep_nan<L>(z, y);
}

}

/// Calls body(constant) where constant.value is the activation as a compile-time constant: one branch for a whole tile.
template <class Body> void with_activation(Activation activation, const Body& body) {
  using enum Activation;
  switch (activation) {
    case silu:
      return body(std::integral_constant<Activation, silu>());
    case gelu:
      return body(std::integral_constant<Activation, gelu>());
    case tanh:
      return body(std::integral_constant<Activation, tanh>());
    case relu:
      return body(std::integral_constant<Activation, relu>());
    case selu:
      return body(std::integral_constant<Activation, selu>());
    case softplus:
      return body(std::integral_constant<Activation, softplus>());
  }
}

}
