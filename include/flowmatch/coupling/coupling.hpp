// SPDX-License-Identifier: MIT
// Couplings: which start point x0 goes with which end point x1 (and condition c) of a batch. A coupling gives indices:
// x0's column j goes with x1's column pairs[j]; take_columns then reorders x1, and with it whatever belongs to x1.
#pragma once

#include <span>
#include <vector>

#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// coupling(x0, x1, c, rng) gives the column of x1 for each column of x0, in memory of the coupling's own that holds
/// until its next call: not for a temporary, whose memory is gone with it. x0, x1: dim x n; c: condition_dim x n, where
/// column j belongs to x1's column j and, since x0 is drawn without regard to it, may be taken for x0's as well.
template <class C, class Scalar>
concept Coupling = requires(C& coupling, const Matrix<Scalar>& x, Rng& rng) {
  { coupling(x, x, x, rng) } -> std::convertible_to<std::span<const Index>>;
};

/// Columns of a batch that go together: x0's column from[k] with x1's column to[k].
struct Pairs {
  std::span<const Index> from, to;
};

namespace detail {
/// Sets of the same shape, one column at least, finite.
template <Real Scalar> void check_coupled(const char* where, MatrixIn<Scalar> x0, MatrixIn<Scalar> x1) {
  check_at_least(where, "x0.cols()", x0.cols(), 1);
  check_shape(where, "x1", x1, x0.rows(), x0.cols());
  check_finite(where, "x0", x0);
  check_finite(where, "x1", x1);
}
}

/// Column j with column j: independent if x0 and x1 were drawn so, else the pairs that the data came in.
template <Real Scalar = float> class IndependentCoupling {
 public:
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1) {
    detail::check_shape("IndependentCoupling", "x1", x1, x0.rows(), x0.cols());
    pairs_.resize(std::size_t(x0.cols()));
    for (Index j = 0; j < x0.cols(); ++j) pairs_[std::size_t(j)] = j;
    return pairs_;
  }
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, MatrixIn<Scalar>, Rng&) {
    return (*this)(x0, x1);
  }

 private:
  std::vector<Index> pairs_;
};

}
}
