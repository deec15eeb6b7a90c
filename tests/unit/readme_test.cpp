// SPDX-License-Identifier: MIT
// What README.md and docs/contributing.md show, run. Each call in the table of the README stands here word for word,
// and a test compares the two, so that neither can change alone.
#include <cmath>
#include <cstdio>
#include <flowmatch/data/whitening.hpp>
#include <flowmatch/flowmatch.hpp>
#include <flowmatch/metric/frechet.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/document.hpp"

namespace fm = flowmatch;

using test::read_source;
using test::squeezed;

TEST_CASE("every call in the README's table does what it says") {
  fm::Rng rng(42);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 2000);
  const Eigen::MatrixXf fresh = fm::toy::two_moons(rng, 300);
  Eigen::MatrixXf x0(2, 300), x1(2, 300), x_t, u_t, c(3, 300);
  const Eigen::MatrixXf none(0, 300);
  Eigen::RowVectorXf t(300);
  Eigen::VectorXf gradient;
  fm::draw_columns(rng, data, x1);
  fm::fill_normal(rng, x0);
  fm::fill_uniform(rng, t);
  fm::fill_uniform(rng, c);

  const std::string file = "readme_test.safetensors";
  fm::VelocityMlp net({.dim = 2, .hidden = {16, 16}}, rng);
  fm::VelocityMlp policy({.dim = 2, .condition_dim = 3, .hidden = {16, 16}}, rng);
  fm::LinearPath path;
  path.sample(x0, x1, t, x_t, u_t);
  CHECK(x_t.col(0).isApprox((1 - t(0)) * x0.col(0) + t(0) * x1.col(0)));

  {
    fm::FlowMatchingLoss loss(policy);
    CHECK(loss(policy, x_t, t, c, u_t, gradient) > 0);
  }
  {
    fm::Backprop backprop(net);
    const auto own_loss = [](const auto& y, fm::Index, auto&& dy) {
      dy = y / 300;
      return y.squaredNorm() / 600;
    };
    CHECK(backprop(net, x_t, t, none, own_loss, gradient) > 0);
  }
  fm::FlowMatchingLoss loss(net);
  CHECK(loss(net, x_t, t, u_t, gradient) > 0);
  fm::Adam adam(net.parameters());
  const fm::CosineRate rate{.peak = 1e-3, .warmup = 10, .steps = 100};
  for (int step = 0; step < 3; ++step) adam.options.learning_rate = rate(step);
  const float norm = fm::clip_norm(gradient, 1.0);
  CHECK(gradient.norm() <= std::min(norm, 1.0001f));
  adam.step(net.parameters(), gradient);
  fm::Ema ema(net.parameters());
  ema.update(net.parameters());

  {
    fm::HeldOutLoss held_out(net, path, x0, x1, t, none);
    CHECK(held_out(net) > 0);
    fm::Trainer trainer(net, {.steps = 100, .held_out = 0.1});
    const double before = held_out(net);
    CHECK(trainer.run(data, rng).held_out_loss);
    CHECK(held_out(net) < before);
    fm::save(file, trainer);
    fm::resume(file, trainer);
    CHECK(trainer.state().report.steps == 100);
    fm::Trainer best(net, {.steps = 20, .held_out = 0.1, .keep_best = true});
    CHECK(best.run(data, rng).best_steps > 0);
    int seen = 0;
    const auto on_step = [&](const fm::TrainingStep& now) {
      seen += now.loss > 0;
      if (seen == 10) return false;
      return true;
    };
    CHECK(fm::Trainer(policy, {.steps = 20}).run(x1, c, rng, on_step).steps == 10);
    const auto fill = [&](fm::Rng& r, auto& start, auto& end, auto&) {
      fm::draw_columns(r, data, end);
      fm::fill_normal(r, start);
    };
    CHECK(fm::Trainer(net, {.steps = 20}).run(fill, rng).steps == 20);
  }
  {
    fm::OptimalTransport coupling;
    const std::span<const fm::Index> pairs = coupling(x0, x1);
    CHECK(pairs.size() == 300);
    const std::vector<fm::Index> labels(300, 1);
    fm::ClassTransport of_class;
    CHECK(of_class(x0, x1, labels).size() == 300);
    fm::ConditionalTransport of_c;
    CHECK(of_c(x0, x1, c).size() == 300);
    CHECK(fm::Trainer(net, {.steps = 20})
              .run(fm::CoupledBatches(data, fm::OptimalTransport{}, fm::Rng(42, 1), {.ahead = true}), rng)
              .steps == 20);
    CHECK(fm::Trainer(net, {.steps = 100}, fm::CosinePath{}, fm::StratifiedTime{}).run(data, rng).steps == 100);
    Eigen::MatrixXf v = u_t;
    fm::convert(fm::LinearSchedule{}, fm::Prediction::velocity, fm::Prediction::data, x_t, t, v);
    CHECK(v.isApprox(x1, 1e-4f));
  }
  {
    fm::ConditionalVelocityMlp digits({.dim = 2, .classes = 3, .hidden = {16, 16}}, rng);
    Eigen::MatrixXf c_labels = Eigen::MatrixXf::Ones(1, 300);
    fm::drop_condition(rng, 0.1, digits.null_condition(), c_labels);
    CHECK((c_labels.array() == 3).count() > 0);
    CHECK(
        fm::sample(fm::ClassifierFreeGuidance(digits, {.guidance_scale = 2}), c_labels, rng, fm::Heun{}, {.steps = 10})
            .allFinite());
    const auto likelihood = [](const auto& end, const auto&, const auto&, auto& g) { g = -end; };
    CHECK(fm::sample(fm::GradientGuidance(net, likelihood), 100, rng, fm::Rk4{}, {.steps = 10}).allFinite());
  }
  {
    fm::Threads team(2);
    fm::FlowMatchingLoss fast(net, team);
    CHECK(fast(net, x_t, t, u_t, gradient) > 0);
  }
  CHECK(fm::sample(net, 1000, rng, fm::Rk4{}, {.steps = 50}).cols() == 1000);
  CHECK(fm::sample(net, 1000, rng, fm::DormandPrince{.rtol = 1e-4, .atol = 1e-4}).cols() == 1000);
  CHECK(fm::sample(net, 1000, rng, fm::Midpoint{}, {.grid = fm::shifted_grid(8, 0.5)}).cols() == 1000);
  CHECK(fm::sample_stochastic(net, 1000, rng, fm::SigmaDiffusion{.scale = 1}).allFinite());
  CHECK(fm::solver_table(fm::solver_report(net, x0)).find("Rk4") != std::string::npos);
  CHECK(fm::sample(policy, c, rng, fm::Heun{}, {.steps = 10}).cols() == 300);
  Eigen::MatrixXf x = fm::transport(net, x0, fm::Euler{}, {.steps = 20});
  CHECK(fm::transport(net, x, fm::Rk4{}, {.from = 1, .to = 0}).isApprox(x0, 0.05f));
  CHECK(fm::log_likelihood(net, x1, fm::Rk4{}, {.steps = 50}).allFinite());
  CHECK(fm::log_likelihood(policy, x1, c, rng, fm::Rk4{}, {.probes = 2}).allFinite());
  {
    const auto [samples, log_p] = fm::sample_with_log_likelihood(net, 100, rng, fm::Rk4{});
    CHECK(samples.cols() == 100);
    CHECK(fm::bits_per_dimension(log_p.mean(), 2) > 0);
  }
  {
    const Eigen::MatrixXf dx = Eigen::MatrixXf::Ones(2, 300);
    Eigen::MatrixXf v(2, 300), dv(2, 300);
    fm::VelocityMlp<>::Workspace workspace;
    net.forward(x_t, t, none, v, workspace);
    net.jvp(dx, dv, workspace);
    CHECK(dv.norm() > 0);
  }
  {
    fm::Sampler act(policy, fm::Euler{}, {.steps = 8});
    act(c, x);
  }
  {
    const auto f = [](const auto& y, const auto&, const auto&, auto& v) { v = -y; };
    int seen = 0;
    const auto observe = [&](fm::Index, double, const auto&) { ++seen; };
    fm::integrate(f, x, fm::Midpoint{}, {.steps = 10}, observe);
    CHECK(seen == 11);
    CHECK(fm::try_integrate(f, x, fm::Tsitouras{}, {.to = 2}).reached());
  }
  {
    fm::Mlp mlp({.in = 2, .hidden = {8}, .out = 4}, rng);
    const std::vector<fm::Index> labels(300, 1);
    fm::Backprop fit(mlp);
    CHECK(std::abs(fit(mlp, x0, fm::softmax_cross_entropy(labels), gradient) - std::log(4.0f)) < 1);
  }
  CHECK(fm::wasserstein2(x, fresh) > fm::wasserstein2_floor(data, 500, rng));
  CHECK(fm::energy_distance(x, fresh) > 0);
  {
    const auto [a, b] = fm::disjoint_subsets(data, 500, rng);
    CHECK(fm::energy_distance(x, fresh) > fm::energy_distance(a, b));
    CHECK(fm::sliced_wasserstein2(x, fresh, 100, rng) > fm::sliced_wasserstein2(a, b, 100, rng));
    CHECK(fm::maximum_mean_discrepancy(x, fresh, {fm::median_distance(data)}) >
          fm::maximum_mean_discrepancy(a, b, {fm::median_distance(data)}));
    CHECK(fm::frechet_distance(x, fresh) > fm::frechet_distance(a, b));
  }
  CHECK(fm::memorized_fraction(x, data) < 0.5);
  CHECK(fm::median_nearest_distance(x, data) > 0);
  CHECK(fm::path_energy(net, x0, fm::Rk4{}, {.steps = 50}).energy > 0);
  const std::string npy_file = std::string(FLOWMATCH_SOURCE_DIR) + "/examples/data/digits_x.npy";
  CHECK(fm::load_npy(npy_file).rows() == 64);
  const std::string new_npy_file = "readme_test.npy", csv_file = "readme_test.csv";
  fm::save_npy(new_npy_file, x);
  CHECK(fm::load_npy(new_npy_file) == x);
  fm::save_csv(csv_file, fm::Table{{"x", "y"}, x});
  CHECK(fm::load_csv(csv_file).values == x);
  fm::save(file, net);
  CHECK(fm::load_velocity_mlp(file).parameters() == net.parameters());
  const Eigen::VectorXf trained = net.parameters();
  net.parameters().setZero();
  fm::load_state_dict(file, net);  // the names of its own files are such, too
  CHECK(net.parameters() == trained);
  const std::string header = "readme_test.hpp";
  fm::write_header(header, net, "moons");
  CHECK(std::ifstream(header));
  const fm::Normalizer normalizer(data);
  const Eigen::MatrixXf z = normalizer(data);
  CHECK(normalizer.inverse(z).isApprox(data));
  CHECK(fm::whitening(data, 2)(data).cols() == 2000);
  CHECK(fm::sample(fm::ScheduleTransform(net, fm::CosineSchedule{}, fm::LinearSchedule{}), 10, rng, fm::Rk4{})
            .allFinite());
  CHECK(fm::Trainer(net, {.steps = 20}, fm::NormalizedPath(normalizer)).run(data, rng).steps == 20);
  CHECK(fm::sample(fm::NormalizedField(net, normalizer), 10, rng, fm::Rk4{}).allFinite());
  const fm::BalancedSchedule balanced{};
  CHECK(fm::Trainer(net, {.steps = 20}, fm::NormalizedPath(normalizer, balanced)).run(data, rng).steps == 20);
  CHECK(fm::sample(fm::NormalizedField(net, normalizer, balanced), 10, rng, fm::Rk4{}).allFinite());
  const fm::FlowModel model(net, normalizer);
  CHECK(fm::sample(model, 1000, rng, fm::Rk4{}, {.steps = 50}).cols() == 1000);
  fm::save(file, model);
  CHECK(fm::load_flow_model(file).normalizer.mean == normalizer.mean);
  const fm::ConditionalVelocityMlp classes({.dim = 2, .classes = 3, .hidden = {8}}, rng);
  fm::save(file, fm::FlowModel(classes, normalizer, fm::Normalizer<float>::identity(1)));
  CHECK(fm::load_flow_model<fm::ConditionalVelocityMlp<float>>(file).net.options().classes == 3);
  CHECK(fm::build_info().starts_with("flowmatch "));
  for (const std::string& written : {new_npy_file, csv_file, file, header}) std::remove(written.c_str());
}

TEST_CASE("the calls in the README's table are the calls tested here") {
  const std::string here = squeezed(read_source("tests/unit/readme_test.cpp"));
  const std::string readme = read_source("README.md");
  std::istringstream table(readme.substr(readme.find("| what you want | formula | call |")));
  std::string line;
  int calls = 0;
  std::getline(table, line);
  std::getline(table, line);
  while (std::getline(table, line) && !line.empty()) {
    const std::string cell = line.substr(line.rfind("| `"));
    for (std::size_t begin = cell.find('`'); begin != cell.npos; begin = cell.find('`', begin)) {
      const std::size_t end = cell.find('`', begin + 1);
      const std::string call = cell.substr(begin + 1, end - begin - 1);
      INFO(call);
      CHECK(here.find(squeezed(call)) != here.npos);
      begin = end + 1;
      ++calls;
    }
  }
  CHECK(calls >= 21);

  std::istringstream declarations(readme.substr(readme.find("```\nfm::") + 4));
  while (std::getline(declarations, line) && line != "```") {
    INFO(line);
    CHECK(here.find(squeezed(line.substr(0, line.find("//")))) != here.npos);
    ++calls;
  }
  CHECK(calls >= 27);
}

TEST_CASE("the README's program is examples/minimal.cpp, word for word") {
  const std::string readme = read_source("README.md"), minimal = read_source("examples/minimal.cpp");
  const std::size_t begin = readme.find("```cpp\n") + 7;
  const std::string program = readme.substr(begin, readme.find("\n```", begin) + 1 - begin);
  CHECK(program == minimal.substr(minimal.find("#include")));
}

// docs/contributing.md: how to add a path, how to add a stepper.
namespace flowmatch {
struct ExponentialSchedule {
  template <std::floating_point Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    const Scalar whole = std::expm1(Scalar(1)), alpha = std::expm1(t) / whole, alpha_dot = std::exp(t) / whole;
    return {alpha, 1 - alpha, alpha_dot, -alpha_dot};
  }
};
}
namespace flowmatch::tableau {
struct Ralston {
  static constexpr int order = 2;
  static constexpr std::array<Row<2>, 2> a = {{{}, {2. / 3}}};
  static constexpr Row<2> b = {1. / 4, 3. / 4}, c = {0, 2. / 3};
};
}

TEST_CASE("the path and the stepper that docs/contributing.md adds are the ones tested here, and work") {
  const std::string here = squeezed(read_source("tests/unit/readme_test.cpp")),
                    guide = read_source("docs/contributing.md");
  int blocks = 0;
  for (std::size_t begin = guide.find("```cpp\n"); begin != guide.npos; begin = guide.find("```cpp\n", begin + 7)) {
    const std::string block = guide.substr(begin + 7, guide.find("```", begin + 7) - begin - 7);
    INFO(block);
    CHECK(here.find(squeezed(block)) != here.npos);
    ++blocks;
  }
  CHECK(blocks == 2);

  Eigen::MatrixXd x0(1, 1), x1(1, 1), x_t, u_t;
  x0 << 2;
  x1 << 5;
  fm::AffinePath<fm::ExponentialSchedule>().sample(x0, x1, Eigen::RowVectorXd::Constant(1, 0.5), x_t, u_t);
  const double alpha = 1 / (std::exp(0.5) + 1);  // (e^(1/2) - 1) / (e - 1)
  CHECK_THAT(x_t(0, 0), Catch::Matchers::WithinAbs(2 + 3 * alpha, 1e-14));

  const auto error = [](fm::Index steps) {
    Eigen::MatrixXd x = Eigen::MatrixXd::Ones(1, 1);
    fm::integrate([](const auto& y, const auto&, const auto&, auto& v) { v = -y; }, x,
                  fm::RungeKutta<fm::tableau::Ralston>{}, {.steps = steps});
    return std::abs(x(0, 0) - std::exp(-1.0));
  };
  CHECK_THAT(std::log2(error(64) / error(128)), Catch::Matchers::WithinAbs(2, 0.05));
}
