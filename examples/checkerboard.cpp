// SPDX-License-Identifier: MIT
// A checkerboard from noise: sharp edges, and how many samples miss the squares; the loop written by hand.
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/figure.hpp"
#include "support/loss_floor.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

/// The columns of x on the squares of toy::checkerboard, or those beside them.
Eigen::MatrixXf keep(const Eigen::MatrixXf& x, bool on_squares) {
  std::vector<fm::Index> kept;
  for (fm::Index j = 0; j < x.cols(); ++j) {
    const int a = int(std::floor((x(0, j) + 4) / 2)), b = int(std::floor((x(1, j) + 4) / 2));
    const bool inside = a >= 0 && a < 4 && b >= 0 && b < 4 && (a + b) % 2 == 0;
    if (inside == on_squares) kept.push_back(j);
  }
  Eigen::MatrixXf columns;
  fm::take_columns(x, kept, columns);
  return columns;
}

int main(int argc, char** argv) try {
  const auto options = support::parse(argc, argv, "Trains a flow from noise to a checkerboard and draws it.",
                                      {.steps = 16000, .threads = 2});
  fm::Rng rng(options.seed);
  const Eigen::MatrixXf data = fm::toy::checkerboard(rng, 20000);

  fm::VelocityMlp net({.dim = 2, .hidden = {64, 64, 64, 64}, .activation = fm::Activation::gelu, .time_frequencies = 4},
                      rng);
  fm::LinearPath path;
  fm::Threads team(options.threads);
  fm::FlowMatchingLoss loss(net, team);
  fm::Adam adam(net.parameters());
  fm::Ema ema(net.parameters(), {.decay = 0.999});
  const fm::CosineRate rate{.peak = 2e-2, .warmup = 100, .steps = options.steps};
  Eigen::MatrixXf x0(2, 1024), x1(2, 1024), x_t, u_t;
  Eigen::RowVectorXf t(1024);
  Eigen::VectorXf gradient;

  support::Progress bar(options.steps, "training");
  for (int step = 0; step < options.steps; ++step) {
    fm::draw_columns(rng, data, x1);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    t = t.cwiseSqrt();  // density 2 t: edges form late, so late times are drawn more often
    path.sample(x0, x1, t, x_t, u_t);
    const float value = loss(net, x_t, t, u_t, gradient);
    adam.options.learning_rate = rate(step);
    adam.step(net.parameters(), gradient);
    ema.update(net.parameters());
    bar.update(step, value);
  }
  bar.finish();
  net.set_parameters(ema.parameters());

  // How good it is: on uniform times and data not trained on, each figure beside the best that is possible.
  const Eigen::MatrixXf x = fm::sample(net, 10000, rng, fm::Rk4{}, {.steps = 50});
  const Eigen::MatrixXf fresh = fm::toy::checkerboard(rng, 20000), more = fm::toy::checkerboard(rng, 2000);
  const support::Probes probes = support::draw_probes(rng, fresh, 5000);
  fm::HeldOutLoss held_out(net, path, probes.x0, probes.x1, probes.t, Eigen::MatrixXf(0, probes.t.size()));
  const Eigen::MatrixXf on = keep(x, true), beside = keep(x, false);
  std::printf("outside the squares    %.1f %%, in the data 0\n", 100 * double(beside.cols()) / double(x.cols()));
  std::printf("loss                   %.3f, at best %.3f: what x_t and t leave open cannot be learned\n", held_out(net),
              support::loss_floor(probes, fresh));
  std::printf("2-Wasserstein distance %.3f, between two sets of data %.3f\n",
              fm::wasserstein2(Eigen::MatrixXf(x.leftCols(2000)), fresh.leftCols(2000)),
              fm::wasserstein2(more, fresh.leftCols(2000)));

  const support::Range across = {-5, 5};
  support::Figure figure(4, 1, 260, 260);
  figure(0).title("data").range(across, across).scatter(data.leftCols(4000), {.colour = colour::grey, .size = 1});
  figure(1)
      .title("samples, in red those outside")
      .range(across, across)
      .scatter(on.leftCols(4000 * on.cols() / x.cols()), {.colour = colour::blue, .size = 1})
      .scatter(beside.leftCols(4000 * beside.cols() / x.cols()), {.colour = colour::vermillion, .size = 1});

  Eigen::MatrixXf moving(2, 150);
  fm::fill_normal(rng, moving);
  std::vector<Eigen::MatrixXf> states;
  fm::integrate(net, moving, fm::Rk4{}, {.steps = 40},
                [&](fm::Index, double, const auto& state) { states.push_back(state); });
  figure(2)
      .title("noise (orange) to samples (blue)")
      .range(across, across)
      .trajectories(states, {.colour = colour::grey, .size = 0.7, .opacity = 0.7})
      .scatter(states.front(), {.colour = colour::orange, .size = 1.8})
      .scatter(states.back(), {.colour = colour::blue, .size = 1.8});
  figure(3).title("training loss").axes("step", "").log_y().polyline(bar.losses(), {.colour = colour::blue, .size = 1});
  figure.save(options.out / "checkerboard.svg");
  fm::save((options.out / "checkerboard.safetensors").string(), net);
  std::printf("wrote %s and checkerboard.safetensors\n", (options.out / "checkerboard.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
