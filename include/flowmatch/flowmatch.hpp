// SPDX-License-Identifier: MIT
// flowmatch: learn a distribution by flow matching and generate from it. This header is the whole library.
#pragma once

#include "flowmatch/core/threads.hpp"
// The route of training: data -> coupling -> path -> field -> loss -> optimiser.
#include "flowmatch/coupling/conditional_transport.hpp"
#include "flowmatch/coupling/entropic_transport.hpp"
#include "flowmatch/coupling/optimal_transport.hpp"
#include "flowmatch/data/draw.hpp"
#include "flowmatch/data/drop_condition.hpp"
#include "flowmatch/data/toy.hpp"
#include "flowmatch/field/changed_schedule.hpp"
#include "flowmatch/field/conditional_velocity_mlp.hpp"
#include "flowmatch/field/guidance.hpp"
#include "flowmatch/field/velocity_mlp.hpp"
#include "flowmatch/path/path.hpp"
#include "flowmatch/train/adam.hpp"
#include "flowmatch/train/ema.hpp"
#include "flowmatch/train/learning_rate.hpp"
#include "flowmatch/train/loss.hpp"
// The route of generation: noise -> ode, through the field -> samples.
#include "flowmatch/ode/adaptive.hpp"
#include "flowmatch/ode/grid.hpp"
#include "flowmatch/ode/integrate.hpp"
#include "flowmatch/ode/multistep.hpp"
#include "flowmatch/sample/likelihood.hpp"
#include "flowmatch/sample/sample.hpp"
#include "flowmatch/sample/solver_report.hpp"
#include "flowmatch/sample/stochastic.hpp"
// Files, and how good the samples are.
// metric/frechet.hpp and data/whitening.hpp, which take long to compile, are included by their names.
#include "flowmatch/io/checkpoint.hpp"
#include "flowmatch/io/npy.hpp"
#include "flowmatch/metric/energy.hpp"
#include "flowmatch/metric/wasserstein.hpp"
