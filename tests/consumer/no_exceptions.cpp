// SPDX-License-Identifier: MIT
// What a robot or a game does: train or load a net, then sample in a loop. Compiled without RTTI, and without
// exceptions too. With an argument it makes the mistake of that name, whose message must then end the program.
#include <cstdio>
#include <cstring>
#include <flowmatch/flowmatch.hpp>

namespace fm = flowmatch;

int main(int count, char** arguments) {
  const char* mistake = count > 1 ? arguments[1] : "none";
  const auto made = [&](const char* name) { return std::strcmp(mistake, name) == 0; };
  fm::Threads team(2);
  fm::Rng rng(1);
  fm::VelocityMlp trained({.dim = 2, .condition_dim = 3, .hidden = {16, 16}}, rng);
  fm::FlowMatchingLoss loss(trained, team);
  fm::Adam adam(trained.parameters());
  Eigen::MatrixXf x0(2, 200), x1(2, 200), c(3, 200), x_t, u_t;
  Eigen::RowVectorXf t(200);
  Eigen::VectorXf gradient;
  fm::fill_normal(rng, x0);
  fm::fill_normal(rng, x1);
  fm::fill_normal(rng, c);
  fm::fill_uniform(rng, t);
  fm::LinearPath().sample(x0, x1, t, x_t, u_t);
  loss(trained, x_t, t, c, u_t, gradient);
  adam.step(trained.parameters(), gradient);
  fm::save("policy.safetensors", trained);

  const auto net = fm::load_velocity_mlp(made("file") ? "missing.safetensors" : "policy.safetensors");
  fm::Sampler act(net, fm::Euler{}, {.steps = 8});
  if (made("shape")) c.resize(4, 200);
  if (made("thread")) team.run([&](int i) { fm::Mlp({.in = i == 1 ? 0 : 1, .hidden = {}, .out = 1}, rng); });
  for (int step = 0; step < 3; ++step) act(c, x0);
  const bool same = net.parameters() == trained.parameters();
  std::printf("the loaded net %s, the sample is %.3f\n", same ? "is the trained one" : "differs", double(x0(0, 0)));
  return same ? 0 : 1;
}
