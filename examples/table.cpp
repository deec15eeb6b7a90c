// SPDX-License-Identifier: MIT
// Any CSV of numbers: learns its rows, writes new ones under the same header, and tells how good they are.
#include <array>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "support/columns.hpp"
#include "support/data.hpp"
#include "support/figure.hpp"
#include "support/options.hpp"
#include "support/progress.hpp"
#include "support/stop.hpp"
namespace fm = flowmatch;
namespace colour = support::colour;

namespace {

/// Mean and deviation of each column, generated, held out and trained on, and how far the correlations are apart.
void compare(const std::vector<std::string>& names, const Eigen::MatrixXf& x, const Eigen::MatrixXf& held_out,
             const Eigen::MatrixXf& train) {
  std::printf("\n%-24s %32s   %32s\n%-24s", "", "mean", "deviation", "column");
  for (const char* gap : {" ", "   "}) std::printf("%s%10s %10s %10s", gap, "generated", "held-out", "training");
  for (fm::Index i = 0; i < x.rows(); ++i) {
    const std::array rows = {x.row(i).cast<double>().eval(), held_out.row(i).cast<double>().eval(),
                             train.row(i).cast<double>().eval()};
    std::printf("\n%-24s", names[std::size_t(i)].substr(0, 24).c_str());
    for (const auto& row : rows) std::printf(" %10.4g", row.mean());
    std::printf("  ");
    for (const auto& row : rows) std::printf(" %10.4g", std::sqrt((row.array() - row.mean()).square().mean()));
  }
  const Eigen::MatrixXd of_train = support::correlations(train);
  const auto distance = [&](const Eigen::MatrixXf& rows) {
    return (support::correlations(rows) - of_train).norm() / double(of_train.rows());
  };
  std::printf("\n\ncorrelations, root mean square difference to the training rows: generated %.3f, held-out %.3f\n",
              distance(x), distance(held_out));
}

/// Five columns against each other, in units of their deviation: data grey, generated blue. On the diagonal the
/// quantiles of both.
void draw(const std::vector<std::string>& names, const Eigen::MatrixXf& x, const Eigen::MatrixXf& data,
          const std::filesystem::path& path) {
  const int n = int(std::min<fm::Index>(x.rows(), 5));
  const auto shown = [&](int k) { return n < 2 ? 0 : k * (x.rows() - 1) / (n - 1); };
  const auto pair = [&](const Eigen::MatrixXf& rows, int a, int b) {
    Eigen::MatrixXf points(2, std::min<fm::Index>(rows.cols(), 600));
    points << rows.row(shown(a)).leftCols(points.cols()), rows.row(shown(b)).leftCols(points.cols());
    return points;
  };
  const auto quantiles = [&](Eigen::RowVectorXf row) {
    std::sort(row.begin(), row.end());
    Eigen::RowVectorXf q(100);
    for (fm::Index k = 0; k < 100; ++k) q(k) = row((2 * k + 1) * row.size() / 200);
    return q;
  };
  support::Figure figure(n, n, 190, 190);
  for (int row = 0; row < n; ++row)
    for (int column = 0; column < n; ++column) {
      auto& panel = figure(column, row);
      panel.range({-3, 4}, {-3, 4});
      if (row == column) {
        Eigen::MatrixXf line(2, 2), points(2, 100);
        line << -3, 4, -3, 4;
        points << quantiles(data.row(shown(row))), quantiles(x.row(shown(row)));
        panel.title(names[std::size_t(shown(row))]).polyline(line, {.colour = colour::grey, .size = 0.7});
        panel.scatter(points, {.colour = colour::blue, .size = 1.6});
      } else {
        panel.title(" ").scatter(pair(data, column, row), {.colour = colour::grey, .size = 1.4, .opacity = 0.6});
        panel.scatter(pair(x, column, row), {.colour = colour::blue, .size = 1.2, .opacity = 0.6});
      }
    }
  figure.save(path);
}

}

int main(int argc, char** argv) try {
  std::string csv, label, resume;
  fm::Index rows = 0;
  const auto options = support::parse(
      argc, argv, "Learns the rows of a CSV of numbers and writes new ones.", {.steps = 3000, .file = "samples.csv"},
      [&](CLI::App& app) {
        app.add_option("csv", csv, "the table: a header, then numbers (default: the bundled breast_cancer.csv)");
        app.add_option("--rows", rows, "rows to generate (default: as many as the table has)")
            ->check(support::whole(1, 100'000'000));
        app.add_option("--label", label, "a column of a few whole numbers: the others are learned for each of them");
        app.add_option("--resume", resume, "go on with a training that was stopped, from the file that it left");
      });
  const fm::Table<float> table = fm::load_csv(csv.empty() ? support::data_file("breast_cancer.csv").string() : csv);
  const fm::Index columns = table.values.rows(), samples = table.values.cols(), held_out = samples / 5;
  if (samples < 20) throw std::runtime_error("expected at least 20 rows, got " + std::to_string(samples));
  if (rows == 0) rows = samples;

  // What is not continuous. A label is the condition; the other columns are what the net draws.
  std::vector<std::vector<float>> levels;
  std::vector<fm::Index> drawn;
  fm::Index labelled = -1;
  for (fm::Index i = 0; i < columns; ++i) {
    const std::string& column = table.columns[std::size_t(i)];
    levels.push_back(support::levels(table.values.row(i)));
    const std::size_t count = levels.back().size();
    if (count == 1) std::printf("%s is constant\n", column.c_str());
    if (count > 1) std::printf("%s has %zu levels%s\n", column.c_str(), count, column == label ? " (the label)" : "");
    if (column == label) labelled = i;
    if (column != label) drawn.push_back(i);
  }
  if (!label.empty() && labelled < 0) throw std::runtime_error("--label: there is no column \"" + label + "\"");
  if (labelled >= 0 && levels[std::size_t(labelled)].size() < 2)
    throw std::runtime_error("--label: expected a column of a few whole numbers, \"" + label + "\" is not");
  if (drawn.empty()) throw std::runtime_error("expected a column beside the label");

  // A fifth of the rows is held out: it tells when to stop, and what real new rows score.
  fm::Rng rng(options.seed);
  fm::Epoch shuffle(samples);
  Eigen::MatrixXf all;
  fm::take_columns(table.values, shuffle.draw(rng, samples), all);
  const Eigen::MatrixXf conditions =
      labelled < 0 ? Eigen::MatrixXf(0, samples) : support::one_hot(all.row(labelled), levels[std::size_t(labelled)]);
  Eigen::MatrixXf values(fm::Index(drawn.size()), samples);
  for (std::size_t i = 0; i < drawn.size(); ++i) values.row(fm::Index(i)) = all.row(drawn[i]);
  const Eigen::MatrixXf train = values.rightCols(samples - held_out), fresh = values.leftCols(held_out);
  const Eigen::MatrixXf train_c = conditions.rightCols(samples - held_out), fresh_c = conditions.leftCols(held_out);

  const fm::Normalizer normalizer(train);
  const Eigen::MatrixXf z = normalizer(train), fresh_z = normalizer(fresh);
  fm::VelocityMlp net({.dim = z.rows(),
                       .condition_dim = conditions.rows(),
                       .hidden = {128, 128, 128},
                       .residual = true,
                       .time_frequencies = 4,
                       .zero_output = true},
                      rng);
  fm::Threads team(options.threads);
  fm::Trainer trainer(net,
                      {.steps = options.steps,
                       .batch = 256,
                       .learning_rate = 1e-3,
                       .warmup = 100,
                       .cosine = true,
                       .weight_decay = 0.1,
                       .evaluate_every = std::max(1, options.steps / 60),
                       .keep_best = true},  // a small table is soon known by heart
                      team);
  constexpr fm::Index looks = 8;  // each held-out row at several times, so that the loss is no accident
  Eigen::MatrixXf x0(z.rows(), looks * held_out);
  Eigen::RowVectorXf t(looks * held_out);
  fm::fill_normal(rng, x0);
  fm::fill_uniform(rng, t);
  trainer.hold_out(x0, fresh_z.replicate(1, looks), t, fresh_c.replicate(1, looks));

  if (!resume.empty()) fm::resume(resume, trainer);
  support::Saved saved(trainer,
                       resume.empty() ? options.out / "table.training.safetensors" : std::filesystem::path(resume));
  support::Progress bar(options.steps, "training", int(trainer.state().report.steps));
  const fm::TrainingReport report = trainer.run(z, train_c, rng, [&](const fm::TrainingStep& now) {
    bar.update(int(now.step), now.loss);
    return saved.after_step();
  });
  bar.finish();
  if (const int status = saved.after_run()) return status;
  std::printf("held-out loss %.3f, lowest after step %ld: these weights are kept\n", *report.best_held_out_loss,
              long(report.best_steps));

  // New rows; labels as often as in the data.
  Eigen::MatrixXf c;
  std::vector<fm::Index> like(std::size_t(rows), 0);
  fm::fill_below(rng, samples, std::span(like));
  fm::take_columns(conditions, like, c);
  fm::FlowModel model(net, normalizer, fm::Normalizer<float>::identity(conditions.rows()),
                      fm::description(trainer.path()));
  Eigen::MatrixXf x = fm::sample(model, c, rng, fm::Heun{}, {.steps = 25});
  for (fm::Index i = 0; i < x.rows(); ++i)
    if (const auto& known = levels[std::size_t(drawn[std::size_t(i)])]; !known.empty())
      for (float& value : x.row(i)) value = support::snap(value, known);

  std::vector<std::string> names;
  for (const fm::Index i : drawn) names.push_back(table.columns[std::size_t(i)]);
  compare(names, x, fresh, train);
  const Eigen::MatrixXf new_z = normalizer(x);
  const auto some = [](const Eigen::MatrixXf& m) { return m.leftCols(std::min<fm::Index>(m.cols(), 2000)).eval(); };
  std::printf("energy distance to held-out rows: generated %.4f, training rows %.4f\n",
              fm::energy_distance(some(new_z), fresh_z), fm::energy_distance(some(z), fresh_z));
  const double generated = fm::median_nearest_distance(new_z, z), real = fm::median_nearest_distance(fresh_z, z);
  std::printf("distance to the nearest training row, median: generated %.2f, held-out %.2f: %s\n", generated, real,
              generated >= 0.8 * real ? "new rows, not copies" : "closer than new rows would be, some are copies");

  fm::Table<float> out{table.columns, Eigen::MatrixXf(columns, rows)};
  for (std::size_t i = 0; i < drawn.size(); ++i) out.values.row(drawn[i]) = x.row(fm::Index(i));
  if (labelled >= 0)
    for (fm::Index j = 0; j < rows; ++j) out.values(labelled, j) = all(labelled, like[std::size_t(j)]);
  fm::save_csv(options.file.string(), out);
  fm::save((options.out / "table.safetensors").string(), model);
  draw(names, new_z, z, options.out / "table.svg");
  std::printf("wrote %s, and table.svg (grey: data, blue: generated) and table.safetensors beside it\n",
              options.file.c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
