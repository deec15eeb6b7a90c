// SPDX-License-Identifier: MIT
// The numbers that flowmatch computes with. The kernels have no other type.
#pragma once

#include <concepts>

#include "flowmatch/version.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_VERSION {

template <class T>
concept Real = std::same_as<T, float> || std::same_as<T, double>;

}
}
