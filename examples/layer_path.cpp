// SPDX-License-Identifier: MIT
// The way of a sentence through a transformer as one flow: layer l is time l / 6, and the hidden states after each
// layer are the knots of a path. One small net then goes from any layer to any other, forward and backward.
#include <Eigen/LU>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <flowmatch/metric/frechet.hpp>

#include "support/claims.hpp"
#include "support/hidden_states.hpp"
#include "support/options.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

int main(int argc, char** argv) try {
  constexpr fm::Index dim = 48, layers = 6, classes = 16, held_out = 1000;
  bool quick = false;
  const auto options =
      support::parse(argc, argv, "Learns the path of hidden states through the layers of a transformer.",
                     {.steps = 3000, .threads = 2}, support::quick_flag(quick));
  const int steps = quick ? std::min(options.steps, 1000) : options.steps;
  const fm::Index width = quick ? 128 : 256, batch = quick ? 256 : 512;
  fm::Rng rng(options.seed);
  fm::Threads team(options.threads);

  // Glosses of WordNet, and MiniLM's states after the embedding (layer 0) and after each of its 6 layers, one below the
  // other in a column. Each layer without its mean, which any method would know.
  Eigen::MatrixXf states = support::load_states("gloss_layers.npy", (layers + 1) * dim, 2 * held_out);
  const fm::Index n = states.cols() - held_out;
  support::centre_and_scale(states, n);
  std::vector<fm::Index> labels = support::load_classes("gloss_y.npy", states.cols(), classes);
  const std::vector<fm::Index> test_labels(labels.end() - held_out, labels.end());
  labels.resize(std::size_t(n));
  const auto layer = [&](fm::Index l) -> Eigen::MatrixXf { return states.middleRows(l * dim, dim).leftCols(n); };
  const auto truth = [&](fm::Index l) -> Eigen::MatrixXf {
    return states.middleRows(l * dim, dim).rightCols(held_out);
  };

  // The flow. Between two layers the path is straight: x = h_l + s (h_l+1 - h_l) + noise at time t = (l + s) / 6.
  fm::VelocityMlp net(
      {.dim = dim, .hidden = {width, width, width}, .residual = true, .time_frequencies = 8, .zero_output = true}, rng);
  fm::FlowMatchingLoss loss(net, team);
  fm::AdamW adam(net.parameters(), {.weight_decay = 0.1});
  fm::Ema ema(net.parameters(), {.decay = quick ? 0.99 : 0.999});
  const fm::CosineRate rate{.peak = quick ? 3e-3 : 1e-3, .warmup = 100, .steps = steps};
  fm::Epoch epoch(n);
  Eigen::MatrixXf x(dim, batch), u(dim, batch);
  Eigen::RowVectorXf t(batch);
  Eigen::VectorXf gradient;
  support::Progress bar(steps, "flow");
  for (int step = 0; step < steps; ++step) {
    const auto indices = epoch.draw(rng, batch);
    fm::fill_uniform(rng, t);
    for (fm::Index j = 0; j < batch; ++j) {
      const fm::Index l = std::min(fm::Index(float(layers) * t(j)), layers - 1);
      const auto here = states.col(indices[std::size_t(j)]).segment(l * dim, dim),
                 next = states.col(indices[std::size_t(j)]).segment((l + 1) * dim, dim);
      u.col(j) = float(layers) * (next - here);
      x.col(j) = here + (t(j) - float(l) / float(layers)) * u.col(j);
    }
    support::add_noise(rng, 0.3f, x);  // against learning by heart
    const float value = loss(net, x, t, u, gradient);
    adam.options.learning_rate = rate(step);
    adam.step(net.parameters(), gradient);
    ema.update(net.parameters());
    bar.update(step, value);
  }
  bar.finish();
  net.set_parameters(ema.parameters());
  const auto walk = [&](const Eigen::MatrixXf& from_states, fm::Index from, fm::Index to, fm::Index steps_a_layer = 2) {
    return fm::transport(net, from_states, fm::Midpoint{},
                         {.steps = steps_a_layer * std::abs(to - from),
                          .from = double(from) / double(layers),
                          .to = double(to) / double(layers)});
  };

  // Beside it, for each pair of layers a ridge; and a chain of six linear steps, which goes both ways too.
  std::vector<Eigen::MatrixXf> chain;
  for (fm::Index l = 0; l < layers; ++l) chain.push_back(support::linear_step(layer(l), layer(l + 1)));
  const auto linear_walk = [&](Eigen::MatrixXf y, fm::Index from, fm::Index to) {
    for (fm::Index l = from; l < to; ++l) y = (chain[std::size_t(l)] * y).eval();
    for (fm::Index l = from; l > to; --l) y = chain[std::size_t(l - 1)].partialPivLu().solve(y).eval();
    return y;
  };
  struct Figures {
    double cosine, frechet;  // the Frechet distance in units of the layer's variance
  };
  const auto judge = [&](const Eigen::MatrixXf& y, fm::Index l) {
    const Eigen::MatrixXf h = truth(l);
    return Figures{support::mean_cosine(y, h), fm::frechet_distance(y, h) / double(h.squaredNorm() / float(held_out))};
  };
  struct Way {
    Figures flow, ridge, chain;
  };
  std::printf("%12s %26s   %26s\n%12s %8s %8s %8s   %8s %8s %8s\n", "", "cosine", "Frechet / variance", "layers",
              "flow", "ridge", "chain", "flow", "ridge", "chain");
  const auto compare = [&](fm::Index from, fm::Index to) {
    const Eigen::MatrixXf start = truth(from);
    const Way w{judge(walk(start, from, to), to), judge(support::best_ridge(layer(from), layer(to))(start), to),
                judge(linear_walk(start, from, to), to)};
    std::printf("%7d -> %d %8.3f %8.3f %8.3f   %8.3f %8.3f %8.3f\n", int(from), int(to), w.flow.cosine, w.ridge.cosine,
                w.chain.cosine, w.flow.frechet, w.ridge.frechet, w.chain.frechet);
    return w;
  };
  double least = 1;  // of flow - ridge
  Way up{}, down{};
  for (fm::Index l = 1; l <= layers; ++l) {
    up = compare(0, l);
    least = std::min(least, up.flow.cosine - up.ridge.cosine);
  }
  const Way half = compare(3, layers);
  least = std::min(least, half.flow.cosine - half.ridge.cosine);
  for (fm::Index l = layers - 1; l >= 0; --l) down = compare(layers, l);

  // What the flow is not: the best guess of one layer from one other, or a way to a better class.
  const auto net_cosine = [&](fm::Index from) {
    const fm::Mlp<float> guess =
        support::fit_net(layer(from), layer(layers), width, steps / 2, rng, "a net for one pair");
    return judge(support::evaluate(guess, truth(from)), layers).cosine;
  };
  const auto accuracy = [&](const fm::Mlp<float>& head, const Eigen::MatrixXf& y) {
    return support::accuracy(support::evaluate(head, y), test_labels);
  };
  const fm::Mlp<float> head = support::fit_head(layer(layers), labels, classes, rng, "head of layer 6");
  const fm::Mlp<float> probe = support::fit_head(layer(3), labels, classes, rng, "head of layer 3");
  const double copied = accuracy(head, truth(3)), arrived = accuracy(head, walk(truth(3), 3, layers));
  const double net_from_0 = net_cosine(0), net_from_3 = net_cosine(3);
  std::printf("\na net trained for one pair: cosine 0 -> 6 %.3f, 3 -> 6 %.3f: the better guess\n", net_from_0,
              net_from_3);
  std::printf(
      "head of layer 6 on layer 6 %.3f, on what comes from layer 3 by flow %.3f, by ridge %.3f, copied %.3f;\n"
      "a head for layer 3 itself %.3f: no accuracy is gained\n",
      accuracy(head, truth(layers)), arrived, accuracy(head, support::best_ridge(layer(3), layer(layers))(truth(3))),
      copied, accuracy(probe, truth(3)));
  const double back = support::mean_cosine(walk(walk(truth(0), 0, layers), layers, 0), truth(0));
  const double finer = judge(walk(truth(0), 0, layers, 4), layers).cosine;

  // The classes on their way, in the plane where their means differ most after the last layer.
  const Eigen::MatrixXf plane = support::class_plane(layer(layers), labels);
  const double reach = 1.05 * double((plane * truth(layers)).cwiseAbs().maxCoeff());
  support::Figure figure(4, 1, 250, 250);
  const auto show = [&](int panel, const char* title, const Eigen::MatrixXf& y) {
    figure(panel).title(title).range({-reach, reach}, {-reach, reach});
    support::scatter_classes(figure(panel), plane * y, test_labels, panel == 0);
  };
  show(0, "layer 0", truth(0));
  show(1, "layer 6, by the flow from layer 0", walk(truth(0), 0, layers));
  show(2, "layer 6", truth(layers));
  Eigen::MatrixXf moving = truth(0);
  std::vector<Eigen::MatrixXf> means;
  fm::integrate(net, moving, fm::Midpoint{}, {.steps = 4 * layers}, [&](fm::Index, double, const auto& y) {
    means.push_back(plane * support::class_means(y, test_labels));
  });
  figure(3).title("means: flow (lines), layers (dots)").range({-0.7 * reach, 0.7 * reach}, {-0.7 * reach, 0.7 * reach});
  figure(3).trajectories(means, {.colour = colour::grey, .size = 1.2});
  for (fm::Index l = 0; l <= layers; ++l)
    support::scatter_means(figure(3), plane * support::class_means(truth(l), test_labels));
  figure.save(options.out / "layer_path.svg");
  fm::save((options.out / "layer_path.safetensors").string(), net);
  std::printf("wrote %s and layer_path.safetensors\n", (options.out / "layer_path.svg").c_str());

  support::Claims claims(quick);
  const auto against = [&](const std::string& way, const Figures& flow, const Figures& linear, double quick_gain) {
    claims.at_least("cosine " + way + ", more than the chain", flow.cosine - linear.cosine, 0.008, quick_gain,
                    support::worded("of", linear.cosine));
  };
  const auto spread = [&](const std::string& way, const Figures& flow, const Figures& ridge) {
    claims.at_most("Frechet " + way + ", part of ridge's", flow.frechet / ridge.frechet, 0.5, 0.8,
                   support::worded("of", ridge.frechet));
  };
  claims.at_least("cosine 0 -> 1..6, 3 -> 6, more than ridge", least, -0.01, -0.05, "the least of seven");
  spread("0 -> 6", up.flow, up.ridge);
  spread("3 -> 6", half.flow, half.ridge);
  against("0 -> 6", up.flow, up.chain, -0.01);
  against("3 -> 6", half.flow, half.chain, -0.02);
  against("6 -> 0", down.flow, down.chain, -0.02);
  claims.at_least("head from 3, more than a copy", arrived - copied, 0.04, 0.02, support::worded("of", copied));
  claims.at_least("cosine 0 -> 6 -> 0", back, 0.99, 0.98);
  claims.at_most("cosine 0 -> 6, 4 against 2 steps a layer", std::abs(finer - up.flow.cosine), 0.005, 0.005);
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
