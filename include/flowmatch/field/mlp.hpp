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
#include <string>
#include <vector>

#include "flowmatch/core/random.hpp"
#include "flowmatch/field/elementwise.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

struct MlpOptions {
  Index in = 0;                    ///< rows of the input, >= 1
  std::vector<Index> hidden = {};  ///< width of each hidden layer; residual: all equal, the first is the input layer
  Index out = 0;                   ///< rows of the output, >= 1
  Activation activation = Activation::silu;
  bool residual = false;     ///< pre-layer-norm residual blocks instead of plain layers
  bool zero_output = false;  ///< start the output layer at zero, so that the untrained net says 0

  Index last() const { return Index(hidden.size()); }  ///< the number L of the output layer
  Index width(Index l) const {                         ///< rows of a_l; width(L + 1) is the output's
    return l == 0 ? in : l > last() ? out : hidden[std::size_t(l - 1)];
  }
  bool has_norm(Index l) const { return residual && l > 0 && l < last(); }

  friend bool operator==(const MlpOptions&, const MlpOptions&) = default;
};

/// A named part of the flat parameter vector, row-major, as PyTorch names and orders it.
struct ParameterBlock {
  std::string name;
  std::vector<Index> shape;
  Index offset = 0;

  Index size() const {
    Index n = 1;
    for (Index s : shape) n *= s;
    return n;
  }
};

namespace detail {

/// The blocks of a net in their order. Throws std::invalid_argument for options out of range.
inline std::vector<ParameterBlock> mlp_layout(const MlpOptions& o) {
  check_at_least("Mlp", "options.in", double(o.in), 1);
  check_at_least("Mlp", "options.out", double(o.out), 1);
  for (Index h : o.hidden) {
    check_at_least("Mlp", "every width in options.hidden", double(h), 1);
    if (o.residual && h != o.hidden[0])
      fail("Mlp", "expected equal widths in options.hidden for a residual net, got ", o.hidden[0], " and ", h);
  }
  if (o.residual && o.hidden.empty())
    fail("Mlp", "expected at least one width in options.hidden for a residual net, got none");
  std::vector<ParameterBlock> blocks;
  const auto add = [&](std::string block, std::vector<Index> shape) {
    const Index offset = blocks.empty() ? 0 : blocks.back().offset + blocks.back().size();
    blocks.push_back({std::move(block), std::move(shape), offset});
  };
  for (Index l = 0; l <= o.last(); ++l) {
    const std::string number = std::to_string(l);
    if (o.has_norm(l)) {
      add("norms." + number + ".weight", {o.width(l)});
      add("norms." + number + ".bias", {o.width(l)});
    }
    add("layers." + number + ".weight", {o.width(l + 1), o.width(l)});
    add("layers." + number + ".bias", {o.width(l + 1)});
  }
  return blocks;
}

}

/// The net is a value: options and one contiguous parameter vector, in the order layers.0.weight [out, in] (row-major),
/// layers.0.bias, then for each further layer norms.l.weight, norms.l.bias (residual blocks only), layers.l.weight,
/// layers.l.bias. It is const while it runs; activations live in a Workspace, one for each thread.
template <std::floating_point ScalarType = float> class Mlp {
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
    Index samples = 0;
  };

  /// Weights and biases uniform in +-1 / sqrt(in), as PyTorch's Linear; norms start as identity.
  /// Throws std::invalid_argument for a width below 1, or residual blocks of unequal width.
  Mlp(MlpOptions options, Rng& rng) : options_(std::move(options)), blocks_(detail::mlp_layout(options_)) {
    for (const ParameterBlock& block : blocks_)
      if (block.shape.size() == 2) weights_.push_back(block.offset);
    parameters_ = Vector<Scalar>::Zero(blocks_.back().offset + blocks_.back().size());
    initialise(rng);
  }

  const MlpOptions& options() const { return options_; }
  Index in() const { return options_.in; }
  Index out() const { return options_.out; }

  /// All weights, as a view: write through it, but its size is the net's. parameter_blocks() tells what lies where.
  Eigen::Map<Vector<Scalar>> parameters() { return {parameters_.data(), parameters_.size()}; }
  Eigen::Map<const Vector<Scalar>> parameters() const { return {parameters_.data(), parameters_.size()}; }
  /// Throws std::invalid_argument if the size differs or an entry is not finite; the net then stays as it was.
  void set_parameters(VectorIn<Scalar> values) {
    detail::check_size("set_parameters", "values", values.size(), parameters_.size());
    detail::check_finite("set_parameters", "values", values);
    parameters_ = values;
  }
  const std::vector<ParameterBlock>& parameter_blocks() const { return blocks_; }

  /// y = net(x) for one tile: x in() x n, y out() x n, any n; loss and sampler come with tile_columns at a time.
  void forward(MatrixIn<Scalar> x, MatrixRef<Scalar> y, Workspace& workspace) const {
    detail::check_rows("Mlp::forward", "x", x.rows(), in());
    detail::check_shape("Mlp::forward", "y", y, out(), x.cols());
    input_tile(x.cols(), workspace) = x.transpose();
    y = forward_tile(workspace).transpose();
  }

  /// gradient += (dy / dparameters)' dy for the tile that forward saw last.
  void backward(MatrixIn<Scalar> dy, Workspace& workspace, VectorRef<Scalar> gradient) const {
    check_backward(dy, workspace, gradient);
    backward_tile(dy, workspace, gradient);
  }
  /// Also dx = (dy / dx)' dy, in() x n.
  void backward(MatrixIn<Scalar> dy, Workspace& workspace, VectorRef<Scalar> gradient, Matrix<Scalar>& dx) const {
    check_backward(dy, workspace, gradient);
    backward_tile(dy, workspace, gradient);
    dx = input_gradient_tile(workspace).transpose();
  }

  // ---- the same on tiles (samples x features), for nets that prepare their own input ----

  /// The samples x in() block of the workspace that forward_tile reads.
  auto input_tile(Index samples, Workspace& w) const {
    reserve(samples, w);
    return w.layers[0].input.view(samples, in());
  }

  /// The output as a samples x out() block of the workspace.
  auto forward_tile(Workspace& w) const {
    const Index n = w.samples;
    const Activation f = options_.activation;
    for (Index l = 0; l <= last(); ++l) {
      const auto affine = layer(parameters_.data(), l);
      const auto a = w.layers[std::size_t(l)].input.view(n, width(l));
      if (l == last()) {
        detail::product<Scalar>(affine, a, w.z.view(n, out()));
        break;
      }
      auto& next = w.layers[std::size_t(l + 1)];
      auto z = w.z.view(n, width(l + 1)), next_a = next.input.view(n, width(l + 1));
      auto slope = next.slope.view(n, width(l + 1));
      if (!options_.residual) {
        detail::product<Scalar>(affine, a, f, next_a, slope);
      } else {
        if (l == 0)
          detail::product<Scalar>(affine, a, z);
        else
          detail::add_product<Scalar>(affine, a, z);
        if (has_norm(l + 1))
          detail::normalize<Scalar>(norm(parameters_.data(), l + 1), z, next.normalized.view(n, width(l + 1)),
                                    next.inverse_deviation.view(n, 1), next_a);
        detail::activate<Scalar>(f, has_norm(l + 1) ? next_a : z, next_a, slope);
      }
    }
    return w.z.view(n, out());
  }

  /// gradient += what the output gradient dy (out() x samples) says. input_gradient_tile gives the input's part.
  void backward_tile(MatrixIn<Scalar> dy, Workspace& w, VectorRef<Scalar> gradient) const {
    const Index n = w.samples;
    w.dz.view(n, out()) = dy.transpose();
    for (Index l = last(); l >= 0; --l) {
      auto& memory = w.layers[std::size_t(l)];
      auto dz = w.dz.view(n, width(l + 1));
      detail::gradient_product<Scalar>(memory.input.view(n, width(l)), dz, layer(gradient.data(), l));
      if (l == 0) break;
      auto da = w.da.view(n, width(l));
      detail::back_product<Scalar>(layer(parameters_.data(), l), dz, memory.slope.view(n, width(l)), da);
      if (has_norm(l))  // the trunk's dz stays and the branch is added
        detail::normalize_back<Scalar>(norm(parameters_.data(), l), memory.normalized.view(n, width(l)),
                                       memory.inverse_deviation.view(n, 1), da, norm(gradient.data(), l), dz);
      else
        std::swap(w.dz, w.da);
    }
  }

  /// After backward_tile: the gradient with respect to the input, samples x in().
  auto input_gradient_tile(Workspace& w) const {
    auto da = w.da.view(w.samples, in());
    detail::back_product<Scalar>(layer(parameters_.data(), 0), w.dz.view(w.samples, width(1)), da);
    return da;
  }

 private:
  Index last() const { return options_.last(); }
  bool has_norm(Index l) const { return options_.has_norm(l); }
  Index width(Index l) const { return options_.width(l); }

  // Views into a flat vector of the net's layout: S is Scalar for a gradient, const Scalar for the parameters.
  template <class S> detail::Layer<S> layer(S* flat, Index l) const {
    S* weight = flat + weights_[std::size_t(l)];
    const Index in = width(l), out = width(l + 1);
    return {{weight, in, out}, {weight + in * out, out}};
  }
  template <class S> detail::Norm<S> norm(S* flat, Index l) const {
    const Index n = width(l);
    S* scale = flat + weights_[std::size_t(l)] - 2 * n;
    return {{scale, n}, {scale + n, n}};
  }

  void initialise(Rng& rng) {
    for (Index l = 0; l <= last(); ++l) {
      if (has_norm(l)) norm(parameters_.data(), l).scale.setOnes();
      if (l == last() && options_.zero_output) break;
      const Index count = (width(l) + 1) * width(l + 1);  // weight and bias
      const Scalar bound = 1 / std::sqrt(Scalar(width(l)));
      auto values = parameters_.segment(weights_[std::size_t(l)], count);
      fill_uniform(rng, std::span<Scalar>(values.data(), std::size_t(count)));
      values.array() = (2 * values.array() - 1) * bound;
    }
  }

  void reserve(Index samples, Workspace& w) const {
    if (w.made_for != options_ || w.z.samples() < samples) {
      const Index n = std::max(samples, w.z.samples());
      Index widest = 0;
      w.made_for = {};  // so that a workspace left half-sized by std::bad_alloc is sized again
      w.layers.resize(weights_.size());
      for (Index l = 0; l <= last(); ++l) {
        auto& memory = w.layers[std::size_t(l)];
        memory.input = {n, width(l)};
        memory.slope = {n, l > 0 ? width(l) : 0};
        memory.normalized = {n, has_norm(l) ? width(l) : 0};
        memory.inverse_deviation = {n, has_norm(l) ? 1 : 0};
        widest = std::max({widest, width(l), width(l + 1)});
      }
      w.z = {n, widest};
      w.dz = {n, widest};
      w.da = {n, widest};
      w.made_for = options_;
    }
    w.samples = samples;
  }

  void check_backward(MatrixIn<Scalar> dy, const Workspace& w, VectorIn<Scalar> gradient) const {
    if (w.made_for != options_) detail::fail("Mlp::backward", "expected a call of forward before");
    detail::check_shape("Mlp::backward", "dy", dy, out(), w.samples);
    detail::check_size("Mlp::backward", "gradient", gradient.size(), parameters_.size());
  }

  MlpOptions options_;
  std::vector<ParameterBlock> blocks_;
  std::vector<Index> weights_;  // offset of each layer's weight; its bias follows, its norm stands before it
  Vector<Scalar> parameters_;
};

}
