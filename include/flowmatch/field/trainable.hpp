// SPDX-License-Identifier: MIT
// The contract between a velocity field that can be trained and the loss and sampler that use it. VelocityMlp meets it;
// so does any class of yours that has these members (examples/own_field.cpp).
#pragma once

#include "flowmatch/core/check.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

/// A field v(x, t, c) with parameters. x, v: dim() x n; t: n times; c: condition_dim() x n, 0 rows if there is none.
///   Scalar, Workspace              float or double; scratch of one thread, default-constructible
///   dim(), condition_dim()         sizes of a sample and of a condition
///   parameters()                   all of them as one contiguous vector
///   forward(x, t, c, v, w)         writes v, and leaves in w what backward needs
///   backward(dv, w, gradient)      gradient += (dv/dparameters)' dv for the call of forward before
/// The field is const in both; n is at most tile_columns when loss or sampler call.
template <class F>
concept TrainableField = std::floating_point<typename F::Scalar> && std::default_initializable<typename F::Workspace> &&
    requires(const F& field, F& writable, const Matrix<typename F::Scalar>& x, const RowVector<typename F::Scalar>& t,
             MatrixRef<typename F::Scalar> v, typename F::Workspace& w, VectorRef<typename F::Scalar> gradient) {
  { field.dim() } -> std::convertible_to<Index>;
  { field.condition_dim() } -> std::convertible_to<Index>;
  { field.parameters().size() } -> std::convertible_to<Index>;
  { *writable.parameters().data() } -> std::same_as<typename F::Scalar&>;
  field.forward(x, t, x, v, w);
  field.backward(x, w, gradient);
};

namespace detail {

/// Checks a batch against a field: shapes, and that every number is finite.
template <TrainableField Field>
void check_batch(const char* where, const char* name, const Field& field, MatrixIn<typename Field::Scalar> x,
                 RowVectorIn<typename Field::Scalar> t, MatrixIn<typename Field::Scalar> c) {
  check_rows(where, name, x.rows(), field.dim());
  check_columns(where, "t", t.cols(), x.cols());
  check_shape(where, "c", c, field.condition_dim(), x.cols());
  check_finite(where, name, x);
  check_finite(where, "t", t);
  check_finite(where, "c", c);
}

}
}
