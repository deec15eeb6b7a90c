// SPDX-License-Identifier: MIT
// How far a field's paths are from straight lines at constant speed (eq. 26 in docs/math.md): path energy E int |v|^2
// dt and straightness E int |v - (x1 - x0)|^2 dt (Liu et al. 2022), along the solution from x0 at t = 0 to x1 at t = 1.
//
// The energy is integrated as one more coordinate, de/dt = |v|^2, so with the solver's own weights and order. Its
// displacement x1 - x0 = int v dt has the same weights, hence int |v - (x1 - x0)|^2 dt = e - |x1 - x0|^2 holds for the
// sums as for the integrals.
#pragma once

#include <algorithm>
#include <cmath>

#include "flowmatch/ode/adaptive.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct PathEnergy {
  double energy = 0;        ///< E int |v|^2 dt
  double straightness = 0;  ///< E int |v - (x1 - x0)|^2 dt: the part of the energy that bends and changes of speed cost
};

/// Energy and straightness of the paths of f from the columns of x0 (dim x n), means over them, in squared units of the
/// data. c: conditions, n columns. Between other times than 0 and 1, in either direction, x1 - x0 is the mean velocity
/// and dt is positive.
///
/// The floor of straightness is 0, and then one step of Euler is exact. The floor of energy is |x1 - x0|^2 on average
/// for the ends that the flow reaches, and W2^2 between source and target for all flows between them (Benamou and
/// Brenier 2000); see normalized_path_energy. Both are as exact as the solution: a single Euler step is always
/// straight, so take more steps than you sample with. (With negative weights of the stepper, sums that should be
/// positive may not be; here AdamsBashforth2 has one.) Throws std::invalid_argument if a shape or option is wrong,
/// there is no sample or a number is not finite, std::runtime_error as integrate does. Costs one integration, which
/// runs in double and casts for f.
template <Real Scalar, Solver S, VelocityField<Scalar> F>
PathEnergy path_energy(F&& f, const Matrix<Scalar>& x0, MatrixIn<Scalar> c, const S& solver,
                       const OdeOptions& options = {}) {
  constexpr auto where = "path_energy";
  detail::check_at_least(where, "x0.cols()", x0.cols(), 1);
  detail::check_columns(where, "c", c.cols(), x0.cols());
  detail::check_finite(where, "x0", x0);
  detail::check_finite(where, "c", c);
  const std::vector<double> times = time_grid(options);
  const Index d = x0.rows();
  Matrix<Scalar> x, condition, v(d, x0.cols());
  RowVector<Scalar> time;
  const auto with_energy = [&](const auto& y, const auto& t, const auto& c_, auto& dy) {
    x = y.topRows(d).template cast<Scalar>();
    time = t.template cast<Scalar>();
    condition = c_.template cast<Scalar>();
    Eigen::Ref<Matrix<Scalar>> velocity = v.leftCols(x.cols());
    f(Eigen::Ref<const Matrix<Scalar>>(x), Eigen::Ref<const RowVector<Scalar>>(time),
      Eigen::Ref<const Matrix<Scalar>>(condition), velocity);
    dy.topRows(d) = velocity.template cast<double>();
    dy.row(d) = dy.topRows(d).colwise().squaredNorm();
  };
  Matrix<Double<Scalar>> y = Matrix<Double<Scalar>>::Zero(d + 1, x0.cols());
  y.topRows(d) = x0.template cast<double>();
  integrate(with_energy, y, Matrix<double>(c.template cast<double>()), solver, options);
  const double n = double(x0.cols()), duration = std::abs(times.back() - times.front());
  const double energy = std::abs(y.row(d).sum()) / n;  // backward in time the integral is negative
  const double straight = (y.topRows(d) - x0.template cast<double>()).squaredNorm() / duration / n;
  return {.energy = energy, .straightness = std::max(energy - straight, 0.0)};  // rounding aside, >= 0
}
/// The same without conditions.
template <Real Scalar, Solver S, VelocityField<Scalar> F>
PathEnergy path_energy(F&& f, const Matrix<Scalar>& x0, const S& solver, const OdeOptions& options = {}) {
  return path_energy(f, x0, Matrix<Scalar>(0, x0.cols()), solver, options);
}

/// Normalized path energy |energy - w2^2| / w2^2 (Tong et al. 2023), w2 the 2-Wasserstein distance between source and
/// target: 0 for optimal transport. w2 between two finite sets is too large by its floor, so that this may be above 0
/// for a perfect flow, and cannot be told from 0 below floor^2 / w2^2. Throws std::invalid_argument unless energy >= 0
/// and w2 > 0.
inline double normalized_path_energy(double energy, double w2) {
  detail::check_at_least("normalized_path_energy", "energy", energy, 0);
  detail::check_positive("normalized_path_energy", "w2", w2);
  return std::abs(energy / (w2 * w2) - 1);
}

}
}
