// SPDX-License-Identifier: MIT
// The density of a checkerboard: learned from points alone, evaluated anywhere, and drawn beside them.
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/figure.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

int main(int argc, char** argv) try {
  const auto options =
      support::parse(argc, argv, "Learns the density of a checkerboard and draws it.", {.steps = 20000});
  fm::Rng rng(options.seed);
  const Eigen::MatrixXf data = fm::toy::checkerboard(rng, 50000);

  fm::VelocityMlp net({.dim = 2, .hidden = {128, 128, 128}, .time_frequencies = 4}, rng);
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

  // How likely points are that the net has not seen. The board's own density is 1/32 on its squares.
  const fm::LikelihoodOptions solve{.steps = 40, .team = &team};
  const Eigen::MatrixXf fresh = fm::toy::checkerboard(rng, 5000);
  const Eigen::RowVectorXf held_out = fm::log_likelihood(net, fresh, fm::Rk4{}, solve);
  const double mean = double(held_out.mean()), n = double(held_out.size());
  const double error = std::sqrt(double((held_out.array() - float(mean)).square().sum())) / n;
  std::printf("mean log-likelihood of fresh points %.3f +- %.3f nats, at best %.3f (%.3f bits per dimension)\n", mean,
              error, -5 * std::log(2.0), fm::bits_per_dimension(mean, 2));

  // The density over the plane, which must hold probability 1.
  constexpr int cells = 125;
  const support::Range side = {-5, 5};
  const double width = (side[1] - side[0]) / cells;
  const Eigen::MatrixXf at = support::grid(side, side, cells, cells);
  const Eigen::MatrixXf log_p = fm::log_likelihood(net, at, fm::Rk4{}, solve).reshaped(cells, cells).transpose();
  const Eigen::MatrixXf p = log_p.array().exp();
  std::printf("integral of the density over the grid %.4f\n", double(p.sum()) * width * width);

  support::Figure figure(3, 1, 300, 300);
  figure(0).title("data").range(side, side).scatter(data.leftCols(4000), {.colour = colour::grey, .size = 0.8});
  figure(1).title("learned density").range(side, side).heatmap(p.cwiseMin(2.0f / 32), side, side);
  figure(2)
      .title("learned log-density, from -9 up")
      .range(side, side)
      .heatmap(log_p.cwiseMin(-2.0f).array() + 9, side, side);
  figure.save(options.out / "density.svg");
  std::printf("wrote %s\n", (options.out / "density.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
