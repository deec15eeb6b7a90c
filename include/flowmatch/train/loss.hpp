// SPDX-License-Identifier: MIT
// The mean squared error of a net's output, and the flow-matching loss, which is that of a field's velocity and the
// path's.
#pragma once

#include <type_traits>

#include "flowmatch/train/backprop.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Output loss: mean over all entries of weight_j (y_ij - target_ij)^2, without weights as PyTorch's MSELoss.
/// A view of its arguments: made for one call of Backprop.
template <Real Scalar> class MeanSquaredError {
 public:
  /// target: rows x samples, without weights. Throws std::invalid_argument if a number is not finite.
  template <class Target> explicit MeanSquaredError(const Target& target);
  /// weights: one for each sample. Throws also if their number differs or one is negative.
  template <class Target, class Weights> MeanSquaredError(const Target& target, const Weights& weights);
  MeanSquaredError(const MeanSquaredError&) = delete;  // a copy would view what the original has copied

  Index samples() const { return target_.cols(); }

  template <class Y, class Gradient> Scalar operator()(const Y& y, Index first, Gradient&& dy) const;

 private:
  Eigen::Ref<const Matrix<Scalar>> target_;
  Eigen::Ref<const RowVector<Scalar>> weights_;
  bool weighted_;
};

template <Real Scalar>
template <class Target>
MeanSquaredError<Scalar>::MeanSquaredError(const Target& target)
    : target_(target), weights_(Eigen::Map<const RowVector<Scalar>>(nullptr, 0)), weighted_(false) {
  detail::check_finite("mean_squared_error", "target", target_);
}

template <Real Scalar>
template <class Target, class Weights>
MeanSquaredError<Scalar>::MeanSquaredError(const Target& target, const Weights& weights)
    : target_(target), weights_(weights), weighted_(true) {
  constexpr auto where = "mean_squared_error";
  detail::check_finite(where, "target", target_);
  detail::check_columns(where, "weights", weights_.cols(), target_.cols());
  detail::check_finite(where, "weights", weights_);
  for (Index j = 0; j < weights_.size(); ++j)
    if (weights_(j) < 0) detail::fail(where, {"expected weights >= 0, got ", weights_(j), " in column ", j});
}

template <Real Scalar>
template <class Y, class Gradient>
Scalar MeanSquaredError<Scalar>::operator()(const Y& y, Index first, Gradient&& dy) const {
  using Dy = std::remove_reference_t<Gradient>;
  static_assert(!Y::IsRowMajor && Y::InnerStrideAtCompileTime == 1, "the columns of y must be contiguous");
  static_assert(!Dy::IsRowMajor && Dy::InnerStrideAtCompileTime == 1, "the columns of dy must be contiguous");
  const Scalar scale = 1 / Scalar(target_.size());
  detail::check_rows("mean_squared_error", "target", target_.rows(), y.rows());
  Scalar value = 0;
  for (Index j = 0; j < y.cols(); ++j) {
    const Scalar weight = weighted_ ? weights_.data()[first + j] * scale : scale;
    const Scalar *y_j = y.data() + j * y.outerStride(),
                 *target_j = target_.data() + (first + j) * target_.outerStride();
    Scalar *dy_j = dy.data() + j * dy.outerStride(), sum = 0;
    for (Index i = 0; i < y.rows(); ++i) {
      const Scalar difference = y_j[i] - target_j[i];
      sum += difference * difference;
      dy_j[i] = 2 * weight * difference;
    }
    value += weight * sum;
  }
  return value;
}

template <class Derived> auto mean_squared_error(const Eigen::MatrixBase<Derived>& target) {
  using Scalar = typename Derived::Scalar;
  return MeanSquaredError<Scalar>(target.derived());
}
template <class Derived, class Weights>
auto mean_squared_error(const Eigen::MatrixBase<Derived>& target, const Eigen::MatrixBase<Weights>& weights) {
  return MeanSquaredError<typename Derived::Scalar>(target.derived(), weights.derived());
}

/// The flow-matching loss (Lipman et al. 2022; eq. 5 in docs/math.md): mean over all entries of
/// (v(x_t, t, c) - u_t)^2, and its gradient. Its least value is not zero: what x_t leaves open of u_t stays.
template <TrainableField Field> class FlowMatchingLoss {
 public:
  using Scalar = typename Field::Scalar;

  explicit FlowMatchingLoss(const Field& field);
  /// With a team of threads, which must outlive this object.
  FlowMatchingLoss(const Field& field, Threads& team);

  /// x_t, u_t: dim x n, t: n; the gradient is resized. Throws as Backprop does.
  Scalar operator()(const Field& field, MatrixIn<Scalar> x_t, RowVectorIn<Scalar> t, MatrixIn<Scalar> u_t,
                    Vector<Scalar>& gradient);
  /// With a condition c: condition_dim x n.
  Scalar operator()(const Field& field, MatrixIn<Scalar> x_t, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                    MatrixIn<Scalar> u_t, Vector<Scalar>& gradient);
  /// With a weight >= 0 for each sample: mean over all entries of weight_j (v - u_t)^2.
  Scalar operator()(const Field& field, MatrixIn<Scalar> x_t, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                    MatrixIn<Scalar> u_t, RowVectorIn<Scalar> weights, Vector<Scalar>& gradient);

 private:
  static constexpr auto where = "FlowMatchingLoss";
  static void check_target(const Field& field, MatrixIn<Scalar> x_t, MatrixIn<Scalar> u_t) {
    detail::check_shape(where, "u_t", u_t, field.dim(), x_t.cols());
    detail::check_finite(where, "u_t", u_t);
  }

  Backprop<Field> backprop_;
  Matrix<Scalar> no_condition_;
};

template <TrainableField Field> FlowMatchingLoss<Field>::FlowMatchingLoss(const Field& field) : backprop_(field) {}

template <TrainableField Field>
FlowMatchingLoss<Field>::FlowMatchingLoss(const Field& field, Threads& team) : backprop_(field, team) {}

template <TrainableField Field>
typename Field::Scalar FlowMatchingLoss<Field>::operator()(const Field& field, MatrixIn<Scalar> x_t,
                                                           RowVectorIn<Scalar> t, MatrixIn<Scalar> u_t,
                                                           Vector<Scalar>& gradient) {
  no_condition_.resize(0, x_t.cols());
  return (*this)(field, x_t, t, no_condition_, u_t, gradient);
}

template <TrainableField Field>
typename Field::Scalar FlowMatchingLoss<Field>::operator()(const Field& field, MatrixIn<Scalar> x_t,
                                                           RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                                           MatrixIn<Scalar> u_t, Vector<Scalar>& gradient) {
  check_target(field, x_t, u_t);
  return backprop_(field, x_t, t, c, mean_squared_error(u_t), gradient, where, "x_t");
}

template <TrainableField Field>
typename Field::Scalar FlowMatchingLoss<Field>::operator()(const Field& field, MatrixIn<Scalar> x_t,
                                                           RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                                           MatrixIn<Scalar> u_t, RowVectorIn<Scalar> weights,
                                                           Vector<Scalar>& gradient) {
  check_target(field, x_t, u_t);
  return backprop_(field, x_t, t, c, mean_squared_error(u_t, weights), gradient, where, "x_t");
}

}
}
