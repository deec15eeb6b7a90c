// SPDX-License-Identifier: MIT
// What the optimizers have in common; SGD with momentum; and the clipping of a gradient.
#pragma once

#include <concepts>

#include "flowmatch/train/adam.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Anything with step(parameters, gradient) and options.learning_rate, which may change between steps.
template <class O, class Scalar>
concept Optimizer = requires(O& optimizer, VectorRef<Scalar> parameters, const Vector<Scalar>& gradient) {
  optimizer.step(parameters, gradient);
  { optimizer.options.learning_rate } -> std::same_as<double&>;
};

struct SgdOptions {
  double learning_rate = 1e-2;  ///< >= 0
  double momentum = 0;          ///< in [0, 1)
};

/// Stochastic gradient descent with momentum: b = momentum b + g, p = p - learning_rate b.
template <Real Scalar> class Sgd {
 public:
  SgdOptions options;

  template <class Derived> explicit Sgd(const Eigen::MatrixBase<Derived>& parameters, SgdOptions options_ = {});

  /// As Adam::step.
  void step(VectorRef<Scalar> parameters, VectorIn<Scalar> gradient);

 private:
  Vector<Scalar> velocity_;
};

template <Real Scalar>
template <class Derived>
Sgd<Scalar>::Sgd(const Eigen::MatrixBase<Derived>& parameters, SgdOptions options_)
    : options(options_), velocity_(detail::zeros<Scalar>(parameters.size())) {
  detail::check_at_least("Sgd", "options.learning_rate", options.learning_rate, 0);
  detail::check_below("Sgd", "options.momentum", options.momentum, 0, 1);
}

template <Real Scalar> void Sgd<Scalar>::step(VectorRef<Scalar> parameters, VectorIn<Scalar> gradient) {
  detail::check_step<Scalar>("Sgd::step", parameters, gradient, velocity_.size(), options.learning_rate);
  velocity_ = Scalar(options.momentum) * velocity_ + gradient;
  parameters -= Scalar(options.learning_rate) * velocity_;
}
template <class Derived> Sgd(const Eigen::MatrixBase<Derived>&) -> Sgd<typename Derived::Scalar>;
template <class Derived> Sgd(const Eigen::MatrixBase<Derived>&, SgdOptions) -> Sgd<typename Derived::Scalar>;

/// Scales the gradient down so that its Euclidean norm is at most max_norm > 0; returns the norm that it had.
/// Throws std::invalid_argument if the gradient or its norm is not finite.
template <class Derived> typename Derived::Scalar clip_norm(Eigen::MatrixBase<Derived>& gradient, double max_norm) {
  using Scalar = typename Derived::Scalar;
  detail::check_positive("clip_norm", "max_norm", max_norm);
  detail::check_finite("clip_norm", "gradient", gradient);
  const Scalar norm = gradient.stableNorm();  // squares of large entries must not overflow
  if (!is_finite(norm)) detail::fail("clip_norm", {"expected a gradient whose norm is finite, got ", norm});
  if (norm > Scalar(max_norm)) gradient *= Scalar(max_norm) / norm;
  return norm;
}

}
}
