// SPDX-License-Identifier: MIT
// The compiled library's losses, optimizers and trainers: those of the nets on the straight path.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "flowmatch/compiled/instantiate.hpp"
#include "flowmatch/coupling/optimal_transport.hpp"
#include "flowmatch/field/conditional_velocity_mlp.hpp"
#include "flowmatch/train/coupled_batches.hpp"
#include "flowmatch/train/cross_entropy.hpp"
#include "flowmatch/train/optimizer.hpp"
#include "flowmatch/train/trainer.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

// What is made from a view of a net's parameters, or from a vector.
#define FLOWMATCH_FROM_PARAMETERS(Type, ...)                                                                         \
  FLOWMATCH_INSTANTIATE class Type<FLOWMATCH_SCALAR>;                                                                \
  FLOWMATCH_INSTANTIATE Type<FLOWMATCH_SCALAR>::Type(const Eigen::MatrixBase<Eigen::Map<Vector<FLOWMATCH_SCALAR>>>&, \
                                                     __VA_ARGS__);                                                   \
  FLOWMATCH_INSTANTIATE Type<FLOWMATCH_SCALAR>::Type(                                                                \
      const Eigen::MatrixBase<Eigen::Map<const Vector<FLOWMATCH_SCALAR>>>&, __VA_ARGS__);                            \
  FLOWMATCH_INSTANTIATE Type<FLOWMATCH_SCALAR>::Type(const Eigen::MatrixBase<Vector<FLOWMATCH_SCALAR>>&, __VA_ARGS__);
FLOWMATCH_FROM_PARAMETERS(Adam, AdamOptions)
FLOWMATCH_FROM_PARAMETERS(AdamW, AdamWOptions)
FLOWMATCH_FROM_PARAMETERS(Sgd, SgdOptions)
FLOWMATCH_FROM_PARAMETERS(Ema, EmaOptions, Index)
#undef FLOWMATCH_FROM_PARAMETERS
FLOWMATCH_INSTANTIATE FLOWMATCH_SCALAR clip_norm(Eigen::MatrixBase<Vector<FLOWMATCH_SCALAR>>&, double);

FLOWMATCH_INSTANTIATE class Backprop<Mlp<FLOWMATCH_SCALAR>>;
#define FLOWMATCH_OUTPUT_LOSS(Loss)                                                   \
  FLOWMATCH_INSTANTIATE FLOWMATCH_SCALAR Backprop<Mlp<FLOWMATCH_SCALAR>>::operator()( \
      const Mlp<FLOWMATCH_SCALAR>&, MatrixIn<FLOWMATCH_SCALAR>, const Loss&, Vector<FLOWMATCH_SCALAR>&);
FLOWMATCH_OUTPUT_LOSS(MeanSquaredError<FLOWMATCH_SCALAR>)
FLOWMATCH_OUTPUT_LOSS(SoftmaxCrossEntropy)
#undef FLOWMATCH_OUTPUT_LOSS

// Of the trainer member by member, since not every member is there for every path and time sampler. The last five are
// parts of a run with a user-defined observer.
#define FLOWMATCH_TRAINING(Net)                                                                                        \
  FLOWMATCH_INSTANTIATE class Backprop<Net>;                                                                           \
  FLOWMATCH_INSTANTIATE class FlowMatchingLoss<Net>;                                                                   \
  FLOWMATCH_INSTANTIATE class HeldOutLoss<Net>;                                                                        \
  FLOWMATCH_INSTANTIATE HeldOutLoss<Net>::HeldOutLoss(const Net&, const LinearPath&, MatrixIn<FLOWMATCH_SCALAR>,       \
                                                      MatrixIn<FLOWMATCH_SCALAR>, RowVectorIn<FLOWMATCH_SCALAR>,       \
                                                      MatrixIn<FLOWMATCH_SCALAR>);                                     \
  FLOWMATCH_INSTANTIATE Trainer<Net>::Trainer(Net&, TrainerOptions, LinearPath, UniformTime);                          \
  FLOWMATCH_INSTANTIATE Trainer<Net>::Trainer(Net&, TrainerOptions, Threads&, LinearPath, UniformTime);                \
  FLOWMATCH_INSTANTIATE TrainingReport Trainer<Net>::run(MatrixIn<FLOWMATCH_SCALAR>, MatrixIn<FLOWMATCH_SCALAR>, Rng&, \
                                                         NoObserver&&);                                                \
  FLOWMATCH_INSTANTIATE TrainingReport Trainer<Net>::run(MatrixIn<FLOWMATCH_SCALAR>, Rng&, NoObserver&&);              \
  FLOWMATCH_INSTANTIATE void Trainer<Net>::hold_out(MatrixIn<FLOWMATCH_SCALAR>, MatrixIn<FLOWMATCH_SCALAR>,            \
                                                    RowVectorIn<FLOWMATCH_SCALAR>, MatrixIn<FLOWMATCH_SCALAR>);        \
  FLOWMATCH_INSTANTIATE TrainingState<FLOWMATCH_SCALAR> Trainer<Net>::state() const;                                   \
  FLOWMATCH_INSTANTIATE void Trainer<Net>::resume(TrainingState<FLOWMATCH_SCALAR>);                                    \
  FLOWMATCH_INSTANTIATE void Trainer<Net>::begin(Rng&, Index, std::uint32_t);                                          \
  FLOWMATCH_INSTANTIATE std::vector<Index> Trainer<Net>::split(MatrixIn<FLOWMATCH_SCALAR>, MatrixIn<FLOWMATCH_SCALAR>, \
                                                               const Rng&);                                            \
  FLOWMATCH_INSTANTIATE double Trainer<Net>::clip(Vector<FLOWMATCH_SCALAR>&) const;                                    \
  FLOWMATCH_INSTANTIATE std::optional<double> Trainer<Net>::evaluate(const TrainingStep&,                              \
                                                                     const Vector<FLOWMATCH_SCALAR>&);                 \
  FLOWMATCH_INSTANTIATE std::string Trainer<Net>::undone(const TrainingStep&, const Vector<FLOWMATCH_SCALAR>&,         \
                                                         const char*);
FLOWMATCH_TRAINING(VelocityMlp<FLOWMATCH_SCALAR>)
FLOWMATCH_TRAINING(ConditionalVelocityMlp<FLOWMATCH_SCALAR>)
#undef FLOWMATCH_TRAINING

}
}
