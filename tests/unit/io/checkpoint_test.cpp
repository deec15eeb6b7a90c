// SPDX-License-Identifier: MIT
#include "flowmatch/io/checkpoint.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "flowmatch/coupling/optimal_transport.hpp"
#include "flowmatch/path/further_schedules.hpp"
#include "flowmatch/train/coupled_batches.hpp"
#include "support/files.hpp"
#include "support/golden_checkpoint.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;
using test::Folder, test::read, test::message_of;

namespace {

template <class Scalar> fm::Matrix<Scalar> normals(Index rows, Index columns, std::uint64_t seed = 3) {
  fm::Rng rng(seed);
  return test::normal<Scalar>(rng, rows, columns);
}
/// Nets that differ in their first weights, as in two runs of a program that trains and one that goes on.
template <class Scalar = float> fm::VelocityMlp<Scalar> net_of(std::uint64_t seed, Index condition_dim = 0) {
  fm::Rng rng(seed);
  return {{.dim = 2, .condition_dim = condition_dim, .hidden = {8, 8}, .residual = true, .time_frequencies = 1}, rng};
}

/// All that one sees of a training.
template <class Scalar> struct Outcome {
  fm::Vector<Scalar> parameters, last;
  fm::TrainingReport report;
  fm::Rng rng{0};
  std::vector<double> losses;
  std::string file;
};

/// Trains until `stop` steps are done, from a file if it is not empty, and saves.
template <class Net, class Trainer, class Run>
Outcome<typename Net::Scalar> outcome_of(const Net& net, Trainer& trainer, const Run& run, const std::string& from,
                                         const std::string& to, Index stop) {
  Outcome<typename Net::Scalar> out;
  if (!from.empty()) fm::resume(from, trainer);
  out.rng = fm::Rng(5, 2);
  if (stop > 0)
    out.report = run(trainer, out.rng, [&](const fm::TrainingStep& now) {
      out.losses.push_back(now.loss);
      if (now.step + 1 < stop) return true;
      fm::save(to, trainer);
      out.file = read(to);
      return false;
    });
  fm::save(to, trainer);
  if (!out.losses.empty()) CHECK(out.file == read(to));  // in an observer and behind the run: the same
  out.file = read(to);
  out.parameters = net.parameters();
  out.last = trainer.last();
  return out;
}

/// training(seed, from, to, stop) gives an Outcome. Stops it at every step, and once more on the way to the end.
template <class Training> void check_stops(Index steps, const Training& training) {
  const Folder folder;
  const std::string whole_file = folder / "whole", part = folder / "part", more = folder / "more", end = folder / "end";
  const auto whole = training(1, "", whole_file, steps);
  CHECK(whole.report.steps == steps);
  for (Index stop = 0; stop <= steps; ++stop) {
    CAPTURE(stop);
    const auto before = training(1, "", part, stop);
    const Index second = std::min(stop + 2, steps);
    const auto between = training(7, part, more, second);
    const auto after = training(8, more, end, steps);
    CHECK(after.file == whole.file);
    CHECK(after.parameters == whole.parameters);
    CHECK(after.last == whole.last);
    CHECK(after.report == whole.report);
    CHECK(after.rng == whole.rng);
    auto losses = before.losses;
    losses.insert(losses.end(), between.losses.begin(), between.losses.end());
    losses.insert(losses.end(), after.losses.begin(), after.losses.end());
    CHECK(losses == whole.losses);
  }
}

/// A training on data, with conditions if any.
template <class Scalar, class P = fm::LinearPath, class T = fm::UniformTime>
auto on_data(const fm::TrainerOptions& options, Index condition_dim = 0, int threads = 0, P path = {}, T times = {}) {
  return [=](std::uint64_t seed, const std::string& from, const std::string& to, Index stop) {
    auto net = net_of<Scalar>(seed, condition_dim);
    fm::Threads team(std::max(threads, 1));
    auto trainer = threads ? fm::Trainer<fm::VelocityMlp<Scalar>, P, T>(net, options, team, path, times)
                           : fm::Trainer<fm::VelocityMlp<Scalar>, P, T>(net, options, path, times);
    const auto run = [&](auto& t, fm::Rng& rng, const auto& on_step) {
      return t.run(normals<Scalar>(2, 50), normals<Scalar>(condition_dim, 50, 4), rng, on_step);
    };
    return outcome_of(net, trainer, run, from, to, stop);
  };
}

/// What resuming says, without "flowmatch: path: "; if it fails, trainer and net must stay as they were.
template <class Trainer> std::string complaint(const std::string& path, Trainer& trainer) {
  const Folder folder;
  fm::save(folder / "before", trainer);
  const auto parameters = trainer.net().parameters().eval();
  const std::string message = message_of<std::runtime_error>([&] { fm::resume(path, trainer); });
  if (message == "nothing thrown") return message;
  CHECK(parameters == trainer.net().parameters());
  fm::save(folder / "after", trainer);
  CHECK(read(folder / "before") == read(folder / "after"));
  const std::string start = "flowmatch: " + path + ": ";
  return message.starts_with(start) ? message.substr(start.size()) : message;
}

const std::string different = "expected a training with the trainer's net and options";

}

TEMPLATE_TEST_CASE("a training that stops after any step resumes with the same bits", "[io][training]", float, double) {
  // 13 samples in a step of 40 that are trained on: steps end in the middle of a pass
  check_stops(9, on_data<TestType>({.steps = 9,
                                    .batch = 13,
                                    .warmup = 3,
                                    .cosine = true,
                                    .weight_decay = 0.1,
                                    .clip_norm = 0.5,
                                    .ema_decay = 0.9,
                                    .held_out = 0.2,
                                    .evaluate_every = 2}));
  check_stops(6,
              on_data<TestType>(
                  {.steps = 6, .batch = 70, .ema_decay = 0, .held_out = 0.1, .evaluate_every = 3, .keep_best = true}));
  check_stops(5, on_data<TestType>({.steps = 5, .batch = 20, .learning_rate = 3e-3}, 3));
}

TEST_CASE("threads, paths with noise, and time samplers resume as well", "[io][training]") {
  const fm::TrainerOptions options{.steps = 5, .batch = 300, .held_out = 0.3, .evaluate_every = 2};
  check_stops(5, on_data<float>(options, 1, 2));
  check_stops(5, on_data<float>(options, 0, 0, fm::BridgePath{}, fm::LogitNormalTime{.mean = 0.5}));
  check_stops(5, on_data<float>(options, 0, 0, fm::LipmanPath{}, fm::StratifiedTime{}));
  // with other threads than before
  const Folder folder;
  const std::string one = folder / "one", two = folder / "two", end = folder / "end";
  const auto whole = on_data<float>(options)(1, "", two, 5);
  on_data<float>(options, 0, 2)(1, "", one, 3);
  CHECK(on_data<float>(options)(2, one, end, 5).file == whole.file);
}

TEST_CASE("a training with dropped conditions resumes", "[io][training]") {
  check_stops(5, [](std::uint64_t seed, const std::string& from, const std::string& to, Index stop) {
    fm::Rng init(seed);
    fm::ConditionalVelocityMlp net({.dim = 2, .classes = 3, .vector_dim = 1, .hidden = {8}}, init);
    fm::Trainer trainer(net, {.steps = 5, .batch = 20, .drop_condition = 0.4});
    Eigen::MatrixXf c = normals<float>(2, 50);
    for (Index j = 0; j < 50; ++j) c(0, j) = float(j % 3);
    const auto run = [&](auto& t, fm::Rng& rng, const auto& on_step) {
      return t.run(normals<float>(2, 50), c, rng, on_step);
    };
    return outcome_of(net, trainer, run, from, to, stop);
  });
}

TEST_CASE("a training on coupled batches resumes, also when they are made ahead", "[io][training]") {
  const bool ahead = GENERATE(false, true);
  check_stops(7, [&](std::uint64_t seed, const std::string& from, const std::string& to, Index stop) {
    auto net = net_of(seed);
    fm::Trainer trainer(net, {.steps = 7, .batch = 8});
    const auto run = [&](auto& t, fm::Rng& rng, const auto& on_step) {
      return t.run(fm::CoupledBatches(normals<float>(2, 50), fm::OptimalTransport{}, fm::Rng(9, 1),
                                      {.coupled = 32, .ahead = ahead}),
                   rng, on_step);
    };
    return outcome_of(net, trainer, run, from, to, stop);
  });
}

TEST_CASE("a training on a fill that takes all from the generator resumes, with a held-out set", "[io][training]") {
  check_stops(6, [](std::uint64_t seed, const std::string& from, const std::string& to, Index stop) {
    auto net = net_of(seed);
    fm::Trainer trainer(net, {.steps = 6, .batch = 16, .evaluate_every = 2, .keep_best = true});
    fm::Rng held(6);
    trainer.hold_out(test::normal<float>(held, 2, 20), test::normal<float>(held, 2, 20), test::uniform<float>(held, 20),
                     Eigen::MatrixXf(0, 20));
    const auto run = [&](auto& t, fm::Rng& rng, const auto& on_step) {
      return t.run(
          [](fm::Rng& r, auto& x0, auto& x1, auto&) {
            fm::fill_normal(r, x0);
            fm::fill_uniform(r, x1);
          },
          rng, on_step);
    };
    return outcome_of(net, trainer, run, from, to, stop);
  });
}

TEST_CASE("without a cosine a training continues to more steps, with the bits of the longer one", "[io][training]") {
  const Folder folder;
  const std::string half = folder / "half", end = folder / "end", longer = folder / "longer";
  on_data<float>({.steps = 4, .batch = 13})(1, "", half, 4);
  const auto more = on_data<float>({.steps = 9, .batch = 13})(2, half, end, 9);
  CHECK(more.file == on_data<float>({.steps = 9, .batch = 13})(1, "", longer, 9).file);
  auto net = net_of(1);
  fm::Trainer shorter(net, {.steps = 3, .batch = 13});
  CHECK(complaint(half, shorter) == "flowmatch: Trainer::resume: expected options.steps >= 4, got 3");
}

TEST_CASE("a training's file has the documented names and metadata", "[io][training]") {
  const Folder folder;
  const std::string path = folder / "f";
  on_data<float>({.steps = 4, .batch = 13, .held_out = 0.2, .evaluate_every = 2, .keep_best = true})(1, "", path, 3);
  const fm::Safetensors file = fm::read_safetensors(path);
  const auto net = net_of(1);
  const auto& blocks = net.parameter_blocks();
  REQUIRE(file.tensors.size() == 5 * blocks.size());
  std::size_t i = 0;
  for (const char* prefix : {"", "opt.m.", "opt.v.", "ema.", "best."})
    for (const auto& block : blocks) {
      CHECK(file.tensors[i].name == prefix + block.name);
      CHECK(file.tensors[i++].shape == block.shape);
    }
  std::string keys;
  for (const auto& entry : file.metadata) keys += entry.first + " ";
  CHECK(keys ==
        "kind net dim condition_dim hidden activation residual time_frequencies zero_output path times batch "
        "learning_rate warmup cosine weight_decay clip_norm drop_condition ema_decay held_out evaluate_every keep_best "
        "steps loss held_out_loss best_held_out_loss best_steps seed stream position samples data_checksum "
        "pass_position pass_drawn ");
}

TEST_CASE("a trainer with another net, path or option than the file's is told all that differs", "[io][training]") {
  const Folder folder;
  const std::string path = folder / "f";
  on_data<float>({.steps = 4, .batch = 13, .cosine = true})(1, "", path, 2);
  const auto says = [&](const fm::TrainerOptions& options, auto&& net, auto p, auto t) {
    fm::Trainer<std::decay_t<decltype(net)>, decltype(p), decltype(t)> trainer(net, options, p, t);
    const std::string message = complaint(path, trainer);
    return message.starts_with(different) ? message.substr(different.size()) : message;
  };
  const auto with = [&](const fm::TrainerOptions& options) {
    return says(options, net_of(2), fm::LinearPath{}, fm::UniformTime{});
  };
  const fm::TrainerOptions same{.steps = 4, .batch = 13, .cosine = true};
  const auto changed = [&](const auto& change) {
    fm::TrainerOptions options = same;
    change(options);
    return with(options);
  };
  CHECK(with(same) == "nothing thrown");
  CHECK(changed([](auto& o) { o.batch = 14; }) == "; batch is 14, in the file 13");
  CHECK(changed([](auto& o) { o.steps = 5; }) == "; cosine is 5, in the file 4");
  CHECK(changed([](auto& o) { o.cosine = false; }) == "; cosine is 0, in the file 4");
  CHECK(changed([](auto& o) { o.learning_rate = 0.1; }) == "; learning_rate is 0.1, in the file 0.001");
  CHECK(changed([](auto& o) { o.warmup = 7; }) == "; warmup is 7, in the file 0");
  CHECK(changed([](auto& o) { o.weight_decay = 1e-3; }) == "; weight_decay is 0.001, in the file 0");
  CHECK(changed([](auto& o) { o.clip_norm = 1; }) == "; clip_norm is 1, in the file 0");
  CHECK(changed([](auto& o) { o.ema_decay = 0; }) == "; ema_decay is 0, in the file 0.999");
  CHECK(changed([](auto& o) { o.held_out = 0.5; }) == "; held_out is 0.5, in the file 0");
  CHECK(changed([](auto& o) { o.evaluate_every = 1; }) == "; evaluate_every is 1, in the file 100");
  CHECK(changed([](auto& o) { o.keep_best = true; }) == "; keep_best is 1, in the file 0");
  CHECK(changed([](auto& o) { o.batch = 14, o.warmup = 7; }) ==
        "; batch is 14, in the file 13; warmup is 7, in the file 0");
  fm::Rng rng(1);
  CHECK(says(same, fm::VelocityMlp<float>({.dim = 2, .hidden = {8}, .activation = fm::Activation::gelu}, rng),
             fm::LinearPath{}, fm::UniformTime{}) ==
        "; hidden is 8, in the file 8,8; activation is gelu, in the file silu; residual is 0, in the file 1; "
        "time_frequencies is 0, in the file 1");
  CHECK(
      says(same, fm::ConditionalVelocityMlp<float>({.dim = 2, .hidden = {8}}, rng), fm::LinearPath{}, fm::UniformTime{})
          .starts_with("; net is conditional_velocity_mlp, in the file velocity_mlp; "));
  CHECK(says(same, net_of(2), fm::CosinePath{}, fm::UniformTime{}) == "; path is cosine, in the file linear");
  CHECK(says(same, net_of(2), fm::LinearPath{}, fm::ModeTime{}) == "; times is mode 1.29, in the file uniform");
  CHECK(says(same, net_of<double>(2), fm::LinearPath{}, fm::UniformTime{})
            .starts_with("expected the tensors that the metadata describe; tensor \"layers.0.weight\" should be F64"));
  auto net = net_of(2);
  fm::Trainer trainer(net, same);
  fm::save(folder / "net", net);
  CHECK(complaint(folder / "net", trainer) == "expected \"training\" as metadata \"kind\", got \"velocity_mlp\"");
}

TEST_CASE("a run on other data or with another generator than the file's is refused, and the right one then resumes",
          "[io][training]") {
  const Folder folder;
  const std::string path = folder / "f", end = folder / "end";
  const fm::TrainerOptions options{.steps = 6, .batch = 13};
  const auto whole = on_data<float>(options)(1, "", end, 6);
  on_data<float>(options)(1, "", path, 2);
  auto net = net_of(2);
  fm::Trainer trainer(net, options);
  fm::resume(path, trainer);
  const auto refused = [&](Index samples, fm::Rng rng) {
    return message_of<std::invalid_argument>([&] { trainer.run(normals<float>(2, samples), rng); });
  };
  CHECK(refused(51, fm::Rng(5, 2)) ==
        "flowmatch: Trainer::run: expected the 50 samples of the resumed training, got 51");
  CHECK(message_of<std::invalid_argument>([&] {
          fm::Rng rng(5, 2);
          trainer.run(normals<float>(2, 50, 4), rng);
        }) == "flowmatch: Trainer::run: expected the data of the resumed training, got others of the same size");
  CHECK(refused(50, fm::Rng(6, 2)) ==
        "flowmatch: Trainer::run: expected a generator of seed 5 and stream 2, as of the resumed training, got 6 "
        "and 2");
  CHECK(refused(50, fm::Rng(5, 1)).ends_with("got 5 and 1"));
  CHECK(message_of<std::invalid_argument>([&] {
          fm::Rng rng(5, 2);
          trainer.run([](fm::Rng&, auto&, auto&, auto&) {}, rng);
        }) == "flowmatch: Trainer::run: expected the 50 samples of the resumed training, got 0");
  fm::Rng rng(5, 2);
  trainer.run(normals<float>(2, 50), rng);
  CHECK(net.parameters() == whole.parameters);
}

TEST_CASE("metadata of a training that no training has are refused, each with its fault", "[io][training]") {
  const Folder folder;
  const std::string path = folder / "f";
  on_data<float>({.steps = 4, .batch = 13})(1, "", path, 2);
  const fm::Safetensors whole = fm::read_safetensors(path);
  const auto damaged = [&](const auto& damage) {
    fm::Safetensors file = whole;
    damage(file);
    fm::write_safetensors(path, file);
    auto net = net_of(2);
    fm::Trainer trainer(net, {.steps = 4, .batch = 13});
    return complaint(path, trainer);
  };
  const auto with = [&](const std::string& key, const std::string& value) {
    return damaged([&](fm::Safetensors& file) {
      for (auto& [k, v] : file.metadata)
        if (k == key) v = value;
    });
  };
  for (const char* value : {"", "x", "1x", " 1", "-", "1e", "99999999999999999999"})
    for (const char* key : {"steps", "seed", "position", "samples", "pass_drawn"})
      CHECK(with(key, value) ==
            fm::detail::concat({"expected a number in metadata \"", key, "\", got \"", value, "\""}));
  for (const char* value : {"nan", "inf", "1e999", "one"})
    CHECK(with("loss", value) == fm::detail::concat({"expected a number in metadata \"loss\", got \"", value, "\""}));
  CHECK(with("steps", "-1") == "flowmatch: Trainer::resume: expected state.report.steps >= 0, got -1");
  CHECK(with("samples", "-1") == "flowmatch: Trainer::resume: expected state.samples >= 0, got -1");
  CHECK(damaged([](auto& file) { file.metadata.pop_back(); }) == "expected \"pass_drawn\" in the metadata, found none");
  CHECK(damaged([](auto& file) { file.metadata.emplace_back("more", "x"); }) == "unknown metadata \"more\"");
  CHECK(damaged([](auto& file) { file.tensors.back().name = "x"; }) ==
        "expected the tensors that the metadata describe; no tensor \"ema.layers.2.bias\"; unknown tensor \"x\"");
  CHECK(damaged([](auto&) {}) == "nothing thrown");
}

TEST_CASE("a training of format version 1 resumes for ever", "[io][training]") {
  auto net = test::golden_velocity_mlp();
  fm::Trainer trainer(net, test::golden_options());
  fm::resume(FLOWMATCH_GOLDEN_DIR "/checkpoint/training_1.safetensors", trainer);
  const auto state = trainer.state(), expected = test::golden_state();
  CHECK(state.report == expected.report);
  CHECK(state.weights == expected.weights);
  CHECK(state.m == expected.m);
  CHECK(state.v == expected.v);
  CHECK(state.average == expected.average);
  CHECK(state.best == expected.best);
  CHECK(state.rng == expected.rng);
  CHECK(state.samples == expected.samples);
  CHECK(state.order == expected.order);
  const Folder folder;
  fm::save(folder / "again", trainer);
  CHECK(read(folder / "again") == read(FLOWMATCH_GOLDEN_DIR "/checkpoint/training_1.safetensors"));
}

TEST_CASE("a training's file of a newer format is refused with a clear sentence", "[io][training]") {
  const Folder folder;
  std::string bytes = read(FLOWMATCH_GOLDEN_DIR "/checkpoint/training_1.safetensors");
  const std::string key = "\"flowmatch.format_version\":\"";
  bytes[bytes.find(key) + key.size()] = '2';
  test::write(folder / "f", bytes);
  auto net = test::golden_velocity_mlp();
  fm::Trainer trainer(net, test::golden_options());
  CHECK(complaint(folder / "f", trainer) ==
        "expected format version 1, got \"2\": was the file written by a newer flowmatch?");
}

namespace {

/// v = p_0: a field of one's own, whose parameters have no names.
struct Constant {
  using Scalar = double;
  struct Workspace {};
  Eigen::VectorXd p = Eigen::VectorXd::Zero(1);
  Index dim() const { return 1; }
  Index condition_dim() const { return 0; }
  Eigen::VectorXd& parameters() { return p; }
  const Eigen::VectorXd& parameters() const { return p; }
  void forward(const auto&, const auto&, const auto&, auto&& v, Workspace&) const { v.setConstant(p(0)); }
  void backward(const auto& dv, Workspace&, auto&& gradient) const { gradient(0) += dv.sum(); }
};

}

TEST_CASE("a training of a field of one's own stops and goes on", "[io][training]") {
  check_stops(4, [](std::uint64_t seed, const std::string& from, const std::string& to, Index stop) {
    Constant net;
    net.p(0) = double(seed);
    fm::Trainer trainer(net, {.steps = 4, .batch = 5});
    const auto run = [&](auto& t, fm::Rng& rng, const auto& on_step) {
      return t.run(normals<double>(1, 50), rng, on_step);
    };
    return outcome_of(net, trainer, run, from, to, stop);
  });
}

TEST_CASE("what is not finite is not saved", "[io][training]") {
  const Folder folder;
  auto net = net_of(1);
  fm::Trainer trainer(net, {});
  net.parameters()(3) = std::numeric_limits<float>::infinity();
  CHECK(message_of<std::invalid_argument>([&] { fm::save(folder / "f", trainer); }) ==
        "flowmatch: save: expected finite numbers in state.weights, got inf in row 3, column 0");
  CHECK(folder.files() == 0);
}
