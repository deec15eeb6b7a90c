// SPDX-License-Identifier: MIT
// The loop of adaptive integration over one tile, each sample on its own clock: a sample takes the steps that it would
// take alone, whatever else is in the batch, and leaves the batch when it is done.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "flowmatch/ode/embedded_pair.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// How the way of a sample ended.
enum class OdeStatus {
  reached,         ///< at the last time
  step_limit,      ///< max_steps were tried
  step_too_small,  ///< steps that t cannot resolve any more are still not accurate enough
  not_finite,      ///< the same because of NaN or infinity in a stage, or the velocity is not finite at the start
};

/// One sample's way.
struct SampleReport {
  OdeStatus status = OdeStatus::reached;
  double t = 0;  ///< the time that x belongs to
  Index evaluations = 0, accepted = 0, rejected = 0;
};

namespace detail {

/// Where a sample is, and the step that it tries.
struct Clock {
  Index sample;           // its column in the tile
  double t, h = 0;        // h > 0: how far it would like to go next
  double end, step = 0;   // where the step leads; end - t
  double error = 1e-4;    // of the last accepted step
  bool rejected = false;  // the last try was
  std::size_t next = 1;   // the first of the times that it has not passed
};

/// The samples of a tile that are under way, one slot each, as dense blocks: all memory that the loop needs.
template <Real Scalar> struct AdaptiveMemory {
  std::vector<Matrix<Scalar>> k;  // stages
  Matrix<Scalar> x, y, c, sum;    // state, argument of a stage, conditions, a weighted sum of stages
  RowVector<Scalar> t;
  std::vector<Clock> clocks;

  void start(MatrixIn<Scalar> x0, MatrixIn<Scalar> c0, double time, std::size_t stages) {
    const Index n = x0.cols();
    if (k.size() != stages || x.rows() != x0.rows() || c.rows() != c0.rows() || x.cols() < n) {
      k.resize(stages);
      for (Matrix<Scalar>& stage : k) stage.resize(x0.rows(), n);
      for (Matrix<Scalar>* m : {&x, &y, &sum}) m->resize(x0.rows(), n);
      c.resize(c0.rows(), n);
      t.resize(n);
      clocks.reserve(std::size_t(n));
    }
    x.leftCols(n) = x0;
    c.leftCols(n) = c0;
    clocks.clear();
    for (Index j = 0; j < n; ++j) clocks.push_back({.sample = j, .t = time, .end = time});
  }

  Index size() const { return Index(clocks.size()); }
  /// Slot j in one of the matrices.
  Scalar* slot(Matrix<Scalar>& m, Index j) const { return m.data() + j * m.rows(); }
  const Scalar* slot(const Matrix<Scalar>& m, Index j) const { return m.data() + j * m.rows(); }

  /// v = f(state, time of each clock, c)
  template <class F, class Time> void evaluate(F& f, Matrix<Scalar>& state, const Time& time, Matrix<Scalar>& v) {
    using Map = Eigen::Map<Matrix<Scalar>>;
    const Index n = size(), rows = x.rows();
    for (Index j = 0; j < n; ++j) t(j) = Scalar(time(clocks[std::size_t(j)]));
    const Eigen::Ref<const Matrix<Scalar>> at = Map(state.data(), rows, n), conditions = Map(c.data(), c.rows(), n);
    const Eigen::Ref<const RowVector<Scalar>> times = Eigen::Map<RowVector<Scalar>>(t.data(), n);
    Eigen::Ref<Matrix<Scalar>> velocity = Map(v.data(), rows, n);
    f(at, times, conditions, velocity);
  }

  /// sum = w_0 k_0 + ... over the first stages. One chain of additions for each entry, whatever its neighbors.
  void combine(const double* w, std::size_t stages) {
    const Index entries = x.rows() * size();
    Scalar* to = sum.data();
    std::fill_n(to, entries, Scalar(0));
    for (std::size_t i = 0; i < stages; ++i) {
      const Scalar weight = Scalar(w[i]), *stage = k[i].data();
      if (weight == 0) continue;
      for (Index p = 0; p < entries; ++p) to[p] += weight * stage[p];
    }
  }
  /// y = x + step sum
  void advance() {
    for (Index j = 0; j < size(); ++j) {
      const Scalar h = Scalar(clocks[std::size_t(j)].step), *from = slot(x, j), *by = slot(sum, j);
      Scalar* to = slot(y, j);
      for (Index i = 0; i < x.rows(); ++i) to[i] = from[i] + h * by[i];
    }
  }
  bool finite(Index j) const {
    bool all = all_finite(slot(y, j), y.rows());
    for (const Matrix<Scalar>& stage : k) all = all && all_finite(slot(stage, j), stage.rows());
    return all;
  }

  /// Slot j continues from the end of its step, where the last stage is the first of the next step.
  void accept(Index j) {
    std::copy_n(slot(y, j), x.rows(), slot(x, j));
    std::copy_n(slot(k.back(), j), x.rows(), slot(k.front(), j));
    clocks[std::size_t(j)].t = clocks[std::size_t(j)].end;
  }
  /// Slot j becomes free, and the last one moves there.
  void remove(Index j) {
    const Index last = size() - 1;
    for (Matrix<Scalar>* m : {&x, &k.front(), &c}) std::copy_n(slot(*m, last), m->rows(), slot(*m, j));
    clocks[std::size_t(j)] = clocks.back();
    clocks.pop_back();
  }
};

/// Root mean square of e / (atol + rtol max(|a|, |b|)) over a sample's rows.
template <AdaptiveMethod M, class Scalar>
double scaled_norm(const M& method, const Scalar* e, const Scalar* a, const Scalar* b, Index rows) {
  double sum = 0;
  for (Index i = 0; i < rows; ++i) {
    const double size = std::max(std::abs(double(a[i])), std::abs(double(b[i])));
    const double scaled = double(e[i]) / (method.atol + method.rtol * size);
    sum += scaled * scaled;
  }
  return std::sqrt(sum / double(std::max(rows, Index(1))));
}

/// From a step to the next, eq. 17. An error that is no number counts as infinite.
template <AdaptiveMethod M> double step_factor(const M& method, double error, const Clock& clock) {
  constexpr double order = M::Table::order;
  if (!is_finite(error)) return method.shrink;
  if (error > 1) return std::max(method.shrink, method.safety * std::pow(error, -1 / order));
  double factor = method.safety * std::pow(std::max(error, 1e-10), 0.75 * method.beta - 1 / order);
  if (method.beta > 0) factor *= std::pow(clock.error, method.beta);
  return std::min(clock.rejected ? 1 : method.growth, std::max(method.shrink, factor));
}

/// The first steps to try, from the sizes of x, of f and of the change of f over a small step (Hairer, Norsett, Wanner
/// II.4). k[0] is f at the start.
template <Real Scalar, class F, AdaptiveMethod M>
void estimate_first_steps(F& f, const M& method, double direction, double longest, AdaptiveMemory<Scalar>& m) {
  const auto norm = [&](const Matrix<Scalar>& e, Index j) {
    return scaled_norm(method, m.slot(e, j), m.slot(m.x, j), m.slot(m.x, j), m.x.rows());
  };
  constexpr double first[] = {1}, change[] = {-1, 1};
  for (Index j = 0; j < m.size(); ++j) {
    Clock& clock = m.clocks[std::size_t(j)];
    const double size = norm(m.x, j), speed = norm(m.k[0], j);
    clock.h = std::min(longest, size < 1e-5 || speed < 1e-5 ? 1e-6 : 0.01 * size / speed);
    clock.step = direction * clock.h;
  }
  m.combine(first, 1);
  m.advance();
  m.evaluate(
      f, m.y, [](const Clock& clock) { return clock.t + clock.step; }, m.k[1]);
  m.combine(change, 2);
  for (Index j = 0; j < m.size(); ++j) {
    Clock& clock = m.clocks[std::size_t(j)];
    const double fastest = std::max(norm(m.k[0], j), norm(m.sum, j) / clock.h);
    const double h = fastest > 1e-15 ? std::pow(0.01 / fastest, 1. / M::Table::order) : std::max(1e-6, 1e-3 * clock.h);
    clock.h = is_finite(fastest) ? std::min({100 * clock.h, h, longest}) : method.shrink * clock.h;
  }
}

/// The state at a time inside the step of slot j, or at its end, eq. 18.
template <class Table, Real Scalar>
void interpolate(const AdaptiveMemory<Scalar>& m, Index j, double time, Scalar* state) {
  const Clock& clock = m.clocks[std::size_t(j)];
  if (time == clock.end) {
    std::copy_n(m.slot(m.y, j), m.y.rows(), state);
    return;
  }
  const double h = clock.step, theta = (time - clock.t) / h, left = 1 - theta;
  for (Index i = 0; i < m.x.rows(); ++i) {
    double bend = 0;
    for (std::size_t s = 0; s < Table::dense.size(); ++s) bend += Table::dense[s] * double(m.k[s](i, j));
    const double start = double(m.x(i, j)), change = double(m.y(i, j)) - start;
    const double at_start = h * double(m.k.front()(i, j)) - change, at_end = change - h * double(m.k.back()(i, j));
    state[i] = Scalar(start + theta * (change + left * (at_start + theta * (at_end - at_start + left * h * bend))));
  }
}

/// Carries the tile x in place from the first to the last of times. reports: one for each sample. states: if not null,
/// states[i].col(first + j) becomes sample j at times[i], as far as it comes.
template <Real Scalar, class F, AdaptiveMethod M>
void adaptive_tile(F& f, MatrixRef<Scalar> x, MatrixIn<Scalar> c, const M& method, const std::vector<double>& times,
                   AdaptiveMemory<Scalar>& m, SampleReport* reports, Matrix<Scalar>* states = nullptr,
                   Index first = 0) {
  using Table = typename M::Table;
  constexpr std::size_t stages = Table::b.size();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double to = times.back(), longest = std::abs(to - times.front()), direction = to > times.front() ? 1 : -1;
  const auto finish = [&](Index j, OdeStatus status) {
    const Clock& clock = m.clocks[std::size_t(j)];
    reports[clock.sample].status = status;
    reports[clock.sample].t = clock.t;
    std::copy_n(m.slot(m.x, j), x.rows(), x.data() + clock.sample * x.outerStride());
    m.remove(j);
  };

  m.start(x, c, times.front(), stages);
  if (states) states[0].middleCols(first, x.cols()) = x;
  std::fill_n(reports, x.cols(), SampleReport{.evaluations = 1 + (method.first_step == 0)});
  m.evaluate(
      f, m.x, [](const Clock& clock) { return clock.t; }, m.k[0]);
  for (Index j = m.size() - 1; j >= 0; --j) {
    m.clocks[std::size_t(j)].h = std::min(method.first_step, longest);
    if (all_finite(m.slot(m.k[0], j), x.rows())) continue;
    reports[j].evaluations = 1;
    finish(j, OdeStatus::not_finite);
  }
  if (method.first_step == 0 && m.size() > 0) estimate_first_steps(f, method, direction, longest, m);

  while (m.size() > 0) {
    for (Clock& clock : m.clocks) {
      clock.end = clock.h >= std::abs(to - clock.t) ? to : clock.t + direction * clock.h;
      clock.step = clock.end - clock.t;
    }
    for (std::size_t i = 1; i < stages; ++i) {
      m.combine(Table::a[i].data(), i);
      m.advance();  // after the last stage, y is the new state
      const auto time = [i](const Clock& s) { return Table::c[i] == 1 ? s.end : s.t + Table::c[i] * s.step; };
      m.evaluate(f, m.y, time, m.k[i]);
    }
    m.combine(Table::error.data(), stages);
    for (Index j = m.size() - 1; j >= 0; --j) {  // downward: remove(j) moves the last slot, already processed, to j
      Clock& clock = m.clocks[std::size_t(j)];
      SampleReport& report = reports[clock.sample];
      double error = infinity;
      if (m.finite(j))
        error = std::abs(clock.step) * scaled_norm(method, m.slot(m.sum, j), m.slot(m.x, j), m.slot(m.y, j), x.rows());
      clock.h = std::abs(clock.step) * step_factor(method, error, clock);
      clock.rejected = !(is_finite(error) && error <= 1);
      report.evaluations += Index(stages - 1);
      ++(clock.rejected ? report.rejected : report.accepted);
      if (!clock.rejected) {
        clock.error = std::max(error, 1e-4);
        for (; states && clock.next < times.size() && direction * (clock.end - times[clock.next]) >= 0; ++clock.next)
          interpolate<Table>(m, j, times[clock.next], m.slot(states[clock.next], first + clock.sample));
        m.accept(j);
      }
      const double resolution = 4 * double(std::numeric_limits<Scalar>::epsilon()) * std::abs(clock.t);
      if (clock.t == to)
        finish(j, OdeStatus::reached);
      else if (report.accepted + report.rejected >= method.max_steps)
        finish(j, OdeStatus::step_limit);
      else if (!(clock.h > resolution))
        finish(j, is_finite(error) ? OdeStatus::step_too_small : OdeStatus::not_finite);
    }
  }
}

}
}
}
