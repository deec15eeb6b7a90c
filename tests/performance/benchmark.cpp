// SPDX-License-Identifier: MIT
// Times one workload of docs/performance.md: `benchmark WORKLOAD THREADS [SECONDS]` measures once, prints a line of
// JSON and does so again for every line of its standard input. The names of the workloads are at the end of this file.
//
// Units: a "step" is one training step, one call of a sampler, or one fill of random numbers.
#include <cstdio>
#include <cstdlib>
#include <flowmatch/flowmatch.hpp>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <type_traits>

#include "limits.hpp"
#if __has_include(<flowmatch/core/threads.hpp>)
#include <flowmatch/core/threads.hpp>
#endif
namespace fm = flowmatch;

namespace {

using Net = fm::VelocityMlp<float>;

#if __has_include(<flowmatch/core/threads.hpp>)
using Team = fm::Threads;
#else
struct Team {
  explicit Team(int) {}
};
#endif
/// Object(arguments..., team), or without the team if there is none. Throws if there is one that Object cannot use.
template <class Object, class... Arguments> Object make(std::optional<Team>& team, const Arguments&... arguments) {
  if constexpr (std::is_constructible_v<Object, const Arguments&..., Team&>) {
    if (team) return Object(arguments..., *team);
  } else {
    if (team) throw std::invalid_argument("this flowmatch does it with one thread");
  }
  return Object(arguments...);
}

struct Run {
  std::string workload;
  int threads;
  double seconds;
  std::optional<Team> team = {};  // for two threads and more
};

/// Of this process alone: getrusage would count what its parent was before exec.
double peak_memory_mb() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "VmHWM:" && status >> word) return std::stod(word) / 1024;
  return 0;
}

/// Times calls of step, `together` of them at a time so that the clock does not count, for the run's seconds; between
/// two measurements of the machine's peak. gflop: of one step, 0 where that means nothing.
void measure(const Run& run, double gflop, int together, const std::function<float()>& step) {
  float loss = 0;
  const auto chunk = [&] {  // seconds
    const double start = limits::seconds();
    for (int k = 0; k < together; ++k) loss = step();
    return limits::seconds() - start;
  };
  const bool slow = chunk() > run.seconds;
  std::string line;
  do {
    const double peak_before = limits::peak_gflops(run.threads);
    if (!slow) chunk();  // threads and caches are warm again
    std::vector<double> times;
    for (const double end = limits::seconds() + run.seconds; limits::seconds() < end || times.size() < (slow ? 1 : 3);)
      times.push_back(chunk() * 1e6 / together);
    const double memory = peak_memory_mb();
    const double peak = std::max(peak_before, limits::peak_gflops(run.threads));
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    std::printf(
        "{\"workload\": \"%s\", \"threads\": %d, \"system\": \"flowmatch\", \"median_us\": %.5g, \"min_us\": %.5g, "
        "\"steps\": %zu, \"gflop\": %.5g, \"gflops\": %.4g, \"fma_peak_gflops\": %.4g, \"fraction_of_fma_peak\": %.3g, "
        "\"peak_rss_mb\": %.1f, \"loss\": %.4g}\n",
        run.workload.c_str(), run.threads, median, times[0], times.size() * std::size_t(together), gflop,
        gflop / median * 1e6, peak, gflop / median * 1e6 / peak, memory, double(loss));
    std::fflush(stdout);
  } while (std::getline(std::cin, line));
}

// --- Training --------------------------------------------------------------------------------------------------------

struct Shape {
  fm::Index dim, width, batch;
  int together;  // steps timed together
};

/// Multiply-adds of a forward pass of one sample.
double multiply_adds(const fm::VelocityMlpOptions& o) {
  double in = double(o.dim + 1 + 2 * o.time_frequencies + o.condition_dim), sum = 0;
  for (const fm::Index width : o.hidden) {
    sum += in * double(width);
    in = double(width);
  }
  return sum + in * double(o.dim);
}

/// Forward and the two backward products; the first layer needs no gradient of its input.
double training_gflop(const fm::VelocityMlpOptions& o, fm::Index batch) {
  const double in = double(o.dim + 1 + 2 * o.time_frequencies + o.condition_dim);
  return 2e-9 * double(batch) * (3 * multiply_adds(o) - in * double(o.hidden[0]));
}

Eigen::MatrixXf normal(fm::Rng& rng, fm::Index rows, fm::Index cols) {
  Eigen::MatrixXf x(rows, cols);
  fm::fill_normal(rng, x);
  return x;
}

/// A step of the program in README.md; calls body(step, gflop of a step).
template <class Body> void with_plain_step(const Shape& shape, std::optional<Team>& team, const Body& body) {
  fm::Rng rng(1);
  const Eigen::MatrixXf data = shape.dim == 2 ? fm::toy::two_moons(rng, 100'000) : normal(rng, shape.dim, 20'000);
  Net net({.dim = shape.dim, .hidden = {shape.width, shape.width, shape.width}}, rng);
  const fm::LinearPath path;
  auto loss = make<fm::FlowMatchingLoss<Net>>(team, net);
  fm::Adam adam(net.parameters(), {.learning_rate = 1e-3});
  Eigen::MatrixXf x0(shape.dim, shape.batch), x1(shape.dim, shape.batch), x_t, u_t;
  Eigen::RowVectorXf t(shape.batch);
  Eigen::VectorXf gradient;
  body(
      [&] {
        fm::draw_columns(rng, data, x1);
        fm::fill_normal(rng, x0);
        fm::fill_uniform(rng, t);
        path.sample(x0, x1, t, x_t, u_t);
        const float value = loss(net, x_t, t, u_t, gradient);
        adam.step(net.parameters(), gradient);
        return value;
      },
      training_gflop(net.options(), shape.batch));
}

void train(Run& run, const Shape& shape) {
  with_plain_step(shape, run.team, [&](auto step, double gflop) { measure(run, gflop, shape.together, step); });
}

/// What the examples train: residual blocks, time features and a condition, AdamW and averaged weights.
const fm::VelocityMlpOptions residual_options = {
    .dim = 16, .condition_dim = 10, .hidden = {256, 256, 256, 256}, .residual = true, .time_frequencies = 8};

void train_residual(Run& run) {
  constexpr fm::Index samples = 20'000, batch = 256;
  fm::Rng rng(1);
  Eigen::MatrixXf data = normal(rng, 16, samples), classes = Eigen::MatrixXf::Zero(10, samples);
  for (fm::Index j = 0; j < samples; ++j) classes(j % 10, j) = 1;
  data.topRows(10) += 2.f * classes;
  Net net(residual_options, rng);
  const fm::LinearPath path;
  auto loss = make<fm::FlowMatchingLoss<Net>>(run.team, net);
  fm::AdamW adam(net.parameters(), {.learning_rate = 1e-3});
  fm::Ema ema(net.parameters());
  fm::Epoch epoch(samples);
  Eigen::MatrixXf x0(16, batch), x1, c, x_t, u_t;
  Eigen::RowVectorXf t(batch);
  Eigen::VectorXf gradient;
  measure(run, training_gflop(residual_options, batch), 20, [&] {
    const auto indices = epoch.draw(rng, batch);
    fm::take_columns(data, indices, x1);
    fm::take_columns(classes, indices, c);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    const float value = loss(net, x_t, t, c, u_t, gradient);
    adam.step(net.parameters(), gradient);
    ema.update(net.parameters());
    return value;
  });
}

// --- Sampling --------------------------------------------------------------------------------------------------------

/// n samples at a time, in place, from the same noise again and again.
template <class Stepper>
void sample(Run& run, const fm::VelocityMlpOptions& options, fm::Index n, fm::Index steps, int together) {
  fm::Rng rng(1);
  const Net net(options, rng);
  const Eigen::MatrixXf x0 = normal(rng, options.dim, n);
  Eigen::MatrixXf c = Eigen::MatrixXf::Zero(options.condition_dim, n), x = x0;
  for (fm::Index j = 0; j < n && options.condition_dim > 0; ++j) c(j % options.condition_dim, j) = 1;
  auto sampler = make<fm::Sampler<Net, Stepper>>(run.team, net, Stepper(), fm::OdeOptions{.steps = steps});
  const double gflop = 2e-9 * double(n * sampler.evaluations()) * multiply_adds(options);
  measure(run, gflop, together, [&] {
    x = x0;
    sampler(c, x);
    return 0.f;
  });
}

/// Net A after 2,000 steps, which all programs read from one file: how many steps an adaptive solver takes is up to it.
Net trained_net() {
  const char* file = std::getenv("FLOWMATCH_BENCHMARK_NET");
  if (!file) throw std::invalid_argument("FLOWMATCH_BENCHMARK_NET names no file: make one by `benchmark net FILE`");
  return fm::load_velocity_mlp(file);
}

constexpr fm::DormandPrince dopri5{.rtol = 1e-5, .atol = 1e-5};

void sample_adaptively(Run& run) {
  fm::Rng rng(1);
  const Eigen::MatrixXf x0 = normal(rng, 2, 10'000);
  Eigen::MatrixXf x = x0;
  const Net net = trained_net();
  auto sampler = make<fm::Sampler<Net, fm::DormandPrince>>(run.team, net, dopri5, fm::OdeOptions());
  sampler(x);
  const double gflop = 2e-9 * double(sampler.report().evaluations()) * multiply_adds(net.options());
  measure(run, gflop, 1, [&] {
    x = x0;
    sampler(x);
    return 0.f;
  });
}

void likelihood(Run& run) {
  fm::Rng rng(5);
  const Eigen::MatrixXf x = fm::toy::two_moons(rng, 1000);
  const Net net = trained_net();
  fm::LikelihoodOptions options;
  if (run.team) options.team = &*run.team;
  measure(run, 0, 1, [&] { return -fm::log_likelihood(net, x, dopri5, options).mean(); });
}

// --- Couplings -------------------------------------------------------------------------------------------------------

/// Pairs 16 batches in turn, costs included.
void couple(Run& run, fm::Index n) {
  fm::Rng rng(1);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 100'000);
  std::vector<Eigen::MatrixXf> x0, x1;
  for (int k = 0; k < 16; ++k) {
    x0.push_back(normal(rng, 2, n));
    fm::draw_columns(rng, data, x1.emplace_back(2, n));
  }
  fm::OptimalTransport coupling;
  std::size_t k = 0;
  if (run.team) throw std::invalid_argument("this flowmatch does it with one thread");
  measure(run, 0, 1, [&] {
    k = (k + 1) % 16;
    return float(coupling(x0[k], x1[k])[0]);
  });
}

/// A, its batch paired by optimal transport.
void train_coupled(Run& run) {
  fm::Rng rng(1);
  fm::CoupledBatches batches(fm::toy::two_moons(rng, 100'000), fm::OptimalTransport{}, fm::Rng(1, 1),
                             {.coupled = 256, .ahead = run.threads > 1});
  Net net({.dim = 2, .hidden = {64, 64, 64}}, rng);
  const fm::LinearPath path;
  fm::FlowMatchingLoss<Net> loss(net);
  fm::Adam adam(net.parameters(), {.learning_rate = 1e-3});
  Eigen::MatrixXf x0(2, 256), x1(2, 256), c(0, 256), x_t, u_t;
  Eigen::RowVectorXf t(256);
  Eigen::VectorXf gradient;
  measure(run, 0, 20, [&] {
    batches(rng, x0, x1, c);
    fm::fill_uniform(rng, t);
    path.sample(x0, x1, t, x_t, u_t);
    const float value = loss(net, x_t, t, u_t, gradient);
    adam.step(net.parameters(), gradient);
    return value;
  });
}

// --- Random numbers, the machine, a whole process --------------------------------------------------------------------

template <class Fill> void fill(Run& run, Fill fill_values) {
  fm::Rng rng(1);
  Eigen::MatrixXf x(1, 16'384);
  measure(run, 0, 20, [&] {
    fill_values(rng, x);
    return x(0, 0);
  });
}

/// Compiler and versions.
void describe() {
#if defined(__clang__)
  constexpr auto compiler = "clang++";
  constexpr int version[] = {__clang_major__, __clang_minor__, __clang_patchlevel__};
#else
  constexpr auto compiler = "g++";
  constexpr int version[] = {__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__};
#endif
  std::printf("{\"compiler\": \"%s %d.%d.%d\", \"eigen\": \"%d.%d.%d\", \"flowmatch\": \"%d.%d.%d\"}\n", compiler,
              version[0], version[1], version[2], EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION,
              FLOWMATCH_VERSION_MAJOR, FLOWMATCH_VERSION_MINOR, FLOWMATCH_VERSION_PATCH);
}

void machine_limits(const Run& run) {
  std::printf("{\"threads\": %d, \"instructions\": \"%s\", \"fma_peak_gflops\": %.4g, \"read_gb_per_s\": {",
              run.threads, limits::widest().name, limits::peak_gflops(run.threads));
  std::printf("\"L2 (0.5 MiB)\": %.3g, \"L3 (4 MiB)\": %.3g, \"memory (256 MiB)\": %.3g}}\n",
              limits::read_gigabytes(run.threads, 512), limits::read_gigabytes(run.threads, 4096),
              limits::read_gigabytes(run.threads, 262'144));
}

const Shape shape_a = {2, 64, 256, 100};
const fm::VelocityMlpOptions net_a = {.dim = 2, .hidden = {64, 64, 64}};

void whole_process(Run& run) {
  with_plain_step(shape_a, run.team, [](auto step, double) {
    float loss = 0;
    for (int k = 0; k < 2000; ++k) loss = step();
    std::printf("{\"loss\": %.4g, \"peak_rss_mb\": %.1f}\n", double(loss), peak_memory_mb());
  });
}

void save_trained_net(const char* file) {
  fm::Rng rng(1);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 100'000);
  Net net(net_a, rng);
  fm::Trainer(net, {.steps = 2000}).run(data, rng);
  fm::save(file, net);
}

const std::map<std::string, void (*)(Run&)> workloads = {
    {"A", [](Run& run) { train(run, shape_a); }},
    {"B",
     [](Run& run) {
       train(run, {2, 256, 1024, 20});
     }},
    {"C",
     [](Run& run) {
       train(run, {64, 512, 1024, 5});
     }},
    {"D",
     [](Run& run) {
       train(run, {784, 1024, 256, 5});
     }},
    {"H", train_residual},
    {"E-euler100", [](Run& run) { sample<fm::Euler>(run, net_a, 10'000, 100, 1); }},
    {"E-rk4", [](Run& run) { sample<fm::Rk4>(run, net_a, 10'000, 25, 1); }},
    {"E-one", [](Run& run) { sample<fm::Euler>(run, net_a, 1, 10, 1000); }},
    {"E-dopri5", sample_adaptively},
    {"F-256", [](Run& run) { couple(run, 256); }},
    {"F-1024", [](Run& run) { couple(run, 1024); }},
    {"F-step", train_coupled},
    {"G-likelihood", likelihood},
    {"H-euler8-1", [](Run& run) { sample<fm::Euler>(run, residual_options, 1, 8, 20); }},
    {"H-euler50-1", [](Run& run) { sample<fm::Euler>(run, residual_options, 1, 50, 5); }},
    {"H-euler8-1000", [](Run& run) { sample<fm::Euler>(run, residual_options, 1000, 8, 1); }},
    {"H-euler50-1000", [](Run& run) { sample<fm::Euler>(run, residual_options, 1000, 50, 1); }},
    {"normal", [](Run& run) { fill(run, [](fm::Rng& rng, Eigen::MatrixXf& x) { fm::fill_normal(rng, x); }); }},
    {"uniform", [](Run& run) { fill(run, [](fm::Rng& rng, Eigen::MatrixXf& x) { fm::fill_uniform(rng, x); }); }},
    {"process", whole_process},  // 2,000 steps of A and out
};

}

int main(int argc, char** argv) try {
  Run run = {argc > 1 ? argv[1] : "", argc > 2 ? std::atoi(argv[2]) : 1, argc > 3 ? std::stod(argv[3]) : 1.0};
  if (run.workload == "net" && argc > 2) return save_trained_net(argv[2]), 0;
  if (run.workload == "describe") return describe(), 0;
  if (run.workload == "limits") return machine_limits(run), 0;
  if (run.threads > 1) run.team.emplace(run.threads);
  int width = 0, batch = 0;
  if (std::sscanf(run.workload.c_str(), "%dx%d", &width, &batch) == 2) {  // training in d = 2, of any width and batch
    train(run, {2, width, batch,
                std::max(1, int(1e-3 / training_gflop({.dim = 2, .hidden = {width, width, width}}, batch)))});
  } else if (const auto workload = workloads.find(run.workload); workload != workloads.end()) {
    workload->second(run);
  } else {
    std::fprintf(
        stderr,
        "usage: benchmark WORKLOAD THREADS [SECONDS]\nWORKLOAD: describe, limits, net (with a FILE), WIDTHxBATCH");
    for (const auto& [name, function] : workloads) std::fprintf(stderr, ", %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "benchmark: %s\n", error.what());
  return 1;
}
