// SPDX-License-Identifier: MIT
// One flow of many robot arms, told the target and the lengths of the links, moves arms that it never saw, without one
// measured pose of theirs.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <limits>

#include "support/arm.hpp"
#include "support/claims.hpp"
#include "support/fit.hpp"
#include "support/options.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

namespace {

const Eigen::Array3f shortest(0.7f, 0.5f, 0.3f), longest(1.3f, 1.1f, 0.7f);  // links of the arms in training

/// Lengths of n arms, 3 x n. beyond 0: from shortest to longest; above: at least one link outside that range, by at
/// most this part of its width.
Eigen::MatrixXf draw_arms(fm::Rng& rng, fm::Index n, float beyond = 0) {
  const Eigen::Array3f margin = beyond * (longest - shortest);
  Eigen::MatrixXf lengths(3, n);
  Eigen::Vector3f unit;
  for (fm::Index j = 0; j < n;) {
    fm::fill_uniform(rng, unit);
    lengths.col(j) = shortest - margin + unit.array() * (longest - shortest + 2 * margin);
    const auto arm = lengths.col(j).array();
    if (beyond == 0 || (arm < shortest || arm > longest).any()) ++j;
  }
  return lengths;
}

std::string where(float beyond) {
  return beyond > 0 ? std::to_string(std::lround(100 * beyond)) + " % beyond the range" : "inside the range";
}

}

int main(int argc, char** argv) try {
  bool quick = false;
  auto options = support::parse(argc, argv, "Moves robot arms that the flow was not trained on.",
                                {.steps = 4000, .threads = 2}, support::quick_flag(quick));
  fm::Rng rng(options.seed);
  fm::Threads team(options.threads);
  const fm::Index width = quick ? 64 : 256;
  const fm::TrainerOptions training{.steps = quick ? std::min(options.steps, 1200) : options.steps,
                                    .batch = 512,
                                    .learning_rate = 2e-3,
                                    .warmup = 100,
                                    .cosine = true};

  // 40000 poses of 500 arms, and as many of one arm in the middle of the range.
  const Eigen::MatrixXf arms = draw_arms(rng, 500), angles = support::draw_angles(rng, 40000);
  Eigen::MatrixXf lengths;
  std::vector<fm::Index> owner(std::size_t(angles.cols()));
  fm::fill_below(rng, arms.cols(), std::span(owner));
  fm::take_columns<float>(arms, owner, lengths);
  const Eigen::MatrixXf conditions = support::stack(support::hands(lengths, angles), lengths);
  const support::Arm middle{.lengths = (shortest + longest) / 2};

  const fm::FlowModel<> many = support::train_arm_flow(angles, conditions, width, training, rng, team, "500 arms");
  const fm::FlowModel<> one =
      support::train_arm_flow(angles, middle.hand(angles), width, training, rng, team, "one arm ");
  fm::Mlp regression({.in = 5, .hidden = {256, 256}, .out = 3}, rng);
  support::fit_regression(regression, many.condition_normalizer(conditions), many.normalizer(angles), rng,
                          {.steps = quick ? 400 : 4000}, "regression");

  std::printf("%-24s %7s %8s %8s %8s %8s %8s %11s\n", "median miss of", "flow, 8", "16 steps", "alike", "nearest",
              "one arm", "scaled", "regression");
  support::Claims claims(quick);
  const fm::Index tests = quick ? 300 : 1000;
  for (const float beyond : {0.f, 0.1f, 0.25f}) {
    // A new arm for every target, which it can reach.
    const Eigen::MatrixXf fresh = draw_arms(rng, tests, beyond);
    const Eigen::MatrixXf targets = support::hands(fresh, support::draw_angles(rng, tests));
    const auto miss = [&](const Eigen::MatrixXf& answer) {
      return support::median_miss(support::hands(fresh, answer), targets);
    };
    const auto flow = [&](const Eigen::MatrixXf& said, fm::Index steps) {
      return miss(fm::sample(many, support::stack(targets, said), rng, fm::Euler{}, {.steps = steps}));
    };
    const auto fixed = [&](const Eigen::MatrixXf& c) {
      return miss(fm::sample(one, c, rng, fm::Euler{}, {.steps = 16}));
    };

    Eigen::MatrixXf alike, pose;
    fm::take_columns<float>(arms, fm::nearest_samples(fresh, arms).column, alike);
    double nearest = std::numeric_limits<double>::infinity();
    for (const float weight :
         {0.125f, 0.25f, 0.5f, 1.f, 2.f}) {  // of a length against a place: the best, in its favour
      const Eigen::MatrixXf known = support::stack(conditions.topRows(2), weight * lengths);
      fm::take_columns<float>(angles, fm::nearest_samples(support::stack(targets, weight * fresh), known).column, pose);
      nearest = std::min(nearest, miss(pose));
    }
    const Eigen::RowVectorXf scale = middle.lengths.sum() / fresh.colwise().sum().array();
    const double scaled = fixed(targets * scale.asDiagonal()), told_alike = flow(alike, 16), reached = flow(fresh, 16);
    const double regressed = miss(many.normalizer.inverse(
        support::evaluate(regression, many.condition_normalizer(support::stack(targets, fresh)))));
    std::printf("%-24s %7.4f %8.4f %8.4f %8.4f %8.4f %8.4f %11.4f\n", where(beyond).c_str(), flow(fresh, 8), reached,
                told_alike, nearest, fixed(targets), scaled, regressed);
    if (beyond > 0.2f) continue;

    claims.at_most(where(beyond) + ", median miss", reached, beyond > 0 ? 0.03 : 0.025, 0.25,
                   support::worded("nearest known pose", nearest));
    claims.at_most(where(beyond) + ", part of the nearest known pose's", reached / nearest, 1 / 3., 3, "1");
    claims.at_most(where(beyond) + ", part of one scaled arm's", reached / scaled, 0.25, 1, "1");
    claims.at_most(where(beyond) + ", part of the most alike arm's", reached / told_alike, 0.6, 1.5, "1");
    claims.at_most(where(beyond) + ", part of MLP regression's", reached / regressed, 0.2, 0.8, "1");
    if (beyond > 0) continue;

    int two_ways = 0, found = 0;
    Eigen::VectorXd best(100);  // of many tries, by who knows the formula of the new arm
    const Eigen::MatrixXf tried = support::draw_angles(rng, 20000);
    for (fm::Index j = 0; j < 100; ++j) {
      const Eigen::MatrixXf hands = support::Arm{.lengths = fresh.col(j)}.hand(tried);
      best(j) = double((hands.colwise() - targets.col(j)).colwise().norm().minCoeff());
      if (!support::both_elbows_lead(tried, hands, targets.col(j))) continue;
      const Eigen::MatrixXf c = support::stack(targets.col(j), fresh.col(j)).replicate(1, 64);
      ++two_ways;
      const Eigen::MatrixXf answers = fm::sample(many, c, rng, fm::Euler{}, {.steps = 8});
      const support::Arm arm{.lengths = fresh.col(j)};
      found += support::both_elbows_lead(answers, arm.hand(answers), targets.col(j), 0.05, 0.1f);
    }
    std::printf("best of 20000 random poses, by the formula of the new arm: %.4f\n", support::quantile(best, 0.5));
    claims.at_least("share of targets with both elbows found", double(found) / two_ways, 0.9, 0.8);
  }

  // One target, three new arms.
  support::Figure figure(3, 1, 260, 260);
  Eigen::MatrixXf shown(3, 3), target(2, 1);
  shown << 0.75f, 1.05f, 1.28f, 1.05f, 0.6f, 1.05f, 0.65f, 0.35f, 0.5f;
  target << 1.2f, 0.2f;
  for (int k = 0; k < 3; ++k) {
    const Eigen::MatrixXf c = support::stack(target, shown.col(k)).replicate(1, 30);
    auto& panel = figure(k).range({-0.5, 2.3}, {-1.4, 1.4});
    support::draw_poses(panel, {.lengths = shown.col(k)}, fm::sample(many, c, rng, fm::Euler{}, {.steps = 16}));
    panel.scatter(target, {.colour = colour::black, .size = 4, .label = "target"});
  }
  figure(1).title("three arms that the flow never saw");
  figure.save(options.out / "zero_shot_transfer.svg");
  fm::save((options.out / "zero_shot_transfer.safetensors").string(), many);
  std::printf("wrote %s and zero_shot_transfer.safetensors\n", (options.out / "zero_shot_transfer.svg").c_str());
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
