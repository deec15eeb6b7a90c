// SPDX-License-Identifier: MIT
// The compiled library's random numbers, data and paths.
#include "flowmatch/compiled/instantiate.hpp"
#include "flowmatch/data/normalizer.hpp"
#include "flowmatch/data/toy.hpp"
#include "flowmatch/path/further_schedules.hpp"
#include "flowmatch/path/noisy.hpp"
#include "flowmatch/path/path.hpp"
#include "flowmatch/random/draw.hpp"
#include "flowmatch/random/drop_condition.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

FLOWMATCH_INSTANTIATE void fill_uniform(Rng&, std::span<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void fill_uniform(Rng&, Eigen::PlainObjectBase<Matrix<FLOWMATCH_SCALAR>>&);
FLOWMATCH_INSTANTIATE void fill_uniform(Rng&, Eigen::PlainObjectBase<Vector<FLOWMATCH_SCALAR>>&);
FLOWMATCH_INSTANTIATE void fill_uniform(Rng&, Eigen::PlainObjectBase<RowVector<FLOWMATCH_SCALAR>>&);
FLOWMATCH_INSTANTIATE void fill_normal(Rng&, std::span<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void fill_normal(Rng&, Eigen::PlainObjectBase<Matrix<FLOWMATCH_SCALAR>>&);
FLOWMATCH_INSTANTIATE void fill_normal(Rng&, Eigen::PlainObjectBase<Vector<FLOWMATCH_SCALAR>>&);
FLOWMATCH_INSTANTIATE void fill_normal(Rng&, Eigen::PlainObjectBase<RowVector<FLOWMATCH_SCALAR>>&);

FLOWMATCH_INSTANTIATE void draw_columns(Rng&, MatrixIn<FLOWMATCH_SCALAR>, Matrix<FLOWMATCH_SCALAR>&);
FLOWMATCH_INSTANTIATE void take_columns(MatrixIn<FLOWMATCH_SCALAR>, std::span<const Index>, Matrix<FLOWMATCH_SCALAR>&);
FLOWMATCH_INSTANTIATE void drop_condition(Rng&, double, VectorIn<FLOWMATCH_SCALAR>, Matrix<FLOWMATCH_SCALAR>&);
FLOWMATCH_INSTANTIATE struct Normalizer<FLOWMATCH_SCALAR>;

#define FLOWMATCH_PATH(Schedule)                                                                                    \
  FLOWMATCH_INSTANTIATE void AffinePath<Schedule>::sample(MatrixIn<FLOWMATCH_SCALAR>, MatrixIn<FLOWMATCH_SCALAR>,   \
                                                          RowVectorIn<FLOWMATCH_SCALAR>, Matrix<FLOWMATCH_SCALAR>&, \
                                                          Matrix<FLOWMATCH_SCALAR>&) const;
FLOWMATCH_PATH(LinearSchedule)
FLOWMATCH_PATH(PolynomialSchedule)
FLOWMATCH_PATH(VariancePreservingSchedule)
FLOWMATCH_PATH(LinearVariancePreservingSchedule)
FLOWMATCH_PATH(CosineSchedule)
FLOWMATCH_PATH(BalancedSchedule)
#undef FLOWMATCH_PATH
#define FLOWMATCH_PATH(Noise)                                                                      \
  FLOWMATCH_INSTANTIATE void AffineNoisyPath<LinearSchedule, Noise>::sample(                       \
      Rng&, MatrixIn<FLOWMATCH_SCALAR>, MatrixIn<FLOWMATCH_SCALAR>, RowVectorIn<FLOWMATCH_SCALAR>, \
      Matrix<FLOWMATCH_SCALAR>&, Matrix<FLOWMATCH_SCALAR>&) const;
FLOWMATCH_PATH(ConstantNoise)
FLOWMATCH_PATH(BridgeNoise)
#undef FLOWMATCH_PATH
FLOWMATCH_INSTANTIATE void LipmanPath::sample(Rng&, MatrixIn<FLOWMATCH_SCALAR>, RowVectorIn<FLOWMATCH_SCALAR>,
                                              Matrix<FLOWMATCH_SCALAR>&, Matrix<FLOWMATCH_SCALAR>&) const;

namespace toy {
FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> two_moons(Rng&, Index, double);
FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> eight_gaussians(Rng&, Index, double);
FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> checkerboard(Rng&, Index);
FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> spiral(Rng&, Index, double);
FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> pinwheel(Rng&, Index);
FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> rings(Rng&, Index, double);
FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> s_curve(Rng&, Index, double);
}

}
}
