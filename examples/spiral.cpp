// SPDX-License-Identifier: MIT
// A spiral from noise: the whole training in one call of a Trainer, with a loss on data that it does not train on.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/figure.hpp"
#include "support/loss_floor.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

int main(int argc, char** argv) try {
  const auto options =
      support::parse(argc, argv, "Trains a flow from noise to a spiral and draws it.", {.steps = 8000, .threads = 2});
  fm::Rng rng(options.seed);
  const Eigen::MatrixXf data = fm::toy::spiral(rng, 20000), fresh = fm::toy::spiral(rng, 20000);

  fm::VelocityMlp net({.dim = 2, .hidden = {64, 64, 64, 64}, .activation = fm::Activation::gelu, .time_frequencies = 4},
                      rng);
  fm::Threads team(options.threads);
  fm::Trainer trainer(
      net, {.steps = options.steps, .batch = 1024, .learning_rate = 1e-2, .warmup = 100, .cosine = true}, team);
  const support::Probes probes = support::draw_probes(rng, fresh, 5000);
  trainer.hold_out(probes.x0, probes.x1, probes.t, Eigen::MatrixXf(0, probes.t.size()));

  support::Progress bar(options.steps, "training");
  std::vector<float> at, held_out;
  const fm::TrainingReport report = trainer.run(data, rng, [&](const fm::TrainingStep& now) {
    bar.update(int(now.step), now.loss);
    if (!now.held_out_loss) return;
    at.push_back(float(now.step + 1));
    held_out.push_back(float(*now.held_out_loss));
  });
  bar.finish();

  const Eigen::MatrixXf x = fm::sample(net, 2000, rng, fm::Rk4{}, {.steps = 50});
  const Eigen::MatrixXf some = fresh.leftCols(2000), more = fm::toy::spiral(rng, 2000);
  const double floor = support::loss_floor(probes, fresh);
  std::printf("loss on held-out data  %.3f, at best %.3f: what x_t and t leave open cannot be learned\n",
              *report.held_out_loss, floor);
  std::printf("2-Wasserstein distance %.3f, between two sets of data %.3f\n", fm::wasserstein2(x, some),
              fm::wasserstein2(more, some));
  std::printf("energy distance        %.4f, between two sets of data %.4f\n", fm::energy_distance(x, some),
              fm::energy_distance(more, some));

  const support::Range across = {-4.6, 4.6};
  support::Figure figure(4, 1, 260, 260);
  figure(0).title("data").range(across, across).scatter(data.leftCols(2000), {.colour = colour::grey, .size = 1.2});
  figure(1).title("samples").range(across, across).scatter(x, {.colour = colour::blue, .size = 1.2});

  Eigen::MatrixXf moving(2, 150);
  fm::fill_normal(rng, moving);
  std::vector<Eigen::MatrixXf> states;
  fm::integrate(net, moving, fm::Rk4{}, {.steps = 40},
                [&](fm::Index, double, const auto& state) { states.push_back(state); });
  figure(2)
      .title("from noise to samples")
      .range(across, across)
      .trajectories(states, {.colour = colour::grey, .size = 0.7, .opacity = 0.7})
      .scatter(states.front(), {.colour = colour::orange, .size = 1.8, .label = "t = 0"})
      .scatter(states.back(), {.colour = colour::blue, .size = 1.8, .label = "t = 1"});
  Eigen::MatrixXf losses(2, fm::Index(at.size())), best(2, 2);
  losses << Eigen::RowVectorXf::Map(at.data(), losses.cols()), Eigen::RowVectorXf::Map(held_out.data(), losses.cols());
  best << 1, float(options.steps), float(floor), float(floor);
  figure(3)
      .title("loss")
      .axes("step", "")
      .log_y()
      .polyline(bar.losses(), {.colour = colour::sky, .size = 1, .label = "training"})
      .polyline(losses, {.colour = colour::vermillion, .size = 1.5, .label = "held out"})
      .polyline(best, {.colour = colour::black, .size = 1, .label = "at best"});
  figure.save(options.out / "spiral.svg");
  fm::save((options.out / "spiral.safetensors").string(), net);
  std::printf("wrote %s and spiral.safetensors\n", (options.out / "spiral.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
