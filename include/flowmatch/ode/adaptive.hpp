// SPDX-License-Identifier: MIT
// Adaptive integration of dx/dt = f(x, t, c): `integrate` with a method that chooses its steps, for each sample alone.
#pragma once

#include "flowmatch/ode/adaptive_tile.hpp"
#include "flowmatch/ode/integrate.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// What carries samples along a field: a stepper on a grid of times, or a method that chooses its steps.
template <class S>
concept Solver = Stepper<S> || AdaptiveMethod<S>;

/// How each sample came through, and sums over all of them.
struct AdaptiveReport {
  std::vector<SampleReport> samples;

  bool reached() const {
    for (const SampleReport& sample : samples)
      if (sample.status != OdeStatus::reached) return false;
    return true;
  }
  Index evaluations() const { return sum(&SampleReport::evaluations); }
  Index accepted() const { return sum(&SampleReport::accepted); }
  Index rejected() const { return sum(&SampleReport::rejected); }

 private:
  Index sum(Index SampleReport::*number) const {
    Index total = 0;
    for (const SampleReport& sample : samples) total += sample.*number;
    return total;
  }
};

namespace detail {

/// Throws std::runtime_error for the first sample that did not reach the last time.
inline void check_reached(const char* where, const AdaptiveReport& report) {
  constexpr const char* why[] = {"", "the limit", "too small to be resolved", "the velocity is not finite"};
  for (std::size_t j = 0; j < report.samples.size(); ++j)
    if (const SampleReport& s = report.samples[j]; s.status != OdeStatus::reached)
      raise<std::runtime_error>(concat({"flowmatch: ", where, ": sample ", j, " stopped at t = ", s.t, " after ",
                                        s.accepted + s.rejected, " steps: ", why[std::size_t(s.status)]}));
}

}

/// An adaptive method with times and all memory, for loops. After the first call of a batch size it allocates nothing.
template <Real Scalar, AdaptiveMethod M> class AdaptiveIntegrator {
 public:
  /// The ends of the grid that options ask for (time_grid) are where x is given and wanted; the times between are only
  /// looked at, and change no step. Throws std::invalid_argument if an option is wrong.
  explicit AdaptiveIntegrator(const M& method = {}, const OdeOptions& options = {})
      : method_(method), times_(time_grid(options)) {
    detail::check_method("AdaptiveIntegrator", method);
  }

  /// Carries x (dim x n) in place along f. c: conditions, n columns. observe(i, t_i, x) sees every point of the grid
  /// afterwards, from the method's polynomial (eq. 18); NaN where a sample did not come so far. A sample that cannot
  /// reach the end stays where it stopped, and the report says where and why; the others continue.
  /// f is called for a dense block of at most tile_columns samples that are under way, in any order: what belongs to a
  /// sample must be in its column of c. A sample's result has the same bits in any batch if its velocity has.
  /// Throws std::invalid_argument if a shape is wrong or x or c is not finite.
  template <VelocityField<Scalar> F, class Observer = NoObserver>
  const AdaptiveReport& operator()(F&& f, MatrixIn<Scalar> c, MatrixRef<Scalar> x, Observer&& observe = {}) {
    constexpr auto where = "AdaptiveIntegrator";
    detail::check_columns(where, "c", c.cols(), x.cols());
    detail::check_finite(where, "x", x);
    detail::check_finite(where, "c", c);
    constexpr bool observed = !std::is_same_v<std::remove_cvref_t<Observer>, NoObserver>;
    if constexpr (observed) {
      states_.resize(times_.size());
      for (Matrix<Scalar>& state : states_)
        state.setConstant(x.rows(), x.cols(), std::numeric_limits<Scalar>::quiet_NaN());
    }
    report_.samples.resize(std::size_t(x.cols()));
    for (Index first = 0; first < x.cols(); first += tile_columns) {
      const Index n = std::min(tile_columns, x.cols() - first);
      detail::adaptive_tile<Scalar>(f, detail::columns_of<Scalar>(x, first, n), detail::columns_in<Scalar>(c, first, n),
                                    method_, times_, memory_, report_.samples.data() + first,
                                    observed ? states_.data() : nullptr, first);
    }
    if constexpr (observed)
      for (std::size_t i = 0; i < times_.size(); ++i) observe(Index(i), times_[i], states_[i]);
    return report_;
  }

  /// Of the last call.
  const AdaptiveReport& report() const { return report_; }

 private:
  M method_;
  std::vector<double> times_;
  detail::AdaptiveMemory<Scalar> memory_;
  std::vector<Matrix<Scalar>> states_;  // at the times, if they are observed
  AdaptiveReport report_;
};

/// Carries x (dim x n) in place as far as it goes: an AdaptiveIntegrator for one call, whose comments hold. Samples
/// that do not reach the end are in the report only.
template <Real Scalar, AdaptiveMethod M, VelocityField<Scalar> F, class Observer = NoObserver>
[[nodiscard]] AdaptiveReport try_integrate(F&& f, Matrix<Scalar>& x, MatrixIn<Scalar> c, const M& method,
                                           const OdeOptions& options = {}, Observer&& observe = {}) {
  return AdaptiveIntegrator<Scalar, M>(method, options)(f, c, x, observe);
}
template <Real Scalar, AdaptiveMethod M, VelocityField<Scalar> F, class Observer = NoObserver>
[[nodiscard]] AdaptiveReport try_integrate(F&& f, Matrix<Scalar>& x, const M& method, const OdeOptions& options = {},
                                           Observer&& observe = {}) {
  return try_integrate(f, x, Matrix<Scalar>(0, x.cols()), method, options, observe);
}

/// The same, but throws std::runtime_error with the number of a sample and its time if one does not reach the end; x is
/// then what try_integrate would leave, and has been observed.
template <Real Scalar, AdaptiveMethod M, VelocityField<Scalar> F, class Observer = NoObserver>
AdaptiveReport integrate(F&& f, Matrix<Scalar>& x, MatrixIn<Scalar> c, const M& method, const OdeOptions& options = {},
                         Observer&& observe = {}) {
  AdaptiveReport report = try_integrate(f, x, c, method, options, observe);
  detail::check_reached("integrate", report);
  return report;
}
template <Real Scalar, AdaptiveMethod M, VelocityField<Scalar> F, class Observer = NoObserver>
AdaptiveReport integrate(F&& f, Matrix<Scalar>& x, const M& method, const OdeOptions& options = {},
                         Observer&& observe = {}) {
  return integrate(f, x, Matrix<Scalar>(0, x.cols()), method, options, observe);
}

}
}
