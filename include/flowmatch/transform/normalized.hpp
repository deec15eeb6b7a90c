// SPDX-License-Identifier: MIT
// Normalization along the path (eq. 53 - 55 in docs/math.md), for data of unequal scale while the noise is standard
// normal in the data's own units: at each time each row has its mean and its scale there, and what the net sees and
// learns has neither large nor small numbers.
#pragma once

#include <cmath>
#include <string>

#include "flowmatch/data/normalizer.hpp"
#include "flowmatch/path/path.hpp"
#include "flowmatch/transform/moving_field.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// All rows become data together: from the units of the noise to those of the data, scale^t, at the same rate. The net
/// then learns what it would learn of normalized data.
struct GeometricScaling {};

namespace detail {

/// Of a row at one time: x = mean m + scale z, where z goes straight from noise to normalized data and is at `time`.
struct RowOnPath {
  double mean, mean_dot, scale, scale_dot, time, time_dot;
};
inline RowOnPath row_on_path(const GeometricScaling&, double t, double deviation) {
  const double scale = std::pow(deviation, t);
  return {t, 1, scale, scale * std::log(deviation), t, 1};
}
template <Schedule S> RowOnPath row_on_path(const S& schedule, double t, double deviation) {
  const ScheduleValue<double> s = schedule(t);
  const double scale = s.alpha * deviation + s.sigma, d = s.alpha_dot * s.sigma - s.alpha * s.sigma_dot;
  return {s.alpha,
          s.alpha_dot,
          scale,
          s.alpha_dot * deviation + s.sigma_dot,
          s.alpha * deviation / scale,
          d * deviation / (scale * scale)};
}

/// The rows of a normalizer on a path.
template <class S> struct RowsOnPath {
  static constexpr auto name = "NormalizedField";
  Vector<double> mean, deviation;  // dim
  S schedule;

  template <class Scalar>
  RowsOnPath(const char* where, const Normalizer<Scalar>& normalizer, S s)
      : mean(normalizer.mean.template cast<double>()),
        deviation(normalizer.scale.template cast<double>()),
        schedule(std::move(s)) {
    check_normalizer(where, "normalizer", normalizer);
    if (normalizer.components.rows() > 0)
      fail(where, {"expected a normalizer of rows, got one onto ", normalizer.components.rows(), " components"});
  }

  void operator()(double t, Frame& frame) const {
    frame.t = t;
    for (Index i = 0; i < mean.size(); ++i) {
      const RowOnPath row = row_on_path(schedule, t, deviation(i));
      frame.shift(i) = row.mean * mean(i);
      frame.shift_dot(i) = row.mean_dot * mean(i);
      frame.scale(i) = row.scale;
      frame.growth(i) = row.scale_dot;
      frame.gain(i) = row.scale * row.time_dot;
    }
  }
};

}

/// A path from standard normal noise to data in its own units, as a net should see it: z_t = (x_t - mean_t) / scale_t,
/// row by row, which goes from the noise x0 to normalizer(x1) on a straight line, and u_t = normalizer(x1) - x0 (eq.
/// 53, 54). For Trainer and the loop; NormalizedField makes samples of what was learned.
///
/// GeometricScaling, the default, has all rows on that line at the same place. With a schedule of path/schedule.hpp the
/// path is x_t = alpha_t x1 + sigma_t x0 in the data's units, where each row leaves the noise when alpha_t / sigma_t is
/// about 1 / deviation: rows of unequal scale one after another, each in a part of the times, so that it takes the more
/// training. Take it if the noise has to be the same in all rows, and BalancedSchedule, which shares the times.
template <class S = GeometricScaling>
requires(std::same_as<S, GeometricScaling> || Schedule<S>) class NormalizedPath {
 public:
  /// normalizer: of the data, without components. Throws std::invalid_argument if it has some, or its members do not
  /// fit together.
  template <Real Scalar>
  explicit NormalizedPath(const Normalizer<Scalar>& normalizer, S schedule = {})
      : rows_("NormalizedPath", normalizer, std::move(schedule)) {}

  /// As AffinePath::sample, with x0 standard normal noise and x1 in the data's own units. A row that is constant in the
  /// data counts as normalized to 0.
  template <Real Scalar>
  void sample(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, Matrix<Scalar>& z_t,
              Matrix<Scalar>& u_t) const {
    constexpr auto where = "NormalizedPath::sample";
    detail::check_rows(where, "x0", x0.rows(), rows_.mean.size());
    detail::prepare_path<Scalar>(where, x0, x1, t, z_t, u_t);
    for (Index j = 0; j < x0.cols(); ++j) {
      const double t_j = double(t(j));
      for (Index i = 0; i < x0.rows(); ++i) {
        const double deviation = rows_.deviation(i), noise = double(x0(i, j));
        const double data = deviation > 0 ? (double(x1(i, j)) - rows_.mean(i)) / deviation : 0;
        const double time = deviation > 0 ? detail::row_on_path(rows_.schedule, t_j, deviation).time : t_j;
        z_t(i, j) = Scalar((1 - time) * noise + time * data);
        u_t(i, j) = Scalar(data - noise);
      }
    }
  }

  const S& schedule() const { return rows_.schedule; }

 private:
  detail::RowsOnPath<S> rows_;
};

/// The velocity of that path in the data's own units (eq. 55), from a net trained on NormalizedPath of the same
/// normalizer and schedule: mean_t' + scale_t' z + scale_t time_t' net(z, t, c). It goes from standard normal noise to
/// data, so that `sample`, likelihood and guidance are in the data's units; with a schedule it is the field that a net
/// trained on AffinePath{schedule} would be. Adaptive solvers take their tolerances in these units too: an atol well
/// below the least deviation.
///
/// Meets the contracts that its field meets. Throws std::invalid_argument as NormalizedPath does, if the rows do not
/// fit, or if a row is constant: its velocity would be infinite at the end.
template <ParametricField Field, class S = GeometricScaling>
class NormalizedField : public detail::MovingField<Field, detail::RowsOnPath<S>> {
 public:
  /// Keeps copies.
  template <Real Scalar>
  NormalizedField(Field field, const Normalizer<Scalar>& normalizer, S schedule = {})
      : detail::MovingField<Field, detail::RowsOnPath<S>>(std::move(field),
                                                          {"NormalizedField", normalizer, std::move(schedule)}) {
    detail::check_rows("NormalizedField", "normalizer(x)", normalizer.dim(), this->dim());
    for (Index row = 0; row < normalizer.dim(); ++row)
      detail::check_positive("NormalizedField", ("normalizer.scale of row " + std::to_string(row)).c_str(),
                             double(normalizer.scale(row)));
  }
};

}
}
