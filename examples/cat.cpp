// SPDX-License-Identifier: MIT
// A cat from noise: patches of one photograph as a few principal components, drawn for each place of the picture.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/claims.hpp"
#include "support/data.hpp"
#include "support/options.hpp"
#include "support/patches.hpp"
#include "support/pca.hpp"
#include "support/progress.hpp"
#include "support/ridge.hpp"
#include "support/rounded.hpp"
namespace fm = flowmatch;

namespace {

constexpr int side = 10, stride = 5;  // of a patch; from one patch to the next in the whole picture

/// Where a patch sits, as 64 waves over the picture: sines and cosines of random frequencies.
class Waves {
 public:
  Waves(fm::Rng& rng, int last_x, int last_y) : last_(last_x, last_y), frequencies_(64, 2) {
    fm::fill_normal(rng, frequencies_);
    frequencies_ *= 6;
  }
  Eigen::MatrixXf operator()(const support::Places& places) const {
    Eigen::MatrixXf unit(2, places.cols()), waves(128, places.cols());
    for (int i = 0; i < 2; ++i) unit.row(i) = places.row(i).cast<float>().array() * 2 / last_(i) - 1;
    const Eigen::MatrixXf phase = frequencies_ * unit;
    waves << phase.array().sin().matrix(), phase.array().cos().matrix();
    return waves;
  }

 private:
  Eigen::Array2f last_;
  Eigen::MatrixXf frequencies_;
};

/// All places x = 0, step, .. to last_x, and y likewise; `take` chooses among them.
template <class Take> support::Places places(int last_x, int last_y, int step, const Take& take) {
  std::vector<int> xy;
  for (int y = 0; y <= last_y; y += step)
    for (int x = 0; x <= last_x; x += step)
      if (take(x, y)) xy.insert(xy.end(), {x, y});
  return Eigen::Map<support::Places>(xy.data(), 2, fm::Index(xy.size() / 2));
}

}

int main(int argc, char** argv) try {
  bool quick = false;
  const auto options = support::parse(argc, argv, "Learns the patches of a picture of a cat, place by place.",
                                      {.steps = 5000, .threads = 2}, support::quick_flag(quick));
  fm::Rng rng(options.seed);

  // Every patch of the picture but those on a grid of their own, which are held out.
  const support::Picture cat = support::load_half_size(support::data_file("chelsea.npy").string());
  const int last_x = cat.width - side, last_y = cat.height - side;
  const auto aside = [](int x, int y) { return x % side == 4 && y % side == 7; };
  const support::Places train = places(last_x, last_y, 1, [&](int x, int y) { return !aside(x, y); });
  const support::Places held_out = places(last_x, last_y, 1, aside);
  const support::Places whole = places(last_x, last_y, stride, [](int, int) { return true; });

  // 300 numbers of a patch become 32. The condition is where the patch sits.
  const Eigen::MatrixXf patches = support::cut(cat, train, side);
  const fm::Normalizer pca = support::principal_components(patches, 32);
  const Eigen::MatrixXf z = pca(patches);
  const Waves waves(rng, last_x, last_y);
  const Eigen::MatrixXf c = waves(train), where = waves(whole);

  fm::VelocityMlp net({.dim = 32,
                       .condition_dim = c.rows(),
                       .hidden = {256, 256, 256, 256},
                       .residual = true,
                       .time_frequencies = 8,
                       .zero_output = true},
                      rng);
  const int steps = quick ? std::min(options.steps, 200) : options.steps;
  fm::Threads team(options.threads);
  fm::Trainer trainer(net,
                      {.steps = steps,
                       .batch = quick ? 256 : 512,
                       .learning_rate = 2e-3,
                       .warmup = 100,
                       .cosine = true,
                       .ema_decay = quick ? 0.98 : 0.999},
                      team);
  support::Progress bar(steps, "training");
  trainer.run(z, c, rng, bar.observer());
  bar.finish();

  // The whole picture on its way: noise at t = 0, the cat at t = 1.
  const auto picture = [&](const Eigen::MatrixXf& codes) {
    return support::assemble(pca.inverse(codes), whole, side, cat.width, cat.height);
  };
  Eigen::MatrixXf x(32, whole.cols());
  fm::fill_normal(rng, x);
  std::vector<support::Picture> strip;
  fm::integrate(net, x, where, fm::Euler{}, {.steps = 16}, [&](fm::Index i, double, const auto& state) {
    if (i % 4 == 0) strip.push_back(picture(state));
  });
  const auto quality = [&](const support::Picture& p) { return support::psnr(p.pixels, cat.pixels); };

  const support::Ridge ridge(c, z);
  Eigen::MatrixXf mean(32, whole.cols()), new_patches(32, held_out.cols());
  mean.colwise() = z.rowwise().mean();
  fm::fill_normal(rng, new_patches);
  new_patches = fm::transport(net, new_patches, waves(held_out), fm::Euler{}, {.steps = 16});
  const double reached = quality(strip.back()), linear = quality(picture(ridge(where))), flat = quality(picture(mean));
  std::printf(
      "peak signal-to-noise ratio in dB: flow %.1f, ridge %.1f, mean patch %.1f, real patches there and back %.1f\n",
      reached, linear, flat, quality(picture(pca(support::cut(cat, whole, side)))));
  std::printf("patches at places that it was not trained on: %.1f\n",
              support::psnr(pca.inverse(new_patches), support::cut(cat, held_out, side)));

  // The strip: t = 0, 1/4, 1/2, 3/4, 1, and the photograph.
  Eigen::MatrixXf sheet(cat.pixels.size(), 6);
  for (fm::Index j = 0; j < 5; ++j) sheet.col(j) = strip[std::size_t(j)].pixels;
  sheet.col(5) = cat.pixels;
  support::save_contact_sheet(options.out / "cat.png", {sheet},
                              {.width = cat.width, .height = cat.height, .channels = 3, .columns = 3, .scale = 1});
  std::printf("wrote %s (t = 0, 1/4, 1/2, 3/4, 1, and the photograph)\n", (options.out / "cat.png").c_str());

  support::Claims claims(quick);
  claims.at_least("the cat, in dB", reached, 26, 19, support::rounded(flat) + " mean patch");
  claims.at_least("the cat above ridge regression, in dB", reached - linear, 4, -2,
                  support::rounded(linear) + " ridge");
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
