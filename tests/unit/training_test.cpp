// SPDX-License-Identifier: MIT
// The whole route, from data to samples: the loop of README.md with a fixed seed, and how far its samples lie.
#include <unistd.h>

#include <filesystem>
#include <flowmatch/flowmatch.hpp>
#include <string>
#include <utility>

#include "catch.hpp"

namespace fm = flowmatch;

namespace {

/// The loop of README.md, with a learning rate that falls to 0 so that the last steps' noise is averaged away.
/// source(rng, x0) fills the start points.
template <class Scalar, class Source>
fm::VelocityMlp<Scalar> train(const fm::Matrix<Scalar>& data, const Source& source, std::uint64_t seed,
                              fm::Index steps) {
  fm::Rng rng(seed, 1);
  fm::VelocityMlp<Scalar> net({.dim = 2, .hidden = {64, 64, 64}}, rng);
  fm::LinearPath path;
  fm::FlowMatchingLoss loss(net);
  fm::Adam adam(net.parameters());
  fm::Matrix<Scalar> x0(2, 256), x1(2, 256), x_t, u_t;
  fm::RowVector<Scalar> t(256);
  fm::Vector<Scalar> gradient;
  for (fm::Index step = 0; step < steps; ++step) {
    adam.options.learning_rate = fm::CosineRate{.peak = 4e-3, .steps = steps}(step);
    fm::draw_columns(rng, data, x1);
    source(rng, x0);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    loss(net, x_t, t, u_t, gradient);
    adam.step(net.parameters(), gradient);
  }
  return net;
}

const auto noise = [](fm::Rng& rng, auto& x0) { fm::fill_normal(rng, x0); };

/// W2 of n generated samples to n fresh points, and of n other fresh points to these: the floor. Means over three sets,
/// for one set's floor varies by a third.
struct Distances {
  double samples = 0, floor = 0;
};
template <class Generate, class Fresh> Distances distances(const Generate& generate, const Fresh& fresh) {
  Distances mean;
  for (int set = 0; set < 3; ++set) {
    const auto points = fresh();
    mean.samples += fm::wasserstein2(generate(), points) / 3;
    mean.floor += fm::wasserstein2(fresh(), points) / 3;
  }
  return mean;
}

}

// Measured with g++ 12 at -O1 for seeds 1 to 5, W2 of 1,000 samples and floor; noise itself lies at 0.9:
//   0.175 0.090   0.178 0.103   0.184 0.089   0.186 0.112   0.162 0.104
// so W2 - floor is 0.077 +- 0.014, at most 0.095. The bound leaves four deviations for other compilers, whose
// rounding makes another run of it.
TEST_CASE("two moons are learned in 2,000 steps to a stated distance", "[training]") {
  fm::Rng rng(1);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 10000);
  const auto net = train<float>(data, noise, 1, 2000);
  const Distances w2 = distances([&] { return fm::sample(net, 1000, rng, fm::Rk4{}, {.steps = 20}); },
                                 [&] { return fm::toy::two_moons(rng, 1000); });
  CAPTURE(w2.samples, w2.floor);
  CHECK(w2.samples < w2.floor + 0.14);
  CHECK(w2.floor < 0.14);  // the measure itself: seeds gave 0.09 to 0.11
}

// Measured likewise, 300 steps, 500 samples: W2 - floor of 0.131, 0.104, 0.142, 0.117, 0.114; W2 itself 0.244 to 0.280.
TEST_CASE("double trains by the same loop", "[training]") {
  fm::Rng rng(1);
  const Eigen::MatrixXd data = fm::toy::two_moons<double>(rng, 10000);
  const auto net = train<double>(data, noise, 1, 300);
  const Distances w2 = distances([&] { return fm::sample(net, 500, rng, fm::Rk4{}, {.steps = 20}); },
                                 [&] { return fm::toy::two_moons<double>(rng, 500); });
  CAPTURE(w2.samples, w2.floor);
  CHECK(w2.samples < w2.floor + 0.22);  // 0.121 +- 0.015, and the floor's own +- 0.02: four deviations
}

// Measured likewise, 1,000 steps, 500 samples: W2 - floor of 0.118, 0.115, 0.049, 0.082, 0.080; W2 itself 0.226 to
// 0.231, and the source at 4.2.
TEST_CASE("a source that is not noise is carried to the data", "[training]") {
  fm::Rng rng(1);
  const Eigen::MatrixXf source = fm::toy::eight_gaussians(rng, 10000), data = fm::toy::two_moons(rng, 10000);
  const auto net = train<float>(
      data, [&](fm::Rng& r, auto& x0) { fm::draw_columns(r, source, x0); }, 1, 1000);
  const Distances w2 =
      distances([&] { return fm::transport(net, fm::toy::eight_gaussians(rng, 500), fm::Rk4{}, {.steps = 20}); },
                [&] { return fm::toy::two_moons(rng, 500); });
  CAPTURE(w2.samples, w2.floor);
  CHECK(w2.samples < w2.floor + 0.2);  // 0.089 +- 0.028: four deviations
}

TEMPLATE_TEST_CASE("the same seed trains and samples to the same bits, another seed does not", "[training]", float,
                   double) {
  const auto run = [](std::uint64_t seed) {
    fm::Rng rng(seed);
    const fm::Matrix<TestType> data = fm::toy::two_moons<TestType>(rng, 1000);
    const auto net = train<TestType>(data, noise, seed, 100);
    const fm::Matrix<TestType> x = fm::sample(net, 100, rng, fm::Heun{}, {.steps = 10});
    return std::pair<fm::Vector<TestType>, fm::Matrix<TestType>>(net.parameters(), x);
  };
  const auto first = run(7), second = run(7), other = run(8);
  CHECK(first.first == second.first);
  CHECK(first.second == second.second);
  CHECK(first.first != other.first);
  CHECK(first.second != other.second);
}

TEST_CASE("a trained net that is saved and loaded samples the same bits", "[training]") {
  fm::Rng rng(4);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 1000);
  const auto net = train<float>(data, noise, 4, 50);
  const std::string path =
      (std::filesystem::temp_directory_path() / ("flowmatch_training_" + std::to_string(::getpid()))).string();
  fm::save(path, net);
  const auto loaded = fm::load_velocity_mlp(path);
  std::filesystem::remove(path);
  fm::Rng a(5), b(5);
  CHECK(fm::sample(net, 200, a, fm::Rk4{}, {.steps = 5}) == fm::sample(loaded, 200, b, fm::Rk4{}, {.steps = 5}));
}
