// SPDX-License-Identifier: MIT
// Exact minibatch optimal transport (Tong et al. 2023; Pooladian et al. 2023): the pairs of least total squared
// distance, eq. 57 in docs/math.md. Paths then cross less, the field is easier to learn and its trajectories
// straighter.
#pragma once

#include "flowmatch/assignment/assignment.hpp"
#include "flowmatch/assignment/squared_distances.hpp"
#include "flowmatch/coupling/coupling.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Pairs columns of x0 and x1 by a permutation: every column appears once.
///
/// With conditions: a field that is trained on such pairs and conditions c does not generate the conditional
/// distributions. The pairs make x0 depend on x1 and so on c, and the field only learns to go to p(x1 | c) from this
/// p(x0 | c); but samples start from all of p(x0), whatever c. Use ConditionalTransport or ClassTransport there.
///
/// A net that is trained on any transport's pairs has no score (eq. 32 needs independent noise): not for
/// sample_stochastic, Prediction::score and the posterior of GradientGuidance.
template <Real Scalar = float> class OptimalTransport {
 public:
  /// The column of x1 for each column of x0, valid until the next call or the end of this object. x0, x1: dim x n, n >=
  /// 1, finite, of any scale. Throws std::invalid_argument otherwise. O(n^3) at worst, in practice nearer to n^2 dim +
  /// 40 n^2. Allocates only for a larger problem than before.
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1);
  /// The same, as a Coupling: neither conditions nor random numbers are used.
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, MatrixIn<Scalar>, Rng&) {
    return (*this)(x0, x1);
  }

  /// n independent draws from the plan of the last call, with replacement: some columns appear twice, others not. For
  /// loops by hand, since it picks columns of x0 too. Valid until the next draw. Throws std::invalid_argument if n < 1
  /// or nothing was paired yet.
  Pairs draw(Rng& rng, Index n);

 private:
  detail::SquaredDistances<Scalar> distances_;
  detail::Assignment<Scalar> problem_;
  std::vector<Index> from_, to_;
};

template <Real Scalar>
std::span<const Index> OptimalTransport<Scalar>::operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1) {
  detail::check_coupled<Scalar>("OptimalTransport", x0, x1);
  distances_.set(x0, x1, true);
  problem_.resize(x0.cols());
  distances_.write(problem_.column(0), problem_.stride());
  return problem_.solve();
}

template <Real Scalar> Pairs OptimalTransport<Scalar>::draw(Rng& rng, Index n) {
  detail::check_at_least("OptimalTransport::draw", "n", n, 1);
  const std::span<const Index> pairs = problem_.solution();
  if (pairs.empty()) detail::fail("OptimalTransport::draw", {"there is no plan before the first call"});
  from_.resize(std::size_t(n));
  to_.resize(std::size_t(n));
  fill_below(rng, Index(pairs.size()), from_);
  for (std::size_t k = 0; k < to_.size(); ++k) to_[k] = pairs[std::size_t(from_[k])];
  return {from_, to_};
}

}
}
