// SPDX-License-Identifier: MIT
#include <flowmatch/field/velocity_mlp.hpp>

bool has_parameters(const flowmatch::VelocityMlp<float>& net) { return net.parameters().size() > 0; }
