// SPDX-License-Identifier: MIT
// The flow-matching loss on samples that a net is not trained on.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "flowmatch/field/field.hpp"
#include "flowmatch/path/noisy.hpp"
#include "flowmatch/random/draw.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// The loss of eq. 5 in docs/math.md, without a gradient, on pairs and times that are fixed once, so that its values
/// compare, from one step to another and from one net to another. A net that learns its data by heart has a falling
/// training loss and a rising one here.
template <TrainableField Field> class HeldOutLoss {
 public:
  using Scalar = typename Field::Scalar;

  /// x0, x1: dim x n, t: n, c: condition_dim x n; keeps copies. The field only tells the sizes. Throws
  /// std::invalid_argument if a shape is wrong, a number is not finite, a time not in [0, 1], or n is 0.
  template <Path P>
  HeldOutLoss(const Field& field, const P& path, MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t,
              MatrixIn<Scalar> c);
  /// On points x_t and velocities u_t (dim x n) of a path with noise of its own, or of any other.
  HeldOutLoss(const Field& field, MatrixIn<Scalar> x_t, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
              MatrixIn<Scalar> u_t);

  /// Mean over all entries of (v(x_t, t, c) - u_t)^2. Throws std::runtime_error if it is not finite. One forward pass,
  /// on one thread. Allocates nothing after the first call.
  double operator()(const Field& field);

 private:
  void prepare(const char* name, const Field& field);

  Matrix<Scalar> x_t_, u_t_;
  RowVector<Scalar> t_;
  Matrix<Scalar> c_, v_;
  typename Field::Workspace workspace_;
};

template <TrainableField Field>
template <Path P>
HeldOutLoss<Field>::HeldOutLoss(const Field& field, const P& path, MatrixIn<Scalar> x0, MatrixIn<Scalar> x1,
                                RowVectorIn<Scalar> t, MatrixIn<Scalar> c)
    : t_(t), c_(c) {
  path.sample(x0, x1, t, x_t_, u_t_);
  prepare("x0", field);
}

template <TrainableField Field>
HeldOutLoss<Field>::HeldOutLoss(const Field& field, MatrixIn<Scalar> x_t, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                MatrixIn<Scalar> u_t)
    : x_t_(x_t), u_t_(u_t), t_(t), c_(c) {
  prepare("x_t", field);
  detail::check_shape("HeldOutLoss", "u_t", u_t, x_t.rows(), x_t.cols());
  detail::check_finite("HeldOutLoss", "u_t", u_t);
}

template <TrainableField Field> double HeldOutLoss<Field>::operator()(const Field& field) {
  double sum = 0;
  for (Index j = 0; j < t_.size(); j += tile_columns) {
    const Index n = std::min(tile_columns, t_.size() - j);
    auto v = v_.leftCols(n);
    field.forward(x_t_.middleCols(j, n), t_.middleCols(j, n), c_.middleCols(j, n), v, workspace_);
    sum += double((v - u_t_.middleCols(j, n)).squaredNorm());
  }
  if (!is_finite(sum))
    detail::raise<std::runtime_error>(
        detail::concat({"flowmatch: HeldOutLoss: the loss is ", sum, ": training diverged"}));
  return sum / double(u_t_.size());
}

template <TrainableField Field> void HeldOutLoss<Field>::prepare(const char* name, const Field& field) {
  detail::check_batch("HeldOutLoss", name, field, x_t_, t_, c_);
  detail::check_at_least("HeldOutLoss", detail::concat({name, ".cols()"}).c_str(), t_.size(), 1);
  v_.resize(field.dim(), std::min(tile_columns, t_.size()));
}

namespace detail {

/// Removes `count` random indices from `numbers` and returns the held-out loss on these samples, with noise and times
/// from rng.
template <TrainableField Field, class P>
HeldOutLoss<Field> take_held_out(const Field& field, const P& path, MatrixIn<typename Field::Scalar> data,
                                 MatrixIn<typename Field::Scalar> c, Rng rng, Index count,
                                 std::vector<Index>& numbers) {
  using Scalar = typename Field::Scalar;
  shuffle_front(rng, numbers, count);
  const auto chosen = std::span<const Index>(numbers).first(std::size_t(count));
  Matrix<Scalar> x0(data.rows(), count), x1, held_c, x_t, u_t;
  RowVector<Scalar> t(count);
  take_columns<Scalar>(data, chosen, x1);
  take_columns<Scalar>(c, chosen, held_c);
  fill_normal(rng, x0);
  fill_uniform(rng, t);
  sample_path<P, Scalar>(path, rng, x0, x1, t, x_t, u_t);
  numbers.erase(numbers.begin(), numbers.begin() + count);
  return {field, x_t, t, held_c, u_t};
}

}
}
}
