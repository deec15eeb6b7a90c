// SPDX-License-Identifier: MIT
// The velocity field v(x, t, c) as a multi-layer perceptron on the rows [x; t; sin(k pi t); cos(k pi t); c],
// k = 1 .. time_frequencies (eq. 8 in docs/math.md).
#pragma once

#include <algorithm>
#include <cmath>

#include "flowmatch/field/field.hpp"
#include "flowmatch/field/mlp.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct VelocityMlpOptions {
  Index dim = 0;                   ///< rows of a sample, >= 1
  Index condition_dim = 0;         ///< rows of a condition, 0: none
  std::vector<Index> hidden = {};  ///< width of each hidden layer; residual: all equal, the first is the input layer
  Activation activation = Activation::silu;
  bool residual = false;       ///< pre-layer-norm residual blocks: slower, better for hard data
  Index time_frequencies = 0;  ///< number of sine and cosine pairs beside t itself; 8 is a good number
  bool zero_output = false;    ///< start with v = 0 everywhere

  friend bool operator==(const VelocityMlpOptions&, const VelocityMlpOptions&) = default;
};

template <Real Scalar> struct InputGradient;

namespace detail {

inline MlpOptions mlp_options(const VelocityMlpOptions& o) {
  check_at_least("VelocityMlp", "options.dim", o.dim, 1);
  check_at_least("VelocityMlp", "options.condition_dim", o.condition_dim, 0);
  check_at_least("VelocityMlp", "options.time_frequencies", o.time_frequencies, 0);
  return {.in = o.dim + 1 + 2 * o.time_frequencies + o.condition_dim,
          .hidden = o.hidden,
          .out = o.dim,
          .activation = o.activation,
          .residual = o.residual,
          .zero_output = o.zero_output};
}

template <class Scalar> void check_time_of_features(RowVectorIn<Scalar> t) {
  for (Index j = 0; j < t.size(); ++j)
    if (!(std::abs(t.data()[j]) < Scalar(1e6)))
      fail("VelocityMlp::forward", {"expected |t| < 1e6 for time features, got ", t.data()[j], " in column ", j});
}

}

/// Meets TrainableField and VelocityField. A value: copy it for a snapshot; many threads may run one const net.
template <Real ScalarType = float> class VelocityMlp {
 public:
  using Scalar = ScalarType;
  using Workspace = typename Mlp<Scalar>::Workspace;
  class OneSample;

  /// Throws std::invalid_argument if dim or a width is below 1, a number negative, or residual widths differ.
  /// more: as in Mlp.
  VelocityMlp(VelocityMlpOptions options, Rng& rng, const std::vector<ParameterBlock>& more = {});

  const VelocityMlpOptions& options() const { return options_; }
  Index dim() const { return options_.dim; }
  Index condition_dim() const { return options_.condition_dim; }

  /// As in Mlp: one contiguous vector in PyTorch's order.
  Eigen::Map<Vector<Scalar>> parameters() { return mlp_.parameters(); }
  Eigen::Map<const Vector<Scalar>> parameters() const { return mlp_.parameters(); }
  void set_parameters(VectorIn<Scalar> values);
  const std::vector<ParameterBlock>& parameter_blocks() const { return mlp_.parameter_blocks(); }

  /// v = v(x, t, c) for one tile of n columns; x, v: dim x n, t: n, c: condition_dim x n.
  /// Throws std::invalid_argument if a shape is wrong. Allocates only when n exceeds what the workspace has seen.
  void forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v,
               Workspace& workspace) const;

  /// gradient += (dv/dparameters)' dv for the tile that forward saw last.
  void backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient) const;
  /// Also the gradients with respect to x, t and c.
  void backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient,
                InputGradient<Scalar>& inputs) const;
  /// After backward: dc = (dv/dc)' dv alone, condition_dim x n.
  void condition_gradient(MatrixRef<Scalar> dc, Workspace& workspace) const;

  /// dx = (dv/dx)' dv for the tile that forward saw last, in reverse mode and without the parameters: costs as much as
  /// forward. Throws std::invalid_argument if a shape is wrong or forward was not called.
  void vjp(MatrixIn<Scalar> dv, MatrixRef<Scalar> dx, Workspace& workspace) const;

  /// dv = (dv/dx) dx for the tile that forward saw last, in forward mode. Each of its n samples may have several
  /// tangents: dx, dv are dim x m n, and column j belongs to sample j modulo n. Costs as much as forward on m n
  /// samples; backward may still follow. Throws std::invalid_argument if a shape is wrong or forward was not called.
  void jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dv, Workspace& workspace) const;
  /// dv = (dv/dx) dx + (dv/dt) dt + (dv/dc) dc; dt: m n, dc: condition_dim x m n.
  void jvp(MatrixIn<Scalar> dx, RowVectorIn<Scalar> dt, MatrixIn<Scalar> dc, MatrixRef<Scalar> dv,
           Workspace& workspace) const;

  /// v(x, t, c) for any number of columns, when a look at the field is wanted: makes a workspace on every call.
  /// Loops use FlowMatchingLoss and Sampler, which keep theirs.
  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v) const;

 private:
  /// The tile of all input tangents, with those of x in it.
  detail::Tile<Scalar> state_tangent(MatrixIn<Scalar> dx, MatrixIn<Scalar> dv, Workspace& workspace) const;

  VelocityMlpOptions options_;
  Mlp<Scalar> mlp_;
};

template <Real ScalarType>
VelocityMlp<ScalarType>::VelocityMlp(VelocityMlpOptions options, Rng& rng, const std::vector<ParameterBlock>& more)
    : options_(std::move(options)), mlp_(detail::mlp_options(options_), rng, more) {}

template <Real ScalarType> void VelocityMlp<ScalarType>::set_parameters(VectorIn<Scalar> values) {
  mlp_.set_parameters(values);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                      MatrixRef<Scalar> v, Workspace& workspace) const {
  constexpr auto where = "VelocityMlp::forward";
  const Index n = x.cols(), d = dim(), frequencies = options_.time_frequencies;
  detail::check_rows(where, "x", x.rows(), d);
  detail::check_columns(where, "t", t.cols(), n);
  detail::check_shape(where, "c", c, condition_dim(), n);
  detail::check_shape(where, "v", v, d, n);
  const auto input = mlp_.input_tile(n, workspace);
  detail::read<Scalar>(x, input);
  std::copy_n(t.data(), n, input.feature(d));
  if (frequencies > 0) {
    detail::check_time_of_features<Scalar>(t);
    detail::time_features<Scalar>(input.features_from(d, 1), input.features_from(d + 1, frequencies),
                                  input.features_from(d + 1 + frequencies, frequencies));
  }
  detail::read<Scalar>(c, input.features_from(d + 1 + 2 * frequencies, condition_dim()));
  detail::write<Scalar>(mlp_.forward_tile(workspace), v);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient) const {
  mlp_.backward(dv, workspace, gradient);
}

template <Real ScalarType>
void VelocityMlp<ScalarType>::operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                         MatrixRef<Scalar> v) const {
  detail::forward_in_tiles("VelocityMlp", *this, x, t, c, v);
}

}
}

// The members declared above that stand behind the method.
#include "flowmatch/field/one_sample.hpp"
#include "flowmatch/field/velocity_mlp_derivatives.hpp"
