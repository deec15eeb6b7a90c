// SPDX-License-Identifier: MIT
// The way from noise to a pinwheel as an animation: one HTML file with a slider over t, for any browser.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/animation.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;

int main(int argc, char** argv) try {
  const auto options = support::parse(
      argc, argv, "Trains a flow from noise to a pinwheel and writes an animation of it.", {.threads = 2});
  fm::Rng rng(options.seed);
  const Eigen::MatrixXf data = fm::toy::pinwheel(rng, 20000);

  fm::VelocityMlp net({.dim = 2, .hidden = {64, 64, 64, 64}, .activation = fm::Activation::gelu, .time_frequencies = 4},
                      rng);
  fm::Threads team(options.threads);
  fm::Trainer trainer(net, {.steps = options.steps, .batch = 512, .learning_rate = 1e-2, .warmup = 100, .cosine = true},
                      team);
  support::Progress bar(options.steps, "training");
  trainer.run(data, rng, bar.observer());
  bar.finish();

  // The observer sees every point of the time grid: these are the pictures of the animation.
  Eigen::MatrixXf x(2, 1500);
  fm::fill_normal(rng, x);
  std::vector<Eigen::MatrixXf> states;
  fm::integrate(net, x, fm::Rk4{}, {.steps = 40},
                [&](fm::Index, double, const auto& state) { states.push_back(state); });
  const Eigen::MatrixXf fresh = fm::toy::pinwheel(rng, 1500), more = fm::toy::pinwheel(rng, 1500);
  std::printf("2-Wasserstein distance %.3f, between two sets of data %.3f\n", fm::wasserstein2(x, fresh),
              fm::wasserstein2(more, fresh));

  support::save_animation(
      options.out / "animation.html",
      {.title = "From noise to a pinwheel",
       .caption = "1500 points follow the learned velocity, dx/dt = v(x, t), from noise at t = 0 to "
                  "samples at t = 1. Each keeps the colour of the fifth of the plane where it "
                  "starts; behind them, in grey, the data.",
       .x = {-4.2, 4.2},
       .y = {-3.6, 3.6},
       .data = data.leftCols(2000),
       .states = states});
  std::printf("wrote %s: open it in a browser\n", (options.out / "animation.html").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
