// SPDX-License-Identifier: MIT
// The tables of explicit Runge-Kutta methods (eq. 14): a (row i: i numbers), b and c.
#pragma once

#include <array>
#include <cstddef>

#include "flowmatch/version.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_VERSION {
namespace tableau {

template <std::size_t Stages> using Row = std::array<double, Stages>;

struct Euler {
  static constexpr int order = 1;
  static constexpr std::array<Row<1>, 1> a = {};
  static constexpr Row<1> b = {1}, c = {0};
};
struct Midpoint {
  static constexpr int order = 2;
  static constexpr std::array<Row<2>, 2> a = {{{}, {1. / 2}}};
  static constexpr Row<2> b = {0, 1}, c = {0, 1. / 2};
};
struct Heun {
  static constexpr int order = 2;
  static constexpr std::array<Row<2>, 2> a = {{{}, {1}}};
  static constexpr Row<2> b = {1. / 2, 1. / 2}, c = {0, 1};
};
struct Rk4 {
  static constexpr int order = 4;
  static constexpr std::array<Row<4>, 4> a = {{{}, {1. / 2}, {0, 1. / 2}, {0, 0, 1}}};
  static constexpr Row<4> b = {1. / 6, 1. / 3, 1. / 3, 1. / 6}, c = {0, 1. / 2, 1. / 2, 1};
};
struct Rk4ThreeEighths {
  static constexpr int order = 4;
  static constexpr std::array<Row<4>, 4> a = {{{}, {1. / 3}, {-1. / 3, 1}, {1, -1, 1}}};
  static constexpr Row<4> b = {1. / 8, 3. / 8, 3. / 8, 1. / 8}, c = {0, 1. / 3, 2. / 3, 1};
};

}
}
}
