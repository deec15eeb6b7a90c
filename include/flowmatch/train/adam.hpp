// SPDX-License-Identifier: MIT
// Adam and AdamW: one pass over the flat parameter vector, after the gradient was checked.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "flowmatch/kernel/elementary.hpp"
#include "flowmatch/kernel/instruction_set.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct AdamOptions {
  double learning_rate = 1e-3;  ///< >= 0
  double beta1 = 0.9;           ///< decay of the mean of the gradient, in [0, 1)
  double beta2 = 0.999;         ///< decay of the mean of its square, in [0, 1)
  double epsilon = 1e-8;        ///< > 0, added to the root
};

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;  ///< >= 0, decoupled: parameters shrink by learning_rate weight_decay a step
};

/// What Adam and AdamW carry from step to step: the means m of the gradient and v of its square, and the steps done. To
/// resume a training later, keep it.
template <Real Scalar> struct AdamState {
  Vector<Scalar> m, v;
  Index steps = 0;
};

namespace detail {

template <class Scalar> Vector<Scalar> zeros(Index size) {
  Vector<Scalar> zeros(size);
  std::fill_n(zeros.data(), size, Scalar(0));
  return zeros;
}

template <class Scalar>
void check_step(const char* where, VectorIn<Scalar> parameters, VectorIn<Scalar> gradient, Index expected,
                double learning_rate) {
  check_size(where, "parameters", parameters.size(), expected);
  check_size(where, "gradient", gradient.size(), expected);
  check_finite(where, "gradient", gradient);
  check_at_least(where, "options.learning_rate", learning_rate, 0);
}

template <class Options> void check_adam(const char* where, const Options& o) {
  check_at_least(where, "options.learning_rate", o.learning_rate, 0);
  check_below(where, "options.beta1", o.beta1, 0, 1);
  check_below(where, "options.beta2", o.beta2, 0, 1);
  check_positive(where, "options.epsilon", o.epsilon);
}

/// The common step of Adam and AdamW (eq. 12 in docs/math.md):
///   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
///   p = (1 - shrink) p - rate m / (1 - beta1^k) / (sqrt(v / (1 - beta2^k)) + epsilon)   in the k-th step
template <class Scalar, class Options>
void adam_step(const char* where, AdamState<Scalar>& state, VectorRef<Scalar> parameters, VectorIn<Scalar> gradient,
               const Options& o, double shrink) {
  auto& [m, v, steps] = state;
  check_step<Scalar>(where, parameters, gradient, m.size(), o.learning_rate);
  check_size(where, "state.v", v.size(), m.size());
  ++steps;
  const Scalar rate = Scalar(o.learning_rate / (1 - std::pow(o.beta1, double(steps))));
  const Scalar root_correction = Scalar(1 / std::sqrt(1 - std::pow(o.beta2, double(steps))));
  const Scalar part1 = Scalar(1 - o.beta1), part2 = Scalar(1 - o.beta2);  // in double: 1 - 0.999f is off by 1e-5
  const Scalar beta2 = Scalar(o.beta2);
  const Scalar epsilon = std::max(Scalar(o.epsilon), std::numeric_limits<Scalar>::min());  // 0 / 0 must not come up
  const Scalar keep = Scalar(1 - shrink);
  Scalar *p = parameters.data(), *mean = m.data(), *square = v.data();
  const Scalar* g = gradient.data();
  dispatch([=, size = m.size()](auto width) FLOWMATCH_INLINE {  // each vector is read and written once
    using L = Lanes<Scalar, decltype(width)::bytes>;
    const auto step = [=](const Scalar* g_i, Scalar* p_i, Scalar* m_i, Scalar* v_i) FLOWMATCH_INLINE {
      typename L::V gi, pi, mi, vi, root;
      L::load(g_i, gi);
      L::load(p_i, pi);
      L::load(m_i, mi);
      L::load(v_i, vi);
      mi += (gi - mi) * part1;
      vi = beta2 * vi + part2 * (gi * gi);  // infinity stays infinity
      square_root<L>(vi, root);
      pi = keep * pi - rate * mi / (root * root_correction + epsilon);
      L::store(p_i, pi);
      L::store(m_i, mi);
      L::store(v_i, vi);
    };
    Index i = 0;
    for (; i + L::width <= size; i += L::width) step(g + i, p + i, mean + i, square + i);
    Scalar last[4][L::width] = {};
    const Scalar* from[] = {g + i, p + i, mean + i, square + i};
    for (int k = 0; k < 4; ++k) std::copy_n(from[k], size - i, last[k]);
    step(last[0], last[1], last[2], last[3]);
    Scalar* to[] = {p + i, mean + i, square + i};
    for (int k = 0; k < 3; ++k) std::copy_n(last[k + 1], size - i, to[k]);
  });
}

}

/// Adam (Kingma and Ba 2015), without weight decay. Keeps two vectors of the parameters' size.
template <Real Scalar> class Adam {
 public:
  AdamOptions options;  ///< the learning rate may change between steps
  AdamState<Scalar> state;

  /// Throws std::invalid_argument for an option outside its range.
  template <class Derived> explicit Adam(const Eigen::MatrixBase<Derived>& parameters, AdamOptions options_ = {});

  /// One step against the gradient. Throws std::invalid_argument if a size differs or the gradient is not finite; then
  /// nothing has changed. Allocates nothing.
  void step(VectorRef<Scalar> parameters, VectorIn<Scalar> gradient);
};

template <Real Scalar>
template <class Derived>
Adam<Scalar>::Adam(const Eigen::MatrixBase<Derived>& parameters, AdamOptions options_)
    : options(options_), state{detail::zeros<Scalar>(parameters.size()), detail::zeros<Scalar>(parameters.size())} {
  detail::check_adam("Adam", options);
}

template <Real Scalar> void Adam<Scalar>::step(VectorRef<Scalar> parameters, VectorIn<Scalar> gradient) {
  detail::adam_step("Adam::step", state, parameters, gradient, options, 0);
}
template <class Derived> Adam(const Eigen::MatrixBase<Derived>&) -> Adam<typename Derived::Scalar>;
template <class Derived> Adam(const Eigen::MatrixBase<Derived>&, AdamOptions) -> Adam<typename Derived::Scalar>;

/// AdamW (Loshchilov and Hutter 2019): Adam with decoupled weight decay.
template <Real Scalar> class AdamW {
 public:
  AdamWOptions options;
  AdamState<Scalar> state;

  template <class Derived> explicit AdamW(const Eigen::MatrixBase<Derived>& parameters, AdamWOptions options_ = {});

  /// As Adam::step.
  void step(VectorRef<Scalar> parameters, VectorIn<Scalar> gradient);
};

template <Real Scalar>
template <class Derived>
AdamW<Scalar>::AdamW(const Eigen::MatrixBase<Derived>& parameters, AdamWOptions options_)
    : options(options_), state{detail::zeros<Scalar>(parameters.size()), detail::zeros<Scalar>(parameters.size())} {
  detail::check_adam("AdamW", options);
  detail::check_at_least("AdamW", "options.weight_decay", options.weight_decay, 0);
}

template <Real Scalar> void AdamW<Scalar>::step(VectorRef<Scalar> parameters, VectorIn<Scalar> gradient) {
  detail::adam_step("AdamW::step", state, parameters, gradient, options, options.learning_rate * options.weight_decay);
}
template <class Derived> AdamW(const Eigen::MatrixBase<Derived>&) -> AdamW<typename Derived::Scalar>;
template <class Derived> AdamW(const Eigen::MatrixBase<Derived>&, AdamWOptions) -> AdamW<typename Derived::Scalar>;

}
}
