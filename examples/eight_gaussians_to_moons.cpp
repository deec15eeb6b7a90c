// SPDX-License-Identifier: MIT
// From eight Gaussians to two moons: the start of a flow need not be noise, any two sets of points will do.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/figure.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

int main(int argc, char** argv) try {
  const auto options = support::parse(argc, argv, "Trains a flow from eight Gaussians to two moons and draws it.");
  fm::Rng rng(options.seed);
  const Eigen::MatrixXf start = fm::toy::eight_gaussians(rng, 10000);
  const Eigen::MatrixXf end = (3 * fm::toy::two_moons(rng, 10000)).array() - 1;  // as wide as the start

  fm::VelocityMlp net({.dim = 2, .hidden = {64, 64, 64}}, rng);
  fm::LinearPath path;
  fm::Threads team(options.threads);
  fm::FlowMatchingLoss loss(net, team);
  fm::Adam adam(net.parameters());
  fm::Ema ema(net.parameters());
  const fm::CosineRate rate{.peak = 4e-3, .warmup = 100, .steps = options.steps};
  Eigen::MatrixXf x0(2, 256), x1(2, 256), x_t, u_t;
  Eigen::RowVectorXf t(256);
  Eigen::VectorXf gradient;

  support::Progress bar(options.steps, "training");
  for (int step = 0; step < options.steps; ++step) {
    fm::draw_columns(rng, start, x0);  // the one line that differs: x0 is data too
    fm::draw_columns(rng, end, x1);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    const float value = loss(net, x_t, t, u_t, gradient);
    adam.options.learning_rate = rate(step);
    adam.step(net.parameters(), gradient);
    ema.update(net.parameters());
    bar.update(step, value);
  }
  bar.finish();
  net.set_parameters(ema.parameters());

  // Fresh start points, carried to the other end and, backward in time, home again.
  const Eigen::MatrixXf from = fm::toy::eight_gaussians(rng, 2000);
  const Eigen::MatrixXf to = fm::transport(net, from, fm::Rk4{}, {.steps = 50});
  const Eigen::MatrixXf home = fm::transport(net, to, fm::Rk4{}, {.steps = 50, .from = 1, .to = 0});
  const auto moons = [&] { return Eigen::MatrixXf((3 * fm::toy::two_moons(rng, 2000)).array() - 1); };
  const Eigen::MatrixXf fresh = moons(), more = moons();
  std::printf("2-Wasserstein distance to the moons %.3f, between two sets of moons %.3f\n", fm::wasserstein2(to, fresh),
              fm::wasserstein2(more, fresh));
  std::printf("there and back again: %.1e away at most\n", double((home - from).colwise().norm().maxCoeff()));

  std::vector<Eigen::MatrixXf> states;
  Eigen::MatrixXf moving = from.leftCols(150);
  fm::integrate(net, moving, fm::Rk4{}, {.steps = 30},
                [&](fm::Index, double, const auto& state) { states.push_back(state); });
  support::Figure figure(2, 1, 380, 380);
  figure(0)
      .title("start and end")
      .range({-8, 8}, {-8, 8})
      .scatter(start.leftCols(1500), {.colour = colour::orange, .opacity = 0.5, .label = "t = 0"})
      .scatter(end.leftCols(1500), {.colour = colour::grey, .opacity = 0.5, .label = "data at t = 1"})
      .scatter(to.leftCols(1500), {.colour = colour::blue, .opacity = 0.5, .label = "samples at t = 1"});
  figure(1)
      .title("the ways between")
      .range({-8, 8}, {-8, 8})
      .trajectories(states, {.colour = colour::grey, .size = 0.8, .opacity = 0.8})
      .scatter(states.front(), {.colour = colour::orange, .size = 2})
      .scatter(states.back(), {.colour = colour::blue, .size = 2});
  figure.save(options.out / "eight_gaussians_to_moons.svg");
  std::printf("wrote %s\n", (options.out / "eight_gaussians_to_moons.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
