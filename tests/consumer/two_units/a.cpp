// SPDX-License-Identifier: MIT
// The unit that may be compiled with other flags: see tests/CMakeLists.txt.
#include <flowmatch/flowmatch.hpp>

bool finite_in_a(float x) { return flowmatch::is_finite(x); }

float normal_in_a(std::uint64_t seed) {
  flowmatch::Rng rng(seed);
  Eigen::VectorXf x(1);
  flowmatch::fill_normal(rng, x);
  return x(0);
}
