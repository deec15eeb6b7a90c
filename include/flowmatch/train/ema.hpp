// SPDX-License-Identifier: MIT
// The exponential moving average of the parameters: smoother than the last iterate, and usually the better sampler.
#pragma once

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct EmaOptions {
  double decay = 0.999;  ///< in [0, 1); the average looks back over about 1 / (1 - decay) steps
};

/// Eq. 13: average = d average + (1 - d) parameters, where in the k-th update (k = 1, 2, ...) d = min(decay, k / (k +
/// 9)), so that the start is soon forgotten. Afterwards: net.set_parameters(ema.parameters()).
template <Real Scalar> class Ema {
 public:
  /// Starts at the given parameters, or resumes from an average after this many updates. Throws
  /// std::invalid_argument if decay is outside [0, 1) or updates below 0.
  template <class Derived>
  explicit Ema(const Eigen::MatrixBase<Derived>& parameters, EmaOptions options = {}, Index updates = 0);

  /// After each step of the optimizer. Throws std::invalid_argument if the size differs. Allocates nothing.
  void update(VectorIn<Scalar> parameters);

  const Vector<Scalar>& parameters() const { return average_; }
  Index updates() const { return updates_; }

 private:
  EmaOptions options_;
  Vector<Scalar> average_;
  Index updates_;
};

template <Real Scalar>
template <class Derived>
Ema<Scalar>::Ema(const Eigen::MatrixBase<Derived>& parameters, EmaOptions options, Index updates)
    : options_(options), average_(parameters), updates_(updates) {
  detail::check_below("Ema", "options.decay", options.decay, 0, 1);
  detail::check_at_least("Ema", "updates", updates, 0);
}

template <Real Scalar> void Ema<Scalar>::update(VectorIn<Scalar> parameters) {
  detail::check_size("Ema::update", "parameters", parameters.size(), average_.size());
  ++updates_;
  const double d = std::min(options_.decay, double(updates_) / double(updates_ + 9));
  average_ += Scalar(1 - d) * (parameters - average_);
}
template <class Derived> Ema(const Eigen::MatrixBase<Derived>&) -> Ema<typename Derived::Scalar>;
template <class Derived> Ema(const Eigen::MatrixBase<Derived>&, EmaOptions) -> Ema<typename Derived::Scalar>;
template <class Derived> Ema(const Eigen::MatrixBase<Derived>&, EmaOptions, Index) -> Ema<typename Derived::Scalar>;

}
}
