// SPDX-License-Identifier: MIT
// Steppers: one step of size h of dx/dt = f(x, t, c). Explicit Runge-Kutta methods differ only in their table, so a
// stepper is a table: with k_i = f(x + h sum_j a_ij k_j, t + c_i h), the step is x += h sum_i b_i k_i (eq. 14).
#pragma once

#include <array>
#include <vector>

#include "flowmatch/core/types.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

/// What can be integrated: f(x, t, c, v) writes v = dx/dt. x, v: dim x n; t: n times, one per sample; c: conditions,
/// one column per sample, 0 rows if there are none. v comes with its size. A lambda may take (const auto& x,
/// const auto& t, const auto& c, auto& v).
template <class F, class Scalar>
concept VelocityField = requires(F& f, const Eigen::Ref<const Matrix<Scalar>>& x,
                                 const Eigen::Ref<const RowVector<Scalar>>& t, Eigen::Ref<Matrix<Scalar>>& v) {
  f(x, t, x, v);
};

/// Scratch of a stepper: stages and times. Grows to the largest batch seen, then allocates nothing.
template <std::floating_point Scalar> struct StepperMemory {
  std::vector<Matrix<Scalar>> k;
  Matrix<Scalar> y;
  RowVector<Scalar> t;

  void reserve(Index rows, Index columns, Index stages) {
    if (Index(k.size()) >= stages && y.rows() == rows && y.cols() >= columns) return;
    k.resize(std::size_t(stages));
    for (auto& stage : k) stage.resize(rows, columns);
    y.resize(rows, columns);
    t.resize(columns);
  }
};

/// An order, the evaluations of f in a step, and the step itself: x at t becomes x at t + h, h of either sign.
template <class S>
concept Stepper = requires(const S& stepper, Eigen::Ref<Matrix<double>> x, StepperMemory<double>& memory) {
  { S::order } -> std::convertible_to<int>;
  { S::evaluations } -> std::convertible_to<int>;
  stepper.step([](const auto&, const auto&, const auto&, auto&) {}, 0.0, 0.1, x, x, memory);
};

/// The explicit Runge-Kutta method of a table with members order, a (row i: i numbers), b and c.
template <class Table> struct RungeKutta {
  static constexpr int order = Table::order;
  static constexpr int evaluations = int(Table::b.size());

  /// x: dim x n, in place; c: conditions, n columns.
  template <std::floating_point Scalar, VelocityField<Scalar> F>
  void step(F&& f, double t, double h, MatrixIn<Scalar> c, MatrixRef<Scalar> x, StepperMemory<Scalar>& memory) const {
    memory.reserve(x.rows(), x.cols(), evaluations);
    const Eigen::Ref<const RowVector<Scalar>> times = memory.t.head(x.cols());
    for (std::size_t i = 0; i < Table::b.size(); ++i) {
      memory.t.setConstant(Scalar(t + Table::c[i] * h));
      Eigen::Ref<Matrix<Scalar>> y = i == 0 ? x : Eigen::Ref<Matrix<Scalar>>(memory.y.leftCols(x.cols()));
      if (i > 0) y = x;
      for (std::size_t j = 0; j < i; ++j)
        if (Table::a[i][j] != 0) y += Scalar(h * Table::a[i][j]) * memory.k[j].leftCols(x.cols());
      Eigen::Ref<Matrix<Scalar>> k = memory.k[i].leftCols(x.cols());
      f(Eigen::Ref<const Matrix<Scalar>>(y), times, c, k);
    }
    for (std::size_t i = 0; i < Table::b.size(); ++i)
      if (Table::b[i] != 0) x += Scalar(h * Table::b[i]) * memory.k[i].leftCols(x.cols());
  }
};

namespace table {

template <std::size_t Stages> using Row = std::array<double, Stages>;

struct Euler {
  static constexpr int order = 1;
  static constexpr std::array<Row<1>, 1> a = {};
  static constexpr Row<1> b = {1}, c = {0};
};
struct Midpoint {
  static constexpr int order = 2;
  static constexpr std::array<Row<2>, 2> a = {{{}, {1. / 2}}};
  static constexpr Row<2> b = {0, 1}, c = {0, 1. / 2};
};
struct Heun {
  static constexpr int order = 2;
  static constexpr std::array<Row<2>, 2> a = {{{}, {1}}};
  static constexpr Row<2> b = {1. / 2, 1. / 2}, c = {0, 1};
};
struct Rk4 {
  static constexpr int order = 4;
  static constexpr std::array<Row<4>, 4> a = {{{}, {1. / 2}, {0, 1. / 2}, {0, 0, 1}}};
  static constexpr Row<4> b = {1. / 6, 1. / 3, 1. / 3, 1. / 6}, c = {0, 1. / 2, 1. / 2, 1};
};

}

using Euler = RungeKutta<table::Euler>;        ///< first order, one evaluation a step
using Midpoint = RungeKutta<table::Midpoint>;  ///< second order, two evaluations, inside the step
using Heun = RungeKutta<table::Heun>;          ///< second order, two evaluations, at its ends
using Rk4 = RungeKutta<table::Rk4>;            ///< the classic fourth order, four evaluations

}
