// SPDX-License-Identifier: MIT
// Steppers: one step of size h of dx/dt = f(x, t, c). Explicit Runge-Kutta methods differ only in their table, so a
// stepper is a table: with k_i = f(x + h sum_j a_ij k_j, t + c_i h), the step is x += h sum_i b_i k_i (eq. 14).
#pragma once

#include <vector>

#include "flowmatch/core/types.hpp"
#include "flowmatch/ode/tableau.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// What can be integrated: f(x, t, c, v) writes v = dx/dt. x, v: dim x n; t: n times, one per sample; c: conditions,
/// one column per sample, 0 rows if there are none. v comes with its size. A lambda may take (const auto& x,
/// const auto& t, const auto& c, auto& v).
template <class F, class Scalar>
concept VelocityField = requires(F& f, const Eigen::Ref<const Matrix<Scalar>>& x,
                                 const Eigen::Ref<const RowVector<Scalar>>& t, Eigen::Ref<Matrix<Scalar>>& v) {
  f(x, t, x, v);
};

/// Scratch of a stepper: stages and times. Grows to the largest batch seen, then allocates nothing.
template <Real Scalar> struct StepperMemory {
  std::vector<Matrix<Scalar>> k;
  Matrix<Scalar> y;
  RowVector<Scalar> t;
  double step_before = 0;  ///< for multistep methods; 0 where an integration starts

  void restart() { step_before = 0; }

  void reserve(Index rows, Index columns, Index stages) {
    if (Index(k.size()) >= stages && y.rows() == rows && y.cols() >= columns) return;
    restart();
    k.resize(std::size_t(stages));
    for (auto& stage : k) stage.resize(rows, columns);
    y.resize(rows, columns);
    t.resize(columns);
  }
};

/// An order, the evaluations of f in a step, and the step itself: x at t becomes x at t + h, h of either sign.
template <class S>
concept Stepper = requires(const S& stepper, Eigen::Ref<Matrix<float>> x, StepperMemory<float>& memory) {
  { S::order } -> std::convertible_to<int>;
  { S::evaluations } -> std::convertible_to<int>;
  stepper.step([](const auto&, const auto&, const auto&, auto&) {}, 0.0, 0.1, x, x, memory);
};

namespace detail {

/// k = f(y, t, c), t for all samples. The memory was reserved for this batch.
template <Real Scalar, class F>
void evaluate(F& f, double t, MatrixIn<Scalar> c, const Eigen::Ref<Matrix<Scalar>>& y, Matrix<Scalar>& k,
              StepperMemory<Scalar>& memory) {
  const Index n = y.cols();
  std::fill_n(memory.t.data(), n, Scalar(t));
  const Eigen::Ref<const RowVector<Scalar>> times = times_in<Scalar>(memory.t, 0, n);
  const Eigen::Ref<const Matrix<Scalar>> at = columns_in<Scalar>(y, 0, n);
  Eigen::Ref<Matrix<Scalar>> velocity = columns_of<Scalar>(k, 0, n);
  f(at, times, c, velocity);
}

/// The columns of x in memory.y.
template <Real Scalar>
Eigen::Ref<Matrix<Scalar>> copy_of(const Eigen::Ref<Matrix<Scalar>>& x, StepperMemory<Scalar>& memory) {
  for (Index j = 0; j < x.cols(); ++j)
    std::copy_n(x.data() + j * x.outerStride(), x.rows(), memory.y.data() + j * x.rows());
  return columns_of<Scalar>(memory.y, 0, x.cols());
}

/// y += factor k
template <class Scalar> void add(double factor, const Matrix<Scalar>& k, Eigen::Ref<Matrix<Scalar>>& y) {
  if (factor == 0) return;
  for (Index j = 0; j < y.cols(); ++j) {
    const Scalar* from = k.data() + j * k.rows();
    Scalar* to = y.data() + j * y.outerStride();
    for (Index i = 0; i < y.rows(); ++i) to[i] += Scalar(factor) * from[i];
  }
}

}

/// The explicit Runge-Kutta method of a table with members order, a (row i: i numbers), b and c.
template <class Table> struct RungeKutta {
  static constexpr int order = Table::order;
  static constexpr int evaluations = int(Table::b.size());

  /// x: dim x n, in place; c: conditions, n columns.
  template <Real Scalar, VelocityField<Scalar> F>
  void step(F&& f, double t, double h, MatrixIn<Scalar> c, MatrixRef<Scalar> x, StepperMemory<Scalar>& memory) const {
    memory.reserve(x.rows(), x.cols(), evaluations);
    for (std::size_t i = 0; i < Table::b.size(); ++i) {
      Eigen::Ref<Matrix<Scalar>> y = i == 0 ? x : detail::copy_of<Scalar>(x, memory);
      for (std::size_t j = 0; j < i; ++j) detail::add(h * Table::a[i][j], memory.k[j], y);
      detail::evaluate<Scalar>(f, t + Table::c[i] * h, c, y, memory.k[i], memory);
    }
    for (std::size_t i = 0; i < Table::b.size(); ++i) detail::add(h * Table::b[i], memory.k[i], x);
  }
};

using Euler = RungeKutta<tableau::Euler>;                      ///< first order, one evaluation a step
using Midpoint = RungeKutta<tableau::Midpoint>;                ///< second order, two evaluations, inside the step
using Heun = RungeKutta<tableau::Heun>;                        ///< second order, two evaluations, at its ends
using Rk4 = RungeKutta<tableau::Rk4>;                          ///< the classic fourth order, four evaluations
using Rk4ThreeEighths = RungeKutta<tableau::Rk4ThreeEighths>;  ///< Kutta's 3/8 rule, the other fourth order with four

}
}
