// SPDX-License-Identifier: MIT
// Activations, each as one formula for the value f(z) and its slope f'(z). V is a pack of numbers on which arithmetic
// is elementwise: here an Eigen array of fixed size. To add one: a name, a row in the table, a branch in evaluate.
#pragma once

#include <cmath>
#include <numbers>
#include <string_view>

#include "flowmatch/core/check.hpp"

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

/// y = f(z), slope = f'(z), elementwise. NaN stays NaN in y.
template <Activation f, class V> void evaluate(const V& z, V& y, V& slope) {
  using Scalar = typename V::Scalar;
  using std::numbers::inv_sqrtpi, std::numbers::sqrt2;
  if constexpr (f == Activation::silu) {  // z sigmoid(z)
    const V sigmoid = (1 + (-z).exp()).inverse();
    y = z * sigmoid;
    slope = sigmoid + y * (1 - sigmoid);
  } else if constexpr (f == Activation::gelu) {  // z Phi(z), exact, with the normal distribution function Phi
    const V phi = z.unaryExpr([](Scalar s) { return Scalar(0.5) * std::erfc(s * Scalar(-1 / sqrt2)); });
    y = z * phi;
    slope = phi + z * (z * z * Scalar(-0.5)).exp() * Scalar(inv_sqrtpi / sqrt2);
  } else if constexpr (f == Activation::tanh) {
    y = z.tanh();
    slope = 1 - y * y;
  } else if constexpr (f == Activation::relu) {
    y = (z < 0).select(V::Zero(), z);
    slope = (z > 0).select(V::Ones(), V::Zero());
  } else if constexpr (f == Activation::selu) {  // Klambauer et al. 2017
    constexpr Scalar scale = Scalar(1.0507009873554804934193349852946);
    constexpr Scalar scale_alpha = scale * Scalar(1.6732632423543772848170429916717);
    y = (z > 0).select(scale * z, scale_alpha * z.expm1());
    slope = (z > 0).select(V::Constant(scale), scale_alpha * z.exp());
  } else {  // softplus: log(1 + e^z) without overflow
    static_assert(f == Activation::softplus);
    const V e = (-z.abs()).exp();
    y = (z < 0).select(V::Zero(), z) + e.log1p();
    slope = (z < 0).select(e, V::Ones()) / (1 + e);
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
