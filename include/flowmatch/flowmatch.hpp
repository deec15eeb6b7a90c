// SPDX-License-Identifier: MIT
// flowmatch: learn a distribution by flow matching and generate from it. This header is the whole library.
#pragma once

#include "flowmatch/core/threads.hpp"
#include "flowmatch/kernel/build_info.hpp"
// The route of training: data -> coupling -> path -> field -> loss -> optimizer.
#include "flowmatch/coupling/conditional_transport.hpp"
#include "flowmatch/coupling/entropic_transport.hpp"
#include "flowmatch/coupling/optimal_transport.hpp"
#include "flowmatch/data/normalizer.hpp"
#include "flowmatch/data/toy.hpp"
#include "flowmatch/field/conditional_velocity_mlp.hpp"
#include "flowmatch/field/velocity_mlp.hpp"
#include "flowmatch/path/further_schedules.hpp"
#include "flowmatch/path/path.hpp"
#include "flowmatch/random/draw.hpp"
#include "flowmatch/random/drop_condition.hpp"
#include "flowmatch/train/coupled_batches.hpp"
#include "flowmatch/train/cross_entropy.hpp"
#include "flowmatch/train/ema.hpp"
#include "flowmatch/train/learning_rate.hpp"
#include "flowmatch/train/loss.hpp"
#include "flowmatch/train/optimizer.hpp"
#include "flowmatch/train/trainer.hpp"
#include "flowmatch/transform/guidance.hpp"
#include "flowmatch/transform/normalized.hpp"
#include "flowmatch/transform/schedule_transform.hpp"
// The route of generation: noise -> ode, through the field -> samples.
#include "flowmatch/ode/adaptive.hpp"
#include "flowmatch/ode/grid.hpp"
#include "flowmatch/ode/integrate.hpp"
#include "flowmatch/ode/multistep.hpp"
#include "flowmatch/sample/flow_model.hpp"
#include "flowmatch/sample/likelihood.hpp"
#include "flowmatch/sample/sample.hpp"
#include "flowmatch/sample/solver_report.hpp"
#include "flowmatch/sample/stochastic.hpp"
// Files, and how good the samples are.
// metric/frechet.hpp and data/whitening.hpp, which take long to compile, are included by their names.
#include "flowmatch/embedded/write_header.hpp"
#include "flowmatch/format/csv.hpp"
#include "flowmatch/format/npy.hpp"
#include "flowmatch/io/checkpoint.hpp"
#include "flowmatch/io/flow_model_file.hpp"
#include "flowmatch/io/model_file.hpp"
#include "flowmatch/io/state_dict.hpp"
#include "flowmatch/metric/energy_distance.hpp"
#include "flowmatch/metric/maximum_mean_discrepancy.hpp"
#include "flowmatch/metric/memorization.hpp"
#include "flowmatch/metric/path_energy.hpp"
#include "flowmatch/metric/sliced_wasserstein.hpp"
#include "flowmatch/metric/wasserstein.hpp"

#ifdef FLOWMATCH_COMPILED  // by the target flowmatch::compiled: the program is linked with a library that has these
#include "flowmatch/compiled/all.hpp"
#endif
