// SPDX-License-Identifier: MIT
// Published results in the plane, trained again: couplings with and without conditions, beside the papers' figures.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/figure.hpp"
#include "support/options.hpp"
#include "support/problems_2d.hpp"
#include "support/progress.hpp"
#include "support/published_2d.hpp"
#include "support/results.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;
using fm::Index;
using support::Labelled, support::Problem, support::Published, support::Results, support::Spread;

namespace {

/// How the nets of a table are trained: as published, but for averaged weights and, with conditions, plain nets that
/// are a tenth as large.
struct Recipe {
  std::vector<Index> hidden;
  fm::Activation activation;
  fm::TrainerOptions training;
  Index points;   // to train on
  Index coupled;  // samples that are paired at a time
  double sigma;   // noise on the way
};

/// Everything that belongs to a data set and a seed.
struct Sets {
  Labelled data, test;
  Eigen::MatrixXf data_source, test_source;  // as many as test points
  fm::Rng rng;                               // for what else a measure draws

  Sets(const Problem& problem, std::uint64_t seed, Index training, Index n) : rng(seed, 4) {
    fm::Rng first(seed, 2), second(seed, 3);
    data = problem.target(first, training);
    data_source = problem.source(first, n);
    test = problem.target(second, n);
    test_source = problem.source(second, n);
  }
};

/// A table of the report. Its rows are those of Published, in order of problems.
struct Table {
  std::string id;
  std::vector<std::string> measures;  // the first two are those of Published
  std::vector<Problem> problems;
  std::span<const Published> published;
  Recipe recipe;
  int seeds;
  /// What perfect samples would score in each measure, then what measure needs to know of the sets.
  std::function<std::vector<double>(Sets&)> floor = {};
  std::function<std::vector<double>(const fm::VelocityMlp<float>&, const Sets&, const std::vector<double>& floor)>
      measure = {};
};

/// As a part of the name of a file.
std::string underscored(std::string text) {
  std::erase(text, ',');
  std::replace(text.begin(), text.end(), ' ', '_');
  return text;
}

std::string key_of(const Table& table, std::string_view data, std::string_view coupling, std::uint64_t seed) {
  return table.id + ", " + std::string(data) + ", " + std::string(coupling) + ", seed " + std::to_string(seed);
}

fm::VelocityMlp<float> trained_with(const auto& coupling, const Recipe& recipe, const Problem& problem,
                                    const Sets& sets, std::uint64_t seed, fm::Threads& team, const std::string& label) {
  fm::Rng rng(seed);
  fm::VelocityMlp net(
      {.dim = 2, .condition_dim = sets.data.c.rows(), .hidden = recipe.hidden, .activation = recipe.activation}, rng);
  const auto source = [&](fm::Rng& r, Eigen::MatrixXf& x0) { x0 = problem.source(r, x0.cols()); };
  fm::CoupledBatches batches(sets.data.x, sets.data.c, coupling, fm::Rng(seed, 1),
                             {.coupled = recipe.coupled, .ahead = team.size() > 1}, source);
  support::Progress bar(int(recipe.training.steps), label);
  fm::Trainer(net, recipe.training, team, fm::ConstantSigmaPath{{.sigma = recipe.sigma}})
      .run(batches, rng, bar.observer());
  return net;
}

/// The coupling of a row: C2OT is transport within classes, or weighed by the coordinate.
fm::VelocityMlp<float> trained(const Table& table, const Problem& problem, const Sets& sets, std::string_view coupling,
                               std::uint64_t seed, fm::Threads& team, const std::string& label) {
  const auto with = [&](const auto& c) { return trained_with(c, table.recipe, problem, sets, seed, team, label); };
  if (coupling == "independent") return with(fm::IndependentCoupling<float>());
  if (coupling == "OT") return with(fm::OptimalTransport<float>());
  if (problem.name == "class") return with(fm::ClassTransport<float>());
  return with(fm::ConditionalTransport<float>({.ratio = 0.05}));
}

/// Start points, their ways and ends on one panel, and ends over data on another.
void draw(const fm::VelocityMlp<float>& net, const Sets& sets, const std::string& title,
          const std::filesystem::path& path) {
  const Index many = std::min<Index>(1500, sets.test.x.cols()), few = std::min<Index>(150, many);
  std::vector<Eigen::MatrixXf> states;
  const Index stride = sets.test.x.cols() / many;  // moons are in order
  Eigen::MatrixXf data(2, many), c(sets.test.c.rows(), many), moving = sets.test_source.leftCols(many);
  for (Index j = 0; j < many; ++j) data.col(j) = sets.test.x.col(j * stride), c.col(j) = sets.test.c.col(j * stride);
  fm::integrate(net, moving, c, fm::Rk4{}, {.steps = 30}, [&](Index, double, const auto& x) {
    states.emplace_back(2, few);
    for (Index j = 0; j < few; ++j) states.back().col(j) = x.col(j * (many / few));
  });
  support::Figure figure(2, 1, 260, 260);
  figure(0)
      .title(title)
      .trajectories(states, {.colour = colour::grey, .size = 0.6, .opacity = 0.8})
      .scatter(states.front(), {.colour = colour::orange, .size = 1.6})
      .scatter(states.back(), {.colour = colour::blue, .size = 1.6});
  figure(1)
      .title("data and samples")
      .scatter(data, {.colour = colour::grey, .size = 0.8, .opacity = 0.5})
      .scatter(moving, {.colour = colour::blue, .size = 0.8, .opacity = 0.5});
  figure.save(path);
}

/// Mean and deviation of a number over the seeds that are known.
struct Summary : Spread {
  int seeds = 0;
};
Summary summary(const Results& results, const Table& table, const Published& row, std::string_view coupling,
                std::uint64_t seed, std::size_t which) {
  double sum = 0, squares = 0;
  Summary s{};
  for (int k = 0; k < table.seeds; ++k)
    if (const std::string key = key_of(table, row.data, coupling, seed + std::uint64_t(k)); results.has(key)) {
      const double x = results.at(key).at(which);
      ++s.seeds, sum += x, squares += x * x;
    }
  s.mean = sum / std::max(s.seeds, 1);
  s.deviation = std::sqrt(std::max(0.0, squares / std::max(s.seeds, 1) - s.mean * s.mean));
  return s;
}

/// What is known of the table, in markdown.
std::string markdown(const Results& results, const Table& table, std::uint64_t seed) {
  const auto text = [](const Spread& s) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, " %.3f ± %.3f", s.mean, s.deviation);
    return std::string(buffer);
  };
  std::string s = "| data | coupling | seeds |", line = "|---|---|---|";
  for (std::size_t k = 0; k < table.measures.size(); ++k) {
    s += " " + table.measures[k] + (k < 2 ? " | published | floor |" : " |");
    line += k < 2 ? "---|---|---|" : "---|";
  }
  s += "\n" + line + "\n";
  for (const Published& row : table.published) {
    const int seeds = summary(results, table, row, row.coupling, seed, 0).seeds;
    if (seeds == 0) continue;
    s += "| " + std::string(row.data) + " | " + std::string(row.coupling) + " | " + std::to_string(seeds) + " |";
    for (std::size_t k = 0; k < table.measures.size(); ++k) {
      const Summary ours = summary(results, table, row, row.coupling, seed, k);
      const Spread& published = k == 0 ? row.first : row.second;
      s += text(ours);
      if (k < 2) {
        if (ours.mean > published.mean + published.deviation) s += " (worse)";
        s += " |" + text(published) + " |" + text(summary(results, table, row, "floor", seed, k));
      }
      s += " |";
    }
    s += "\n";
  }
  return s;
}

Table flow_table(int steps, Index points, int seeds) {
  Table t{.id = "flow",
          .measures = {"W2", "NPE", "W2 to training data"},
          .problems = support::flow_problems(),
          .published = support::published_flows,
          .recipe = {.hidden = {64, 64, 64},
                     .activation = fm::Activation::selu,
                     .training = {.steps = std::max(1, steps * 19 / 20), .batch = 512, .weight_decay = 1e-5},
                     .points = points,
                     .coupled = 512,
                     .sigma = 0.1},
          .seeds = seeds};
  t.floor = [](Sets& s) -> std::vector<double> {
    const double floor = fm::wasserstein2(s.data.x, s.test.x), all = fm::wasserstein2(s.test_source, s.test.x);
    return {floor, floor * floor / all / all, floor, all};
  };
  t.measure = [](const auto& net, const Sets& s, const std::vector<double>& floor) -> std::vector<double> {
    const fm::OdeOptions grid{.steps = 100};
    const Eigen::MatrixXf x = fm::transport(net, s.test_source, fm::Euler{}, grid);
    const Eigen::MatrixXf again = fm::transport(net, s.data_source, fm::Euler{}, grid);
    const double energy = fm::path_energy(net, s.test_source, fm::Euler{}, grid).energy;
    return {fm::wasserstein2(x, s.test.x), fm::normalized_path_energy(energy, floor.at(3)),
            fm::wasserstein2(again, s.data.x)};
  };
  return t;
}

Table condition_table(int steps, Index points, int seeds) {
  Table t{.id = "condition",
          .measures = {"W2 squared, 1 Euler step", "W2 squared, adaptive"},
          .problems = support::condition_problems(),
          .published = support::published_conditions,
          .recipe = {.hidden = {128, 128, 128},
                     .activation = fm::Activation::gelu,
                     .training = {.steps = steps, .batch = 256, .learning_rate = 3e-4},
                     .points = 100 * points,  // the published nets never see a point twice
                     .coupled = 1024,
                     .sigma = 0},
          .seeds = std::min(seeds, 3)};
  const auto squared = [](const Eigen::MatrixXf& x, const Sets& s) {
    return std::pow(fm::wasserstein2(x, s.test.x), 2);
  };
  t.floor = [=](Sets& s) -> std::vector<double> {
    const double floor = squared(support::perfect_samples(s.test, s.data, s.rng), s);
    return {floor, floor};
  };
  t.measure = [=](const auto& net, const Sets& s, const std::vector<double>&) -> std::vector<double> {
    const fm::DormandPrince solver{.rtol = 1e-4, .atol = 1e-4};
    return {squared(fm::transport(net, s.test_source, s.test.c, fm::Euler{}, {.steps = 1}), s),
            squared(fm::transport(net, s.test_source, s.test.c, solver), s)};
  };
  return t;
}

}

int main(int argc, char** argv) try {
  bool quick = false;
  const auto options = support::parse(
      argc, argv,
      "Trains the nets of two published tables in the plane and prints their figures beside the published ones. Takes "
      "about 40 minutes; started again with the same --out, it goes on with the net at which it was interrupted.",
      {.steps = 20000}, [&](CLI::App& app) {
        app.add_flag("--quick", quick, "one seed, 2,000 points and at most 4,000 steps: some minutes, rough figures");
      });
  const int steps = quick ? std::min(options.steps, 4000) : options.steps, seeds = quick ? 1 : 5;
  const Index points = quick ? 2000 : 10000;
  const Table tables[] = {flow_table(steps, points, seeds), condition_table(steps, points, seeds)};
  Results results(options.out / "benchmark_2d.txt", std::to_string(steps) + " steps, " + std::to_string(points) +
                                                        " points, seeds from " + std::to_string(options.seed));
  fm::Threads team(options.threads);
  int nets = 0, done = 0;
  for (const Table& table : tables) nets += int(table.published.size()) * table.seeds;

  const auto write = [&] {
    std::string report;
    for (const Table& table : tables) report += markdown(results, table, options.seed) + "\n";
    support::write_file(options.out / "benchmark_2d.md", report);
    return report;
  };
  for (int k = 0; k < seeds; ++k)  // all rows by one seed before the next, so that the report is of use early
    for (const Table& table : tables)
      for (const Published& row : table.published) {
        if (k >= table.seeds) continue;
        ++done;
        const std::uint64_t seed = options.seed + std::uint64_t(k);
        const std::string key = key_of(table, row.data, row.coupling, seed);
        const std::string floor = key_of(table, row.data, "floor", seed);
        if (results.has(key)) continue;
        const Problem& problem = *std::find_if(table.problems.begin(), table.problems.end(),
                                               [&](const Problem& p) { return p.name == row.data; });
        Sets sets(problem, seed, table.recipe.points, points);
        if (!results.has(floor)) results.put(floor, table.floor(sets));
        const std::string label = std::to_string(done) + "/" + std::to_string(nets) + " " + key;
        const auto net = trained(table, problem, sets, row.coupling, seed, team, label);
        const std::string title = std::string(row.data) + ", " + std::string(row.coupling);
        if (k == 0) draw(net, sets, title, options.out / underscored(table.id + " " + title + ".svg"));
        results.put(key, table.measure(net, sets, results.at(floor)));
        write();
      }
  std::printf("%swrote %s\n", write().c_str(), (options.out / "benchmark_2d.md").c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
