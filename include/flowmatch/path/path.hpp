// SPDX-License-Identifier: MIT
// Probability paths: the point x_t between a start x0 and an end x1, and the velocity u_t with which it moves.
#pragma once

#include "flowmatch/core/check.hpp"
#include "flowmatch/path/schedule.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Anything with path.sample(x0, x1, t, x_t, u_t).
template <class P>
concept Path = requires(const P& path, const Matrix<float>& x, const RowVector<float>& t, Matrix<float>& out) {
  path.sample(x, x, t, out, out);
};
namespace detail {

/// What every path checks, and its outputs in their size. A path that draws its start passes x1 for x0, and what
/// it takes in words.
template <Real Scalar>
void prepare_path(const char* where, MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t,
                  Matrix<Scalar>& x_t, Matrix<Scalar>& u_t, const char* inputs = "x0, x1") {
  check_shape(where, "x1", x1, x0.rows(), x0.cols());
  check_columns(where, "t", t.cols(), x0.cols());
  check_finite(where, "x1", x1);
  check_finite(where, "x0", x0);
  check_times(where, t);
  for (const auto& input : {memory_of(x0), memory_of(x1), memory_of(t), memory_of(u_t)})
    if (overlap(memory_of(x_t), input)) fail(where, {"x_t must not share memory with ", inputs, ", t or u_t"});
  for (const auto& input : {memory_of(x0), memory_of(x1), memory_of(t)})
    if (overlap(memory_of(u_t), input)) fail(where, {"u_t must not share memory with ", inputs, " or t"});
  x_t.resize(x0.rows(), x0.cols());
  u_t.resize(x0.rows(), x0.cols());
}

}

/// x_t = alpha_t x1 + sigma_t x0 and u_t = d x_t / dt (eq. 2, 3), for any schedule.
template <Schedule S> struct AffinePath {
  S schedule = {};

  /// x0, x1: dim x n, one sample per column; t: n times in [0, 1], one per sample. Writes x_t and u_t (resized to
  /// dim x n). Throws std::invalid_argument if shapes differ, if an entry is not finite, if t leaves [0, 1], or if an
  /// output shares memory with an input or with the other output. Allocates only when the size of an output changes.
  template <Real Scalar>
  void sample(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, Matrix<Scalar>& x_t,
              Matrix<Scalar>& u_t) const;
};

template <Schedule S>
template <Real Scalar>
void AffinePath<S>::sample(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, Matrix<Scalar>& x_t,
                           Matrix<Scalar>& u_t) const {
  detail::prepare_path<Scalar>("AffinePath::sample", x0, x1, t, x_t, u_t);
  const Index dim = x0.rows();
  for (Index j = 0; j < x0.cols(); ++j) {
    const ScheduleValue<Scalar> s = schedule(t.data()[j]);
    const Scalar *from = x0.data() + j * x0.outerStride(), *to = x1.data() + j * x1.outerStride();
    Scalar *x = x_t.data() + j * dim, *u = u_t.data() + j * dim;
    for (Index i = 0; i < dim; ++i) {
      x[i] = s.alpha * to[i] + s.sigma * from[i];
      u[i] = s.alpha_dot * to[i] + s.sigma_dot * from[i];
    }
  }
}

/// x_t = (1 - t) x0 + t x1, u_t = x1 - x0 (eq. 4): the path of rectified flow and conditional optimal transport.
using LinearPath = AffinePath<LinearSchedule>;

}
}
