// SPDX-License-Identifier: MIT
// Conditions that are left out now and then in training, so that one net learns both the conditional field and the
// unconditional one, as classifier-free guidance wants it (transform/guidance.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Replaces each column of c (condition_dim x n) by null (condition_dim) with this probability, independently (Ho,
/// Salimans 2022: 0.1 to 0.2). null is what stands for no condition: null_condition() of a ConditionalVelocityMlp, or
/// what you choose for a net of your own. Takes one uniform double for each column from rng, whatever the scalar, so
/// that float and double drop the same ones. Throws std::invalid_argument if the rows differ or the probability is not
/// in [0, 1]. Does not allocate.
template <Real Scalar> void drop_condition(Rng& rng, double probability, VectorIn<Scalar> null, Matrix<Scalar>& c) {
  constexpr auto where = "drop_condition";
  detail::check_probability(where, "probability", probability);
  detail::check_rows(where, "null", null.rows(), c.rows());
  std::array<double, 64> uniform;  // whole Philox blocks, so that drawing them piece by piece does not change them
  for (Index j = 0; j < c.cols(); ++j) {
    if (j % 64 == 0)
      fill_uniform(rng, std::span<double>(uniform.data(), std::size_t(std::min<Index>(64, c.cols() - j))));
    if (uniform[std::size_t(j % 64)] < probability) c.col(j) = null;
  }
}

}
}
