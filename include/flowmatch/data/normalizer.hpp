// SPDX-License-Identifier: MIT
// Data in the units in which nets learn well, and back (eq. 27 in docs/math.md): each row with mean 0 and standard
// deviation 1. Principal components instead of rows are fitted in data/whitening.hpp.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// z = normalizer(x) before training, x = normalizer.inverse(z) after sampling, for data or for conditions. A value,
/// and four plain members: fit them, or set your own.
///
/// A row that was constant when fitted becomes 0 and comes back as that constant, exactly, whatever z says. With
/// components, z has one row for each of them, and inverse gives the point of the principal subspace; its residual,
/// like another value in a constant row, is dropped.
template <Real ScalarType = float> struct Normalizer {
  using Scalar = ScalarType;

  Vector<Scalar> mean;        ///< dim
  Vector<Scalar> scale;       ///< dim: standard deviation of each row, 0 if the row is constant
  Matrix<Scalar> components;  ///< k x dim: orthonormal principal axes of the rows in units of scale; 0 x 0: none
  Vector<Scalar> deviation;   ///< k: standard deviation along each of them

  /// Of no rows: for a field without conditions.
  Normalizer() = default;
  /// Mean and standard deviation (over n, not n - 1) of each row of data, dim x n with n >= 2, in double and two
  /// passes, then rounded to Scalar. Throws std::invalid_argument if n is less, a number is not finite, or a row varies
  /// so widely or so little that its deviation is no normal number.
  explicit Normalizer(MatrixIn<Scalar> data);
  /// z = x, for rows that have good units already, such as one-hot classes.
  static Normalizer identity(Index dim) {
    Normalizer same;
    same.mean = Vector<Scalar>::Zero(dim);
    same.scale = Vector<Scalar>::Ones(dim);
    return same;
  }

  Index dim() const { return mean.size(); }                                                   ///< rows of x
  Index normalized_dim() const { return components.rows() > 0 ? components.rows() : dim(); }  ///< rows of z

  /// x: dim x n, z: resized to normalized_dim x n. Each column's bits depend on that column alone. Throws
  /// std::invalid_argument if the rows do not fit, a number is not finite, or z shares memory with x. Allocates only
  /// when the size of z changes.
  void operator()(MatrixIn<Scalar> x, Matrix<Scalar>& z) const;
  Matrix<Scalar> operator()(MatrixIn<Scalar> x) const;

  /// z: normalized_dim x n, x: resized to dim x n. As above.
  void inverse(MatrixIn<Scalar> z, Matrix<Scalar>& x) const;
  Matrix<Scalar> inverse(MatrixIn<Scalar> z) const;

 private:
  void check_arguments(const char* where, const char* name, MatrixIn<Scalar> in, Index rows,
                       const Matrix<Scalar>& out) const {
    detail::check_size(where, "scale", scale.size(), dim());
    if (components.rows() > 0) detail::check_columns(where, "components", components.cols(), dim());
    detail::check_size(where, "deviation", deviation.size(), components.rows());
    detail::check_rows(where, name, in.rows(), rows);
    detail::check_finite(where, name, in);
    if (detail::overlap(in, out)) detail::fail(where, {name, " must not share memory with the result"});
  }
};

template <Real ScalarType> void Normalizer<ScalarType>::operator()(MatrixIn<Scalar> x, Matrix<Scalar>& z) const {
  check_arguments("Normalizer", "x", x, dim(), z);
  z.resize(normalized_dim(), x.cols());
  const auto standard = [&](Index row, Index j) {
    return scale(row) > 0 ? (x(row, j) - mean(row)) / scale(row) : Scalar(0);
  };
  for (Index j = 0; j < x.cols(); ++j) {
    if (components.rows() == 0) {
      for (Index row = 0; row < dim(); ++row) z(row, j) = standard(row, j);
    } else {
      z.col(j).setZero();
      for (Index row = 0; row < dim(); ++row) z.col(j) += standard(row, j) * components.col(row);
      z.col(j) = z.col(j).cwiseQuotient(deviation);
    }
  }
}

template <Real ScalarType> Matrix<ScalarType> Normalizer<ScalarType>::operator()(MatrixIn<Scalar> x) const {
  Matrix<Scalar> z;
  (*this)(x, z);
  return z;
}

template <Real ScalarType> void Normalizer<ScalarType>::inverse(MatrixIn<Scalar> z, Matrix<Scalar>& x) const {
  check_arguments("Normalizer::inverse", "z", z, normalized_dim(), x);
  x.resize(dim(), z.cols());
  for (Index j = 0; j < z.cols(); ++j)
    for (Index row = 0; row < dim(); ++row)
      x(row, j) =
          mean(row) +
          scale(row) * (components.rows() == 0 ? z(row, j) : components.col(row).dot(deviation.cwiseProduct(z.col(j))));
}

template <Real ScalarType> Matrix<ScalarType> Normalizer<ScalarType>::inverse(MatrixIn<Scalar> z) const {
  Matrix<Scalar> x;
  inverse(z, x);
  return x;
}

template <class Derived> explicit Normalizer(const Eigen::MatrixBase<Derived>&) -> Normalizer<typename Derived::Scalar>;

template <Real ScalarType> Normalizer<ScalarType>::Normalizer(MatrixIn<ScalarType> data) {
  detail::check_at_least("Normalizer", "data.cols()", data.cols(), 2);
  detail::check_finite("Normalizer", "data", data);
  // Both passes see differences from numbers near by: a large offset costs no digits, and for a constant row every
  // difference, and so the deviation, is exactly 0.
  const double n = double(data.cols());
  using Sums = Vector<Double<Scalar>>;
  const Sums first = data.col(0).template cast<double>();
  Sums sum = Sums::Zero(data.rows()), squares = sum;
  for (Index j = 1; j < data.cols(); ++j) sum += data.col(j).template cast<double>() - first;
  const Sums center = first + sum / n;
  for (Index j = 0; j < data.cols(); ++j) squares += (data.col(j).template cast<double>() - center).cwiseAbs2();
  mean = center.template cast<Scalar>();
  scale = (squares / n).cwiseSqrt().template cast<Scalar>();
  for (Index row = 0; row < data.rows(); ++row) {
    const bool constant = (data.row(row).array() == data(row, 0)).all();
    if (!constant && !(is_finite(scale(row)) && scale(row) >= std::numeric_limits<Scalar>::min()))
      detail::fail("Normalizer", {"expected a standard deviation in [", std::numeric_limits<Scalar>::min(), ", ",
                                  std::numeric_limits<Scalar>::max(), "] in row ", row, " of data, got ", scale(row)});
  }
}

namespace detail {

/// Throws std::invalid_argument unless the members, which a file or a user may have set, are those of a Normalizer.
template <Real Scalar>
void check_normalizer(const char* where, const std::string& name, const Normalizer<Scalar>& normalizer) {
  const auto& [mean, scale, components, deviation] = normalizer;
  const std::string mean_name = name + ".mean", scale_name = name + ".scale", deviation_name = name + ".deviation",
                    components_name = name + ".components";
  check_size(where, scale_name.c_str(), scale.size(), mean.size());
  if (components.rows() > 0) check_columns(where, components_name.c_str(), components.cols(), mean.size());
  check_size(where, deviation_name.c_str(), deviation.size(), components.rows());
  check_finite(where, mean_name.c_str(), mean);
  for (Index row = 0; row < scale.size(); ++row)
    check_at_least(where, (scale_name + " of row " + std::to_string(row)).c_str(), scale(row), 0);
  for (Index i = 0; i < deviation.size(); ++i)
    check_positive(where, (deviation_name + " of component " + std::to_string(i)).c_str(), double(deviation(i)));
  const Matrix<Scalar> axes = components.transpose();
  const Scalar rounding = std::sqrt(std::numeric_limits<Scalar>::epsilon());  // far above it, far below a mistake
  for (Index i = 0; i < axes.cols(); ++i)
    for (Index j = 0; j <= i; ++j) {
      const Scalar product = axes.col(i).dot(axes.col(j));
      if (!(is_finite(product) && std::abs(product - Scalar(i == j)) <= rounding))
        fail(where, {"expected orthonormal rows in ", components_name, ", got ", product, " as product of rows ", j,
                     " and ", i});
    }
}

}

}
}
