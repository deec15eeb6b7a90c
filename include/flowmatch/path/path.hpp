// SPDX-License-Identifier: MIT
// Probability paths: the point x_t between a start x0 and an end x1, and the velocity u_t with which it moves.
#pragma once

#include "flowmatch/core/check.hpp"
#include "flowmatch/path/schedule.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

/// Anything with path.sample(x0, x1, t, x_t, u_t).
template <class P>
concept Path = requires(const P& path, const Matrix<float>& x, const RowVector<float>& t, Matrix<float>& out) {
  path.sample(x, x, t, out, out);
};

/// x_t = alpha_t x1 + sigma_t x0 and u_t = d x_t / dt (eq. 2, 3), for any schedule.
template <Schedule S> struct AffinePath {
  S schedule = {};

  /// x0, x1: dim x n, one sample per column; t: n times in [0, 1], one per sample. Writes x_t and u_t (resized to
  /// dim x n). Throws std::invalid_argument if shapes differ, if an entry is not finite, if t leaves [0, 1], or if an
  /// output shares memory with an input or with the other output. Allocates only when the size of an output changes.
  template <std::floating_point Scalar>
  void sample(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, Matrix<Scalar>& x_t,
              Matrix<Scalar>& u_t) const {
    constexpr auto where = "AffinePath::sample";
    detail::check_shape(where, "x1", x1, x0.rows(), x0.cols());
    detail::check_columns(where, "t", t.cols(), x0.cols());
    detail::check_finite(where, "x0", x0);
    detail::check_finite(where, "x1", x1);
    detail::check_times(where, t);
    if (detail::overlap(x_t, x0) || detail::overlap(x_t, x1) || detail::overlap(x_t, u_t) || detail::overlap(x_t, t))
      detail::fail(where, "x_t must not share memory with x0, x1, t or u_t");
    if (detail::overlap(u_t, x0) || detail::overlap(u_t, x1) || detail::overlap(u_t, t))
      detail::fail(where, "u_t must not share memory with x0, x1 or t");
    x_t.resize(x0.rows(), x0.cols());
    u_t.resize(x0.rows(), x0.cols());
    for (Index j = 0; j < x0.cols(); ++j) {
      const ScheduleValue<Scalar> s = schedule(t(j));
      x_t.col(j) = s.alpha * x1.col(j) + s.sigma * x0.col(j);
      u_t.col(j) = s.alpha_dot * x1.col(j) + s.sigma_dot * x0.col(j);
    }
  }
};

/// x_t = (1 - t) x0 + t x1, u_t = x1 - x0 (eq. 4): the path of rectified flow and conditional optimal transport.
using LinearPath = AffinePath<LinearSchedule>;

}
