// SPDX-License-Identifier: MIT
// The compiled library's nets, with the kernels under them.
#include "flowmatch/compiled/instantiate.hpp"
#include "flowmatch/field/conditional_velocity_mlp.hpp"
#include "flowmatch/transform/guidance.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

FLOWMATCH_INSTANTIATE class Mlp<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE class VelocityMlp<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE class ConditionalVelocityMlp<FLOWMATCH_SCALAR>;
FLOWMATCH_INSTANTIATE class ClassifierFreeGuidance<ConditionalVelocityMlp<FLOWMATCH_SCALAR>>;

}
}
