// SPDX-License-Identifier: MIT
// Which solver? Trains on two moons, compares all solvers and time grids on that net, and draws error against cost.
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support/figure.hpp"
#include "support/options.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

Eigen::MatrixXf as_columns(const std::vector<Eigen::Vector2f>& points) {
  Eigen::MatrixXf matrix(2, Eigen::Index(points.size()));
  for (std::size_t k = 0; k < points.size(); ++k) matrix.col(Eigen::Index(k)) = points[k];
  return matrix;
}

int main(int argc, char** argv) try {
  const auto options = support::parse(argc, argv, "Compares the solvers on a net for two moons.");
  fm::Rng rng(options.seed);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 10000);
  fm::VelocityMlp net({.dim = 2, .hidden = {64, 64, 64}}, rng);
  fm::Threads team(options.threads);
  fm::Trainer trainer(net, {.steps = options.steps, .learning_rate = 2e-3, .cosine = true}, team);
  trainer.run(data, rng);

  // Distance from the exact flow for what it costs.
  Eigen::MatrixXf x0(2, 500);
  fm::fill_normal(rng, x0);
  const std::vector<fm::SolverRow> rows = fm::solver_report(net, x0);
  std::printf("%s", fm::solver_table(rows).c_str());

  support::Figure figure(2, 1, 380, 320);
  support::Panel& solvers = figure(0, 0).title("distance from the exact flow").axes("log2 of evaluations", "").log_y();
  solvers.range({1.8, 10}, {5e-7, 0.5});
  const char* inks[] = {colour::grey, colour::orange, colour::sky, colour::green, colour::blue, colour::vermillion};
  const char* names[] = {"Euler", "Midpoint", "Heun", "AdamsBashforth2", "Rk4", "Tsitouras"};
  for (int k = 0; k < 6; ++k) {
    std::vector<Eigen::Vector2f> points;
    for (const fm::SolverRow& row : rows)
      if (row.solver == std::string(names[k]))
        points.emplace_back(std::log2(float(row.evaluations)), float(row.distance));
    solvers.polyline(as_columns(points), {.colour = inks[k], .size = 1.6, .label = names[k]});
  }

  // The same for Midpoint on several grids.
  const Eigen::MatrixXf exact = fm::transport(net, x0, fm::Tsitouras{.rtol = 1e-6, .atol = 1e-6});
  support::Panel& grids = figure(1, 0).title("Midpoint by grid").axes("log2 of evaluations", "").log_y();
  const std::pair<const char*, std::vector<double> (*)(fm::Index)> all[] = {
      {"uniform", fm::uniform_grid},
      {"quadratic", fm::quadratic_grid},
      {"cosine", fm::cosine_grid},
      {"shift 2", [](fm::Index steps) { return fm::shifted_grid(steps, 2); }},
      {"shift 1/2", [](fm::Index steps) { return fm::shifted_grid(steps, 0.5); }}};
  std::printf("\nMidpoint by grid   evaluations    distance\n");
  for (int k = 0; k < 5; ++k) {
    std::vector<Eigen::Vector2f> points;
    for (fm::Index steps = 2; steps <= 64; steps *= 2) {
      const Eigen::MatrixXf x = fm::transport(net, x0, fm::Midpoint{}, {.grid = all[k].second(steps)});
      const float distance = std::sqrt((x - exact).squaredNorm() / float(x.cols()));
      std::printf("%-16s  %12d  %10.2e\n", all[k].first, int(2 * steps), double(distance));
      points.emplace_back(std::log2(float(2 * steps)), distance);
    }
    grids.polyline(as_columns(points), {.colour = inks[k], .size = 1.6, .label = all[k].first});
  }

  // With noise on the way, samples have no exact end: what counts is how far they are from fresh data as a set.
  const Eigen::MatrixXf fresh = fm::toy::two_moons(rng, 2000);
  std::printf("\nnoise on the way        evaluations   Euler   Heun: energy distance from data (other data: %.4f)\n",
              fm::energy_distance(fm::toy::two_moons(rng, 2000), fresh));
  for (const double scale : {0.0, 0.3, 1.0, 3.0})
    for (const fm::Index evaluations : {8, 16, 32, 128}) {
      std::printf("g^2 = 2 %.1f (1 - t)     %11d", scale, int(evaluations));
      for (const auto method : {fm::StochasticMethod::euler, fm::StochasticMethod::heun}) {
        const fm::Index steps = method == fm::StochasticMethod::euler ? evaluations : evaluations / 2;
        fm::Rng same(options.seed, 1);
        const Eigen::MatrixXf x =
            fm::sample_stochastic(net, 2000, same, fm::SigmaDiffusion{.scale = scale}, method, {.steps = steps});
        std::printf("  %.4f", fm::energy_distance(x, fresh));
      }
      std::printf("\n");
    }
  figure.save(options.out / "solvers.svg");
  std::printf("\nwrote %s\n", (options.out / "solvers.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
