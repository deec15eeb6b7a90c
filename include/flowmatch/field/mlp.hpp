// SPDX-License-Identifier: MIT
// A multi-layer perceptron with backpropagation by hand: velocity fields stand on it, and autoencoders, classifiers and
// regressions use it as it is.
//
// With input a_0 = x and layers l = 0 .. L (docs/math.md, eq. 9-11):
//   plain      z_l = W_l a_l + b_l,                                   a_l+1 = f(z_l)
//   residual   z_l = W_l a_l + b_l + (z_l-1 if 0 < l < L),            a_l+1 = f(norm_l+1(z_l)), the last without norm
// and output y = z_L: pre-norm residual blocks h += W f(norm(h)) + b between an input and an output layer.
#pragma once

#include <cmath>
#include <vector>

#include "flowmatch/field/mlp_options.hpp"
#include "flowmatch/kernel/elementwise.hpp"
#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// The net is a value: options and one contiguous parameter vector, in the order layers.0.weight [out, in] (row-major),
/// layers.0.bias, then for each further layer norms.l.weight, norms.l.bias (residual blocks only), layers.l.weight,
/// layers.l.bias. It is const while it runs; activations live in a Workspace, one for each thread.
template <Real ScalarType = float> class Mlp {
 public:
  using Scalar = ScalarType;

  /// What forward leaves for backward, and scratch. Reuse it: it allocates only when a batch is larger than any before,
  /// or the net before had other options.
  class Workspace {
    friend class Mlp;
    struct LayerMemory {                                    // of a layer and one tile
      detail::TileMemory<Scalar> input, slope, normalized;  // a_l; f'(n_l); n_l before scale and shift
      detail::TileMemory<Scalar> inverse_deviation;         // samples x 1
    };
    MlpOptions made_for;  // sizes are those of this net; that of no net at first
    std::vector<LayerMemory> layers;
    detail::TileMemory<Scalar> z, dz, da;
    detail::TileMemory<Scalar> tangent_z, tangent_a, no_bias;  // of jvp, made by its first call; no_bias: zeros
    Index samples = 0;
  };

  /// Weights and biases uniform in +-1 / sqrt(in), as PyTorch's Linear; norms start as identity.
  /// more: blocks behind the layers, zero at first, for a field that keeps numbers of its own in the same vector (see
  /// ConditionalVelocityMlp); their offsets are set here.
  /// Throws std::invalid_argument for a width below 1, or residual blocks of unequal width.
  Mlp(MlpOptions options, Rng& rng, const std::vector<ParameterBlock>& more = {});

  const MlpOptions& options() const { return options_; }
  Index in() const { return options_.in; }
  Index out() const { return options_.out; }

  /// All weights, as a view: write through it, but its size is the net's. parameter_blocks() tells what lies where.
  Eigen::Map<Vector<Scalar>> parameters() { return {parameters_.data(), parameters_.size()}; }
  Eigen::Map<const Vector<Scalar>> parameters() const { return {parameters_.data(), parameters_.size()}; }
  /// Throws std::invalid_argument if the size differs or an entry is not finite; the net then stays as it was.
  void set_parameters(VectorIn<Scalar> values);
  const std::vector<ParameterBlock>& parameter_blocks() const { return blocks_; }

  /// y = net(x) for one tile: x in() x n, y out() x n, any n; loss and sampler come with tile_columns at a time.
  void forward(MatrixIn<Scalar> x, MatrixRef<Scalar> y, Workspace& workspace) const;

  /// gradient += (dy / dparameters)' dy for the tile that forward saw last.
  void backward(MatrixIn<Scalar> dy, Workspace& workspace, VectorRef<Scalar> gradient) const;
  /// Also dx = (dy / dx)' dy, in() x n.
  void backward(MatrixIn<Scalar> dy, Workspace& workspace, VectorRef<Scalar> gradient, Matrix<Scalar>& dx) const;

  /// Without the parameters, which is half the cost. input_gradient_tile then has the input's part.
  void input_backward(MatrixIn<Scalar> dy, Workspace& workspace) const {
    check_forward("Mlp::input_backward", dy, workspace);
    backward_tile(dy, workspace, Eigen::Map<Vector<Scalar>>(nullptr, 0));
  }

  /// dy = (dy / dx) dx for the tile that forward saw last, in forward mode: the Jacobian-vector product. Each of its n
  /// samples may have several tangents: dx is in() x m n, dy out() x m n, and column j belongs to sample j modulo n.
  /// Costs as much as forward on m n samples. backward may still follow.
  void jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dy, Workspace& workspace) const;

  // ---- the same on tiles (samples x features), for nets that prepare their own input ----

  /// The samples x in() block of the workspace that forward_tile reads.
  detail::Tile<Scalar> input_tile(Index samples, Workspace& w) const {
    reserve(samples, w);
    return input_tile(w);
  }
  /// That of the samples seen last, which forward_tile leaves as it is.
  detail::Tile<Scalar> input_tile(Workspace& w) const { return w.layers[0].input.view(w.samples, in()); }

  /// The output as a samples x out() block of the workspace.
  detail::Tile<Scalar> forward_tile(Workspace& w) const {
    const Index n = w.samples;
    const Activation f = options_.activation;
    for (Index l = 0; l <= last(); ++l) {
      const auto affine = layer(l);
      const auto a = w.layers[std::size_t(l)].input.view(n, width(l));
      if (l == last()) {
        detail::product<Scalar>(affine, a, false, w.z.view(n, out()));
        break;
      }
      auto& next = w.layers[std::size_t(l + 1)];
      auto z = w.z.view(n, width(l + 1)), next_a = next.input.view(n, width(l + 1));
      auto slope = next.slope.view(n, width(l + 1));
      if (!options_.residual) {
        detail::product<Scalar>(affine, a, f, next_a, slope);
      } else {
        detail::product<Scalar>(affine, a, l > 0, z);
        if (has_norm(l + 1))
          detail::normalize<Scalar>(norm(l + 1), z, next.normalized.view(n, width(l + 1)),
                                    next.inverse_deviation.view(n, 1), next_a);
        detail::activate<Scalar>(f, has_norm(l + 1) ? next_a : z, next_a, slope);
      }
    }
    return w.z.view(n, out());
  }

  /// Backpropagates dy (out() x samples): gradient += dL/dparameters, unless gradient is empty. input_gradient_tile
  /// then returns the gradient of the input.
  void backward_tile(MatrixIn<Scalar> dy, Workspace& w, VectorRef<Scalar> gradient) const {
    const Index n = w.samples;
    detail::read<Scalar>(dy, w.dz.view(n, out()));
    for (Index l = last(); l >= 0; --l) {
      auto& memory = w.layers[std::size_t(l)];
      auto dz = w.dz.view(n, width(l + 1));
      if (gradient.size() > 0)
        detail::gradient_product<Scalar>(memory.input.view(n, width(l)), dz, layer(gradient.data(), l));
      if (l == 0) break;
      auto da = w.da.view(n, width(l));
      detail::product_backward<Scalar>(layer(l), dz, memory.slope.view(n, width(l)), da);
      if (has_norm(l))  // the trunk's dz stays and the branch is added
        detail::normalize_backward<Scalar>(norm(l), memory.normalized.view(n, width(l)),
                                           memory.inverse_deviation.view(n, 1), da,
                                           gradient.size() > 0 ? norm(gradient.data(), l) : detail::Norm<Scalar>{}, dz);
      else
        std::swap(w.dz, w.da);
    }
  }

  /// After backward_tile: the gradient with respect to the input, samples x in().
  detail::Tile<Scalar> input_gradient_tile(Workspace& w) const {
    const auto da = w.da.view(w.samples, in());
    detail::product_backward<Scalar>(layer(0), w.dz.view(w.samples, width(1)), {}, da);
    return da;
  }

  /// After forward_tile: the columns x in() block that jvp_tile reads, columns a multiple of the samples.
  detail::Tile<Scalar> tangent_tile(Index columns, Workspace& w) const;
  /// The output's tangents as a columns x out() block of the workspace (eq. 30).
  detail::Tile<Scalar> jvp_tile(Index columns, Workspace& w) const;

  /// Where the numbers of a layer and of the norm before it are, l = 0 .. options().last().
  detail::Layer<const Scalar> layer(Index l) const { return layer(parameters_.data(), l); }
  detail::Norm<const Scalar> norm(Index l) const { return norm(parameters_.data(), l); }

 private:
  Index last() const { return options_.last(); }
  bool has_norm(Index l) const { return options_.has_norm(l); }
  Index width(Index l) const { return options_.width(l); }
  Index widest() const {
    Index widest = in();
    for (Index l = 0; l <= last(); ++l) widest = std::max(widest, width(l + 1));
    return widest;
  }

  // Views into a flat vector of the net's layout: Scalar for a gradient, const Scalar for the parameters.
  template <class S> detail::Layer<S> layer(S* flat, Index l) const {
    S* weight = flat + weights_[std::size_t(l)];
    const Index in = width(l), out = width(l + 1);
    return {weight, weight + in * out, in, out};
  }
  template <class S> detail::Norm<S> norm(S* flat, Index l) const {
    S* scale = flat + weights_[std::size_t(l)] - 2 * width(l);
    return {scale, scale + width(l)};
  }

  void initialize(Rng& rng) {
    for (Index l = 0; l <= last(); ++l) {
      if (has_norm(l)) std::fill_n(norm(parameters_.data(), l).scale, width(l), Scalar(1));
      if (l == last() && options_.zero_output) break;
      const Index count = (width(l) + 1) * width(l + 1);  // weight and bias
      const Scalar bound = 1 / std::sqrt(Scalar(width(l)));
      const std::span values(parameters_.data() + weights_[std::size_t(l)], std::size_t(count));
      fill_uniform(rng, values);
      for (Scalar& value : values) value = (2 * value - 1) * bound;
    }
  }

  void reserve(Index samples, Workspace& w) const {
    if (w.made_for != options_ || w.z.samples() < samples) {
      const Index n = std::max(samples, w.z.samples());
      w.made_for = {};  // so that a workspace left half-sized by std::bad_alloc is sized again
      w.layers = std::vector<typename Workspace::LayerMemory>(weights_.size());
      for (Index l = 0; l <= last(); ++l) {
        auto& memory = w.layers[std::size_t(l)];
        memory.input.resize(n, width(l));
        memory.slope.resize(n, l > 0 ? width(l) : 0);
        memory.normalized.resize(n, has_norm(l) ? width(l) : 0);
        memory.inverse_deviation.resize(n, has_norm(l) ? 1 : 0);
      }
      for (auto* memory : {&w.z, &w.dz, &w.da}) memory->resize(n, widest());
      for (auto* memory : {&w.tangent_z, &w.tangent_a, &w.no_bias}) memory->resize(0, 0);
      w.made_for = options_;
    }
    w.samples = samples;
  }

  void check_forward(const char* where, MatrixIn<Scalar> dy, const Workspace& w) const {
    if (w.made_for != options_) detail::fail(where, {"expected a call of forward before"});
    detail::check_shape(where, "dy", dy, out(), w.samples);
  }
  void check_backward(MatrixIn<Scalar> dy, const Workspace& w, VectorIn<Scalar> gradient) const {
    check_forward("Mlp::backward", dy, w);
    detail::check_size("Mlp::backward", "gradient", gradient.size(), parameters_.size());
  }

  MlpOptions options_;
  std::vector<ParameterBlock> blocks_;
  std::vector<Index> weights_;  // offset of each layer's weight; its bias follows, its norm stands before it
  Vector<Scalar> parameters_;
};

template <Real ScalarType>
Mlp<ScalarType>::Mlp(MlpOptions options, Rng& rng, const std::vector<ParameterBlock>& more)
    : options_(std::move(options)), blocks_(detail::mlp_layout(options_)) {
  for (const ParameterBlock& block : blocks_)
    if (block.shape.size() == 2) weights_.push_back(block.offset);
  for (const ParameterBlock& block : more) detail::append_block(blocks_, block.name, block.shape);
  parameters_.resize(blocks_.back().offset + blocks_.back().size());
  std::fill_n(parameters_.data(), parameters_.size(), Scalar(0));
  initialize(rng);
}

template <Real ScalarType> void Mlp<ScalarType>::set_parameters(VectorIn<Scalar> values) {
  detail::check_size("set_parameters", "values", values.size(), parameters_.size());
  detail::check_finite("set_parameters", "values", values);
  parameters_ = values;
}

template <Real ScalarType>
void Mlp<ScalarType>::forward(MatrixIn<Scalar> x, MatrixRef<Scalar> y, Workspace& workspace) const {
  detail::check_rows("Mlp::forward", "x", x.rows(), in());
  detail::check_shape("Mlp::forward", "y", y, out(), x.cols());
  detail::read<Scalar>(x, input_tile(x.cols(), workspace));
  detail::write<Scalar>(forward_tile(workspace), y);
}

template <Real ScalarType>
void Mlp<ScalarType>::backward(MatrixIn<Scalar> dy, Workspace& workspace, VectorRef<Scalar> gradient) const {
  check_backward(dy, workspace, gradient);
  backward_tile(dy, workspace, gradient);
}

template <Real ScalarType>
void Mlp<ScalarType>::backward(MatrixIn<Scalar> dy, Workspace& workspace, VectorRef<Scalar> gradient,
                               Matrix<Scalar>& dx) const {
  check_backward(dy, workspace, gradient);
  backward_tile(dy, workspace, gradient);
  dx.resize(in(), dy.cols());
  detail::write<Scalar>(input_gradient_tile(workspace), dx);
}

}
}

// The members declared above that stand behind the method.
#include "flowmatch/field/mlp_tangent.hpp"
