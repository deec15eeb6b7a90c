// SPDX-License-Identifier: MIT
// Times for OdeOptions::grid that put more steps where a field turns faster: from 0 to 1 in `steps` intervals. Any
// other rising or falling vector of times is a grid as well; a grid read backward, {g.rbegin(), g.rend()}, goes from 1
// to 0.
#pragma once

#include <cmath>
#include <numbers>
#include <vector>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// warp(i / steps), with exact ends.
template <class Warp> std::vector<double> warped_grid(const char* where, Index steps, const Warp& warp) {
  check_at_least(where, "steps", steps, 1);
  std::vector<double> times(std::size_t(steps) + 1, 0.);
  for (Index i = 1; i < steps; ++i) times[std::size_t(i)] = warp(double(i) / double(steps));
  times.back() = 1;
  return times;
}

}

/// t = u, u = i / steps: what OdeOptions::steps gives. All grids throw std::invalid_argument if steps < 1.
inline std::vector<double> uniform_grid(Index steps) {
  return detail::warped_grid("uniform_grid", steps, [](double u) { return u; });
}
/// t = u^2: short steps near 0, where noise is.
inline std::vector<double> quadratic_grid(Index steps) {
  return detail::warped_grid("quadratic_grid", steps, [](double u) { return u * u; });
}
/// t = (1 - cos pi u) / 2: short steps near both ends.
inline std::vector<double> cosine_grid(Index steps) {
  return detail::warped_grid("cosine_grid", steps, [](double u) { return (1 - std::cos(std::numbers::pi * u)) / 2; });
}
/// t = u / (u + shift (1 - u)): steps near 0 are shorter than those near 1 by about shift^2, for shift < 1 longer. In
/// 1 - t, the part of noise, this is the time shift of image models (Esser et al. 2024). Throws std::invalid_argument
/// unless shift > 0.
inline std::vector<double> shifted_grid(Index steps, double shift) {
  detail::check_positive("shifted_grid", "shift", shift);
  return detail::warped_grid("shifted_grid", steps, [=](double u) { return u / (u + shift * (1 - u)); });
}

}
}
