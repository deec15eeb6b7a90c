// SPDX-License-Identifier: MIT
// Handwritten digits, 8 x 8 pixels, class by class: real data, a class of one's choice by classifier-free guidance, and
// a test that the net draws instead of copying.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/contact_sheet.hpp"
#include "support/data.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;

int main(int argc, char** argv) try {
  int label = -1;
  double guidance_scale = 1;
  const auto options = support::parse(
      argc, argv, "Trains on 8 x 8 digits with their class as condition and draws new ones.", {.steps = 3000},
      [&](CLI::App& app) {
        app.add_option("--label", label, "the digit to draw; without it, a row of each")->check(support::whole(0, 9));
        app.add_option("--guidance", guidance_scale, "0: any digit, 1: of the class, above: clearer, less various")
            ->check(CLI::Range(0., 100.))
            ->capture_default_str();
      });
  fm::Rng rng(options.seed);

  // One picture per column, pixels from 0..16 to [-1, 1]; the class as condition. A fifth is held out.
  const Eigen::MatrixXf pixels = fm::load_npy(support::data_file("digits_x.npy").string()).array() / 8 - 1;
  const Eigen::MatrixXf classes = fm::load_npy(support::data_file("digits_y.npy").string());
  const fm::Index samples = pixels.cols(), training = samples * 4 / 5;
  fm::Epoch shuffle(samples);
  const std::span<const fm::Index> order = shuffle.draw(rng, samples);
  Eigen::MatrixXf all, labels;
  fm::take_columns(pixels, order, all);
  fm::take_columns(classes, order, labels);
  const Eigen::MatrixXf train = all.leftCols(training), held_out = all.rightCols(samples - training);
  const Eigen::MatrixXf train_labels = labels.leftCols(training),
                        held_out_labels = labels.rightCols(samples - training);

  fm::ConditionalVelocityMlp net({.dim = 64,
                                  .classes = 10,
                                  .hidden = {256, 256, 256, 256},
                                  .residual = true,
                                  .time_frequencies = 8,
                                  .zero_output = true},
                                 rng);
  const Eigen::VectorXf no_class = net.null_condition();
  fm::LinearPath path;
  fm::Threads team(options.threads);
  fm::FlowMatchingLoss loss(net, team);
  fm::AdamW adam(net.parameters(), {.weight_decay = 0.1});
  fm::Ema ema(net.parameters());
  const fm::CosineRate rate{.peak = 1e-3, .warmup = 100, .steps = options.steps};
  fm::Epoch epoch(training);
  Eigen::MatrixXf x0(64, 256), x1, c, x_t, u_t;
  Eigen::RowVectorXf t(256);
  Eigen::VectorXf gradient;

  support::Progress bar(options.steps, "training");
  for (int step = 0; step < options.steps; ++step) {
    const auto indices = epoch.draw(rng, 256);  // picture and class must stay together
    fm::take_columns(train, indices, x1);
    fm::take_columns(train_labels, indices, c);
    fm::drop_condition(rng, 0.1, no_class, c);  // so that the net also knows digits of any class
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    const float value = loss(net, x_t, t, c, u_t, gradient);
    adam.options.learning_rate = rate(step);
    adam.step(net.parameters(), gradient);
    ema.update(net.parameters());
    bar.update(step, value);
  }
  bar.finish();
  net.set_parameters(ema.parameters());

  // As many of each class as were held out, so that the two sets compare.
  const fm::ClassifierFreeGuidance guided(net, {.guidance_scale = guidance_scale});
  const Eigen::MatrixXf x = fm::sample(guided, held_out_labels, rng, fm::Heun{}, {.steps = 25});
  std::printf("energy distance to held-out digits: generated %.4f, training digits %.4f\n",
              fm::energy_distance(x, held_out), fm::energy_distance(train, held_out));
  const double generated = fm::median_nearest_distance(x, train), real = fm::median_nearest_distance(held_out, train);
  std::printf("distance to the nearest training digit, median: generated %.2f, held-out %.2f: %s\n", generated, real,
              generated >= 0.8 * real ? "new digits, not copies" : "closer than new digits would be, some are copies");
  std::printf("less than a third as far from it as from any other: generated %.1f %%, held-out %.1f %%\n",
              100 * fm::memorized_fraction(x, train), 100 * fm::memorized_fraction(held_out, train));

  // A row of ten for each class, or ten rows of one: generated on the left, real on the right.
  Eigen::MatrixXf wanted(1, 100), example(64, 100);
  fm::Index next = 0;
  for (fm::Index j = 0; j < 100; ++j) {
    wanted(0, j) = label < 0 ? float(j / 10) : float(label);
    do next = (next + 1) % held_out.cols();  // the next held-out digit of this class; there are some of each
    while (held_out_labels(0, next) != wanted(0, j));
    example.col(j) = held_out.col(next);
  }
  const Eigen::MatrixXf drawn = fm::sample(guided, wanted, rng, fm::Heun{}, {.steps = 25});
  support::save_contact_sheet(options.out / "digits.png", {drawn, example},
                              {.width = 8, .height = 8, .columns = 10, .scale = 5, .low = 1, .high = -1});
  fm::save((options.out / "digits.safetensors").string(), net);
  std::printf("wrote %s (left: generated, right: real) and digits.safetensors\n", (options.out / "digits.png").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
