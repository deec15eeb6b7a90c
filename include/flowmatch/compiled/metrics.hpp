// SPDX-License-Identifier: MIT
// The compiled library's couplings and distances between sets.
#include "flowmatch/compiled/instantiate.hpp"
#include "flowmatch/coupling/conditional_transport.hpp"
#include "flowmatch/coupling/entropic_transport.hpp"
#include "flowmatch/coupling/optimal_transport.hpp"
#include "flowmatch/metric/energy_distance.hpp"
#include "flowmatch/metric/maximum_mean_discrepancy.hpp"
#include "flowmatch/metric/memorization.hpp"
#include "flowmatch/metric/sliced_wasserstein.hpp"
#include "flowmatch/metric/wasserstein.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

FLOWMATCH_INSTANTIATE class detail::Assignment<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE class OptimalTransport<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE class ClassTransport<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE class ConditionalTransport<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE class EntropicTransport<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE std::vector<Index> solve_assignment(const Matrix<FLOWMATCH_SCALAR>&);

FLOWMATCH_INSTANTIATE std::array<Matrix<FLOWMATCH_SCALAR>, 2> disjoint_subsets(const Matrix<FLOWMATCH_SCALAR>&, Index,
                                                                               Rng&);
FLOWMATCH_INSTANTIATE double energy_distance(const Matrix<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE double wasserstein2(const Matrix<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE double wasserstein2_floor(const Matrix<FLOWMATCH_SCALAR>&, Index, Rng&);
FLOWMATCH_INSTANTIATE double sliced_wasserstein2(const Matrix<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>, Index,
                                                 Rng&);
FLOWMATCH_INSTANTIATE double maximum_mean_discrepancy(const Matrix<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>,
                                                      const std::vector<double>&);
FLOWMATCH_INSTANTIATE double median_distance(const Matrix<FLOWMATCH_SCALAR>&);
FLOWMATCH_INSTANTIATE NearestSamples nearest_samples(const Matrix<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE double median_nearest_distance(const Matrix<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE double memorized_fraction(const Matrix<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>, double);

}
}
