// SPDX-License-Identifier: MIT
// The derivatives of a VelocityMlp beside those of its parameters: with respect to its inputs, in reverse mode (vjp)
// and in forward mode (jvp).
#pragma once

#include <numbers>

#include "flowmatch/field/velocity_mlp.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Gradients with respect to the inputs of a field: what v's change means for x, t and c.
template <Real Scalar> struct InputGradient {
  Matrix<Scalar> x;
  RowVector<Scalar> t;
  Matrix<Scalar> c;
};

template <Real ScalarType>
void VelocityMlp<ScalarType>::backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient,
                                       InputGradient<Scalar>& inputs) const {
  mlp_.backward(dv, workspace, gradient);
  const auto input = mlp_.input_tile(workspace), d_input = mlp_.input_gradient_tile(workspace);
  const Index d = dim(), frequencies = options_.time_frequencies, n = dv.cols();
  inputs.x.resize(d, n);
  inputs.t.resize(n);
  inputs.c.resize(condition_dim(), n);
  detail::write<Scalar>(d_input.features_from(0, d), inputs.x);
  std::copy_n(d_input.feature(d), n, inputs.t.data());
  for (Index k = 1; k <= frequencies; ++k) {
    const Scalar k_pi = Scalar(k) * std::numbers::pi_v<Scalar>;
    const Scalar *sine = input.feature(d + k), *d_sine = d_input.feature(d + k);
    const Scalar *cosine = input.feature(d + frequencies + k), *d_cosine = d_input.feature(d + frequencies + k);
    for (Index j = 0; j < n; ++j) inputs.t(j) += k_pi * (d_sine[j] * cosine[j] - d_cosine[j] * sine[j]);
  }
  detail::write<Scalar>(d_input.features_from(d + 1 + 2 * frequencies, condition_dim()), inputs.c);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::condition_gradient(MatrixRef<Scalar> dc, Workspace& workspace) const {
  const auto d_input = mlp_.input_gradient_tile(workspace);
  detail::check_shape("VelocityMlp::condition_gradient", "dc", dc, condition_dim(), d_input.samples);
  detail::write<Scalar>(d_input.features_from(d_input.features - condition_dim(), condition_dim()), dc);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::vjp(MatrixIn<Scalar> dv, MatrixRef<Scalar> dx, Workspace& workspace) const {
  detail::check_shape("VelocityMlp::vjp", "dx", dx, dim(), dv.cols());
  mlp_.input_backward(dv, workspace);
  detail::write<Scalar>(mlp_.input_gradient_tile(workspace).features_from(0, dim()), dx);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dv, Workspace& workspace) const {
  const auto tangent = state_tangent(dx, dv, workspace);
  for (Index k = dim(); k < tangent.features; ++k) std::fill_n(tangent.feature(k), dx.cols(), Scalar(0));
  detail::write<Scalar>(mlp_.jvp_tile(dx.cols(), workspace), dv);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::jvp(MatrixIn<Scalar> dx, RowVectorIn<Scalar> dt, MatrixIn<Scalar> dc,
                                  MatrixRef<Scalar> dv, Workspace& workspace) const {
  const Index d = dim(), frequencies = options_.time_frequencies, columns = dx.cols();
  detail::check_columns("VelocityMlp::jvp", "dt", dt.cols(), columns);
  detail::check_shape("VelocityMlp::jvp", "dc", dc, condition_dim(), columns);
  const auto tangent = state_tangent(dx, dv, workspace), input = mlp_.input_tile(workspace);
  std::copy_n(dt.data(), columns, tangent.feature(d));
  for (Index k = 1; k <= frequencies; ++k) {
    const Scalar k_pi = Scalar(k) * std::numbers::pi_v<Scalar>;
    const Scalar *sine = input.feature(d + k), *cosine = input.feature(d + frequencies + k);
    Scalar *d_sine = tangent.feature(d + k), *d_cosine = tangent.feature(d + frequencies + k);
    for (Index j = 0; j < columns; ++j) {
      d_sine[j] = k_pi * cosine[j % input.samples] * dt(j);
      d_cosine[j] = -k_pi * sine[j % input.samples] * dt(j);
    }
  }
  detail::read<Scalar>(dc, tangent.features_from(d + 1 + 2 * frequencies, condition_dim()));
  detail::write<Scalar>(mlp_.jvp_tile(columns, workspace), dv);
}

template <Real ScalarType>
detail::Tile<ScalarType> VelocityMlp<ScalarType>::state_tangent(MatrixIn<Scalar> dx, MatrixIn<Scalar> dv,
                                                                Workspace& workspace) const {
  detail::check_rows("VelocityMlp::jvp", "dx", dx.rows(), dim());
  detail::check_shape("VelocityMlp::jvp", "dv", dv, dim(), dx.cols());
  const auto tangent = mlp_.tangent_tile(dx.cols(), workspace);
  detail::read<Scalar>(dx, tangent);
  return tangent;
}

}
}
