// SPDX-License-Identifier: MIT
// A robot arm is told where to put its hand and answers with angles, of which several are right: a flow gives them all,
// a regression their useless mean. How long does an action take?
#include <chrono>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "../tests/support/allocations.hpp"  // counts what is taken from the heap
#include "support/arm.hpp"
#include "support/claims.hpp"
#include "support/fit.hpp"
#include "support/options.hpp"
#include "support/ridge.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

namespace {

/// Times single actions, from a target to angles in radians, by a Sampler that was called before. Prints the quantiles
/// and returns what the actions took from the heap.
long print_latency(const fm::FlowModel<>& model, const Eigen::MatrixXf& targets, fm::Index steps, fm::Rng& rng) {
  using Clock = std::chrono::steady_clock;
  fm::Sampler policy(model.net, fm::Euler{}, {.steps = steps});
  Eigen::MatrixXf target = targets.col(0), c, x(3, 1), angles;
  const auto act = [&] {
    model.condition_normalizer(target, c);
    fm::fill_normal(rng, x);
    policy(c, x);
    model.normalizer.inverse(x, angles);
  };
  act();  // memory is taken here
  Eigen::VectorXd times(targets.cols());
  const long allocations = test::allocations_in([&] {
    for (fm::Index j = 0; j < targets.cols(); ++j) {
      target = targets.col(j);
      const auto start = Clock::now();
      act();
      times(j) = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    }
  });
  std::printf("%ld-step action: p50 %6.1f us, p99 %6.1f us, max %6.1f us\n", long(steps), support::quantile(times, 0.5),
              support::quantile(times, 0.99), times.maxCoeff());
  return allocations;
}

}

int main(int argc, char** argv) try {
  bool quick = false;
  auto options = support::parse(argc, argv, "Learns which angles bring the hand of a robot arm to a target.",
                                {.steps = 4000, .threads = 2}, support::quick_flag(quick));
  fm::Rng rng(options.seed);

  // Poses that the arm has tried, and where its hand was. It is never told the formula. The targets can be reached.
  const support::Arm arm;
  const Eigen::MatrixXf angles = support::draw_angles(rng, 20000), places = arm.hand(angles);
  const Eigen::MatrixXf targets = arm.hand(support::draw_angles(rng, 1000));
  const auto miss = [&](const Eigen::MatrixXf& answer) { return support::median_miss(arm.hand(answer), targets); };

  // Baselines. What regression answers is near the mean of the right answers, which is wrong.
  const fm::Normalizer of_angles(angles), of_places(places);
  const Eigen::MatrixXf z = of_angles(angles), c = of_places(places), target_c = of_places(targets);
  fm::Mlp regression({.in = 2, .hidden = {256, 256}, .out = 3}, rng);
  support::fit_regression(regression, c, z, rng, {.steps = quick ? 400 : 4000}, "regression");
  const Eigen::MatrixXf regressed = of_angles.inverse(support::evaluate(regression, target_c));
  Eigen::MatrixXf nearest;
  fm::take_columns<float>(angles, fm::nearest_samples(targets, places).column, nearest);
  std::printf("median miss, arm length %.1f: ridge %.3f, MLP regression %.3f, nearest of 20000 known poses %.4f\n",
              double(arm.lengths.sum()), miss(of_angles.inverse(support::Ridge(c, z)(target_c))), miss(regressed),
              miss(nearest));

  fm::Threads team(options.threads);
  const fm::FlowModel<> model = support::train_arm_flow(angles, places, quick ? 64 : 256,
                                                        {.steps = quick ? std::min(options.steps, 600) : options.steps,
                                                         .batch = 512,
                                                         .learning_rate = 2e-3,
                                                         .warmup = 100,
                                                         .cosine = true},
                                                        rng, team, "training");

  // What it reached, by the number of Euler steps.
  double of_eight = 0;
  for (const fm::Index steps : {1, 2, 4, 8, 16}) {
    const double median = miss(fm::sample(model, targets, rng, fm::Euler{}, {.steps = steps}));
    std::printf("median miss, flow in %2ld steps: %.4f\n", long(steps), median);
    if (steps == 8) of_eight = median;
  }
  int two_ways = 0, found = 0;
  for (fm::Index j = 0; j < 100; ++j) {
    if (!support::both_elbows_lead(angles, places, targets.col(j))) continue;
    const Eigen::MatrixXf answers = fm::sample(model, targets.col(j).replicate(1, 64), rng, fm::Euler{}, {.steps = 8});
    ++two_ways;
    found += support::both_elbows_lead(answers, arm.hand(answers), targets.col(j), 0.05, 0.1f);
  }
  std::printf("targets with two ways to reach them: %d, both found in 64 answers for %d\n", two_ways, found);
  long allocations = 0;
  for (const fm::Index steps : {1, 4, 8}) allocations += print_latency(model, targets.replicate(1, 5), steps, rng);

  support::Figure figure(3, 1, 260, 260);
  Eigen::MatrixXf shown(2, 3);
  shown << 1.7f, 1.2f, 0.7f, 0.2f, -0.3f, 0.5f;
  for (int k = 0; k < 3; ++k) {
    const Eigen::MatrixXf target = shown.col(k);
    auto& panel = figure(k).range({-0.3, 2.5}, {-1.3, 1.5});
    support::draw_poses(panel, arm, fm::sample(model, target.replicate(1, 30), rng, fm::Euler{}, {.steps = 8}));
    const Eigen::MatrixXf wrong = of_angles.inverse(support::evaluate(regression, of_places(target)));
    panel.polyline(arm.joints(wrong), {.colour = colour::vermillion, .size = 2, .label = "regression"})
        .scatter(target, {.colour = colour::black, .size = 4, .label = "target"});
  }
  figure(1).title("30 answers of the flow, and the one of regression");
  figure.save(options.out / "robot_action.svg");
  fm::save((options.out / "robot_action.safetensors").string(), model);
  std::printf("wrote %s and robot_action.safetensors\n", (options.out / "robot_action.svg").c_str());

  support::Claims claims(quick);
  claims.at_most("median miss in 8 Euler steps", of_eight, 0.02, 0.2,
                 support::worded("regression", miss(regressed)) + support::worded(", nearest pose", miss(nearest)));
  claims.at_most("as a part of MLP regression's", of_eight / miss(regressed), 0.2, 0.8, "1");
  claims.at_least("share of targets with both elbows found", double(found) / two_ways, 0.9, 0.8, "regression 0");
  if (test::counts_allocations) claims.at_most("allocations in 15000 actions", double(allocations), 0, 0);
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
