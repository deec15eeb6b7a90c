// SPDX-License-Identifier: MIT
// Scalars, matrices and the names by which functions take them. A batch is a matrix with one sample per column
// (dim x batch, column-major), so that W x + b reads like the formula; times are a row with one entry per sample.
#pragma once

#include <Eigen/Core>
#include <bit>
#include <concepts>
#include <type_traits>

#include "flowmatch/core/real.hpp"
#include "flowmatch/version.hpp"

#if EIGEN_WORLD_VERSION == 3 && EIGEN_MAJOR_VERSION < 4
#error "flowmatch needs Eigen 3.4 or newer"
#endif

// All names live in an inline namespace that carries the version, Eigen's alignment and what an error does, for example
// v0_1_0_align16, or v0_1_0_align16_abort under -fno-exceptions. Objects compiled with different -march flags disagree
// about the layout of Eigen's types; with this name such a mix fails to link instead of crashing.
#if defined(__cpp_exceptions)
#define FLOWMATCH_ABI_ERRORS
#else
#define FLOWMATCH_ABI_ERRORS _abort
#endif
#define FLOWMATCH_ABI_NAME(major, minor, patch, align, errors) v##major##_##minor##_##patch##_align##align##errors
#define FLOWMATCH_ABI_EXPAND(major, minor, patch, align, errors) FLOWMATCH_ABI_NAME(major, minor, patch, align, errors)
#define FLOWMATCH_ABI                                                                             \
  FLOWMATCH_ABI_EXPAND(FLOWMATCH_VERSION_MAJOR, FLOWMATCH_VERSION_MINOR, FLOWMATCH_VERSION_PATCH, \
                       EIGEN_MAX_ALIGN_BYTES, FLOWMATCH_ABI_ERRORS)

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

using Index = Eigen::Index;
static_assert(sizeof(Index) == 8 && std::endian::native == std::endian::little,
              "flowmatch: sizes and random words are written for 64-bit little-endian machines");

/// Columns of a batch that loss and solvers hand to a field at a time, so that activations stay in cache.
inline constexpr Index tile_columns = 128;

template <Real Scalar> using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <Real Scalar> using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
template <Real Scalar> using RowVector = Eigen::Matrix<Scalar, 1, Eigen::Dynamic>;

/// Read-only arguments. Matrices, blocks and maps pass without a copy, other expressions are evaluated once.
/// Scalar is not deduced from them (it comes from the net or the output), so that they convert.
template <Real Scalar> using MatrixIn = const Eigen::Ref<const std::type_identity_t<Matrix<Scalar>>>&;
template <Real Scalar> using VectorIn = const Eigen::Ref<const std::type_identity_t<Vector<Scalar>>>&;
template <Real Scalar> using RowVectorIn = const Eigen::Ref<const std::type_identity_t<RowVector<Scalar>>>&;

/// double, as a type that depends on Scalar. What a template makes of a fixed type is compiled wherever its header is
/// read; what depends on a parameter, only where the template is used.
template <Real Scalar> using Double = std::common_type_t<Scalar, double>;

/// Arguments written in place, whose size is the caller's. Where the callee sets the size, it takes a Matrix&.
template <Real Scalar> using MatrixRef = Eigen::Ref<std::type_identity_t<Matrix<Scalar>>>;
template <Real Scalar> using VectorRef = Eigen::Ref<std::type_identity_t<Vector<Scalar>>>;

/// The observer of an integration or a training that does nothing.
struct NoObserver {
  template <class... Arguments> void operator()(const Arguments&...) const {}
};

namespace detail {

// Columns first .. first + n - 1 of an argument, as an argument again. Every kind of Eigen expression is a class to
// compile; these are the ones that the arguments need anyway.
template <Real Scalar> Eigen::Ref<const Matrix<Scalar>> columns_in(MatrixIn<Scalar> x, Index first, Index n) {
  using Map = Eigen::Map<const Matrix<Scalar>, 0, Eigen::OuterStride<>>;
  return Map(x.data() + first * x.outerStride(), x.rows(), n, Eigen::OuterStride<>(x.outerStride()));
}
template <Real Scalar> Eigen::Ref<const RowVector<Scalar>> times_in(RowVectorIn<Scalar> t, Index first, Index n) {
  return Eigen::Map<const RowVector<Scalar>>(t.data() + first, n);
}
/// rows x n numbers that the callee writes, columns `stride` apart.
template <Real Scalar> Eigen::Ref<Matrix<Scalar>> writable(Scalar* data, Index rows, Index n, Index stride) {
  using Map = Eigen::Map<Matrix<Scalar>, 0, Eigen::OuterStride<>>;
  return Map(data, rows, n, Eigen::OuterStride<>(stride));
}
template <Real Scalar> Eigen::Ref<Matrix<Scalar>> columns_of(MatrixRef<Scalar> x, Index first, Index n) {
  return writable(x.data() + first * x.outerStride(), x.rows(), n, x.outerStride());
}

}
}
}
