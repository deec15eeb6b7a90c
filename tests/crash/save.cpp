// SPDX-License-Identifier: MIT
// Saves one of two nets, or tells which of them a file holds: save old|new FILE, save which FILE. For tests/crash/run.
#include <cstdio>
#include <exception>
#include <string>

#include "flowmatch/io/model_file.hpp"

namespace fm = flowmatch;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string what = argv[1], file = argv[2];
  fm::Rng rng(1), other(2);
  // Larger than the buffer of a stream, so that a save writes in several calls.
  const fm::VelocityMlp<> old_net({.dim = 2, .hidden = {48, 48}}, rng), new_net({.dim = 2, .hidden = {64, 64}}, other);
  try {
    if (what == "old") fm::save(file, old_net);
    if (what == "new") fm::save(file, new_net);
    if (what == "which") {
      const auto net = fm::load_velocity_mlp<>(file);
      const bool is_new = net.options() == new_net.options();
      if (net.parameters() != (is_new ? new_net : old_net).parameters()) return 3;
      std::puts(is_new ? "new" : "old");
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
