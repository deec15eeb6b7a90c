// SPDX-License-Identifier: MIT
// Two moons from noise: trains, samples, measures how good the samples are, and draws how the flow gets there.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/figure.hpp"
#include "support/loss_floor.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

int main(int argc, char** argv) try {
  const auto options = support::parse(argc, argv, "Trains a flow from noise to two moons and draws it.");
  fm::Rng rng(options.seed);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 10000);

  // Training. The rate falls to zero and the weights are averaged, which makes the last of them good.
  fm::VelocityMlp net({.dim = 2, .hidden = {64, 64, 64, 64}, .residual = true, .time_frequencies = 4}, rng);
  fm::LinearPath path;
  fm::Threads team(options.threads);
  fm::FlowMatchingLoss loss(net, team);
  fm::Adam adam(net.parameters());
  fm::Ema ema(net.parameters(), {.decay = 0.999});
  const fm::CosineRate rate{.peak = 4e-3, .warmup = 100, .steps = options.steps};
  Eigen::MatrixXf x0(2, 256), x1(2, 256), x_t, u_t;
  Eigen::RowVectorXf t(256);
  Eigen::VectorXf gradient;

  support::Progress bar(options.steps, "training");
  for (int step = 0; step < options.steps; ++step) {
    fm::draw_columns(rng, data, x1);
    fm::fill_normal(rng, x0);
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

  // Generation, and how close it comes: to fresh data, beside what fresh data itself would score.
  const Eigen::MatrixXf x = fm::sample(net, 2000, rng, fm::Rk4{}, {.steps = 50});
  const Eigen::MatrixXf fresh = fm::toy::two_moons(rng, 2000), more = fm::toy::two_moons(rng, 2000);
  std::printf("loss                   %.3f, at best %.3f: what x_t and t leave open cannot be learned\n",
              bar.smoothed_loss(), support::loss_floor(rng, data));
  std::printf("2-Wasserstein distance %.3f, between two sets of data %.3f\n", fm::wasserstein2(x, fresh),
              fm::wasserstein2(more, fresh));

  // Pictures: data, samples, the ways between noise and samples, the loss; and the field as arrows at four times.
  const support::Range across = {-2.4, 3.4}, up = {-2.1, 2.6};
  support::Figure figure(4, 2, 230, 186);
  figure(0, 0).title("data").range(across, up).scatter(data.leftCols(1500), {.colour = colour::grey, .opacity = 0.6});
  figure(1, 0).title("samples").range(across, up).scatter(x.leftCols(1500), {.colour = colour::blue, .opacity = 0.6});

  Eigen::MatrixXf moving(2, 100);
  fm::fill_normal(rng, moving);
  std::vector<Eigen::MatrixXf> states;
  fm::integrate(net, moving, fm::Rk4{}, {.steps = 20},
                [&](fm::Index, double, const auto& state) { states.push_back(state); });
  figure(2, 0)
      .title("from noise to samples")
      .range(across, up)
      .trajectories(states, {.colour = colour::grey, .size = 0.7, .opacity = 0.7})
      .scatter(states.front(), {.colour = colour::orange, .size = 1.8, .label = "t = 0"})
      .scatter(states.back(), {.colour = colour::blue, .size = 1.8, .label = "t = 1"});
  figure(3, 0)
      .title("training loss")
      .axes("step", "")
      .log_y()
      .polyline(bar.losses(), {.colour = colour::blue, .size = 1});

  const Eigen::MatrixXf at = support::grid(across, up, 18, 15);
  const Eigen::MatrixXf no_condition(0, at.cols());
  for (int k = 0; k < 4; ++k) {
    const float time = float(k) / 3;
    Eigen::MatrixXf v(2, at.cols());
    net(at, Eigen::RowVectorXf::Constant(at.cols(), time), no_condition, v);
    char title[32];
    std::snprintf(title, sizeof title, "velocity at t = %.2f", double(time));
    figure(k, 1)
        .title(title)
        .range(across, up)
        .scatter(data.leftCols(500), {.colour = colour::orange, .size = 1, .opacity = 0.35})
        .arrows(at, v, {.colour = colour::black, .size = 0.8}, 0.09);
  }
  figure.save(options.out / "two_moons.svg");
  fm::save((options.out / "two_moons.safetensors").string(), net);
  std::printf("wrote %s and two_moons.safetensors\n", (options.out / "two_moons.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
