// SPDX-License-Identifier: MIT
// The code of docs/paths.md, run. Each block stands here word for word, and a test compares the two.
#include <flowmatch/flowmatch.hpp>
#include <string>

#include "catch.hpp"
#include "support/document.hpp"

namespace fm = flowmatch;

using test::read_source;
using test::squeezed;

TEST_CASE("the code about paths and times does what it says") {
  fm::Rng rng(42);
  const Eigen::MatrixXf data = fm::toy::two_moons(rng, 1000);
  fm::VelocityMlp net({.dim = 2, .hidden = {32, 32}}, rng);
  {
    fm::Trainer(net, {.steps = 200}, fm::LinearPath{}, fm::StratifiedTime{}).run(data, rng);
    const fm::VelocityMlp plain = net;
    fm::Trainer(net, {.steps = 200}, fm::CosinePath{}).run(data, rng);
    CHECK(net.parameters() != plain.parameters());
  }
  {
    Eigen::MatrixXf x0(2, 300), x_t, u_t, v(2, 300), none(0, 300);
    Eigen::RowVectorXf t(300);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    fm::CosinePath{}.sample(x0, data.leftCols(300), t, x_t, u_t);
    net(x_t, t, none, v);
    fm::convert(fm::CosineSchedule{}, fm::Prediction::velocity, fm::Prediction::data, x_t, t, v);  // now E[x1 | x_t]
    // better than the mean of the data, which does not look at x_t
    CHECK((v - data.leftCols(300)).squaredNorm() <
          0.8f * (data.leftCols(300).colwise() - data.rowwise().mean()).squaredNorm());
  }
  {
    const fm::ScheduleTransform linear(net, fm::CosineSchedule{}, fm::LinearSchedule{});  // trained on, wanted
    const Eigen::MatrixXf x = fm::sample(linear, 500, rng, fm::Rk4{}, {.steps = 20});
    CHECK(fm::energy_distance(x, data) < 0.2);
  }
  {
    const fm::Normalizer normalizer(data);
    fm::Trainer(net, {.steps = 200}, fm::NormalizedPath(normalizer)).run(data, rng);
    const fm::NormalizedField field(net, normalizer);  // from standard normal noise to data, in the data's units
    const Eigen::MatrixXf x = fm::sample(field, 500, rng, fm::Rk4{}, {.steps = 50});
    const Eigen::RowVectorXf log_p = fm::log_likelihood(field, x, fm::Rk4{}, {.steps = 50});
    CHECK(fm::energy_distance(x, data) < 0.2);
    CHECK(log_p.allFinite());
  }
  {
    const fm::Normalizer normalizer(data);
    const fm::BalancedSchedule balanced{.smallest = 1e-3, .largest = 1e3};
    const fm::NormalizedPath path(normalizer, balanced);
    const fm::NormalizedField field(net, normalizer, balanced);
    fm::Trainer(net, {.steps = 10}, path).run(data, rng);
    CHECK(fm::sample(field, 5, rng, fm::Rk4{}, {.steps = 50}).allFinite());
  }
}

TEST_CASE("the code about paths and times is what the document shows") {
  const std::string document = read_source("docs/paths.md"), here = squeezed(read_source("tests/unit/paths_test.cpp"));
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
