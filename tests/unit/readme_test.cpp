// SPDX-License-Identifier: MIT
// What README.md and docs/contributing.md show, run. Each call in the table of the README stands here word for word,
// and a test compares the two, so that neither can change alone.
#include <cmath>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"

namespace fm = flowmatch;

namespace {

std::string read(const std::string& name) {
  std::ifstream in(std::string(FLOWMATCH_SOURCE_DIR) + "/" + name);
  REQUIRE(in);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Without blanks, so that line breaks do not matter.
std::string squeezed(const std::string& text) {
  std::string kept;
  for (char c : text)
    if (!std::isspace(static_cast<unsigned char>(c))) kept += c;
  return kept;
}

}

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
    fm::Threads team(2);
    fm::FlowMatchingLoss fast(net, team);
    CHECK(fast(net, x_t, t, u_t, gradient) > 0);
  }
  CHECK(fm::sample(net, 1000, rng, fm::Rk4{}, {.steps = 50}).cols() == 1000);
  CHECK(fm::sample(policy, c, rng, fm::Heun{}, {.steps = 10}).cols() == 300);
  Eigen::MatrixXf x = fm::transport(net, x0, fm::Euler{}, {.steps = 20});
  CHECK(fm::transport(net, x, fm::Rk4{}, {.from = 1, .to = 0}).isApprox(x0, 0.05f));
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
  }
  {
    fm::Mlp mlp({.in = 2, .hidden = {8}, .out = 4}, rng);
    const std::vector<fm::Index> labels(300, 1);
    fm::Backprop fit(mlp);
    CHECK(std::abs(fit(mlp, x0, fm::softmax_cross_entropy(labels), gradient) - std::log(4.0f)) < 1);
  }
  CHECK(fm::wasserstein2(x, fresh) > fm::wasserstein2_floor(data, 500, rng));
  CHECK(fm::energy_distance(x, fresh) > 0);
  const std::string npy_file = std::string(FLOWMATCH_SOURCE_DIR) + "/examples/data/digits_x.npy";
  CHECK(fm::load_npy(npy_file).rows() == 64);
  const std::string file = "readme_test.safetensors";
  fm::save(file, net);
  CHECK(fm::load_velocity_mlp(file).parameters() == net.parameters());
  std::remove(file.c_str());
}

TEST_CASE("the calls in the README's table are the calls tested here") {
  const std::string here = squeezed(read("tests/unit/readme_test.cpp"));
  const std::string readme = read("README.md");
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
  const std::string readme = read("README.md"), minimal = read("examples/minimal.cpp");
  const std::size_t begin = readme.find("```cpp\n") + 7;
  const std::string program = readme.substr(begin, readme.find("\n```", begin) + 1 - begin);
  CHECK(program == minimal.substr(minimal.find("#include")));
}

// docs/contributing.md: how to add a path, how to add a stepper.
namespace flowmatch {
struct CosineSchedule {
  template <std::floating_point Scalar> ScheduleValue<Scalar> operator()(Scalar t) const {
    const Scalar half_pi = std::numbers::pi_v<Scalar> / 2, s = std::sin(half_pi * t), c = std::cos(half_pi * t);
    return {s, c, half_pi * c, -half_pi * s};
  }
};
}
namespace flowmatch::table {
struct Ralston {
  static constexpr int order = 2;
  static constexpr std::array<Row<2>, 2> a = {{{}, {2. / 3}}};
  static constexpr Row<2> b = {1. / 4, 3. / 4}, c = {0, 2. / 3};
};
}

TEST_CASE("the path and the stepper that docs/contributing.md adds are the ones tested here, and work") {
  const std::string here = squeezed(read("tests/unit/readme_test.cpp")), guide = read("docs/contributing.md");
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
  fm::AffinePath<fm::CosineSchedule>().sample(x0, x1, Eigen::RowVectorXd::Constant(1, 0.5), x_t, u_t);
  CHECK_THAT(x_t(0, 0), Catch::Matchers::WithinAbs(7 * std::sqrt(0.5), 1e-14));

  const auto error = [](fm::Index steps) {
    Eigen::MatrixXd x = Eigen::MatrixXd::Ones(1, 1);
    fm::integrate([](const auto& y, const auto&, const auto&, auto& v) { v = -y; }, x,
                  fm::RungeKutta<fm::table::Ralston>{}, {.steps = steps});
    return std::abs(x(0, 0) - std::exp(-1.0));
  };
  CHECK_THAT(std::log2(error(64) / error(128)), Catch::Matchers::WithinAbs(2, 0.05));
}
