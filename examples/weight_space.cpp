// SPDX-License-Identifier: MIT
// Nets that draw nets: a flow from noise to the weights of digit classifiers, trained on two thousand of them.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/claims.hpp"
#include "support/figure.hpp"
#include "support/gaussian.hpp"
#include "support/labelled.hpp"
#include "support/options.hpp"
#include "support/pca.hpp"
#include "support/progress.hpp"
#include "support/rounded.hpp"
#include "support/small_nets.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

int main(int argc, char** argv) try {
  bool quick = false;
  const auto options = support::parse(argc, argv, "Trains 2,000 small classifiers and a flow over their weights.",
                                      {.steps = 5000, .threads = 2}, support::quick_flag(quick));
  fm::Rng rng(options.seed);
  fm::Threads team(options.threads);

  // Digits as 16 principal components; a third is held out to judge every net by.
  support::Labelled digits = support::load_labelled({}, rng, 1. / 3);
  const fm::Normalizer pixels = support::principal_components(digits.train, 16);
  digits.train = pixels(digits.train);
  digits.held_out = pixels(digits.held_out);

  // The nets start near one of four points and end in four basins, between which averages are of no use.
  const support::SmallNets nets = support::train_small_nets(digits, 4, quick ? 60 : 500, quick ? 150 : 400, rng, team);
  const fm::Index basins = nets.centres.cols();
  const fm::Normalizer pca = support::principal_components(nets.weights, 64);
  const Eigen::MatrixXf z = pca(nets.weights);

  fm::VelocityMlp net(
      {.dim = z.rows(), .hidden = {256, 256, 256}, .residual = true, .time_frequencies = 8, .zero_output = true}, rng);
  const int steps = quick ? std::min(options.steps, 600) : options.steps;
  fm::Trainer trainer(net,
                      {.steps = steps,
                       .batch = 256,
                       .learning_rate = 1e-3,
                       .warmup = 100,
                       .cosine = true,
                       .ema_decay = quick ? 0.99 : 0.999},
                      team);
  support::Progress bar(steps, "flow");
  trainer.run(z, rng, bar.observer());
  bar.finish();

  // 400 new nets, and what else one could make of the 2,000.
  constexpr fm::Index drawn = 400;
  const Eigen::MatrixXf flow_z = fm::sample(net, drawn, rng, fm::Euler{}, {.steps = 50});
  const Eigen::MatrixXf gaussian_z = support::Gaussian(z).draw(rng, drawn);
  const Eigen::MatrixXf flow = pca.inverse(flow_z), gaussian = pca.inverse(gaussian_z);
  const Eigen::MatrixXf soup = nets.weights.rowwise().mean();
  Eigen::MatrixXf a(z.rows(), drawn), b = a;
  fm::draw_columns(rng, z, a);
  fm::draw_columns(rng, z, b);
  const Eigen::MatrixXf halfway = pca.inverse((a + b) / 2), trained = pca.inverse(a);

  const auto judge = [&](const Eigen::MatrixXf& weights) { return support::accuracies(weights, digits, team); };
  const Eigen::RowVectorXf of_flow = judge(flow), of_gaussian = judge(gaussian), of_trained = judge(trained);
  const double of_soup = double(judge(soup).mean());
  const Eigen::RowVectorXf share = support::shares(flow, nets.centres);
  std::printf("accuracy on held-out digits, mean: trained nets %.3f, drawn by the flow %.3f (as an ensemble %.3f)\n",
              double(of_trained.mean()), double(of_flow.mean()), support::ensemble_accuracy(flow, digits));
  std::printf("a normal distribution %.3f, halfway between two trained nets %.3f, the average of all %.3f\n",
              double(of_gaussian.mean()), double(judge(halfway).mean()), of_soup);
  std::printf("the average of each basin, if one knows the basins: %.3f\n", double(judge(nets.centres).mean()));
  std::printf("distance to the nearest trained net, mean: drawn %.2f, of trained nets to another one %.2f\n",
              fm::nearest_samples(flow_z, z).distance.mean(), fm::nearest_samples(a, z).second_distance.mean());
  std::printf("basins of the drawn nets:");
  for (fm::Index k = 0; k < basins; ++k) std::printf(" %.0f %%", 100 * double(share(k)));
  std::printf("\n");

  // The basins in the two directions in which the nets differ most, and the accuracy of each net, best first.
  support::Figure figure(4, 1, 250, 250);
  const char* colours[] = {colour::blue, colour::orange, colour::green, colour::purple};
  const support::Range across = {-11, 11};
  for (int panel = 0; panel < 3; ++panel) {
    const char* titles[] = {"trained nets", "a normal distribution", "drawn by the flow"};
    const Eigen::MatrixXf& shown = panel == 0 ? a : panel == 1 ? gaussian_z : flow_z;
    const std::vector<fm::Index> nearest = support::nearest_centre(pca.inverse(shown), nets.centres);
    figure(panel).title(titles[panel]).range(across, across);
    for (fm::Index k = 0; k < basins; ++k)
      figure(panel).scatter(support::of_class(shown, nearest, k).topRows(2), {.colour = colours[k], .size = 1.4});
  }
  const auto ranked = [](Eigen::RowVectorXf accuracy) {
    std::sort(accuracy.begin(), accuracy.end(), std::greater());
    Eigen::MatrixXf line(2, accuracy.size());
    for (fm::Index j = 0; j < line.cols(); ++j) line.col(j) << 100 * float(j) / float(line.cols() - 1), accuracy(j);
    return line;
  };
  Eigen::MatrixXf level(2, 2);
  level << 0, 100, float(of_soup), float(of_soup);
  figure(3)
      .title("accuracy, best net first")
      .axes("% of the nets", "")
      .polyline(ranked(of_trained), {.colour = colour::black, .label = "trained"})
      .polyline(ranked(of_flow), {.colour = colour::blue, .label = "flow"})
      .polyline(ranked(of_gaussian), {.colour = colour::grey, .label = "normal"})
      .polyline(level, {.colour = colour::vermillion, .label = "average"});
  figure.save(options.out / "weight_space.svg");
  std::printf("wrote %s\n", (options.out / "weight_space.svg").c_str());

  // By how much the average loses depends on the four starts: 0.1 to 0.3.
  const double reached = double(of_flow.mean()), normal = double(of_gaussian.mean());
  support::Claims claims(quick);
  claims.at_least("accuracy of drawn nets", reached, 0.9, 0.7,
                  support::rounded(double(of_trained.mean())) + " trained");
  claims.at_least("above the average of all nets", reached - of_soup, 0.1, -0.05, support::rounded(of_soup));
  claims.at_least("above a normal distribution", reached - normal, 0.1, 0.02, support::rounded(normal));
  claims.at_least("share of the rarest basin", double(share.minCoeff()), 0.15, 0.1);
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
