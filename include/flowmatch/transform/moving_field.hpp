// SPDX-License-Identifier: MIT
// Change of variables: a field known in z as a field in x = shift_t + scale_t z (eq. 52 in docs/math.md). Base of
// ScheduleTransform and NormalizedField.
#pragma once

#include <algorithm>
#include <utility>

#include "flowmatch/field/field.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// The coordinates at one time r: x = shift + scale z, row by row, and what moves x: shift' + growth z + gain v(z, t).
/// For dz/dt = v that is growth = scale' and gain = scale t'.
struct Frame {
  Vector<double> shift, scale, shift_dot, growth, gain;  // dim
  double t = 0;
};

/// dx/dr = shift' + growth z + gain v(z, t, c), where motion(r, frame) writes the frame of time r in [0, 1]. It has
/// what its field has: derivatives in both directions, and the backward pass.
template <ParametricField Field, class Motion> class MovingField {
 public:
  using Scalar = typename Field::Scalar;
  struct Workspace {
    typename Field::Workspace field;
    Frame frame;
    Matrix<Scalar> z, drift, scale, growth, gain, dz;  // of a tile; drift: shift' + growth z
    RowVector<Scalar> t;
    Index samples = 0;  // of the last call of forward
  };

  MovingField(Field field, Motion motion) : field_(std::move(field)), motion_(std::move(motion)) {}

  Index dim() const { return field_.dim(); }
  Index condition_dim() const { return field_.condition_dim(); }
  decltype(auto) parameters() { return field_.parameters(); }
  decltype(auto) parameters() const { return field_.parameters(); }

  void forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v, Workspace& w) const {
    const Index n = x.cols();
    reserve(n, w);
    Frame& f = w.frame;
    for (Index j = 0; j < n; ++j) {
      if (j == 0 || t(j) != t(j - 1)) motion_(std::clamp(double(t(j)), 0., 1.), f);
      w.t(j) = Scalar(f.t);
      for (Index i = 0; i < x.rows(); ++i) {
        const double z = (double(x(i, j)) - f.shift(i)) / f.scale(i);
        w.z(i, j) = Scalar(z);
        w.drift(i, j) = Scalar(f.shift_dot(i) + f.growth(i) * z);
        w.scale(i, j) = Scalar(f.scale(i));
        w.growth(i, j) = Scalar(f.growth(i));
        w.gain(i, j) = Scalar(f.gain(i));
      }
    }
    field_.forward(w.z.leftCols(n), w.t.leftCols(n), c, v, w.field);
    for (Index j = 0; j < n; ++j)
      for (Index i = 0; i < x.rows(); ++i) v(i, j) = w.drift(i, j) + w.gain(i, j) * v(i, j);
  }

  void backward(MatrixIn<Scalar> dv, Workspace& w, VectorRef<Scalar> gradient) const requires TrainableField<Field> {
    reserve_derivatives(dv.cols(), w);
    for (Index j = 0; j < dv.cols(); ++j) w.dz.col(j) = w.gain.col(j).cwiseProduct(dv.col(j));
    field_.backward(w.dz.leftCols(dv.cols()), w.field, gradient);
  }

  /// Column j of dx and dv belongs to sample j modulo the n of forward.
  void jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dv, Workspace& w) const requires JvpField<Field> {
    const Index n = w.samples;
    reserve_derivatives(dx.cols(), w);
    for (Index j = 0; j < dx.cols(); ++j) w.dz.col(j) = dx.col(j).cwiseQuotient(w.scale.col(j % n));
    field_.jvp(w.dz.leftCols(dx.cols()), dv, w.field);
    for (Index j = 0; j < dx.cols(); ++j)
      dv.col(j) = w.growth.col(j % n).cwiseProduct(w.dz.col(j)) + w.gain.col(j % n).cwiseProduct(dv.col(j));
  }

  void vjp(MatrixIn<Scalar> dv, MatrixRef<Scalar> dx, Workspace& w) const requires VjpField<Field> {
    reserve_derivatives(dv.cols(), w);
    for (Index j = 0; j < dv.cols(); ++j) w.dz.col(j) = w.gain.col(j).cwiseProduct(dv.col(j));
    field_.vjp(w.dz.leftCols(dv.cols()), dx, w.field);
    for (Index j = 0; j < dv.cols(); ++j)
      dx.col(j) = (w.growth.col(j).cwiseProduct(dv.col(j)) + dx.col(j)).cwiseQuotient(w.scale.col(j));
  }

  /// For any number of columns, with a workspace made for the call.
  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v) const {
    forward_in_tiles(Motion::name, *this, x, t, c, v);
  }

 private:
  void reserve(Index n, Workspace& w) const {
    w.samples = n;
    if (w.z.rows() == dim() && w.z.cols() >= n) return;
    for (auto* m : {&w.z, &w.drift, &w.scale, &w.growth, &w.gain}) m->resize(dim(), n);
    for (auto* v : {&w.frame.shift, &w.frame.scale, &w.frame.shift_dot, &w.frame.growth, &w.frame.gain})
      v->resize(dim());
    w.t.resize(n);
  }
  void reserve_derivatives(Index n, Workspace& w) const {
    if (w.dz.rows() != dim() || w.dz.cols() < n) w.dz.resize(dim(), n);
  }

  Field field_;
  Motion motion_;
};

}
}
}
