// SPDX-License-Identifier: MIT
// Another schedule after training (eq. 51 in docs/math.md): a field trained on one affine path becomes the field of
// another between the same x0 and x1, without training.
#pragma once

#include <cmath>

#include "flowmatch/path/conversion.hpp"
#include "flowmatch/transform/moving_field.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// The time at which schedule has the ratio alpha / sigma, or the nearer end if it never has: the root of
/// alpha_t sigma - sigma_t alpha, which rises. Newton's method with bisection as a safeguard, needed where the schedule
/// clamps its derivative: about six evaluations of the schedule, some tens near such an end, one if the guess is the
/// time.
template <Schedule S> double time_of_ratio(const S& schedule, double alpha, double sigma, double guess) {
  const auto excess = [&](const ScheduleValue<double>& s) { return s.alpha * sigma - s.sigma * alpha; };
  double low = 0, high = 1, t = guess, before = 2 * (std::abs(alpha) + std::abs(sigma));
  for (int k = 0; k < 100 && high - low > 1e-15; ++k) {
    const ScheduleValue<double> s = schedule(t);
    const double f = excess(s), step = -f / (s.alpha_dot * sigma - s.sigma_dot * alpha);
    if (f == 0) return t;
    if (k == 0 && excess(schedule(0.)) >= 0) return 0;
    if (k == 0 && excess(schedule(1.)) <= 0) return 1;
    if (std::abs(step) < 1e-15) return t;
    (f > 0 ? high : low) = t;
    const bool helps = t + step > low && t + step < high && 2 * std::abs(f) <= before;
    t = helps ? t + step : (low + high) / 2;
    before = std::abs(f);
  }
  return t;
}

/// From the path of one schedule to that of another at the same alpha / sigma: x = scale z.
template <Schedule Trained, Schedule Wanted> struct ChangeOfSchedule {
  static constexpr auto name = "ScheduleTransform";
  Trained trained;
  Wanted wanted;

  void operator()(double r, Frame& frame) const {
    const ScheduleValue<double> to = wanted(r);
    frame.t = time_of_ratio(trained, to.alpha, to.sigma, r);
    const ScheduleValue<double> from = trained(frame.t);
    const double scale = std::hypot(to.alpha, to.sigma) / std::hypot(from.alpha, from.sigma);
    const double d = determinant(from, name);
    frame.shift.setZero();
    frame.shift_dot.setZero();
    frame.scale.setConstant(scale);
    frame.growth.setConstant((to.sigma_dot * from.alpha_dot - to.alpha_dot * from.sigma_dot) / d);
    frame.gain.setConstant((to.alpha_dot * from.sigma - to.sigma_dot * from.alpha) / d);
  }
};

}

/// The velocity of the path with the schedule `wanted`, from a field that was trained on the one with `trained`: it
/// tells x0 and x1 from the velocity at the time of the same alpha / sigma, and these the new velocity. Where the flow
/// starts and ends does not change, only the way between, and so how well a solver follows it. What needs a certain
/// path, as GradientGuidance and sample_stochastic with their defaults need the linear one, works on any trained one.
///
/// The flow starts at sigma_0 x0 of the wanted schedule. With those of path/schedule.hpp that is the noise itself, as
/// `sample` starts; with one of your own where sigma_0 is not 1 (alpha = 1, sigma = 80 (1 - t), say) give
/// sigma_0 x0 to `transport`, and likewise it ends at alpha_1 x1. Where the trained schedule does not reach the ratio
/// alpha / sigma of the wanted one, as near the ends of VariancePreservingSchedule and LipmanSchedule, its nearer end
/// is used.
///
/// Meets the contracts that its field meets. Finding the time costs some evaluations of the schedule for each time that
/// differs from the column before, so nothing with fixed steps, and about a microsecond a sample with adaptive ones.
/// Times outside [0, 1] are an end. Throws std::invalid_argument where alpha' sigma - alpha sigma' <= 0 in `trained`.
template <ParametricField Field, Schedule Trained, Schedule Wanted>
class ScheduleTransform : public detail::MovingField<Field, detail::ChangeOfSchedule<Trained, Wanted>> {
 public:
  /// Keeps copies.
  ScheduleTransform(Field field, Trained trained, Wanted wanted)
      : detail::MovingField<Field, detail::ChangeOfSchedule<Trained, Wanted>>(std::move(field), {trained, wanted}) {}
};

}
}
