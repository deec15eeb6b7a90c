// SPDX-License-Identifier: MIT
// Guidance: a field made from another one while sampling, without training it again. By its own condition
// (classifier-free, eq. 62), or by the gradient of a function of the sample that it is on the way to (eq. 63).
// Both are fields themselves: sample(guided, c, rng, solver), Sampler and integrate take them.
#pragma once

#include <algorithm>
#include <utility>

#include "flowmatch/field/field.hpp"
#include "flowmatch/ode/stepper.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct GuidanceOptions {
  double guidance_scale = 1;  ///< s of eq. 62. 0: as without condition, 1: plain, above 1: more of the condition.
                              ///< (Where v = v_cond + w (v_cond - v_null) is used, s = 1 + w.)
  double from = 0;            ///< acts at times from <= t <= to; elsewhere the field is the plain conditional one.
  double to = 1;              ///< 0 and 1 are the ends of the flow, and what rounding makes of them
};

/// Classifier-free guidance (Ho, Salimans 2022): v = v_null + s (v_cond - v_null), for a field that was trained with
/// drop_condition. Scale 1 and scale 0 are the plain field with and without condition, with its bits and at its cost;
/// other scales take two evaluations where they act, side by side in one tile. Guidance in an interval of times only is
/// that of Kynkaanniemi et al. 2024. At its ends the field jumps, which costs an adaptive method some steps.
template <ParametricField Field> class ClassifierFreeGuidance {
 public:
  using Scalar = typename Field::Scalar;
  struct Workspace {
    typename Field::Workspace field;
    Matrix<Scalar> x, c, v;  // of a tile: conditional, then unconditional
    RowVector<Scalar> t;
  };

  /// Keeps a copy of the field. null: the condition that means none (condition_dim), as given to drop_condition. Throws
  /// std::invalid_argument if its rows differ, a number is not finite, or from > to.
  ClassifierFreeGuidance(Field field, VectorIn<Scalar> null, const GuidanceOptions& options);
  /// With the null condition of the field.
  ClassifierFreeGuidance(Field field, const GuidanceOptions& options) requires requires {
    field.null_condition();
  } : ClassifierFreeGuidance(field, field.null_condition(), options) {}

  Index dim() const { return field_.dim(); }
  Index condition_dim() const { return field_.condition_dim(); }
  decltype(auto) parameters() { return field_.parameters(); }
  decltype(auto) parameters() const { return field_.parameters(); }

  void forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v, Workspace& w) const;

  /// For any number of columns, with a workspace made for the call.
  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v) const;

 private:
  bool acts(Scalar t) const {
    return (options_.from <= 0 || double(t) >= options_.from) && (options_.to >= 1 || double(t) <= options_.to);
  }

  void reserve(Workspace& w) const {
    if (w.x.rows() == dim() && w.c.rows() == condition_dim() && w.t.size() == tile_columns) return;
    w.x.resize(dim(), tile_columns);
    w.v.resize(dim(), tile_columns);
    w.c.resize(condition_dim(), tile_columns);
    w.t.resize(tile_columns);
  }

  void forward_half(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v,
                    Workspace& w) const;

  Field field_;
  Vector<Scalar> null_;
  GuidanceOptions options_;
};

template <ParametricField Field>
ClassifierFreeGuidance<Field>::ClassifierFreeGuidance(Field field, VectorIn<Scalar> null,
                                                      const GuidanceOptions& options)
    : field_(std::move(field)), null_(null), options_(options) {
  constexpr auto where = "ClassifierFreeGuidance";
  detail::check_rows(where, "null", null_.rows(), field_.condition_dim());
  detail::check_finite(where, "null", null_);
  if (!is_finite(options.guidance_scale))
    detail::fail(where, {"expected a finite options.guidance_scale, got ", options.guidance_scale});
  if (!(is_finite(options.from) && is_finite(options.to) && options.from <= options.to))
    detail::fail(where, {"expected options.from <= options.to, got ", options.from, " and ", options.to});
}

template <ParametricField Field>
void ClassifierFreeGuidance<Field>::forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                            MatrixRef<Scalar> v, Workspace& w) const {
  constexpr Index half = tile_columns / 2;
  reserve(w);
  for (Index j = 0; j < x.cols(); j += half) {
    const Index n = std::min(half, x.cols() - j);
    forward_half(x.middleCols(j, n), t.middleCols(j, n), c.middleCols(j, n), v.middleCols(j, n), w);
  }
}

template <ParametricField Field>
void ClassifierFreeGuidance<Field>::operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                               MatrixRef<Scalar> v) const {
  detail::forward_in_tiles("ClassifierFreeGuidance", *this, x, t, c, v);
}

template <ParametricField Field>
void ClassifierFreeGuidance<Field>::forward_half(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                                 MatrixRef<Scalar> v, Workspace& w) const {
  const Index n = x.cols();
  const Scalar s = Scalar(options_.guidance_scale);
  if (s == 1 || std::none_of(t.data(), t.data() + n, [&](Scalar time) { return acts(time); }))
    return field_.forward(x, t, c, v, w.field);
  auto null = w.c.middleCols(n, n);
  null = c;
  for (Index j = 0; j < n; ++j)
    if (acts(t(j))) null.col(j) = null_;
  if (s == 0) return field_.forward(x, t, null, v, w.field);
  for (Index k : {Index(0), n}) {
    w.x.middleCols(k, n) = x;
    w.t.middleCols(k, n) = t;
  }
  w.c.leftCols(n) = c;
  field_.forward(w.x.leftCols(2 * n), w.t.leftCols(2 * n), w.c.leftCols(2 * n), w.v.leftCols(2 * n), w.field);
  for (Index j = 0; j < n; ++j) {
    const Scalar scale = acts(t(j)) ? s : Scalar(1);
    if (scale == 1)
      v.col(j) = w.v.col(j);
    else
      v.col(j) = w.v.col(n + j) + scale * (w.v.col(j) - w.v.col(n + j));
  }
}

/// scale (1 - t) / t, the strength at which eq. 63 with scale 1 samples the posterior, where the gradient is exact and
/// the source is standard normal noise, independent of the data in training (no optimal transport). It is infinite at t
/// = 0, where the gradient of an exact field is zero and that of a learned one is not quite: t is taken as at least
/// `start`.
struct PosteriorStrength {
  double scale = 1, start = 0.05;

  double operator()(double t) const { return scale * std::max(1 - t, 0.) / std::max(t, start); }
};

/// Guidance by a gradient, for inverse problems and constraints (eq. 63), on the linear path:
///   x1 = x + (1 - t) v(x, t, c),   guided v = v + strength(t) d/dx log_likelihood(x1),
/// where x1 is the sample that is expected from x, and the derivative goes through the field (Chung et al. 2023; for
/// flows Pokle et al. 2023). The user's function is gradient(x1, t, c, g): it writes g = d log_likelihood / d x1 for
/// each column (x1, g: dim x n), and has the form of a VelocityField. t is there since x1 is uncertain by about (1 -
/// t): a likelihood that says so (as in Pokle et al.) is closer to the posterior. strength(t) is a number for a time.
/// An evaluation costs as much as two of the field.
template <VjpField Field, class Gradient, class Strength = PosteriorStrength>
requires VelocityField<const Gradient, typename Field::Scalar>
class GradientGuidance {
 public:
  using Scalar = typename Field::Scalar;
  struct Workspace {
    typename Field::Workspace field;
    Matrix<Scalar> x1, g, dx;
  };

  /// Keeps copies. observation_dim: rows of c below those of the field, which only the function reads, such as what was
  /// measured of each sample. (A solver hands over the columns in an order of its own, so that what belongs to one
  /// sample must be in c.) Throws std::invalid_argument if it is negative.
  GradientGuidance(Field field, Gradient gradient, Strength strength = {}, Index observation_dim = 0)
      : field_(std::move(field)),
        gradient_(std::move(gradient)),
        strength_(std::move(strength)),
        observation_dim_(observation_dim) {
    detail::check_at_least("GradientGuidance", "observation_dim", observation_dim, 0);
  }

  Index dim() const { return field_.dim(); }
  Index condition_dim() const { return field_.condition_dim() + observation_dim_; }
  decltype(auto) parameters() { return field_.parameters(); }
  decltype(auto) parameters() const { return field_.parameters(); }

  void forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v, Workspace& w) const {
    const Index n = x.cols();
    if (w.x1.rows() != dim() || w.x1.cols() < n)
      for (auto* m : {&w.x1, &w.g, &w.dx}) m->resize(dim(), n);
    field_.forward(x, t, c.topRows(field_.condition_dim()), v, w.field);
    for (Index j = 0; j < n; ++j) w.x1.col(j) = x.col(j) + (1 - t(j)) * v.col(j);
    Eigen::Ref<Matrix<Scalar>> g = w.g.leftCols(n);
    gradient_(Eigen::Ref<const Matrix<Scalar>>(w.x1.leftCols(n)), t, c, g);
    field_.vjp(g, w.dx.leftCols(n), w.field);
    for (Index j = 0; j < n; ++j) v.col(j) += Scalar(strength_(double(t(j)))) * (g.col(j) + (1 - t(j)) * w.dx.col(j));
  }

  /// For any number of columns, with a workspace made for the call.
  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v) const {
    detail::forward_in_tiles("GradientGuidance", *this, x, t, c, v);
  }

 private:
  Field field_;
  Gradient gradient_;
  Strength strength_;
  Index observation_dim_;
};

}
}
