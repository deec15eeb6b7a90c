// SPDX-License-Identifier: MIT
#include "flowmatch/sample/flow_model.hpp"

#include <cmath>

#include "catch.hpp"
#include "flowmatch/data/whitening.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

template <class F> std::string invalid_argument_of(const F& f) { return test::message_of<std::invalid_argument>(f); }

/// Data of some odd units.
template <class Scalar> fm::Matrix<Scalar> measured(Index rows, std::uint64_t seed) {
  fm::Rng rng(seed);
  fm::Matrix<Scalar> x = test::normal<Scalar>(rng, rows, 100);
  for (Index row = 0; row < rows; ++row) {
    x.row(row) *= std::pow(Scalar(10), Scalar(3 * row - 3));
    x.row(row).array() += Scalar(row);
  }
  x.row(rows - 1) += x.row(0);
  return x;
}

}

TEMPLATE_TEST_CASE("a model's samples are those of its net, brought back by hand, to the bit", "[sample]", float,
                   double) {
  fm::Rng rng(6);
  const fm::Matrix<TestType> x = measured<TestType>(3, 1);
  const fm::FlowModel model{fm::VelocityMlp<TestType>({.dim = 3, .hidden = {8}}, rng), fm::Normalizer(x)};
  const fm::FlowModel whitened{fm::VelocityMlp<TestType>({.dim = 2, .hidden = {8}}, rng), fm::whitening(x, 2)};
  const auto check = [](const auto& m) {
    fm::Rng a(7), b(7);
    const fm::Matrix<TestType> samples = fm::sample(m, 200, a, fm::Heun{}, {.steps = 5});
    CHECK(samples == m.normalizer.inverse(fm::sample(m.net, 200, b, fm::Heun{}, {.steps = 5})));
    CHECK(samples.rows() == 3);
    const fm::Tsitouras adaptive{.rtol = 1e-3, .atol = 1e-3};
    CHECK(fm::sample(m, 9, a, adaptive) == m.normalizer.inverse(fm::sample(m.net, 9, b, adaptive)));
    CHECK(a == b);
  };
  check(model);
  check(whitened);
}

TEMPLATE_TEST_CASE("a model takes conditions in their own units, as if normalised by hand, to the bit", "[sample]",
                   float, double) {
  fm::Rng rng(6), a(7), b(7);
  const fm::Matrix<TestType> c = measured<TestType>(3, 2);
  const fm::FlowModel model{fm::VelocityMlp<TestType>({.dim = 2, .condition_dim = 2, .hidden = {8}}, rng),
                            fm::Normalizer(measured<TestType>(2, 1)), fm::whitening(c, 2)};
  const fm::Matrix<TestType> by_hand =
      model.normalizer.inverse(fm::sample(model.net, model.condition_normalizer(c), b, fm::Rk4{}, {.steps = 3}));
  CHECK(fm::sample(model, c, a, fm::Rk4{}, {.steps = 3}) == by_hand);
  CHECK(a == b);
}

TEMPLATE_TEST_CASE("a net that stands still samples the mean and deviation of the data", "[sample]", float, double) {
  // v = 0 leaves the noise as it is, which is what normalised data looks like to the first two moments.
  fm::Rng rng(9);
  const fm::Matrix<TestType> x = measured<TestType>(2, 1);
  const fm::FlowModel model{fm::VelocityMlp<TestType>({.dim = 2, .hidden = {4}, .zero_output = true}, rng),
                            fm::Normalizer(x)};
  const fm::Matrix<double> samples = fm::sample(model, 40000, rng, fm::Euler{}, {.steps = 1}).template cast<double>();
  for (Index row = 0; row < 2; ++row) {
    const double mean = double(model.normalizer.mean(row)), scale = double(model.normalizer.scale(row));
    CHECK(std::abs(samples.row(row).mean() - mean) < 5 * scale / 200);  // five standard errors of 40,000 numbers
    const double deviation = std::sqrt((samples.row(row).array() - mean).square().mean());
    CHECK(std::abs(deviation / scale - 1) < 5 / std::sqrt(2 * 40000.0));
  }
}

TEMPLATE_TEST_CASE("a model whose parts do not fit is refused before it takes a random number", "[sample]", float,
                   double) {
  fm::Rng rng(1);
  const fm::VelocityMlp<TestType> net({.dim = 2, .hidden = {4}}, rng),
      conditional({.dim = 2, .condition_dim = 3, .hidden = {4}}, rng);
  const fm::Normalizer of_2(measured<TestType>(2, 1)), of_3(measured<TestType>(3, 1));
  const fm::Rng before = rng;
  CHECK(invalid_argument_of([&] { fm::FlowModel(net, of_3); }) ==
        "flowmatch: FlowModel: expected 2 rows in normalizer(x), got 3");
  CHECK(invalid_argument_of([&] { fm::FlowModel(conditional, of_2); }) ==
        "flowmatch: FlowModel: expected 3 rows in condition_normalizer(c), got 0");
  fm::FlowModel model{net, of_2}, steered{conditional, of_2, of_3};
  model.normalizer = of_3;
  CHECK(invalid_argument_of([&] { fm::sample(model, 1, rng, fm::Euler{}); }) ==
        "flowmatch: sample: expected 2 rows in normalizer(x), got 3");
  model.normalizer = of_2;
  model.condition_normalizer = of_3;
  CHECK(invalid_argument_of([&] { fm::sample(model, 1, rng, fm::Euler{}); }) ==
        "flowmatch: sample: expected 0 rows in condition_normalizer(c), got 3");
  model.condition_normalizer = {};
  CHECK(invalid_argument_of([&] { fm::sample(model, -1, rng, fm::Euler{}); }) ==
        "flowmatch: sample: expected n >= 0, got -1");
  CHECK(invalid_argument_of([&] { fm::sample(steered, 4, rng, fm::Euler{}); }) ==
        "flowmatch: sample: expected 3 rows in c, got 0");
  CHECK(invalid_argument_of([&] { fm::sample(model, measured<TestType>(3, 1), rng, fm::Euler{}); }) ==
        "flowmatch: sample: expected 0 rows in c, got 3");
  CHECK(invalid_argument_of([&] { fm::sample(model, 4, rng, fm::Euler{}, {.from = 1, .to = 0}); }) ==
        "flowmatch: sample: expected times that start at 0, where noise is, got 1");
  CHECK(rng == before);
}
