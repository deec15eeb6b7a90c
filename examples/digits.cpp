// SPDX-License-Identifier: MIT
// Handwritten digits, 8 x 8 pixels, class by class: real data, and a test that the net draws instead of copying.
#include <algorithm>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <numeric>
#include <vector>

#include "support/contact_sheet.hpp"
#include "support/data.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;

/// Distance of each column of x to its nearest column of train; their median.
float median_nearest_distance(const Eigen::MatrixXf& x, const Eigen::MatrixXf& train) {
  std::vector<float> distances;
  for (fm::Index j = 0; j < x.cols(); ++j)
    distances.push_back((train.colwise() - x.col(j)).colwise().norm().minCoeff());
  std::nth_element(distances.begin(), distances.begin() + x.cols() / 2, distances.end());
  return distances[std::size_t(x.cols() / 2)];
}

int main(int argc, char** argv) try {
  const auto options = support::parse(
      argc, argv, "Trains on 8 x 8 digits with their class as condition and draws new ones.", {.steps = 3000});
  fm::Rng rng(options.seed);

  // One picture per column, pixels from 0..16 to [-1, 1]; the class as a one-hot condition. A fifth is held out.
  const Eigen::MatrixXf pixels = fm::load_npy(support::data_file("digits_x.npy").string()).array() / 8 - 1;
  const Eigen::MatrixXf labels = fm::load_npy(support::data_file("digits_y.npy").string());
  const fm::Index samples = pixels.cols(), training = samples * 4 / 5;
  fm::Epoch shuffle(samples);
  const std::span<const fm::Index> order = shuffle.draw(rng, samples);
  Eigen::MatrixXf all, classes;
  fm::take_columns(pixels, order, all);
  fm::take_columns(labels, order, classes);
  Eigen::MatrixXf one_hot = Eigen::MatrixXf::Zero(10, samples);
  for (fm::Index j = 0; j < samples; ++j) one_hot(fm::Index(classes(0, j)), j) = 1;
  const Eigen::MatrixXf train = all.leftCols(training), held_out = all.rightCols(samples - training);
  const Eigen::MatrixXf train_class = one_hot.leftCols(training);

  fm::VelocityMlp net({.dim = 64,
                       .condition_dim = 10,
                       .hidden = {256, 256, 256, 256},
                       .residual = true,
                       .time_frequencies = 8,
                       .zero_output = true},
                      rng);
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
    fm::take_columns(train_class, indices, c);
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
  const Eigen::MatrixXf x = fm::sample(net, one_hot.rightCols(samples - training), rng, fm::Heun{}, {.steps = 25});
  std::printf("energy distance to held-out digits: generated %.4f, training digits %.4f\n",
              fm::energy_distance(x, held_out), fm::energy_distance(train, held_out));
  const float generated = median_nearest_distance(x, train), real = median_nearest_distance(held_out, train);
  std::printf("distance to the nearest training digit, median: generated %.2f, held-out %.2f: %s\n", double(generated),
              double(real),
              generated >= 0.8f * real ? "new digits, not copies" : "closer than new digits would be, some are copies");

  // Ten rows of ten classes: generated on the left, real on the right.
  Eigen::MatrixXf each_class(10, 80), example(64, 80);
  for (fm::Index j = 0; j < 80; ++j) {
    each_class.col(j) = Eigen::VectorXf::Unit(10, j % 10);
    fm::Index column = j / 10 * 10;  // the next held-out digit of this class
    for (fm::Index k = 0; k < held_out.cols(); ++k) {
      column = (j * 7 + k) % held_out.cols();
      if (one_hot(j % 10, training + column) == 1) break;
    }
    example.col(j) = held_out.col(column);
  }
  const Eigen::MatrixXf drawn = fm::sample(net, each_class, rng, fm::Heun{}, {.steps = 25});
  support::save_contact_sheet(options.out / "digits.png", {drawn, example},
                              {.width = 8, .height = 8, .columns = 10, .scale = 5, .low = 1, .high = -1});
  fm::save((options.out / "digits.safetensors").string(), net);
  std::printf("wrote %s (left: generated, right: real) and digits.safetensors\n", (options.out / "digits.png").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
