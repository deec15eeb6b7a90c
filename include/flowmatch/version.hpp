// SPDX-License-Identifier: MIT
// The version, in one place: CMake reads it here, and the name of the inline namespace carries it.
#pragma once

#define FLOWMATCH_VERSION_MAJOR 0
#define FLOWMATCH_VERSION_MINOR 1
#define FLOWMATCH_VERSION_PATCH 0

// The inline namespace of what needs no Eigen, v0_1_0. That of all else is made in core/types.hpp.
#define FLOWMATCH_VERSION_JOIN(major, minor, patch) v##major##_##minor##_##patch
#define FLOWMATCH_VERSION_EXPAND(major, minor, patch) FLOWMATCH_VERSION_JOIN(major, minor, patch)
#define FLOWMATCH_VERSION \
  FLOWMATCH_VERSION_EXPAND(FLOWMATCH_VERSION_MAJOR, FLOWMATCH_VERSION_MINOR, FLOWMATCH_VERSION_PATCH)
