// SPDX-License-Identifier: MIT
// Forward-mode derivatives of an Mlp: Jacobian-vector products (eq. 30 in docs/math.md). The log-density needs them.
#pragma once

#include "flowmatch/field/mlp.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

template <Real ScalarType>
void Mlp<ScalarType>::jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dy, Workspace& workspace) const {
  detail::check_rows("Mlp::jvp", "dx", dx.rows(), in());
  detail::check_shape("Mlp::jvp", "dy", dy, out(), dx.cols());
  detail::read<Scalar>(dx, tangent_tile(dx.cols(), workspace));
  detail::write<Scalar>(jvp_tile(dx.cols(), workspace), dy);
}

template <Real ScalarType> detail::Tile<ScalarType> Mlp<ScalarType>::tangent_tile(Index columns, Workspace& w) const {
  if (w.made_for != options_) detail::fail("Mlp::jvp", {"expected a call of forward before"});
  if (w.samples > 0 ? columns % w.samples != 0 : columns != 0)
    detail::fail("Mlp::jvp", {"expected a multiple of ", w.samples, " columns in dx, got ", columns});
  if (w.tangent_z.samples() < columns || w.no_bias.samples() == 0) {
    w.tangent_z.resize(columns, widest());
    w.tangent_a.resize(columns, widest());
    w.no_bias.resize(widest(), 1);
  }
  return w.tangent_a.view(columns, in());
}

/// The layers of forward_tile once more, without what is constant, on the slopes that it left.
template <Real ScalarType> detail::Tile<ScalarType> Mlp<ScalarType>::jvp_tile(Index columns, Workspace& w) const {
  const Index n = w.samples;
  for (Index l = 0; l <= last(); ++l) {
    const Index inputs = width(l), outputs = width(l + 1);
    const auto z = w.tangent_z.view(columns, outputs);
    detail::product<Scalar>({layer(l).weight, w.no_bias.view(outputs, 1).data, inputs, outputs},
                            w.tangent_a.view(columns, inputs), options_.residual && l > 0 && l < last(), z);
    if (l == last()) break;
    auto& next = w.layers[std::size_t(l + 1)];
    const auto slope = next.slope.view(n, outputs), next_a = w.tangent_a.view(columns, outputs);
    if (has_norm(l + 1))
      detail::normalize_tangent<Scalar>(norm(l + 1), next.normalized.view(n, outputs),
                                        next.inverse_deviation.view(n, 1), slope, z, next_a);
    else
      detail::activate_tangent<Scalar>(slope, z, next_a);
  }
  return w.tangent_z.view(columns, out());
}

}
}
