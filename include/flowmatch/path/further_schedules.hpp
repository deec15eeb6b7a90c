// SPDX-License-Identifier: MIT
// Schedules beside the linear one, and the affine paths on them. Where a derivative is infinite, or tells nothing, it
// is held near the end; each schedule says where.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "flowmatch/core/check.hpp"
#include "flowmatch/path/path.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// alpha_t = t^n, sigma_t = 1 - t^n (eq. 34): leaves the noise slowly. The derivative is taken at max(t, start): at t =
/// 0 a velocity of 0 would not determine x1. Throws std::invalid_argument unless exponent >= 1.
struct PolynomialSchedule {
  double exponent = 2;  ///< n >= 1; 1 is the straight line
  double start = 1e-3;  ///< > 0

  template <Real Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    detail::check_at_least("PolynomialSchedule", "exponent", exponent, 1);
    detail::check_positive("PolynomialSchedule", "start", start);
    const Scalar n = Scalar(exponent), alpha = std::pow(t, n);
    const Scalar alpha_dot = n * std::pow(std::max(t, Scalar(start)), n - 1);
    return {alpha, 1 - alpha, alpha_dot, -alpha_dot};
  }
};

/// The variance-preserving diffusion with a noise rate that falls from `high` to `low` (Song et al. 2021; eq. 35):
/// alpha_t = exp(-T / 2), sigma_t^2 = 1 - exp(-T), T = (high - low) (1 - t)^2 / 2 + low (1 - t). alpha_0 is 0.0066, not
/// 0: starting from pure noise is biased by that fraction of the data. sigma' is infinite at t = 1: sigma counts as at
/// least `end` in it, which leaves half of `end` of the noise in the samples. Throws std::invalid_argument unless 0 <
/// low <= high.
struct VariancePreservingSchedule {
  double low = 0.1, high = 20;
  double end = 1e-3;  ///< > 0

  template <Real Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    constexpr auto where = "VariancePreservingSchedule";
    detail::check_positive(where, "low", low);
    detail::check_at_least(where, "high", high, low);
    detail::check_positive(where, "end", end);
    const Scalar left = 1 - t, slope = Scalar(high - low), exponent = left * (slope * left / 2 + Scalar(low));
    const Scalar rate = slope * left + Scalar(low);  // -dT/dt
    const Scalar alpha = std::exp(-exponent / 2), sigma = std::sqrt(-std::expm1(-exponent));
    return {alpha, sigma, rate * alpha / 2, -rate * alpha * alpha / (2 * std::max(sigma, Scalar(end)))};
  }
};

/// alpha_t = t, sigma_t = sqrt(1 - t^2) (eq. 36). sigma' is infinite at t = 1: sigma counts as at least `end` in it.
struct LinearVariancePreservingSchedule {
  double end = 1e-3;  ///< > 0

  template <Real Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    detail::check_positive("LinearVariancePreservingSchedule", "end", end);
    const Scalar sigma = std::sqrt((1 - t) * (1 + t));
    return {t, sigma, 1, -t / std::max(sigma, Scalar(end))};
  }
};

/// alpha_t = sin(pi t / 2), sigma_t = cos(pi t / 2) (eq. 37): a quarter circle at constant speed.
struct CosineSchedule {
  template <Real Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    const Scalar quarter = std::numbers::pi_v<Scalar> / 2;
    const Scalar alpha = std::sin(quarter * t), sigma = std::sin(quarter * (1 - t));  // exactly 0 at t = 1
    return {alpha, sigma, quarter * sigma, -quarter * alpha};
  }
};

/// alpha_t = t, sigma_t = 1 - (1 - sigma_min) t: the path of Lipman et al. 2022, whose samples keep noise of sigma_min.
/// LipmanPath trains on it.
struct LipmanSchedule {
  double sigma_min = 1e-4;  ///< in [0, 1)

  template <Real Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    detail::check_below("LipmanSchedule", "sigma_min", sigma_min, 0, 1);
    const Scalar fall = Scalar(1 - sigma_min);
    return {t, 1 - fall * t, 1, -fall};
  }
};

/// For data whose rows have scales from `smallest` to `largest`, on noise of deviation 1: with g^2 = smallest largest
/// and b = log(largest / smallest) / 2, alpha_t = g^(t-1) sinh(b t) / sinh(b), sigma_t = g^t sinh(b (1 - t)) / sinh(b)
/// (eq. 56). A row of scale s leaves the noise when alpha_t / sigma_t is about 1 / s; here t is the mean of that row's
/// own linear time over scales that are uniform in the logarithm, so that each factor of ten has the same share of the
/// times. Throws std::invalid_argument unless 0 < smallest <= 1 <= largest and smallest < largest.
struct BalancedSchedule {
  double smallest = 1e-3, largest = 1e3;

  template <Real Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    constexpr auto where = "BalancedSchedule";
    detail::check_positive(where, "smallest", smallest);
    detail::check_at_least(where, "largest", largest, 1);
    detail::check_at_least(where, "1 - smallest", 1 - smallest, 0);
    detail::check_positive(where, "largest - smallest", largest - smallest);
    const Scalar b = Scalar(std::log(largest / smallest) / 2), g = Scalar(std::log(largest * smallest) / 2);
    const Scalar data = std::exp(g * (t - 1)), noise = std::exp(g * t), whole = std::sinh(b);
    const Scalar alpha = data * (std::sinh(b * t) / whole), sigma = noise * (std::sinh(b * (1 - t)) / whole);
    const Scalar rise = data * b * (std::cosh(b * t) / whole), fall = noise * b * (std::cosh(b * (1 - t)) / whole);
    return {alpha, sigma, g * alpha + rise, g * sigma - fall};
  }
};

using PolynomialPath = AffinePath<PolynomialSchedule>;
using VariancePreservingPath = AffinePath<VariancePreservingSchedule>;
using LinearVariancePreservingPath = AffinePath<LinearVariancePreservingSchedule>;
using CosinePath = AffinePath<CosineSchedule>;

}
}
