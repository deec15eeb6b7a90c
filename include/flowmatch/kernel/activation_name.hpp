// SPDX-License-Identifier: MIT
// The names of the activations, whose formulas are in kernel/activation.hpp.
#pragma once

#include <string>
#include <string_view>

#include "flowmatch/kernel/activation.hpp"
#include "flowmatch/kernel/instruction_set.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

using simd::evaluate;  // detail has another evaluate, in ode/stepper.hpp, which would hide it

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
  detail::fail("name", {"expected an Activation, got number ", int(activation)});
}

/// The other way round. Throws std::invalid_argument for an unknown name.
inline Activation activation_from_name(std::string_view wanted) {
  std::string known;
  for (const auto& row : detail::activation_names) {
    if (row.name == wanted) return row.activation;
    known += known.empty() ? "" : ", ";
    known += row.name;
  }
  detail::fail("activation_from_name", {"expected one of ", known, ", got \"", std::string(wanted), "\""});
}

}
}
