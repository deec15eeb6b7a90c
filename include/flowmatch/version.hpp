// SPDX-License-Identifier: MIT
// The version, in one place: CMake reads it here, and the name of the inline namespace carries it.
#pragma once

#define FLOWMATCH_VERSION_MAJOR 0
#define FLOWMATCH_VERSION_MINOR 1
#define FLOWMATCH_VERSION_PATCH 0
