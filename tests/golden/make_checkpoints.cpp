// SPDX-License-Identifier: MIT
// Wrote the files in tests/golden/checkpoint, one of each kind for each format version. Files of older versions stay as
// they are for ever. From the top folder:
//   g++ -std=c++20 -Iinclude -Itests -I/usr/include/eigen3 tests/golden/make_checkpoints.cpp -o make && ./make
#include "support/golden_checkpoint.hpp"

int main() {
  const std::string folder = "tests/golden/checkpoint/", version = std::to_string(flowmatch::detail::format_version);
  flowmatch::save(folder + "velocity_mlp_" + version + ".safetensors", test::golden_velocity_mlp());
  flowmatch::save(folder + "flow_model_" + version + ".safetensors", test::golden_flow_model());
  auto net = test::golden_velocity_mlp();
  flowmatch::Trainer trainer(net, test::golden_options());
  trainer.resume(test::golden_state());
  flowmatch::save(folder + "training_" + version + ".safetensors", trainer);
}
