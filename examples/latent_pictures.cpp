// SPDX-License-Identifier: MIT
// Pictures drawn in the latents of an autoencoder: noise becomes a code of 16 numbers, of a class of one's choice, and
// the decoder makes the picture.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <flowmatch/metric/frechet.hpp>

#include "support/autoencoder.hpp"
#include "support/claims.hpp"
#include "support/contact_sheet.hpp"
#include "support/gaussian.hpp"
#include "support/judge.hpp"
#include "support/labelled.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
#include "support/rounded.hpp"
namespace fm = flowmatch;

int main(int argc, char** argv) try {
  std::filesystem::path file;
  bool quick = false;
  double guidance_scale = 1.25;
  const auto options = support::parse(
      argc, argv, "Trains an autoencoder, then a flow from noise to its codes, class by class, and draws.",
      {.steps = 5000, .threads = 2}, [&](CLI::App& app) {
        app.add_option("--data", file,
                       "square pictures, NAME_x.npy (n x pixels, 0 is background), and beside them their classes 0, "
                       "1, ... in NAME_y.npy (default: the bundled 8 x 8 digits)");
        app.add_option("--guidance", guidance_scale, "1: of the class, above: clearer, less various")
            ->check(CLI::Range(0., 100.))
            ->capture_default_str();
        support::quick_flag(quick)(app);
      });
  fm::Rng rng(options.seed);
  const support::Labelled data = support::load_labelled(file, rng);
  const fm::Index latents = 16, classes = data.classes;
  const int side = int(std::lround(std::sqrt(double(data.train.rows()))));

  // The judge sees real pictures only; its last hidden layer is where the Frechet distance is taken.
  const support::Judge judge(data.train, data.train_labels, classes, rng,
                             {.steps = quick ? 200 : 2500, .weight_decay = 0.05});
  const support::Autoencoder codec(data.train, latents, rng, {.steps = quick ? 300 : 3000, .learning_rate = 2e-3});
  const Eigen::MatrixXf codes = codec.encode(data.train);
  const fm::Normalizer normalizer(codes);
  const Eigen::MatrixXf z = normalizer(codes), held_out_z = normalizer(codec.encode(data.held_out));

  fm::ConditionalVelocityMlp net({.dim = latents,
                                  .classes = classes,
                                  .hidden = {256, 256, 256, 256},
                                  .residual = true,
                                  .time_frequencies = 8,
                                  .zero_output = true},
                                 rng);
  const int steps = quick ? std::min(options.steps, 600) : options.steps;
  fm::Threads team(options.threads);
  fm::Trainer trainer(net,
                      {.steps = steps,
                       .batch = 256,
                       .learning_rate = 1e-3,
                       .warmup = 100,
                       .cosine = true,
                       .drop_condition = 0.1,
                       .ema_decay = quick ? 0.99 : 0.999},
                      team);
  support::Progress bar(steps, "flow");
  trainer.run(z, support::as_condition(data.train_labels), rng, bar.observer());
  bar.finish();

  // A hundred new codes of each class: from the flow, and from a normal distribution fitted to each class.
  std::vector<fm::Index> wanted;
  Eigen::MatrixXf gaussian(latents, 100 * classes);
  for (fm::Index k = 0; k < classes; ++k) {
    wanted.insert(wanted.end(), 100, k);
    gaussian.middleCols(100 * k, 100) = support::Gaussian(support::of_class(z, data.train_labels, k)).draw(rng, 100);
  }
  const fm::ClassifierFreeGuidance guided(net, {.guidance_scale = guidance_scale});
  const Eigen::MatrixXf flow = fm::sample(guided, support::as_condition(wanted), rng, fm::Euler{}, {.steps = 50});

  struct Score {
    double accuracy, frechet, nearest;
  };
  const Eigen::MatrixXf real = judge.features(data.held_out);
  const auto score = [&](const Eigen::MatrixXf& codes_of, const std::vector<fm::Index>& labels) {
    const Eigen::MatrixXf x = codec.decode(normalizer.inverse(codes_of)).cwiseMax(0).cwiseMin(1);
    return Score{judge.accuracy(x, labels), fm::frechet_distance(judge.features(x), real),
                 fm::nearest_samples(codes_of, z).distance.mean()};
  };
  const Score drawn = score(flow, wanted), normal = score(gaussian, wanted),
              decoded = score(held_out_z, data.held_out_labels);
  std::printf("%-34s %10s %10s %22s\n", "", "accuracy", "Frechet", "nearest training code");
  const auto print = [](const char* what, const Score& s) {
    std::printf("%-34s %10.3f %10.2f %22.2f\n", what, s.accuracy, s.frechet, s.nearest);
  };
  print("flow", drawn);
  print("a normal distribution a class", normal);
  print("held-out pictures, there and back", decoded);
  std::printf("%-34s %10.3f\n", "held-out pictures", judge.accuracy(data.held_out, data.held_out_labels));
  std::printf("%-34s %10s %10.2f\n", "training pictures", "", fm::frechet_distance(judge.features(data.train), real));

  // A row of ten for each class: drawn on the left, real on the right.
  Eigen::MatrixXf left(data.train.rows(), 10 * classes), right = left;
  for (fm::Index k = 0; k < classes; ++k) {
    left.middleCols(10 * k, 10) = codec.decode(normalizer.inverse(flow.middleCols(100 * k, 10)));
    right.middleCols(10 * k, 10) = support::of_class(data.train, data.train_labels, k).leftCols(10);
  }
  support::save_contact_sheet(
      options.out / "latent_pictures.png", {left, right},
      {.width = side, .height = side, .columns = 10, .scale = side < 12 ? 4 : 2, .low = 1, .high = 0});
  std::printf("wrote %s (left: drawn, right: real)\n", (options.out / "latent_pictures.png").c_str());

  // What MNIST at 14 x 14 must reach; of other pictures, that it beats the normal distributions and does not copy.
  const bool mnist = std::filesystem::path(file).filename() == "mnist14_x.npy";  // what make_mnist14.py writes
  support::Claims claims(quick);
  claims.at_least("judge's accuracy on drawn pictures", drawn.accuracy, mnist ? 0.96 : normal.accuracy, 0.6,
                  support::rounded(normal.accuracy));
  claims.at_most("Frechet distance", drawn.frechet, (mnist ? 0.7 : 1) * normal.frechet, 1.2 * normal.frechet,
                 support::rounded(normal.frechet));
  claims.at_least("distance to the nearest training code", drawn.nearest, (mnist ? 0.9 : 0.85) * decoded.nearest,
                  0.7 * decoded.nearest, support::rounded(decoded.nearest) + " held-out");
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
