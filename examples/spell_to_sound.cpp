// SPDX-License-Identifier: MIT
// Text by flow matching: from noise to the embeddings of a word's phonemes, given its letters. Symbols are no
// continuous data, and the plain loss does badly on them; a loss of one's own, cross-entropy on which symbol the flow
// will come to (variational flow matching, Eijkelboom et al. 2024), makes it level with a classifier.
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/categorical.hpp"
#include "support/claims.hpp"
#include "support/data.hpp"
#include "support/figure.hpp"
#include "support/fit.hpp"
#include "support/lexicon.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;
constexpr fm::Index places = support::Lexicon::places;

namespace {

/// Output loss: mean over words and places of -log p(the place's symbol). A view of the symbols, places x words.
struct PlaceCrossEntropy {
  const Eigen::MatrixXi& symbols;

  fm::Index samples() const { return symbols.cols(); }
  float operator()(const auto& logits, fm::Index first, auto&& gradient) const {
    const float scale = 1 / float(symbols.size());
    const fm::Index count = logits.rows() / places;
    float value = 0;
    gradient = logits;
    support::softmax(gradient, places);
    for (fm::Index j = 0; j < logits.cols(); ++j)
      for (fm::Index i = 0; i < places; ++i) {
        float& p = gradient(i * count + symbols(i, first + j), j);
        value -= scale * std::log(std::max(p, 1e-30f));
        p -= 1;
      }
    gradient *= scale;
    return value;
  }
};

/// How words make up their mind: the likeliest phoneme of each place as t grows, darker where more certain.
void draw(const support::CategoricalFlow& flow, const support::Lexicon& lexicon, const std::vector<std::string>& words,
          fm::Rng& rng, const std::filesystem::path& path) {
  support::Figure figure(2, int(words.size() + 1) / 2, 330, 190);
  for (std::size_t k = 0; k < words.size(); ++k) {
    const Eigen::MatrixXf c = support::spellings({{words[k], {}}});
    Eigen::MatrixXf x(flow.dim(), 1), certainty(places, 7);
    support::CategoricalFlow::Workspace workspace;
    auto& panel = figure(int(k % 2), int(k / 2));
    panel.title(words[k]).axes("t", "place, the first on top").range({0, 1}, {0, double(places)});
    std::vector<Eigen::MatrixXi> chosen;
    fm::fill_normal(rng, x);
    const auto velocity = [&](const auto& y, const auto& t, const auto& condition, auto& v) {
      flow.forward(y, t, condition, v, workspace);
    };
    fm::integrate(velocity, x, c, fm::Euler{}, {.steps = 56}, [&](fm::Index step, double t, const auto& now) {
      if (step % 8 != 4) return;
      const auto& p = flow.probabilities(now, Eigen::RowVectorXf::Constant(1, float(t)), c, workspace);
      chosen.push_back(support::choose(p, places));
      const auto of_places = p.reshaped(p.rows() / places, places);
      certainty.col(step / 8) = of_places.colwise().maxCoeff().transpose().reverse();
    });
    panel.heatmap(certainty, {0, 1}, {0, double(places)}, {.colour = colour::blue, .opacity = 0.6});
    for (std::size_t column = 0; column < chosen.size(); ++column)
      for (fm::Index i = 0; i < places; ++i)
        panel.text((double(column) + 0.5) / 7, double(places) - double(i) - 0.5,
                   lexicon.symbols[std::size_t(chosen[column](i))]);
  }
  figure.save(path);
}

}

int main(int argc, char** argv) try {
  bool quick = false;
  auto options = support::parse(argc, argv, "Learns to pronounce English words, by flow matching on embeddings.",
                                {.steps = 1500, .threads = 2}, support::quick_flag(quick));
  if (quick) options.steps = std::min(options.steps, 250);
  const support::Lexicon lexicon =
      support::load_lexicon(support::data_file("g2p.csv").string(), support::data_file("g2p_variants.csv").string());
  const Eigen::MatrixXf c = support::spellings(lexicon.train), test_c = support::spellings(lexicon.test);
  const Eigen::MatrixXi y = support::pronunciations(lexicon, lexicon.train);
  const fm::Index count = fm::Index(lexicon.symbols.size()), batch = quick ? 256 : 512;
  const std::vector<fm::Index> hidden(4, quick ? 192 : 384);
  fm::Rng rng(options.seed);
  const auto report = [&](const char* name, const Eigen::MatrixXi& guesses) {
    const support::SpellingScore s = support::score(lexicon, guesses);
    std::printf("%-30s phonemes wrong %.3f, words right %.3f\n", name, s.errors, s.right);
    return s;
  };

  Eigen::MatrixXf batch_c, input;
  Eigen::MatrixXi symbols(places, batch);
  const auto take = [&](std::span<const fm::Index> indices) {
    fm::take_columns(c, indices, batch_c);
    for (std::size_t j = 0; j < indices.size(); ++j) symbols.col(fm::Index(j)) = y.col(indices[j]);
  };

  // The baseline: the net of the flow as a classifier of each place.
  fm::Mlp<float> classifier({.in = c.rows(), .hidden = hidden, .out = places * count, .residual = true}, rng);
  support::fit(classifier, c.cols(), rng,
               {.steps = options.steps, .batch = batch, .learning_rate = 2e-3, .weight_decay = 0.05}, "classifier",
               [&](auto indices, auto& backprop, auto& gradient) {
                 take(indices);
                 return backprop(classifier, batch_c, PlaceCrossEntropy{symbols}, gradient);
               });
  Eigen::MatrixXf p = support::evaluate(classifier, test_c);
  support::softmax(p, places);

  // Random directions as embeddings; phonemes as they occur then have mean 0 and variance 1.
  Eigen::MatrixXf embedding(16, count);
  fm::fill_normal(rng, embedding);
  embedding.colwise().normalize();
  const Eigen::MatrixXf all = support::embed(y, embedding).reshaped(16, y.size());
  const Eigen::VectorXf mean = all.rowwise().mean();
  embedding = (embedding.colwise() - mean) / std::sqrt((all.colwise() - mean).array().square().mean());
  const Eigen::MatrixXf x1 = support::embed(y, embedding);

  // The flow with a loss of its own: the loop of the README, with cross-entropy in place of the velocity's error.
  const fm::Index in = x1.rows() + support::CategoricalFlow::time_rows + c.rows();
  support::CategoricalFlow flow{
      places, embedding,
      fm::Mlp<float>({.in = in, .hidden = hidden, .out = places * count, .residual = true, .zero_output = true}, rng)};
  fm::Threads team(options.threads);
  fm::Backprop backprop(flow.net, team);
  fm::AdamW adam(flow.parameters(), {.weight_decay = 0.05});
  fm::Ema ema(flow.parameters());
  const fm::CosineRate rate{.peak = 2e-3, .warmup = 100, .steps = options.steps};
  fm::Epoch epoch(c.cols());
  const fm::LinearPath path;
  const fm::PowerTime early{.exponent = -0.5};  // symbols are decided early, where noise is
  Eigen::MatrixXf x0(x1.rows(), batch), batch_x1, x_t, u_t;
  Eigen::RowVectorXf t(batch);
  Eigen::VectorXf gradient;
  support::Progress bar(options.steps, "flow, cross-entropy");
  for (int step = 0; step < options.steps; ++step) {
    const auto indices = epoch.draw(rng, batch);
    take(indices);
    fm::take_columns(x1, indices, batch_x1);
    fm::fill_normal(rng, x0);
    early(rng, t);
    path.sample(x0, batch_x1, t, x_t, u_t);
    flow.input(x_t, t, batch_c, input);
    const float value = backprop(flow.net, input, PlaceCrossEntropy{symbols}, gradient);
    adam.options.learning_rate = rate(step);
    adam.step(flow.parameters(), gradient);
    ema.update(flow.parameters());
    bar.update(step, value);
  }
  bar.finish();
  flow.net.set_parameters(ema.parameters());

  // The plain form, the velocity's mean square error, with the same net and data.
  fm::VelocityMlp plain({.dim = x1.rows(),
                         .condition_dim = c.rows(),
                         .hidden = hidden,
                         .residual = true,
                         .time_frequencies = 8,
                         .zero_output = true},
                        rng);
  fm::Trainer trainer(plain,
                      {.steps = options.steps,
                       .batch = batch,
                       .learning_rate = 2e-3,
                       .warmup = 100,
                       .cosine = true,
                       .weight_decay = 0.05},
                      team, path, early);
  support::Progress plain_bar(options.steps, "flow, mean square");
  trainer.run(x1, c, rng, plain_bar.observer());
  plain_bar.finish();

  const auto speak = [&](const auto& field, fm::Index steps) {
    Eigen::MatrixXf x(x1.rows(), test_c.cols());
    fm::fill_normal(rng, x);
    fm::Sampler(field, fm::Euler{}, {.grid = fm::quadratic_grid(steps)}, team)(test_c, x);
    return support::decode(x, embedding);
  };
  std::vector<Eigen::MatrixXi> ten, drawn;
  for (int k = 0; k < 10; ++k) {
    ten.push_back(speak(flow, 16));
    drawn.push_back(support::choose(p, places, &rng));
  }
  const auto likeliest = report("classifier, likeliest", support::choose(p, places));
  const auto one_drawn = report("classifier, one sample", drawn[0]);
  report("classifier, consensus of 10", support::consensus(drawn));
  const auto mean_square = report("flow by mean square, 50 steps", speak(plain, 50));
  for (const fm::Index steps : {1, 4, 16})
    report(("flow, steps: " + std::to_string(steps)).c_str(), speak(flow, steps));
  const auto one = report("flow, steps: 50", speak(flow, 50));
  const auto of_ten = report("flow, consensus of 10", support::consensus(ten));
  std::printf("right within 10 samples: flow %.3f, classifier %.3f\n", support::within(lexicon, ten),
              support::within(lexicon, drawn));

  const std::vector<std::string> shown = {"planet", "eight", "castle", "bowing"};
  draw(flow, lexicon, shown, rng, options.out / "spell_to_sound.svg");
  std::printf("wrote %s\n", (options.out / "spell_to_sound.svg").c_str());

  support::Claims claims(quick);
  claims.at_most("consensus of 10: phonemes wrong", of_ten.errors, 0.125, 0.5,
                 support::worded("classifier", likeliest.errors));
  claims.at_least("consensus of 10: words right", of_ten.right, 0.68, 0.15,
                  support::worded("classifier", likeliest.right));
  claims.at_least("... less the classifier's", of_ten.right - likeliest.right, -0.02, -0.4, "level");
  claims.at_least("one sample: words right", one.right, 0.68, 0.15, support::worded("classifier", one_drawn.right));
  claims.at_least("... less the classifier's", one.right - one_drawn.right, 0, -0.1, "level");
  claims.at_least("... less the plain loss's", one.right - mean_square.right, 0.15, 0.1,
                  support::worded("mean square", mean_square.right));
  return claims.close();
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
