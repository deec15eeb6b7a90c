// SPDX-License-Identifier: MIT
// The compiled library's samples and likelihoods: those of the nets, by the ready solvers. The calls that are a line
// around these are left out, and so is Sampler, a type of its own for each solver: to declare all of them would take
// more time than most programs save.
#include "flowmatch/compiled/instantiate.hpp"
#include "flowmatch/field/conditional_velocity_mlp.hpp"
#include "flowmatch/sample/likelihood.hpp"
#include "flowmatch/sample/sample.hpp"
#include "flowmatch/sample/solver_report.hpp"
#include "flowmatch/sample/stochastic.hpp"
#include "flowmatch/transform/guidance.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

#define FLOWMATCH_SAMPLE(Field, Solver)                                                                                \
  FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> sample(const Field&, MatrixIn<FLOWMATCH_SCALAR>, Rng&, const Solver&, \
                                                        const OdeOptions&);
#define FLOWMATCH_NET(Net, Solver)                                                                                  \
  FLOWMATCH_SAMPLE(Net, Solver)                                                                                     \
  FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> sample(const Net&, Index, Rng&, const Solver&, const OdeOptions&); \
  FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> transport(                                                         \
      const Net&, MatrixIn<FLOWMATCH_SCALAR>, MatrixIn<FLOWMATCH_SCALAR>, const Solver&, const OdeOptions&);
#define FLOWMATCH_SOLVER(Solver)                                  \
  FLOWMATCH_NET(VelocityMlp<FLOWMATCH_SCALAR>, Solver)            \
  FLOWMATCH_NET(ConditionalVelocityMlp<FLOWMATCH_SCALAR>, Solver) \
  FLOWMATCH_SAMPLE(ClassifierFreeGuidance<ConditionalVelocityMlp<FLOWMATCH_SCALAR>>, Solver)
FLOWMATCH_SOLVER(Euler)
FLOWMATCH_SOLVER(Midpoint)
FLOWMATCH_SOLVER(Heun)
FLOWMATCH_SOLVER(Rk4)
FLOWMATCH_SOLVER(DormandPrince)
FLOWMATCH_SOLVER(Tsitouras)
#undef FLOWMATCH_SOLVER
#undef FLOWMATCH_NET
#undef FLOWMATCH_SAMPLE

#define FLOWMATCH_LIKELIHOOD(Net, Solver)                                                                            \
  FLOWMATCH_INSTANTIATE RowVector<FLOWMATCH_SCALAR> log_likelihood(const Net&, MatrixIn<FLOWMATCH_SCALAR>,           \
                                                                   MatrixIn<FLOWMATCH_SCALAR>, const Solver&,        \
                                                                   const LikelihoodOptions&, const StandardNormal&); \
  FLOWMATCH_INSTANTIATE SamplesWithLogLikelihood<FLOWMATCH_SCALAR> sample_with_log_likelihood(                       \
      const Net&, MatrixIn<FLOWMATCH_SCALAR>, Rng&, const Solver&, const LikelihoodOptions&);
#define FLOWMATCH_STOCHASTIC(Net, Diffusion)                                                                     \
  FLOWMATCH_INSTANTIATE Matrix<FLOWMATCH_SCALAR> sample_stochastic(const Net&, MatrixIn<FLOWMATCH_SCALAR>, Rng&, \
                                                                   const Diffusion&, StochasticMethod,           \
                                                                   const OdeOptions&, const LinearSchedule&);
#define FLOWMATCH_NET(Net)                                                                           \
  FLOWMATCH_LIKELIHOOD(Net, Heun)                                                                    \
  FLOWMATCH_LIKELIHOOD(Net, Rk4)                                                                     \
  FLOWMATCH_LIKELIHOOD(Net, DormandPrince)                                                           \
  FLOWMATCH_STOCHASTIC(Net, SigmaDiffusion)                                                          \
  FLOWMATCH_STOCHASTIC(Net, ConstantDiffusion)                                                       \
  FLOWMATCH_STOCHASTIC(Net, MemorylessDiffusion)                                                     \
  FLOWMATCH_INSTANTIATE std::vector<SolverRow> solver_report(const Net&, MatrixIn<FLOWMATCH_SCALAR>, \
                                                             MatrixIn<FLOWMATCH_SCALAR>, const std::vector<Index>&);
FLOWMATCH_NET(VelocityMlp<FLOWMATCH_SCALAR>)
FLOWMATCH_NET(ConditionalVelocityMlp<FLOWMATCH_SCALAR>)
#undef FLOWMATCH_NET
#undef FLOWMATCH_STOCHASTIC
#undef FLOWMATCH_LIKELIHOOD

}
}
