// SPDX-License-Identifier: MIT
// A controller whose net is a part of the program: left or right around an obstacle, in microseconds, without a heap.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <numbers>

#include "data/control_policy.hpp"  // written by --train
#include "support/figure.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

constexpr float radius = 0.5f;  // of the obstacle, a disc around 0
constexpr float ahead = 0.25f;  // a demonstrator looks at the place that is so much further up

/// Demonstrations, on the way from (0, -1.5) to (0, 1.5), left or right around the disc: the observation is a place
/// near the way, the action a velocity, towards what lies ahead.
void demonstrate(fm::Rng& rng, Eigen::MatrixXf& actions, Eigen::MatrixXf& observations) {
  const fm::Index n = actions.cols();
  Eigen::RowVectorXf up(n), side(n), wide(n), off(n);
  fm::fill_uniform(rng, up);
  fm::fill_uniform(rng, side);
  fm::fill_normal(rng, wide);
  fm::fill_normal(rng, off);
  for (fm::Index j = 0; j < n; ++j) {
    const auto way = [&](float y) {
      return (side(j) < 0.5f ? -1 : 1) * (0.85f + 0.08f * wide(j)) * std::cos(std::numbers::pi_v<float> * y / 3);
    };
    const float y = -1.5f + 2.75f * up(j), x = way(y) + 0.08f * off(j);
    observations.col(j) << x, y;
    actions.col(j) << (way(y + ahead) - x) / ahead, 1;
  }
}

void train(const support::Options& options) {
  fm::Rng rng(options.seed);
  fm::VelocityMlp net({.dim = 2, .condition_dim = 2, .hidden = {32, 32, 32}}, rng);
  fm::Trainer trainer(net,
                      {.steps = options.steps, .batch = 512, .learning_rate = 4e-3, .warmup = 100, .cosine = true});
  support::Progress bar(options.steps, "training");
  trainer.run(
      [](fm::Rng& r, auto& x0, auto& x1, auto& c) {
        fm::fill_normal(r, x0);
        demonstrate(r, x1, c);
      },
      rng, bar.observer());
  bar.finish();
  fm::write_header((options.out / "control_policy.hpp").string(), net, "policy");
  std::printf("wrote %s; in examples/data it is compiled into this program\n",
              (options.out / "control_policy.hpp").c_str());
}

/// Prints how long one action takes.
template <class Act> void print_latency(const char* what, const Act& act) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> microseconds(100'000);
  for (std::size_t i = 0; i < microseconds.size(); ++i) {
    const Clock::time_point start = Clock::now();
    act(fm::Index(i % 1000));
    microseconds[i] = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  }
  std::sort(microseconds.begin(), microseconds.end());
  std::printf("%-24s p50 %.2f us, p99 %.2f us, max %.2f us over 100,000 calls\n", what, microseconds[50'000],
              microseconds[99'000], microseconds.back());
}

int main(int argc, char** argv) try {
  bool wants_training = false;
  const auto options = support::parse(
      argc, argv, "Steers around an obstacle with a net inside the program.", {.steps = 20000}, [&](CLI::App& app) {
        app.add_flag("--train", wants_training, "train the net and write it as a header, control_policy.hpp");
      });
  if (wants_training) {
    train(options);
    return 0;
  }

  // An action is a sample under what is observed. Here are its start points, and room for what comes out.
  using Action = decltype(policy)::Sample;
  constexpr Action start = {0, -1.5f};
  fm::Rng rng(options.seed);
  Eigen::MatrixXf noise(2, 1000), actions(2, 1000);
  fm::fill_normal(rng, noise);
  const auto act = [&](const Action& place, fm::Index j) {
    return policy.sample<fm::tableau::Heun, 4>({noise(0, j), noise(1, j)}, place);
  };
  print_latency("net in the program", [&](fm::Index j) {
    const Action action = act(start, j);
    actions.col(j) << action[0], action[1];
  });

  // The same net in memory.
  fm::VelocityMlp net({.dim = 2, .condition_dim = 2, .hidden = {32, 32, 32}}, rng);
  net.set_parameters(Eigen::VectorXf::Map(policy_parameters.data(), fm::Index(policy_parameters.size())));
  fm::Sampler sampler(net, fm::Heun{}, {.steps = 4});
  Eigen::MatrixXf same(2, 1000), x(2, 1);
  const Eigen::MatrixXf place = Eigen::Vector2f(start[0], start[1]);
  print_latency("Sampler, net in memory", [&](fm::Index j) {
    x = noise.col(j);
    sampler(place, x);
    same.col(j) = x;
  });
  std::printf("the same actions         %s\n", same == actions ? "to the bit" : "but for rounding");
  const auto left = int((actions.row(0).array() < 0).count());
  std::printf("actions at the start     %d to the left, %d to the right, mean %+.2f: straight into the obstacle\n",
              left, 1000 - left, double(actions.row(0).mean()));

  // Drives from the start, with a new action every 0.1 time units.
  constexpr fm::Index drives = 60;
  std::vector<Eigen::MatrixXf> ways(1, place.replicate(1, drives));
  int hits = 0;
  for (int k = 0; k < 30; ++k) {
    fm::fill_normal(rng, noise);
    ways.push_back(ways.back());
    for (fm::Index j = 0; j < drives; ++j) {
      const Action action = act({ways.back()(0, j), ways.back()(1, j)}, j);
      for (int i = 0; i < 2; ++i) ways.back()(i, j) += 0.1f * action[std::size_t(i)];
      hits += ways.back().col(j).norm() < radius;
    }
  }
  const auto of_left = int((ways[15].row(0).array() < 0).count());
  std::printf("drives                   %d on the left, %d on the right, %d times inside the obstacle\n", of_left,
              int(drives) - of_left, hits);

  const support::Range across = {-1.6, 1.6}, up = {-1.7, 1.7};
  Eigen::MatrixXf disc(2, 65), shown(2, 300), places(2, 300);
  for (fm::Index j = 0; j < disc.cols(); ++j) {
    const float angle = 2 * std::numbers::pi_v<float> * float(j) / 64;
    disc.col(j) << radius * std::cos(angle), radius * std::sin(angle);
  }
  demonstrate(rng, shown, places);
  support::Figure figure(3, 1, 260, 276);
  figure(0)
      .title("demonstrations")
      .range(across, up)
      .polyline(disc, {.colour = colour::black, .size = 2})
      .arrows(places, shown, {.colour = colour::grey, .size = 0.8}, 0.15);
  figure(1)
      .title("actions at the start")
      .axes("velocity to the right", "velocity up")
      .range({-1.5, 1.5}, {0, 2})
      .scatter(actions, {.colour = colour::blue, .size = 1.5, .opacity = 0.6});
  figure(2)
      .title("drives")
      .range(across, up)
      .polyline(disc, {.colour = colour::black, .size = 2})
      .trajectories(ways, {.colour = colour::blue, .size = 0.8});
  figure.save(options.out / "control_policy.svg");
  std::printf("wrote %s\n", (options.out / "control_policy.svg").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
