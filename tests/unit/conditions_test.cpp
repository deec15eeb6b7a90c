// SPDX-License-Identifier: MIT
// The code of docs/conditions.md, run. Each block stands here word for word, and a test compares the two.
#include <flowmatch/flowmatch.hpp>
#include <string>

#include "catch.hpp"
#include "support/document.hpp"

namespace fm = flowmatch;

using test::read_source;
using test::squeezed;

TEST_CASE("the code about conditions and guidance does what it says") {
  fm::Rng rng(42);
  {
    Eigen::MatrixXf actions(2, 300), observations(3, 300);
    fm::fill_normal(rng, actions);
    fm::fill_normal(rng, observations);
    const Eigen::MatrixXf observation = observations.leftCols(1);
    fm::VelocityMlp policy({.dim = 2, .condition_dim = 3, .hidden = {64, 64}}, rng);
    fm::Trainer(policy, {.steps = 100}).run(actions, observations, rng);
    Eigen::MatrixXf action = fm::sample(policy, observation, rng, fm::Heun{}, {.steps = 8});
    CHECK(action.cols() == 1);
  }

  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 1000);
  Eigen::MatrixXf labels(1, 1000);
  for (fm::Index j = 0; j < 1000; ++j) labels(0, j) = data(1, j) > 0.25f;
  {
    Eigen::MatrixXf c = labels.leftCols(100);
    fm::ConditionalVelocityMlp net({.dim = 2, .classes = 2, .hidden = {32, 32}}, rng);
    const Eigen::VectorXf null = net.null_condition();
    fm::drop_condition(rng, 0.1, null, c);
    CHECK((c.array() == 2).any());
    CHECK((c.array() < 2).any());
    fm::Trainer(net, {.steps = 100, .drop_condition = 0.1}).run(data, labels, rng);
    c = labels.leftCols(100);
    const fm::ClassifierFreeGuidance guided(net, {.guidance_scale = 2});
    Eigen::MatrixXf x = fm::sample(guided, c, rng, fm::Heun{}, {.steps = 25});
    CHECK(x.cols() == 100);
  }
  {
    fm::VelocityMlp model({.dim = 2, .hidden = {32, 32}}, rng);
    fm::Trainer(model, {.steps = 500, .batch = 128, .learning_rate = 5e-3, .ema_decay = 0.99}).run(data, rng);
    const auto measured = [](const auto& x1, const auto& t, const auto& /*c*/, auto& g) {
      g.setZero();
      for (fm::Index j = 0; j < x1.cols(); ++j) {
        const float left = 1 - t(j), open = left * left / (left * left + t(j) * t(j));
        g(0, j) = (1.2f - x1(0, j)) / (0.01f + open);  // d/dx1 of log N(1.2; x1, 0.1^2 + open)
      }
    };
    const fm::GradientGuidance steered(model, measured);
    Eigen::MatrixXf fits = fm::sample(steered, 500, rng, fm::Rk4{}, {.steps = 50});
    const Eigen::MatrixXf free = fm::sample(model, 500, rng, fm::Rk4{}, {.steps = 50});
    const auto off = [](const Eigen::MatrixXf& x) { return (x.row(0).array() - 1.2f).abs().mean(); };
    CHECK(off(fits) < 0.3f * off(free));
    fm::GradientGuidance constrained(model, measured, [](double t) { return 5 * (1 - t); });
    CHECK(fm::sample(constrained, 10, rng, fm::Rk4{}, {.steps = 50}).allFinite());
  }
  {
    const Eigen::MatrixXf& moons = data;
    fm::VelocityMlp bridge({.dim = 2, .hidden = {16}}, rng);
    const auto fill = [&](fm::Rng& r, auto& x0, auto& x1, auto& /*c*/) {
      x0 = fm::toy::eight_gaussians(r, x0.cols());
      fm::draw_columns(r, moons, x1);
    };
    fm::Trainer(bridge, {.steps = 100}).run(fill, rng);
    Eigen::MatrixXf moved = fm::transport(bridge, fm::toy::eight_gaussians(rng, 500), fm::Rk4{}, {.steps = 20});
    CHECK(moved.cols() == 500);
  }
}

TEST_CASE("the code about conditions and guidance is what the document shows") {
  const std::string document = read_source("docs/conditions.md"),
                    here = squeezed(read_source("tests/unit/conditions_test.cpp"));
  int blocks = 0;
  for (std::size_t begin = document.find("```cpp\n"); begin != std::string::npos; ++blocks) {
    const std::size_t end = document.find("```\n", begin + 7);
    const std::string block = document.substr(begin + 7, end - begin - 7);
    INFO(block);
    CHECK(here.find(squeezed(block)) != std::string::npos);
    begin = document.find("```cpp\n", end + 4);
  }
  CHECK(blocks == 6);
}
