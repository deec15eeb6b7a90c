// SPDX-License-Identifier: MIT
// A robot arm was changed and gives only a few measured poses. The flow of the old arm is trained on from its weights;
// another flow goes from the old arm's answers to the new one's.
#include <array>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/arm.hpp"
#include "support/claims.hpp"
#include "support/fit.hpp"
#include "support/options.hpp"
#include "support/ridge.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

namespace {

/// Other links, joints that are turned, and an elbow that gives way.
const support::Arm old_arm, new_arm{.lengths = {1.1f, 0.7f, 0.55f}, .offsets = {0.15f, -0.2f, 0.1f}, .give = 0.12f};

/// The start of a paired flow: of many answers of the old flow to each measured place, 12800 in all, the one most like
/// the pose measured there. Among several right answers, start and end are then alike.
Eigen::MatrixXf old_answers(const fm::FlowModel<>& old, const Eigen::MatrixXf& angles, const Eigen::MatrixXf& places,
                            fm::Rng& rng) {
  const fm::Index each = 12800 / angles.cols();
  Eigen::MatrixXf alike = angles;
  for (fm::Index j = 0; j < angles.cols(); ++j) {
    const Eigen::MatrixXf answers = fm::sample(old, places.col(j).replicate(1, each), rng, fm::Euler{}, {.steps = 8});
    fm::Index best = 0;
    (answers.colwise() - angles.col(j)).colwise().squaredNorm().minCoeff(&best);
    alike.col(j) = answers.col(best);
  }
  return alike;
}

}

int main(int argc, char** argv) try {
  bool quick = false;
  const auto options = support::parse(argc, argv, "Moves a changed robot arm after a few measured poses.",
                                      {.steps = 5000, .threads = 2}, support::quick_flag(quick));
  fm::Rng rng(options.seed);
  fm::Threads team(options.threads);

  // 20000 poses of the old arm, its flow, and a regression as baseline.
  const Eigen::MatrixXf angles = support::draw_angles(rng, 20000), places = old_arm.hand(angles);
  const fm::FlowModel<> old = support::train_arm_flow(angles, places, quick ? 64 : 256,
                                                      {.steps = quick ? std::min(options.steps, 1200) : options.steps,
                                                       .batch = 512,
                                                       .learning_rate = 2e-3,
                                                       .warmup = 100,
                                                       .cosine = true},
                                                      rng, team, "old arm");
  const fm::Normalizer<float>&of_angles = old.normalizer, &of_places = old.condition_normalizer;
  fm::Mlp regression({.in = 2, .hidden = {256, 256}, .out = 3}, rng);
  support::fit_regression(regression, of_places(places), of_angles(angles), rng, {.steps = quick ? 400 : 4000},
                          "regression");
  const std::string file = (options.out / "few_shot_transfer.safetensors").string();
  fm::save(file, old);

  // The new arm: targets that it can reach, and what the old flow answers.
  const Eigen::MatrixXf targets = new_arm.hand(support::draw_angles(rng, 1000)), c = of_places(targets);
  const auto miss = [&](const Eigen::MatrixXf& answer) { return support::median_miss(new_arm.hand(answer), targets); };
  const auto flow = [&](const fm::FlowModel<>& model, const Eigen::MatrixXf& to) {
    return fm::sample(model, to, rng, fm::Euler{}, {.steps = 16});
  };
  const Eigen::MatrixXf unchanged = flow(old, targets);
  const double no_transfer = miss(unchanged);

  // All from the same measured poses; the mean over several sets of them. Rows of misses:
  const std::vector<const char*> names = {"nearest measured pose",
                                          "ridge, target to angles",
                                          "ridge, target to old target, old flow",
                                          "ridge, old answer to new answer",
                                          "MLP regression, trained on",
                                          "flow from scratch",
                                          "paired flow, old answer to new answer",
                                          "old flow, trained on"};
  const int sets = quick ? 1 : 5;
  Eigen::MatrixXd misses = Eigen::MatrixXd::Zero(8, 3);
  fm::FlowModel<> of_twenty = old;
  for (int round = 0; round < 3 * sets; ++round) {
    const int which = round % 3;
    const fm::Index n = std::array{20, 50, 200}[std::size_t(which)];
    const Eigen::MatrixXf measured = support::draw_angles(rng, n), there = new_arm.hand(measured);
    const Eigen::MatrixXf z = of_angles(measured), there_c = of_places(there);
    Eigen::MatrixXf nearest;
    fm::take_columns<float>(measured, fm::nearest_samples(targets, there).column, nearest);
    const support::Ridge to_angles(there_c, z, 0.1f / float(n)),
        to_old(there, old_arm.hand(measured), 1e-3f / float(n));

    const support::FitOptions some{.steps = 300, .batch = 128, .learning_rate = 3e-4};
    fm::Mlp same = regression;
    support::fit_regression(same, there_c, z, rng, some, std::to_string(n) + " poses, regression");

    fm::TrainerOptions few{.steps = 1000, .batch = 64, .warmup = 100, .cosine = true, .weight_decay = 0.1};
    fm::FlowModel<> scratch(support::arm_field(3, 128, 2, rng), of_angles, of_places);
    fm::Trainer(scratch.net, few, team).run(z, there_c, rng);

    // From the old answer to the new one, with the same noise on both, so that ways beside the few pairs are learned.
    const Eigen::MatrixXf start = of_angles(old_answers(old, measured, there, rng)), from = of_angles(unchanged);
    const support::Ridge change(support::stack(start, there_c), z - start, 1 / float(n));
    fm::VelocityMlp paired = support::arm_field(3, 64, 2, rng);
    Eigen::MatrixXf noise(3, few.batch);
    auto pairs = [&, epoch = fm::Epoch(n)](fm::Rng& r, auto& x0, auto& x1, auto& condition) mutable {
      const auto indices = epoch.draw(r, x0.cols());
      fm::take_columns(start, indices, x0);
      fm::take_columns(z, indices, x1);
      fm::take_columns(there_c, indices, condition);
      fm::fill_normal(r, noise);
      x0 += 0.2f * noise;
      x1 += 0.2f * noise;
    };
    few.weight_decay = 0.3;
    fm::Trainer(paired, few, team).run(pairs, rng);

    // The old flow, trained on.
    fm::FlowModel<> tuned = fm::load_flow_model(file);
    fm::Trainer(tuned.net,
                {.steps = 300, .batch = 128, .learning_rate = 3e-4, .warmup = 100, .cosine = true, .ema_decay = 0.99},
                team)
        .run(z, there_c, rng);
    if (round == 0) of_twenty = tuned;

    Eigen::VectorXd reached(8);
    reached << miss(nearest), miss(of_angles.inverse(to_angles(c))), miss(flow(old, to_old(targets))),
        miss(of_angles.inverse(from + change(support::stack(from, c)))),
        miss(of_angles.inverse(support::evaluate(same, c))), miss(flow(scratch, targets)),
        miss(of_angles.inverse(fm::transport(paired, from, c, fm::Euler{}, {.steps = 4}))), miss(flow(tuned, targets));
    misses.col(which) += reached / sets;
  }
  std::printf("\n%-38s %8s %8s %8s\n%-38s %8.3f\n", "median miss of the new arm", "20 poses", "50", "200",
              "old flow, no transfer", no_transfer);
  for (fm::Index i = 0; i < 8; ++i)
    std::printf("%-38s %8.3f %8.3f %8.3f\n", names[std::size_t(i)], misses(i, 0), misses(i, 1), misses(i, 2));

  // One target, and what is gained from more poses.
  support::Figure figure(4, 1, 230, 230);
  Eigen::MatrixXf target(2, 1);
  target << 1.4f, 0.2f;
  const auto draw = [&](int k, const char* title, const support::Arm& arm, const fm::FlowModel<>& model) {
    auto& panel = figure(k).title(title).range({-0.3, 1.9}, {-1, 1.2});
    support::draw_poses(panel, arm, flow(model, target.replicate(1, 30)));
    panel.scatter(target, {.colour = colour::black, .size = 4, .label = "target"});
  };
  draw(0, "the old arm", old_arm, old);
  draw(1, "the new arm, old flow", new_arm, old);
  draw(2, "trained on with 20 poses", new_arm, of_twenty);
  figure(3).title("median miss").axes("measured poses", "").log_y().range({0, 210}, {0.01, 3});
  const auto curve = [&](const Eigen::RowVectorXd& miss_of, const char* ink, const char* label) {
    Eigen::MatrixXf line(2, 3);
    line << 20, 50, 200, miss_of.cast<float>();
    figure(3).polyline(line, {.colour = ink, .size = 1.5, .label = label});
  };
  curve(Eigen::RowVectorXd::Constant(3, no_transfer), colour::black, "old flow");
  curve(misses.row(3), colour::grey, "ridge on its answers");
  curve(misses.row(6), colour::green, "flow from its answers");
  curve(misses.row(7), colour::blue, "old flow, trained on");
  figure.save(options.out / "few_shot_transfer.svg");
  std::printf("wrote %s and few_shot_transfer.safetensors, the old flow\n",
              (options.out / "few_shot_transfer.svg").c_str());

  support::Claims claims(quick);
  const double ridge = misses(3, 0), regressed = misses(4, 0), moved = misses(6, 0), reached = misses(7, 0);
  claims.at_most("20 poses: old flow trained on, median miss", reached, 0.04, 0.15);
  claims.at_most("part of that without transfer", reached / no_transfer, 0.25, 0.9, "1");
  claims.at_most("part of ridge's, old answer to new", reached / ridge, 0.5, 1.2, "1");
  claims.at_most("part of the MLP regression's, trained on", reached / regressed, 0.5, 0.8, "1");
  claims.at_most("paired flow, part of ridge's", moved / ridge, 1, 1.5, "1");
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
