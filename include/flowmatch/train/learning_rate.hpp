// SPDX-License-Identifier: MIT
// Learning rates as functions of the step k = 0, 1, ...: adam.options.learning_rate = rate(k). A constant rate is the
// option as it is.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// peak min(1, (k + 1) / warmup): linear growth over the first warmup steps, then constant.
struct WarmupRate {
  double peak = 1e-3;
  Index warmup = 0;

  double operator()(Index k) const { return warmup > 0 ? peak * std::min(1.0, double(k + 1) / double(warmup)) : peak; }
};

/// The same, times a half cosine (1 + cos(pi k / steps)) / 2 that falls to 0 at k = steps and stays there
/// (Loshchilov and Hutter 2017). Throws std::invalid_argument if steps < 1.
struct CosineRate {
  double peak = 1e-3;
  Index warmup = 0;
  Index steps = 0;

  double operator()(Index k) const {
    detail::check_at_least("CosineRate", "steps", steps, 1);
    const double done = std::min(1.0, double(k) / double(steps));
    return WarmupRate{peak, warmup}(k) * (1 + std::cos(std::numbers::pi * done)) / 2;
  }
};

}
}
