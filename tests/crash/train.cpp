// SPDX-License-Identifier: MIT
// Trains a small net and saves it at each step: train FILE. Goes on from FILE if it is there; its last save is that of
// the whole training. For tests/crash/resume.
#include <cstdio>
#include <exception>
#include <filesystem>

#include "flowmatch/data/toy.hpp"
#include "flowmatch/io/checkpoint.hpp"

namespace fm = flowmatch;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const char* file = argv[1];
  try {
    fm::Rng rng(42);
    const Eigen::MatrixXf data = fm::toy::two_moons(rng, 500);
    fm::VelocityMlp net({.dim = 2, .hidden = {16, 16}}, rng);
    fm::Trainer trainer(
        net, {.steps = 1000, .batch = 64, .cosine = true, .held_out = 0.2, .evaluate_every = 7, .keep_best = true});
    if (std::filesystem::exists(file)) fm::resume(file, trainer);
    trainer.run(data, rng, [&](const fm::TrainingStep&) { fm::save(file, trainer); });
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
