// SPDX-License-Identifier: MIT
#include "plain.hpp"

const void* plain_in_another_unit() { return &plain; }
