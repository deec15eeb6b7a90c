// SPDX-License-Identifier: MIT
// All that the compiled library has, declared so that nobody instantiates it again: flowmatch.hpp ends with this where
// the target flowmatch::compiled defines FLOWMATCH_COMPILED.
#pragma once

#define FLOWMATCH_SCALAR float
#include "flowmatch/compiled/data.hpp"
#include "flowmatch/compiled/files.hpp"
#include "flowmatch/compiled/kernels.hpp"
#include "flowmatch/compiled/metrics.hpp"
#include "flowmatch/compiled/nets.hpp"
#include "flowmatch/compiled/sample.hpp"
#include "flowmatch/compiled/train.hpp"
#undef FLOWMATCH_SCALAR
#define FLOWMATCH_SCALAR double
#include "flowmatch/compiled/data.hpp"
#include "flowmatch/compiled/files.hpp"
#include "flowmatch/compiled/kernels.hpp"
#include "flowmatch/compiled/metrics.hpp"
#include "flowmatch/compiled/nets.hpp"
#include "flowmatch/compiled/sample.hpp"
#include "flowmatch/compiled/train.hpp"
#undef FLOWMATCH_SCALAR
#undef FLOWMATCH_INSTANTIATE
