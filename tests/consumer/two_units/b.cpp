// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <limits>

bool finite_in_a(float x);
float normal_in_a(std::uint64_t seed);

int main() {
  flowmatch::Rng rng(7);
  Eigen::VectorXf x(1);
  flowmatch::fill_normal(rng, x);
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const bool bits = finite_in_a(1) && !finite_in_a(nan) && !finite_in_a(infinity) && !finite_in_a(-infinity) &&
                    flowmatch::is_finite(1.0f) && !flowmatch::is_finite(nan);
  const bool numbers = std::abs(x(0) - normal_in_a(7)) < 1e-5f;
  std::printf("finiteness %s, numbers %s\n", bits ? "right" : "wrong", numbers ? "right" : "wrong");
  return bits && numbers ? 0 : 1;
}
