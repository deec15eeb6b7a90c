// SPDX-License-Identifier: MIT
// The contracts between a velocity field and the loss and samplers that use it. VelocityMlp meets them; so does any
// user-defined class that has these members (examples/own_field.cpp).
#pragma once

#include <algorithm>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// A field v(x, t, c) with parameters, which can be sampled. x, v: dim() x n; t: n times; c: condition_dim() x n, 0
/// rows if there is none.
///   Scalar, Workspace              float or double; scratch of one thread, default-constructible
///   dim(), condition_dim()         sizes of a sample and of a condition
///   parameters()                   all of them as one contiguous vector
///   forward(x, t, c, v, w)         writes v
/// The field is const in forward; n is at most tile_columns when loss or sampler call.
template <class F>
concept ParametricField = Real<typename F::Scalar> && std::default_initializable<typename F::Workspace> &&
    requires(const F& field, F& writable, const Matrix<typename F::Scalar>& x, const RowVector<typename F::Scalar>& t,
             MatrixRef<typename F::Scalar> v, typename F::Workspace& w) {
  { field.dim() } -> std::convertible_to<Index>;
  { field.condition_dim() } -> std::convertible_to<Index>;
  { field.parameters().size() } -> std::convertible_to<Index>;
  { *writable.parameters().data() } -> std::same_as<typename F::Scalar&>;
  field.forward(x, t, x, v, w);
};

/// One that can also be trained: forward leaves in w what backward needs.
///   backward(dv, w, gradient)      gradient += (dv/dparameters)' dv for the call of forward before, const as well
template <class F>
concept TrainableField = ParametricField<F> &&
    requires(const F& field, const Matrix<typename F::Scalar>& dv, typename F::Workspace& w,
             VectorRef<typename F::Scalar> gradient) {
  field.backward(dv, w, gradient);
};

/// A field that also knows its derivative in a direction, which the log-density needs (sample/likelihood.hpp):
///   jvp(dx, dv, w)   dv = (dv/dx) dx for the n samples of the call of forward before; dx, dv: dim x m n.
///                    Column j belongs to sample j modulo n, so that one call serves several directions
template <class F>
concept JvpField = TrainableField<F> && requires(const F& field, const Matrix<typename F::Scalar>& dx,
                                                 MatrixRef<typename F::Scalar> dv, typename F::Workspace& w) {
  field.jvp(dx, dv, w);
};

/// A field that knows its derivative in the other direction, which guidance by a gradient needs
/// (transform/guidance.hpp):
///   vjp(dv, dx, w)   dx = (dv/dx)' dv for the call of forward before; dx, dv: dim x n
template <class F>
concept VjpField = ParametricField<F> && requires(const F& field, const Matrix<typename F::Scalar>& dv,
                                                  MatrixRef<typename F::Scalar> dx, typename F::Workspace& w) {
  field.vjp(dv, dx, w);
};

namespace detail {

/// Checks a batch against a field: shapes, and that every number is finite.
template <ParametricField Field>
void check_batch(const char* where, const char* name, const Field& field, MatrixIn<typename Field::Scalar> x,
                 RowVectorIn<typename Field::Scalar> t, MatrixIn<typename Field::Scalar> c) {
  check_rows(where, name, x.rows(), field.dim());
  check_columns(where, "t", t.cols(), x.cols());
  check_shape(where, "c", c, field.condition_dim(), x.cols());
  check_finite(where, name, x);
  check_finite(where, "t", t);
  check_finite(where, "c", c);
}

/// v(x, t, c) for any number of columns, with a workspace made for the call.
template <ParametricField Field>
void forward_in_tiles(const char* where, const Field& field, MatrixIn<typename Field::Scalar> x,
                      RowVectorIn<typename Field::Scalar> t, MatrixIn<typename Field::Scalar> c,
                      MatrixRef<typename Field::Scalar> v) {
  using Scalar = typename Field::Scalar;
  check_batch(where, "x", field, x, t, c);
  check_shape(where, "v", v, x.rows(), x.cols());
  typename Field::Workspace workspace;
  for (Index j = 0; j < x.cols(); j += tile_columns) {
    const Index n = std::min(tile_columns, x.cols() - j);
    field.forward(columns_in<Scalar>(x, j, n), times_in<Scalar>(t, j, n), columns_in<Scalar>(c, j, n),
                  columns_of<Scalar>(v, j, n), workspace);
  }
}

}
}
}
