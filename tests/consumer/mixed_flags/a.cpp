// SPDX-License-Identifier: MIT
// Makes a net and hands it to b.cpp, which may be compiled with other flags: see build_and_run.cmake.
#include <flowmatch/field/velocity_mlp.hpp>

bool has_parameters(const flowmatch::VelocityMlp<float>& net);

int main() {
  flowmatch::Rng rng(1);
  return has_parameters(flowmatch::VelocityMlp({.dim = 2, .hidden = {4}}, rng)) ? 0 : 1;
}
