// SPDX-License-Identifier: MIT
// The program of the README: trains on two moons, draws samples and saves the net, in one page.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
namespace fm = flowmatch;

int main() {
  fm::Rng rng(42);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 10000);  // or your own: one sample per column

  fm::VelocityMlp net({.dim = 2, .hidden = {64, 64, 64}}, rng);
  fm::LinearPath path;
  fm::FlowMatchingLoss loss(net);  // owns the scratch memory
  fm::Adam adam(net.parameters(), {.learning_rate = 2e-3});
  Eigen::MatrixXf x0(2, 256), x1(2, 256), x_t, u_t;
  Eigen::RowVectorXf t(256);
  Eigen::VectorXf gradient;

  for (int step = 0; step < 5000; ++step) {
    fm::draw_columns(rng, data, x1);                       // x1 ~ data
    fm::fill_normal(rng, x0);                              // x0 ~ N(0, I)
    fm::fill_uniform(rng, t);                              // t  ~ U(0, 1)
    path.sample(x0, x1, t, x_t, u_t);                      // x_t = (1 - t) x0 + t x1,   u_t = x1 - x0
    const float value = loss(net, x_t, t, u_t, gradient);  // mean over all entries of (v(x_t, t) - u_t)^2
    adam.step(net.parameters(), gradient);
    if (step % 500 == 0) std::printf("step %4d  loss %.3f\n", step, double(value));
  }

  const Eigen::MatrixXf x = fm::sample(net, 1000, rng, fm::Rk4{}, {.steps = 50});  // dx/dt = v(x, t), t: 0 -> 1
  fm::save("moons.safetensors", net);
}
