// SPDX-License-Identifier: MIT
// One prediction as another (eq. 41 - 43 in docs/math.md): given x_t, the velocity, the data x1, the noise x0 and the
// score of p_t tell each other, since x_t and u_t are two equations for x0 and x1.
#pragma once

#include <algorithm>

#include "flowmatch/path/path.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// What a field or a net says about a point x_t: an expectation given x_t.
enum class Prediction {
  velocity,  ///< u_t = alpha' x1 + sigma' x0
  data,      ///< x1
  noise,     ///< x0
  score,     ///< of p_t, -x0 / sigma; where x0 is standard normal and independent of x1: no optimal transport
};

namespace detail {

/// of_x x + of_y y
struct Mix {
  double of_x, of_y;
};

/// alpha' sigma - alpha sigma', the determinant of the two equations.
inline double determinant(const ScheduleValue<double>& s, const char* where = "convert") {
  const double value = s.alpha_dot * s.sigma - s.alpha * s.sigma_dot;
  if (!(is_finite(value) && value > 0))
    fail(where, {"expected a schedule with alpha' sigma - alpha sigma' > 0, got ", value});
  return value;
}

/// x1 and x0, given x and the prediction y.
inline std::array<Mix, 2> data_and_noise(Prediction of, const ScheduleValue<double>& s, double least) {
  const double alpha = std::max(s.alpha, least), sigma = std::max(s.sigma, least);
  switch (of) {
    case Prediction::velocity: {
      const double d = determinant(s);
      return {Mix{-s.sigma_dot / d, s.sigma / d}, Mix{s.alpha_dot / d, -s.alpha / d}};
    }
    case Prediction::data:
      return {Mix{0, 1}, Mix{1 / sigma, -s.alpha / sigma}};
    case Prediction::noise:
      return {Mix{1 / alpha, -s.sigma / alpha}, Mix{0, 1}};
    case Prediction::score:
      break;
  }
  return {Mix{1 / alpha, s.sigma * sigma / alpha}, Mix{0, -sigma}};
}

/// The prediction `to` at x, given the prediction `from`.
inline Mix conversion(Prediction from, Prediction to, const ScheduleValue<double>& s, double least) {
  if (from == to) return {0, 1};
  const auto [data, noise] = data_and_noise(from, s, least);
  const double over_sigma = -1 / std::max(s.sigma, least);
  switch (to) {
    case Prediction::velocity:
      return {s.alpha_dot * data.of_x + s.sigma_dot * noise.of_x, s.alpha_dot * data.of_y + s.sigma_dot * noise.of_y};
    case Prediction::data:
      return data;
    case Prediction::noise:
      return noise;
    case Prediction::score:
      break;
  }
  return {over_sigma * noise.of_x, over_sigma * noise.of_y};
}

}

/// Turns y in place from one prediction into another. x: dim x n, the points x_t; t: n times in [0, 1]; y: dim x n, a
/// matrix or a block of one.
///
/// Near an end, divisors are clamped to `least`: sigma_t when converting to a score or from x1, alpha_t when converting
/// from x0 or a score. From a velocity to x1 and x0 nothing is clamped. Away from the ends a conversion followed by its
/// reverse returns y, up to rounding. Throws std::invalid_argument if shapes differ, a number is not finite, t leaves
/// [0, 1], y is part of x, or least is not above 0. Does not allocate.
template <Schedule S, class Y, class Scalar = typename std::remove_cvref_t<Y>::Scalar>
void convert(const S& schedule, Prediction from, Prediction to, MatrixIn<Scalar> x, RowVectorIn<Scalar> t, Y&& y,
             double least = 1e-3) {
  constexpr auto where = "convert";
  detail::check_shape(where, "y", y, x.rows(), x.cols());
  detail::check_columns(where, "t", t.cols(), x.cols());
  detail::check_finite(where, "x", x);
  detail::check_finite(where, "y", y);
  detail::check_times(where, t);
  detail::check_positive(where, "least", least);
  if (detail::overlap(x, y)) detail::fail(where, {"y must not share memory with x"});
  for (Index j = 0; j < x.cols(); ++j) {
    const detail::Mix mix = detail::conversion(from, to, schedule(double(t(j))), least);
    for (Index i = 0; i < x.rows(); ++i) y(i, j) = Scalar(mix.of_x) * x(i, j) + Scalar(mix.of_y) * y(i, j);
  }
}

/// sigma_t times the score of p_t, given v = v(x, t): (alpha v - alpha' x) / (alpha' sigma - alpha sigma'), that is
/// -x0. For affine paths from standard normal noise that is independent of the data (no optimal transport, no noise of
/// the path's own); finite at both ends.
template <Real Scalar> Scalar scaled_score(const ScheduleValue<double>& s, Scalar v, Scalar x) {
  const double d = detail::determinant(s);
  return Scalar(s.alpha / d) * v - Scalar(s.alpha_dot / d) * x;
}

}
}
