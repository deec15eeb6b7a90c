// SPDX-License-Identifier: MIT
// The velocity field v(x, t, c) as a multi-layer perceptron on the rows [x; t; sin(k pi t); cos(k pi t); c],
// k = 1 .. time_frequencies (eq. 8 in docs/math.md).
#pragma once

#include <numbers>

#include "flowmatch/field/field.hpp"
#include "flowmatch/field/one_sample.hpp"

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

template <class Scalar> void check_time_of_features(RowVectorIn<Scalar> t) {
  for (Index j = 0; j < t.size(); ++j)
    if (!(std::abs(t.data()[j]) < Scalar(1e6)))
      fail("VelocityMlp::forward", {"expected |t| < 1e6 for time features, got ", t.data()[j], " in column ", j});
}

}

/// Meets TrainableField and VelocityField. A value: copy it for a snapshot; many threads may run one const net.
template <std::floating_point ScalarType = float> class VelocityMlp {
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
  detail::Tile<Scalar> state_tangent(MatrixIn<Scalar> dx, MatrixIn<Scalar> dv, Workspace& workspace) const {
    detail::check_rows("VelocityMlp::jvp", "dx", dx.rows(), dim());
    detail::check_shape("VelocityMlp::jvp", "dv", dv, dim(), dx.cols());
    const auto tangent = mlp_.tangent_tile(dx.cols(), workspace);
    detail::read<Scalar>(dx, tangent);
    return tangent;
  }

  VelocityMlpOptions options_;
  Mlp<Scalar> mlp_;
};

template <std::floating_point ScalarType>
VelocityMlp<ScalarType>::VelocityMlp(VelocityMlpOptions options, Rng& rng, const std::vector<ParameterBlock>& more)
    : options_(std::move(options)), mlp_(detail::mlp_options(options_), rng, more) {}

template <std::floating_point ScalarType> void VelocityMlp<ScalarType>::set_parameters(VectorIn<Scalar> values) {
  mlp_.set_parameters(values);
}

template <std::floating_point ScalarType>
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

template <std::floating_point ScalarType>
void VelocityMlp<ScalarType>::backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient) const {
  mlp_.backward(dv, workspace, gradient);
}

template <std::floating_point ScalarType>
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

template <std::floating_point ScalarType>
void VelocityMlp<ScalarType>::condition_gradient(MatrixRef<Scalar> dc, Workspace& workspace) const {
  const auto d_input = mlp_.input_gradient_tile(workspace);
  detail::check_shape("VelocityMlp::condition_gradient", "dc", dc, condition_dim(), d_input.samples);
  detail::write<Scalar>(d_input.features_from(d_input.features - condition_dim(), condition_dim()), dc);
}

template <std::floating_point ScalarType>
void VelocityMlp<ScalarType>::vjp(MatrixIn<Scalar> dv, MatrixRef<Scalar> dx, Workspace& workspace) const {
  detail::check_shape("VelocityMlp::vjp", "dx", dx, dim(), dv.cols());
  mlp_.input_backward(dv, workspace);
  detail::write<Scalar>(mlp_.input_gradient_tile(workspace).features_from(0, dim()), dx);
}

template <std::floating_point ScalarType>
void VelocityMlp<ScalarType>::jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dv, Workspace& workspace) const {
  const auto tangent = state_tangent(dx, dv, workspace);
  for (Index k = dim(); k < tangent.features; ++k) std::fill_n(tangent.feature(k), dx.cols(), Scalar(0));
  detail::write<Scalar>(mlp_.jvp_tile(dx.cols(), workspace), dv);
}

template <std::floating_point ScalarType>
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

template <std::floating_point ScalarType>
void VelocityMlp<ScalarType>::operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                         MatrixRef<Scalar> v) const {
  detail::forward_in_tiles("VelocityMlp", *this, x, t, c, v);
}

/// A snapshot of the field for one sample at a time, with all memory that a call needs and the same bits as forward:
/// one(x, t, c, v) with x, v: dim x 1, t: one time, c: condition_dim x 1. Sampler uses it.
template <std::floating_point ScalarType> class VelocityMlp<ScalarType>::OneSample {
 public:
  explicit OneSample(const VelocityMlp& field);

  /// Takes over the parameters of a field of the same options. Allocates nothing.
  void update(const VelocityMlp& field);

  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v);

 private:
  VelocityMlpOptions options_;
  detail::MlpOfOne<Scalar> mlp_;
  detail::TileMemory<Scalar> time_;
  Index size_;
};

template <std::floating_point ScalarType>
VelocityMlp<ScalarType>::OneSample::OneSample(const VelocityMlp& field)
    : options_(field.options_), mlp_(field.mlp_), size_(field.parameters().size()) {
  time_.resize(1, 1 + 2 * options_.time_frequencies);
}

template <std::floating_point ScalarType> void VelocityMlp<ScalarType>::OneSample::update(const VelocityMlp& field) {
  detail::check_size("OneSample::update", "field.parameters()", field.parameters().size(), size_);
  mlp_.update(field.mlp_);
}

template <std::floating_point ScalarType>
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
