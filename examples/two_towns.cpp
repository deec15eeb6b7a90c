// SPDX-License-Identifier: MIT
// The idea without a net: straight ways from noise to two places, and what following their mean velocity makes of them.
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/figure.hpp"
#include "support/options.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

constexpr float deviation = 0.2f;  // of the data around -1 and around +1

/// The mean velocity of the straight ways through x at time t, from N(0, 1) to the data: eq. 7 of docs/math.md for each
/// town, weighted by the chance that a way through x leads to it.
const auto mean_velocity = [](const auto& x, const auto& t, const auto& /*c*/, auto& v) {
  for (fm::Index j = 0; j < x.cols(); ++j) {
    const float left = 1 - t(j), variance = left * left + deviation * deviation * t(j) * t(j);
    float chances = 0, sum = 0;
    for (const float town : {-1.0f, 1.0f}) {
      const float off = x(0, j) - t(j) * town, chance = std::exp(-off * off / (2 * variance));
      chances += chance;
      sum += chance * (town + (deviation * deviation * t(j) - left) / variance * off);
    }
    v(0, j) = sum / chances;
  }
};

int main(int argc, char** argv) try {
  const auto options = support::parse(argc, argv, "Draws straight ways to two places and the flow along their mean.");
  constexpr fm::Index n = 60, steps = 50;
  fm::Rng rng(options.seed);
  Eigen::MatrixXf x0(1, n), x1(1, n);
  fm::fill_normal(rng, x0);
  fm::fill_normal(rng, x1);
  for (fm::Index j = 0; j < n; ++j) x1(0, j) = deviation * x1(0, j) + (j % 2 == 0 ? -1.0f : 1.0f);

  // Each state is one time: (t, position) of every traveller.
  std::vector<Eigen::MatrixXf> straight, flow;
  const auto add = [](std::vector<Eigen::MatrixXf>& states, double t, const Eigen::MatrixXf& x) {
    states.emplace_back(2, x.cols());
    states.back() << Eigen::RowVectorXf::Constant(x.cols(), float(t)), x;
  };
  add(straight, 0, x0);
  add(straight, 1, x1);
  Eigen::MatrixXf x = x0;
  fm::integrate(mean_velocity, x, fm::Rk4{}, {.steps = steps},
                [&](fm::Index, double t, const auto& state) { add(flow, t, state); });

  support::Figure figure(2, 1, 360, 260);
  int panel = 0;
  for (const auto& [states, title] : {std::pair(straight, "straight ways, as travelled in training"),
                                      std::pair(flow, "following their mean velocity")})
    figure(panel++)
        .title(title)
        .axes("t", "x")
        .range({-0.03, 1.03}, {-2.8, 2.8})
        .trajectories(states, {.colour = colour::grey})
        .scatter(states.front(), {.colour = colour::orange, .size = 2})
        .scatter(states.back(), {.colour = colour::blue, .size = 2});
  figure.save(options.out / "two_towns.svg");
  std::printf("arrived at -1: %d, at +1: %d\nwrote %s\n", int((x.array() < 0).count()), int((x.array() > 0).count()),
              (options.out / "two_towns.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
