// SPDX-License-Identifier: MIT
// The velocity field v(x, t, c) as a multi-layer perceptron on the rows [x; t; sin(k pi t); cos(k pi t); c],
// k = 1 .. time_frequencies (eq. 8 in docs/math.md).
#pragma once

#include <numbers>

#include "flowmatch/field/mlp.hpp"
#include "flowmatch/field/trainable.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

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

/// Gradients with respect to the inputs of a field: what v's change means for x, t and c.
template <std::floating_point Scalar> struct InputGradient {
  Matrix<Scalar> x;
  RowVector<Scalar> t;
  Matrix<Scalar> c;
};

namespace detail {

inline MlpOptions mlp_options(const VelocityMlpOptions& o) {
  check_at_least("VelocityMlp", "options.dim", double(o.dim), 1);
  check_at_least("VelocityMlp", "options.condition_dim", double(o.condition_dim), 0);
  check_at_least("VelocityMlp", "options.time_frequencies", double(o.time_frequencies), 0);
  return {.in = o.dim + 1 + 2 * o.time_frequencies + o.condition_dim,
          .hidden = o.hidden,
          .out = o.dim,
          .activation = o.activation,
          .residual = o.residual,
          .zero_output = o.zero_output};
}

}

/// Meets TrainableField and VelocityField. A value: copy it for a snapshot; many threads may run one const net.
template <std::floating_point ScalarType = float> class VelocityMlp {
 public:
  using Scalar = ScalarType;
  using Workspace = typename Mlp<Scalar>::Workspace;

  /// Throws std::invalid_argument if dim or a width is below 1, a number negative, or residual widths differ.
  VelocityMlp(VelocityMlpOptions options, Rng& rng)
      : options_(std::move(options)), mlp_(detail::mlp_options(options_), rng) {}

  const VelocityMlpOptions& options() const { return options_; }
  Index dim() const { return options_.dim; }
  Index condition_dim() const { return options_.condition_dim; }

  /// As in Mlp: one contiguous vector in PyTorch's order.
  Eigen::Map<Vector<Scalar>> parameters() { return mlp_.parameters(); }
  Eigen::Map<const Vector<Scalar>> parameters() const { return mlp_.parameters(); }
  void set_parameters(VectorIn<Scalar> values) { mlp_.set_parameters(values); }
  const std::vector<ParameterBlock>& parameter_blocks() const { return mlp_.parameter_blocks(); }

  /// v = v(x, t, c) for one tile of n columns; x, v: dim x n, t: n, c: condition_dim x n.
  /// Throws std::invalid_argument if a shape is wrong. Allocates only when n exceeds what the workspace has seen.
  void forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v,
               Workspace& workspace) const {
    constexpr auto where = "VelocityMlp::forward";
    const Index n = x.cols(), d = dim(), frequencies = options_.time_frequencies;
    detail::check_rows(where, "x", x.rows(), d);
    detail::check_columns(where, "t", t.cols(), n);
    detail::check_shape(where, "c", c, condition_dim(), n);
    detail::check_shape(where, "v", v, d, n);
    auto input = mlp_.input_tile(n, workspace);  // samples x features
    input.leftCols(d) = x.transpose();
    input.col(d) = t.transpose();
    if (frequencies > 0 && n > 0 && !(t.cwiseAbs().maxCoeff() < Scalar(1e6)))
      detail::fail(where, "expected |t| < 1e6 for time features, got ", t.cwiseAbs().maxCoeff());
    if (frequencies > 0)
      detail::time_features<Scalar>(input.col(d), input.middleCols(d + 1, frequencies),
                                    input.middleCols(d + 1 + frequencies, frequencies));
    input.rightCols(condition_dim()) = c.transpose();
    v = mlp_.forward_tile(workspace).transpose();
  }

  /// gradient += (dv/dparameters)' dv for the tile that forward saw last.
  void backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient) const {
    mlp_.backward(dv, workspace, gradient);
  }
  /// Also the gradients with respect to x, t and c.
  void backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient,
                InputGradient<Scalar>& inputs) const {
    mlp_.backward(dv, workspace, gradient);
    const auto input = mlp_.input_tile(dv.cols(), workspace);
    const auto d_input = mlp_.input_gradient_tile(workspace);
    const Index d = dim(), frequencies = options_.time_frequencies;
    inputs.x = d_input.leftCols(d).transpose();
    inputs.t = d_input.col(d).transpose();
    for (Index k = 1; k <= frequencies; ++k) {
      const Scalar k_pi = Scalar(k) * std::numbers::pi_v<Scalar>;
      const auto sine = input.col(d + k), cosine = input.col(d + frequencies + k);
      inputs.t +=
          k_pi *
          (d_input.col(d + k).cwiseProduct(cosine) - d_input.col(d + frequencies + k).cwiseProduct(sine)).transpose();
    }
    inputs.c = d_input.rightCols(condition_dim()).transpose();
  }

  /// v(x, t, c) for any number of columns, when a look at the field is wanted: makes a workspace on every call.
  /// Loops use FlowMatchingLoss and Sampler, which keep theirs.
  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v) const {
    detail::check_batch("VelocityMlp", "x", *this, x, t, c);
    detail::check_shape("VelocityMlp", "v", v, x.rows(), x.cols());
    Workspace workspace;
    for (Index j = 0; j < x.cols(); j += tile_columns) {
      const Index n = std::min(tile_columns, x.cols() - j);
      forward(x.middleCols(j, n), t.middleCols(j, n), c.middleCols(j, n), v.middleCols(j, n), workspace);
    }
  }

 private:
  VelocityMlpOptions options_;
  Mlp<Scalar> mlp_;
};

}
