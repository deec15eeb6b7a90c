// SPDX-License-Identifier: MIT
// A user's program: trains a few steps, samples, and fails if nothing was learnt.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

namespace fm = flowmatch;

int main() {
  fm::Rng rng(1);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 1000);
  fm::VelocityMlp net({.dim = 2, .hidden = {16, 16}}, rng);
  fm::LinearPath path;
  fm::FlowMatchingLoss loss(net);
  fm::Adam adam(net.parameters(), {.learning_rate = 1e-2});
  Eigen::MatrixXf x0(2, 64), x1(2, 64), x_t, u_t;
  Eigen::RowVectorXf t(64);
  Eigen::VectorXf gradient;

  float first = 0, last = 0;  // mean of the loss over 20 steps
  for (int step = 0; step < 100; ++step) {
    fm::draw_columns(rng, data, x1);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    const float value = loss(net, x_t, t, u_t, gradient);
    adam.step(net.parameters(), gradient);
    if (step < 20) first += value / 20;
    if (step >= 80) last += value / 20;
  }
  const Eigen::MatrixXf x = fm::sample(net, 10, rng, fm::Rk4{}, {.steps = 4});
  std::printf("loss %.3f -> %.3f, %d samples\n", double(first), double(last), int(x.cols()));
  return last < first && x.cols() == 10 ? 0 : 1;
}
