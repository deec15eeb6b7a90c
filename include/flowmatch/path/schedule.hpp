// SPDX-License-Identifier: MIT
// Schedules: how a path mixes noise and data over time, x_t = alpha_t x1 + sigma_t x0 (eq. 2 in docs/math.md), with
// alpha_0 = sigma_1 = 0 and alpha_1 = sigma_0 = 1. A new schedule is a struct with one call operator.
//
// alpha rises and sigma falls, and alpha' sigma - alpha sigma' is above 0 on all of [0, 1], so that x_t and u_t
// together tell x0 and x1 (path/conversion.hpp). Others than the linear one are in path/further_schedules.hpp.
#pragma once

#include "flowmatch/core/types.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// The two coefficients at one time and their derivatives with respect to time.
template <Real Scalar> struct ScheduleValue { Scalar alpha, sigma, alpha_dot, sigma_dot; };

/// schedule(t) gives the ScheduleValue at t in [0, 1], in float and in double.
template <class S>
concept Schedule = requires(const S& schedule) {
  { schedule(0.5f) } -> std::same_as<ScheduleValue<float>>;
  { schedule(0.5) } -> std::same_as<ScheduleValue<double>>;
};

/// alpha_t = t, sigma_t = 1 - t: the straight line at constant speed (Liu et al. 2022; Lipman et al. 2022 with
/// sigma_min = 0).
struct LinearSchedule {
  template <Real Scalar> constexpr ScheduleValue<Scalar> operator()(Scalar t) const { return {t, 1 - t, 1, -1}; }
};

}
}
