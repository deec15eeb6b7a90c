// SPDX-License-Identifier: MIT
// Simulation-based inference: a flow learns from simulated epidemics alone what counts say about the parameters, and
// then reads the posterior of a real one, the influenza of an English boarding school in 1978, off its 14 numbers.
// Markov chains, which need the likelihood that the flow never sees, are the reference.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/claims.hpp"
#include "support/data.hpp"
#include "support/epidemic.hpp"
#include "support/figure.hpp"
#include "support/metropolis.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
#include "support/ridge.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;
namespace epidemic = support::epidemic;

namespace {

/// How samples of a posterior differ from the reference, in units of the reference's deviation.
struct Comparison {
  double shift = 0, narrowest = 0, widest = 0;  // largest |difference of means|; least and largest ratio of deviations
  double energy = 0;                            // energy distance
};

Comparison compare(const Eigen::MatrixXd& theta, const fm::Normalizer<double>& units, const Eigen::MatrixXd& reference,
                   const char* name) {
  const Eigen::MatrixXd z = units(theta);
  const fm::Normalizer<double> own(z);
  const Comparison c{own.mean.cwiseAbs().maxCoeff(), own.scale.minCoeff(), own.scale.maxCoeff(),
                     fm::energy_distance(z, units(reference))};
  std::printf("%-22s R0 %.2f, %.2f days; off by %.2f sd, sd ratio %.2f to %.2f, energy distance %.4f\n", name,
              (theta.row(0) - theta.row(1)).array().exp().mean(), (-theta.row(1)).array().exp().mean(), c.shift,
              c.narrowest, c.widest, c.energy);
  return c;
}

/// A square root makes the noise of counts even.
Eigen::MatrixXf features(const Eigen::MatrixXd& counts) { return counts.cwiseSqrt().cast<float>(); }

/// Left: the counts and the epidemics of 40 posterior draws. The others: pairs of parameters, chains grey, flow blue.
void draw(const Eigen::VectorXd& counts, const Eigen::MatrixXd& theta, const Eigen::MatrixXd& reference,
          const std::filesystem::path& path) {
  support::Figure figure(3, 1, 260, 260);
  Eigen::MatrixXf points(2, epidemic::days), line = points;
  points << Eigen::RowVectorXf::LinSpaced(epidemic::days, 0, epidemic::days - 1), counts.transpose().cast<float>();
  line.row(0) = points.row(0);
  figure(0).title("influenza in a boarding school").axes("day", "boys in bed");
  for (fm::Index j = 0; j < 40; ++j) {
    const epidemic::Counts mean = epidemic::expected(theta.col(j));
    for (fm::Index day = 0; day < epidemic::days; ++day) line(1, day) = float(mean[std::size_t(day)]);
    figure(0).polyline(line, {.colour = colour::blue, .size = 0.7, .opacity = 0.4});
  }
  figure(0).scatter(points, {.colour = colour::orange, .size = 3, .label = "counted"});

  const auto pair = [](const Eigen::MatrixXd& of, bool noise) {
    const Eigen::ArrayXXd x = of.leftCols(800).array();
    Eigen::MatrixXf xy(2, 800);
    if (noise)
      xy << x.row(2).exp().cast<float>(), x.row(3).exp().cast<float>();
    else
      xy << (x.row(0) - x.row(1)).exp().cast<float>(), (-x.row(1)).exp().cast<float>();
    return xy;
  };
  figure(1).title("posterior").axes("R0", "days infectious").range({2.5, 5.5}, {1.5, 2.7});
  figure(2).title("posterior").axes("infected at the start", "dispersion of the counts").range({0, 6}, {0, 40});
  for (int k = 0; k < 2; ++k) {
    figure(1 + k).scatter(pair(reference, k == 1), {.colour = colour::grey, .size = 1.3, .label = "Markov chains"});
    figure(1 + k).scatter(pair(theta, k == 1), {.colour = colour::blue, .size = 1.1, .opacity = 0.7, .label = "flow"});
  }
  figure.save(path);
}

}

int main(int argc, char** argv) try {
  bool quick = false;
  auto options = support::parse(
      argc, argv, "Infers the parameters of an epidemic from simulations and compares with Markov chains.",
      {.steps = 6000, .threads = 2}, support::quick_flag(quick));
  if (quick) options.steps = std::min(options.steps, 400);
  const Eigen::VectorXd observed = epidemic::load_counts(support::data_file("flu1978.csv").string());
  fm::Rng rng(options.seed);

  // The reference, which evaluates the likelihood. Once more with other numbers: how exact it is itself.
  const auto chains = [&](std::uint64_t stream) {
    fm::Rng own(options.seed, stream);
    const auto density = [&](const Eigen::VectorXd& theta) { return epidemic::log_posterior(theta, observed); };
    return support::metropolis(
        density, epidemic::prior(own, 4000), own,
        {.sweeps = quick ? 400 : 1500, .burn_in = quick ? 200 : 500, .keep_every = quick ? 20 : 100});
  };
  const Eigen::MatrixXd reference = chains(1), again = chains(2);
  const fm::Normalizer<double> units(reference);

  // Simulations: parameters from the prior, and the counts that they lead to.
  const Eigen::MatrixXd theta = epidemic::prior(rng, quick ? 10000 : 40000);
  const Eigen::MatrixXf counts = features(epidemic::simulate(rng, theta)), now = features(observed);
  const fm::Normalizer<float> of_theta(theta.cast<float>()), of_counts(counts);
  const Eigen::MatrixXf z = of_theta(theta.cast<float>()), c = of_counts(counts);

  // What is learned: p(theta | counts), for any counts.
  fm::FlowModel<> posterior(fm::VelocityMlp<float>({.dim = 4,
                                                    .condition_dim = epidemic::days,
                                                    .hidden = {256, 256, 256, 256},
                                                    .residual = true,
                                                    .time_frequencies = 8,
                                                    .zero_output = true},
                                                   rng),
                            of_theta, of_counts);
  fm::Threads team(options.threads);
  fm::Trainer trainer(posterior.net, {.steps = options.steps, .batch = 512, .warmup = 100, .cosine = true}, team);
  support::Progress bar(options.steps, "training");
  trainer.run(z, c, rng, bar.observer());
  bar.finish();
  const auto draws = [&](const Eigen::MatrixXf& of, fm::Index steps) -> Eigen::MatrixXd {
    return fm::sample(posterior, of, rng, fm::Euler{}, {.steps = steps}).cast<double>();
  };
  const Eigen::MatrixXd inferred = draws(now.replicate(1, 2000), 64);

  // Two simple ways to use the same simulations: those nearest to the data, and a linear-Gaussian fit.
  const Eigen::RowVectorXf distance = (c.colwise() - of_counts(now).col(0)).colwise().squaredNorm();
  std::vector<fm::Index> order(std::size_t(theta.cols()));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = fm::Index(i);
  std::sort(order.begin(), order.end(), [&](fm::Index a, fm::Index b) { return distance(a) < distance(b); });
  order.resize(200);
  Eigen::MatrixXd nearest;
  fm::take_columns(theta, order, nearest);
  const support::Ridge ridge(c, z);
  const Eigen::MatrixXf residual = z - ridge(c);
  Eigen::MatrixXf noise(4, 2000);
  fm::fill_normal(rng, noise);
  const Eigen::MatrixXf covariance = residual * residual.transpose() / float(residual.cols());
  const Eigen::MatrixXf linear = (covariance.llt().matrixL() * noise).colwise() + ridge(of_counts(now)).col(0);

  compare(again, units, reference, "Markov chains again");
  const Comparison abc = compare(nearest, units, reference, "nearest simulations");
  const Comparison gauss = compare(of_theta.inverse(linear).cast<double>(), units, reference, "linear-Gaussian");
  for (const fm::Index steps : {4, 16})
    compare(draws(now.replicate(1, 2000), steps), units, reference, steps == 4 ? "flow, 4 steps" : "flow, 16 steps");
  const Comparison flow = compare(inferred, units, reference, "flow, 64 steps");

  // Is it honest for other epidemics? In 300 new ones, how often 90 % intervals hold the truth.
  constexpr fm::Index fresh = 300, ranks = 99;
  const Eigen::MatrixXd truth = epidemic::prior(rng, fresh);
  const Eigen::MatrixXf seen = features(epidemic::simulate(rng, truth));
  Eigen::Array4d covered = Eigen::Array4d::Zero();
  for (fm::Index j = 0; j < fresh; ++j) {
    const Eigen::MatrixXd x = draws(seen.col(j).replicate(1, ranks), quick ? 16 : 64);
    for (fm::Index i = 0; i < 4; ++i) {
      const fm::Index below = (x.row(i).array() < truth(i, j)).count();
      covered(i) += (below >= 5 && below < 95 ? 1.0 : 0.0) / double(fresh);
    }
  }
  std::printf("90 %% intervals hold the truth in %.0f, %.0f, %.0f and %.0f %% of %d new epidemics\n", 100 * covered(0),
              100 * covered(1), 100 * covered(2), 100 * covered(3), int(fresh));

  draw(observed, inferred, reference, options.out / "infer_epidemic.svg");
  fm::save((options.out / "infer_epidemic.safetensors").string(), posterior);
  std::printf("wrote %s and infer_epidemic.safetensors\n", (options.out / "infer_epidemic.svg").c_str());

  const auto others = [](double of_abc, double of_gauss) {
    return support::worded("nearest", of_abc) + support::worded(", linear-Gaussian", of_gauss);
  };
  support::Claims claims(quick);
  claims.at_most("difference of means, sd", flow.shift, 0.3, 1.0, others(abc.shift, gauss.shift));
  claims.at_least("ratio of deviations, least", flow.narrowest, 0.8, 0.5, others(abc.narrowest, gauss.narrowest));
  claims.at_most("ratio of deviations, largest", flow.widest, 1.25, 2.5, others(abc.widest, gauss.widest));
  claims.at_most("energy distance / nearest", flow.energy / abc.energy, 0.5, 1.0, others(1, gauss.energy / abc.energy));
  claims.at_least("coverage of 90 % intervals", covered.minCoeff(), 0.8, 0.7, "0.9 is exact");
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
