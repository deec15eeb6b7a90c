// SPDX-License-Identifier: MIT
// From the hidden states of a small model of language to those of a large one: a flow from what regression guesses,
// with noise, to where the teacher's states lie. Regression is the better guess of one state; samples of the flow look
// like the teacher's.
#include <Eigen/Cholesky>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <flowmatch/metric/frechet.hpp>

#include "support/claims.hpp"
#include "support/figure.hpp"
#include "support/hidden_states.hpp"
#include "support/options.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

int main(int argc, char** argv) try {
  bool quick = false;
  const auto options = support::parse(argc, argv, "Carries hidden states of a student model to those of its teacher.",
                                      {.steps = 3000, .threads = 2}, support::quick_flag(quick));
  const int steps = quick ? std::min(options.steps, 1000) : options.steps;
  const fm::Index width = quick ? 128 : 256, batch = quick ? 256 : 512;
  fm::Rng rng(options.seed);
  fm::Threads team(options.threads);

  // Glosses of WordNet in 16 classes. Student: mean of GloVe vectors, 50 numbers; teacher: MiniLM, 64 numbers.
  constexpr fm::Index classes = 16, held_out = 1000;
  Eigen::MatrixXf student = support::load_states("gloss_student.npy", 50, 2 * held_out);
  Eigen::MatrixXf teacher = support::load_states("gloss_teacher.npy", 64, 2 * held_out);
  if (student.cols() != teacher.cols())
    throw std::runtime_error("gloss_student.npy and gloss_teacher.npy: expected as many sentences, found " +
                             std::to_string(student.cols()) + " and " + std::to_string(teacher.cols()));
  std::vector<fm::Index> labels = support::load_classes("gloss_y.npy", teacher.cols(), classes);
  const fm::Index n = teacher.cols() - held_out;
  support::centre_and_scale(teacher, n);
  student = fm::Normalizer(student.leftCols(n).eval())(student);
  const Eigen::MatrixXf s = student.leftCols(n), target = teacher.leftCols(n);
  const Eigen::MatrixXf s_test = student.rightCols(held_out), truth = teacher.rightCols(held_out);
  const std::vector<fm::Index> test_labels(labels.end() - held_out, labels.end());
  labels.resize(std::size_t(n));

  // The judge: a linear head that was trained on the teacher's states alone.
  const fm::Mlp<float> head = support::fit_head(target, labels, classes, rng, "head");
  const fm::Mlp<float> probe = support::fit_head(s, labels, classes, rng, "probe of the student");
  struct Figures {
    double cosine, head, frechet;
  };
  std::printf("%-40s %8s %8s %8s\n", "", "cosine", "head", "Frechet");
  const auto judge = [&](const char* name, const Eigen::MatrixXf& x) {
    const Figures f{support::mean_cosine(x, truth), support::accuracy(support::evaluate(head, x), test_labels),
                    fm::frechet_distance(x, truth)};
    std::printf("%-40s %8.3f %8.3f %8.2f\n", name, f.cosine, f.head, f.frechet);
    return f;
  };

  // Three baselines: ridge, ridge with noise of the covariance that it leaves, and regression with a net.
  const support::Ridge ridge = support::best_ridge(s, target);
  const Eigen::MatrixXf guess = ridge(s), guess_test = ridge(s_test), left = target - guess;
  Eigen::MatrixXf noisy(64, held_out);
  fm::fill_normal(rng, noisy);
  noisy = guess_test + Eigen::MatrixXf((left * left.transpose() / float(n)).llt().matrixL()) * noisy;
  const Eigen::MatrixXf guessed_by_net =
      support::evaluate(support::fit_net(s, target, width, 2 * steps / 3, rng, "regression"), s_test);

  // The flow: pairs (ridge's guess + noise, teacher's state), told the student's state.
  fm::VelocityMlp net({.dim = 64,
                       .condition_dim = 50,
                       .hidden = {width, width, width},
                       .residual = true,
                       .time_frequencies = 8,
                       .zero_output = true},
                      rng);
  fm::Trainer trainer(net,
                      {.steps = steps,
                       .batch = batch,
                       .learning_rate = quick ? 3e-3 : 1e-3,
                       .warmup = 100,
                       .cosine = true,
                       .weight_decay = 0.1,
                       .ema_decay = quick ? 0.99 : 0.999},
                      team);
  fm::Epoch epoch(n);
  support::Progress bar(steps, "flow");
  trainer.run(
      [&](fm::Rng& r, Eigen::MatrixXf& x0, Eigen::MatrixXf& x1, Eigen::MatrixXf& c) {
        const auto indices = epoch.draw(r, batch);
        fm::take_columns(guess, indices, x0);
        fm::take_columns(target, indices, x1);
        fm::take_columns(s, indices, c);
        support::add_noise(r, 0.5f, x0);
        support::add_noise(r, 0.3f, c);  // against learning by heart
      },
      rng, bar.observer());
  bar.finish();
  const auto draw = [&](int samples, int euler_steps) {
    fm::Sampler sampler(net, fm::Euler{}, {.steps = euler_steps}, team);
    Eigen::MatrixXf mean = Eigen::MatrixXf::Zero(64, held_out), x;
    for (int k = 0; k < samples; ++k) {
      x = guess_test;
      support::add_noise(rng, 0.5f, x);
      sampler(s_test, x);
      mean += x / float(samples);
    }
    return mean;
  };

  judge("the teacher's own states", truth);
  const Figures linear = judge("ridge", guess_test), gaussian = judge("ridge + Gaussian noise, one sample", noisy);
  const Figures regressed = judge("regression with a net", guessed_by_net);
  judge("flow, one sample, 1 step", draw(1, 1));
  const Eigen::MatrixXf sample = draw(1, 4);
  const Figures one = judge("flow, one sample, 4 steps", sample);
  judge("flow, one sample, 16 steps", draw(1, 16));
  const Figures mean = judge("flow, mean of 16 samples, 16 steps", draw(16, 16));
  std::printf("%-40s %17.3f\n%-40s %26.2f\n", "a head trained on the student's states",
              support::accuracy(support::evaluate(probe, s_test), test_labels), "the teacher on other sentences",
              fm::frechet_distance(target.leftCols(held_out).eval(), truth));
  std::printf(
      "For one state take regression: its cosine is best. For states that look like the teacher's take the flow.\n");

  const Eigen::MatrixXf plane = support::class_plane(target, labels), shown = plane * truth;
  const double reach = 1.05 * double(shown.cwiseAbs().maxCoeff());
  support::Figure figure(4, 1, 250, 250);
  const auto show = [&](int panel, const char* title, const Eigen::MatrixXf& x) {
    figure(panel).title(title).range({-reach, reach}, {-reach, 1.3 * reach});
    support::scatter_classes(figure(panel), plane * x, test_labels, panel == 0);
  };
  show(0, "teacher", truth);
  show(1, "regression", guessed_by_net);
  show(2, "ridge + noise", noisy);
  show(3, "flow, one sample", sample);
  figure.save(options.out / "distill_hidden_states.svg");
  fm::save((options.out / "distill_hidden_states.safetensors").string(), net);
  std::printf("wrote %s and distill_hidden_states.safetensors\n", (options.out / "distill_hidden_states.svg").c_str());

  support::Claims claims(quick);
  claims.at_most("one sample: Frechet distance", one.frechet, 2.6, 8, support::worded("regression", regressed.frechet));
  claims.at_least("one sample: head, more than ridge + noise", one.head - gaussian.head, 0.08, 0.02,
                  support::worded("of", gaussian.head));
  claims.at_least("mean of 16: cosine, more than ridge", mean.cosine - linear.cosine, 0.05, 0,
                  support::worded("of", linear.cosine));
  claims.at_least("mean of 16: head, more than ridge", mean.head - linear.head, 0.03, -0.02,
                  support::worded("of", linear.head));
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
