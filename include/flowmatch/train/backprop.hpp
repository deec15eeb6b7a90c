// SPDX-License-Identifier: MIT
// The value and gradient of any loss of a net's output: carries a batch through the net tile by tile, hands each
// tile's output to a loss of your choice, and takes the loss's gradient there back to all parameters.
//
// An output loss is any function
//   Scalar loss(const auto& y, Index first, auto&& dy)
// that gets the outputs y (rows x n) of the samples first .. first + n - 1, writes dy = dloss/dy (rows x n), and
// returns these samples' share of the loss. Shares are added, so it divides by the size of the whole batch itself.
// It may be called for several tiles at once from different threads. If it has a member samples(), the batch must have
// that many columns. Ready ones: mean_squared_error and softmax_cross_entropy in train/loss.hpp.
#pragma once

#include <utility>

#include "flowmatch/field/mlp.hpp"
#include "flowmatch/field/trainable.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

/// For a TrainableField or an Mlp. Owns the scratch memory: make it once, use it in every step. After the first step of
/// a batch size it resizes nothing. One for each thread of yours.
template <class Net> class Backprop {
 public:
  using Scalar = typename Net::Scalar;

  /// The net only tells the type of the memory; the one to evaluate is passed with each call.
  explicit Backprop(const Net&) {}

  /// For a field: loss of v(x, t, c); x: dim x n, t: n, c: condition_dim x n. Returns its value and writes its gradient
  /// (resized). Throws std::invalid_argument if a shape is wrong, there is no sample, or a number is not finite, and
  /// std::runtime_error if the loss is not finite: training diverged. where and x_name are for these messages.
  template <class OutputLoss>
  requires TrainableField<Net> Scalar operator()(const Net& net, MatrixIn<Scalar> x, RowVectorIn<Scalar> t,
                                                 MatrixIn<Scalar> c, const OutputLoss& loss, Vector<Scalar>& gradient,
                                                 const char* where = "Backprop", const char* x_name = "x") {
    detail::check_batch(where, x_name, net, x, t, c);
    return run(where, net, x.cols(), net.dim(), loss, gradient, [&](Index first, Index n) {
      net.forward(x.middleCols(first, n), t.middleCols(first, n), c.middleCols(first, n), output_.leftCols(n), memory_);
    });
  }

  /// For an Mlp: loss of y(x); x: in x n. Otherwise the same.
  template <class OutputLoss>
  requires std::same_as<Net, Mlp<Scalar>> Scalar operator()(const Net& net, MatrixIn<Scalar> x, const OutputLoss& loss,
                                                            Vector<Scalar>& gradient) {
    detail::check_rows("Backprop", "x", x.rows(), net.in());
    detail::check_finite("Backprop", "x", x);
    return run("Backprop", net, x.cols(), net.out(), loss, gradient,
               [&](Index first, Index n) { net.forward(x.middleCols(first, n), output_.leftCols(n), memory_); });
  }

 private:
  template <class OutputLoss, class Forward>
  Scalar run(const char* where, const Net& net, Index samples, Index rows, const OutputLoss& loss,
             Vector<Scalar>& gradient, const Forward& forward) {
    if (samples < 1) detail::fail(where, "expected at least one sample, got none");
    if constexpr (requires { loss.samples(); }) detail::check_columns(where, "the target", loss.samples(), samples);
    gradient.setZero(net.parameters().size());
    output_.resize(rows, std::min(samples, tile_columns));
    output_gradient_.resize(rows, std::min(samples, tile_columns));
    Scalar value = 0;
    for (Index first = 0; first < samples; first += tile_columns) {
      const Index n = std::min(tile_columns, samples - first);
      auto y = output_.leftCols(n), dy = output_gradient_.leftCols(n);
      forward(first, n);
      value += loss(std::as_const(y), first, dy);
      net.backward(dy, memory_, gradient);
    }
    if (!is_finite(value))
      throw std::runtime_error(detail::concat("flowmatch: ", where, ": the loss is ", value,
                                              ": training diverged; a lower learning rate or clipping may help"));
    return value;
  }

  typename Net::Workspace memory_;
  Matrix<Scalar> output_, output_gradient_;
};

}
