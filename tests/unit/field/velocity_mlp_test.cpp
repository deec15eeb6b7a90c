// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/train/loss.hpp>
#include <limits>
#include <numbers>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support/finite_difference.hpp"
#include "support/golden_net.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"
#include "support/reference_mlp.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using fm::Activation, fm::Index;

namespace {

template <class Scalar> struct Batch {
  fm::Matrix<Scalar> x, c, u;
  fm::RowVector<Scalar> t, weights;

  Batch(fm::Rng& rng, const fm::VelocityMlp<Scalar>& net, Index n)
      : x(test::normal<Scalar>(rng, net.dim(), n)),
        c(test::normal<Scalar>(rng, net.condition_dim(), n)),
        u(test::normal<Scalar>(rng, net.dim(), n)),
        t(test::uniform<Scalar>(rng, n)),
        weights(test::uniform<Scalar>(rng, n, 0, 2)) {}
};

/// Largest difference, relative to the largest entry of the reference block.
double relative_error(const Eigen::VectorXd& got, const Eigen::VectorXd& want) {
  if (want.size() == 0) return got.size() == 0 ? 0 : INFINITY;
  return test::largest(got - want) / test::largest(want);
}

/// The row of the net's input for one sample, in long double: [x; t; sin k pi t; cos k pi t; c].
template <class Scalar>
std::vector<long double> input_row(const fm::VelocityMlp<Scalar>& net, const Batch<Scalar>& b, Index j) {
  const long double pi = std::numbers::pi_v<long double>, t = static_cast<long double>(b.t(j));
  std::vector<long double> row;
  for (Index i = 0; i < net.dim(); ++i) row.push_back(static_cast<long double>(b.x(i, j)));
  row.push_back(t);
  const Index frequencies = net.options().time_frequencies;
  for (Index k = 1; k <= frequencies; ++k) row.push_back(std::sin(static_cast<long double>(k) * pi * t));
  for (Index k = 1; k <= frequencies; ++k) row.push_back(std::cos(static_cast<long double>(k) * pi * t));
  for (Index i = 0; i < net.condition_dim(); ++i) row.push_back(static_cast<long double>(b.c(i, j)));
  return row;
}

/// The Mlp inside a velocity net, as the formula has it.
template <class Scalar> test::ReferenceMlp reference(const fm::VelocityMlp<Scalar>& net) {
  const auto& o = net.options();
  fm::Rng rng(0);
  fm::Mlp<Scalar> mlp({.in = o.dim + 1 + 2 * o.time_frequencies + o.condition_dim,
                       .hidden = o.hidden,
                       .out = o.dim,
                       .activation = o.activation,
                       .residual = o.residual},
                      rng);
  mlp.set_parameters(net.parameters());
  return test::ReferenceMlp(mlp);
}

template <class Scalar> Eigen::Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> view(const std::vector<Scalar>& v) {
  return {v.data(), Index(v.size())};
}

/// Options to be covered in pairs: every two values of different columns meet in some row.
struct Case {
  Activation activation;
  Index layers;
  bool residual;
  Index frequencies, condition, samples;
  bool weighted;
};

bool possible(const Case& c) { return !(c.residual && c.layers == 0); }

/// Greedy: take the case that covers most pairs not yet covered, until all possible ones are.
std::vector<Case> pairwise_cases() {
  std::vector<Case> all;
  for (Activation f :
       {Activation::silu, Activation::gelu, Activation::tanh, Activation::relu, Activation::selu, Activation::softplus})
    for (Index layers : {0, 1, 3})
      for (bool residual : {false, true})
        for (Index frequencies : {0, 1, 8})
          for (Index condition : {0, 2})
            for (Index samples : {1, 5, 130})
              for (bool weighted : {false, true}) {
                const Case c{f, layers, residual, frequencies, condition, samples, weighted};
                if (possible(c)) all.push_back(c);
              }
  using Pair = std::array<Index, 4>;
  const auto pairs = [](const Case& c) {
    const Index values[] = {Index(c.activation), c.layers,  Index(c.residual), c.frequencies,
                            c.condition,         c.samples, Index(c.weighted)};
    std::vector<Pair> found;
    for (Index i = 0; i < 7; ++i)
      for (Index j = i + 1; j < 7; ++j) found.push_back({i, values[i], j, values[j]});
    return found;
  };
  std::set<Pair> open;
  for (const Case& c : all)
    for (const Pair& p : pairs(c)) open.insert(p);
  std::vector<Case> chosen;
  while (!open.empty()) {
    const Case* best = nullptr;
    long most = 0;
    for (const Case& c : all) {
      long covered = 0;
      for (const Pair& p : pairs(c)) covered += long(open.count(p));
      if (covered > most) most = covered, best = &c;
    }
    for (const Pair& p : pairs(*best)) open.erase(p);
    chosen.push_back(*best);
  }
  return chosen;
}

fm::VelocityMlpOptions small_options(bool residual = false) {
  return {.dim = 2,
          .condition_dim = 1,
          .hidden = {6, 6},
          .activation = Activation::silu,
          .residual = residual,
          .time_frequencies = 3};
}

}

TEST_CASE("gradients of the loss at parameters, x, t and c agree with finite differences", "[field][train]") {
  const auto cases = pairwise_cases();
  CHECK(cases.size() >= 18);  // 6 activations times 3 depths at least
  fm::Rng rng(30);
  for (const Case& k : cases) {
    INFO(fm::name(k.activation) << ", " << k.layers << " hidden layers, residual " << k.residual << ", "
                                << k.frequencies << " frequencies, condition " << k.condition << ", " << k.samples
                                << " samples, weighted " << k.weighted);
    fm::VelocityMlp<double> net({.dim = 2,
                                 .condition_dim = k.condition,
                                 .hidden = std::vector<Index>(std::size_t(k.layers), 5),
                                 .activation = k.activation,
                                 .residual = k.residual,
                                 .time_frequencies = k.frequencies},
                                rng);
    net.parameters() += 0.1 * test::normal<double>(rng, net.parameters().size(), 1);  // norms off the identity
    Batch<double> b(rng, net, k.samples);
    const bool kink = k.activation == Activation::relu || k.activation == Activation::selu;
    const double step = kink ? 0x1p-14 : 0x1p-8;  // 8 frequencies: v varies in t over 1 / (8 pi)
    auto slow = reference(net);
    for (Index j = 0; j < k.samples && kink; ++j)  // away from kinks, further than a step can move an argument
      while (slow(view(input_row(net, b, j))), slow.kink_distance() < 64 * step)
        b.x.col(j) = test::normal<double>(rng, 2, 1);

    fm::FlowMatchingLoss<fm::VelocityMlp<double>> loss(net);
    Eigen::VectorXd gradient, scratch;
    const auto value = [&](Eigen::VectorXd& g) {
      return k.weighted ? loss(net, b.x, b.t, b.c, b.u, b.weights, g) : loss(net, b.x, b.t, b.c, b.u, g);
    };
    value(gradient);
    const auto f = [&] { return value(scratch); };
    const Eigen::VectorXd want = test::numerical_gradient(f, net.parameters(), step);
    for (const auto& block : net.parameter_blocks()) {
      INFO(block.name);
      // Relative to the largest entry of each block; the differences themselves err by up to 5e-9.
      CHECK(relative_error(gradient.segment(block.offset, block.size()), want.segment(block.offset, block.size())) <
            1e-7);
    }

    // The inputs, by forward and backward directly.
    fm::VelocityMlp<double>::Workspace workspace;
    Eigen::MatrixXd v(2, k.samples);
    net.forward(b.x, b.t, b.c, v, workspace);
    Eigen::MatrixXd dv = (v - b.u) * (2 / double(b.u.size()));
    if (k.weighted) dv.array().rowwise() *= b.weights.array();
    fm::InputGradient<double> inputs;
    scratch.setZero(net.parameters().size());
    net.backward(dv, workspace, scratch, inputs);
    CHECK(relative_error(scratch, gradient) < 1e-13);  // the loss goes tile by tile
    const auto by_inputs = [&] { return value(scratch); };
    CHECK(relative_error(inputs.x.reshaped(), test::numerical_gradient(by_inputs, b.x, step)) < 1e-7);
    CHECK(relative_error(inputs.t.reshaped(), test::numerical_gradient(by_inputs, b.t, step)) < 1e-7);
    CHECK(relative_error(inputs.c.reshaped(), test::numerical_gradient(by_inputs, b.c, step)) < 1e-7);
    CHECK(inputs.c.rows() == k.condition);
    CHECK(inputs.c.cols() == k.samples);
  }
}

TEMPLATE_TEST_CASE("the input of a velocity net is x, then t, sines, cosines and c", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(31);
  for (bool residual : {false, true}) {
    const fm::VelocityMlp<Scalar> net(small_options(residual), rng);
    const Batch<Scalar> b(rng, net, 20);
    fm::Matrix<Scalar> v(2, 20);
    typename fm::VelocityMlp<Scalar>::Workspace workspace;
    net.forward(b.x, b.t, b.c, v, workspace);
    auto slow = reference(net);
    for (Index j = 0; j < 20; ++j) {
      const auto want = slow(view(input_row(net, b, j)));
      // k pi t is rounded at about 10 before the sine; then as for any Mlp
      for (Index i = 0; i < 2; ++i)
        CHECK_THAT(double(v(i, j)),
                   WithinAbs(double(want[std::size_t(i)]), 100 * double(std::numeric_limits<Scalar>::epsilon())));
    }
  }
}

TEST_CASE("velocity, loss and gradients are PyTorch's", "[field][train][golden]") {
  const test::Golden golden("torch_velocity.txt");
  const std::pair<std::string, fm::VelocityMlpOptions> nets[] = {
      {"silu", {.dim = 2, .hidden = {12, 10, 8}}},
      {"residual_gelu",
       {.dim = 3,
        .condition_dim = 2,
        .hidden = {8, 8, 8},
        .activation = Activation::gelu,
        .residual = true,
        .time_frequencies = 3}},
      {"residual_silu_deep",
       {.dim = 2, .condition_dim = 1, .hidden = {6, 6, 6, 6, 6}, .residual = true, .time_frequencies = 8}},
      {"tanh", {.dim = 1, .hidden = {9, 7}, .activation = Activation::tanh, .time_frequencies = 2}},
      {"selu", {.dim = 4, .condition_dim = 3, .hidden = {8, 6}, .activation = Activation::selu, .time_frequencies = 1}},
      {"softplus",
       {.dim = 2, .condition_dim = 1, .hidden = {10}, .activation = Activation::softplus, .time_frequencies = 4}},
      {"relu", {.dim = 2, .hidden = {8, 8}, .activation = Activation::relu}},
      {"linear", {.dim = 3, .condition_dim = 1, .hidden = {}, .time_frequencies = 2}}};
  for (const auto& [name, options] : nets) {
    INFO(name);
    fm::Rng rng(1);
    fm::VelocityMlp<double> net(options, rng);
    net.set_parameters(test::golden_blocks(golden, name + "/parameter/", net));
    const auto& x = golden.columns(name + "/x");
    const auto& c = golden.columns(name + "/c");
    const auto& u = golden.columns(name + "/u");
    const Eigen::RowVectorXd t = golden.columns(name + "/t"), w = golden.columns(name + "/w");
    Eigen::MatrixXd v(net.dim(), x.cols());
    net(x, t, c, v);
    CHECK(relative_error(v.reshaped(), golden.flat(name + "/v")) < 1e-13);

    // 1e-12 relative to the largest entry: both sides sum in double, in different order.
    fm::FlowMatchingLoss<fm::VelocityMlp<double>> loss(net);
    Eigen::VectorXd gradient;
    CHECK_THAT(loss(net, x, t, c, u, gradient) / golden.number(name + "/loss"), WithinAbs(1, 1e-13));
    CHECK(relative_error(gradient, test::golden_blocks(golden, name + "/gradient/", net)) < 1e-12);
    CHECK_THAT(loss(net, x, t, c, u, w, gradient) / golden.number(name + "/weighted_loss"), WithinAbs(1, 1e-13));
    CHECK(relative_error(gradient, test::golden_blocks(golden, name + "/weighted_gradient/", net)) < 1e-12);

    fm::VelocityMlp<double>::Workspace workspace;
    net.forward(x, t, c, v, workspace);
    Eigen::MatrixXd dv = (v - u) * (2 / double(u.size()));
    dv.array().rowwise() *= w.array();
    fm::InputGradient<double> inputs;
    gradient.setZero();
    net.backward(dv, workspace, gradient, inputs);
    CHECK(relative_error(inputs.x.reshaped(), golden.flat(name + "/dx")) < 1e-12);
    CHECK(relative_error(inputs.t.reshaped(), golden.flat(name + "/dt")) < 1e-12);
    CHECK(relative_error(inputs.c.reshaped(), golden.flat(name + "/dc")) < 1e-12);
  }
}

TEMPLATE_TEST_CASE("a call with many columns is the same as tiles of them", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(32);
  const fm::VelocityMlp<Scalar> net(small_options(), rng);
  const Index n = 2 * fm::tile_columns + 7;
  const Batch<Scalar> b(rng, net, n);
  fm::Matrix<Scalar> v(2, n), want(2, n);
  net(b.x, b.t, b.c, v);
  typename fm::VelocityMlp<Scalar>::Workspace workspace;
  for (Index j = 0; j < n; j += fm::tile_columns) {
    const Index k = std::min(fm::tile_columns, n - j);
    net.forward(b.x.middleCols(j, k), b.t.middleCols(j, k), b.c.middleCols(j, k), want.middleCols(j, k), workspace);
  }
  CHECK(v == want);
  for (Index j : {Index(0), fm::tile_columns - 1, fm::tile_columns, n - 1}) {  // and of each sample alone, to rounding
    fm::Matrix<Scalar> one(2, 1);
    net(b.x.col(j), b.t.col(j), b.c.col(j), one);
    CHECK(test::largest(one - v.col(j)) <= 50 * std::numeric_limits<Scalar>::epsilon());
  }
}

TEMPLATE_TEST_CASE("a velocity net is a value with PyTorch's parameter order", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng a(33), b(33);
  fm::VelocityMlp<Scalar> net(small_options(true), a);
  const fm::VelocityMlp<Scalar> same(small_options(true), b);
  CHECK(net.parameters() == same.parameters());
  CHECK(net.options() == same.options());
  CHECK(net.dim() == 2);
  CHECK(net.condition_dim() == 1);
  const auto& blocks = net.parameter_blocks();
  REQUIRE(blocks.size() == 8);
  const char* names[] = {"layers.0.weight", "layers.0.bias", "norms.1.weight",  "norms.1.bias",
                         "layers.1.weight", "layers.1.bias", "layers.2.weight", "layers.2.bias"};
  for (std::size_t i = 0; i < 8; ++i) CHECK(blocks[i].name == names[i]);
  CHECK(blocks[0].shape == std::vector<Index>{6, 2 + 1 + 2 * 3 + 1});

  const fm::VelocityMlp<Scalar> snapshot = net;
  fm::Vector<Scalar> broken = net.parameters(), fine = 2 * broken;
  broken(3) = std::numeric_limits<Scalar>::infinity();
  CHECK(test::message_of<std::invalid_argument>([&] { net.set_parameters(broken); }) ==
        "flowmatch: set_parameters: expected finite numbers in values, got inf in row 3, column 0");
  CHECK(net.parameters() == snapshot.parameters());
  net.set_parameters(fine);
  CHECK(net.parameters() == fine);
  CHECK(snapshot.parameters() == same.parameters());
}

TEMPLATE_TEST_CASE("a velocity net with zero_output stands still", "[field]", float, double) {
  fm::Rng rng(34);
  auto o = small_options(true);
  o.zero_output = true;
  const fm::VelocityMlp<TestType> net(o, rng);
  const Batch<TestType> b(rng, net, 9);
  fm::Matrix<TestType> v = fm::Matrix<TestType>::Ones(2, 9);
  net(b.x, b.t, b.c, v);
  CHECK(v.isZero(0));
}

TEMPLATE_TEST_CASE("options of a velocity net out of range are refused", "[field]", float, double) {
  const auto refused = [](const fm::VelocityMlpOptions& o) {
    return test::message_of<std::invalid_argument>([&] {
      fm::Rng rng(1);
      fm::VelocityMlp<TestType> net(o, rng);
    });
  };
  CHECK(refused({.dim = 0, .hidden = {3}}) == "flowmatch: VelocityMlp: expected options.dim >= 1, got 0");
  CHECK(refused({.dim = 1, .condition_dim = -1, .hidden = {3}}) ==
        "flowmatch: VelocityMlp: expected options.condition_dim >= 0, got -1");
  CHECK(refused({.dim = 1, .hidden = {3}, .time_frequencies = -2}) ==
        "flowmatch: VelocityMlp: expected options.time_frequencies >= 0, got -2");
  CHECK(refused({.dim = 1, .hidden = {3, 0}}) == "flowmatch: Mlp: expected every width in options.hidden >= 1, got 0");
  CHECK(refused({.dim = 1, .hidden = {3, 4}, .residual = true}) ==
        "flowmatch: Mlp: expected equal widths in options.hidden for a residual net, got 3 and 4");
}

TEMPLATE_TEST_CASE("a velocity net refuses batches of the wrong shape and numbers that are not finite", "[field]",
                   float, double) {
  using Scalar = TestType;
  fm::Rng rng(35);
  const fm::VelocityMlp<Scalar> net(small_options(), rng);
  const Batch<Scalar> b(rng, net, 5);
  fm::Matrix<Scalar> v(2, 5), small(1, 5), few(2, 4), none(0, 5);
  small.setZero(), few.setZero();
  const fm::RowVector<Scalar> t4 = b.t.head(4);
  typename fm::VelocityMlp<Scalar>::Workspace w;
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  const std::string forward = "flowmatch: VelocityMlp::forward: expected ", call = "flowmatch: VelocityMlp: expected ";
  CHECK(message([&] { net.forward(small, b.t, b.c, v, w); }) == forward + "2 rows in x, got 1");
  CHECK(message([&] { net.forward(b.x, t4, b.c, v, w); }) == forward + "5 columns in t, got 4");
  CHECK(message([&] { net.forward(b.x, b.t, none, v, w); }) == forward + "1 rows in c, got 0");
  CHECK(message([&] { net.forward(b.x, b.t, b.c.leftCols(4), v, w); }) == forward + "5 columns in c, got 4");
  CHECK(message([&] { net.forward(b.x, b.t, b.c, small, w); }) == forward + "2 rows in v, got 1");
  CHECK(message([&] { net.forward(b.x, b.t, b.c, few, w); }) == forward + "5 columns in v, got 4");
  CHECK(message([&] { net(small, b.t, b.c, v); }) == call + "2 rows in x, got 1");
  CHECK(message([&] { net(b.x, t4, b.c, v); }) == call + "5 columns in t, got 4");
  CHECK(message([&] { net(b.x, b.t, none, v); }) == call + "1 rows in c, got 0");
  CHECK(message([&] { net(b.x, b.t, b.c, few); }) == call + "5 columns in v, got 4");
  const auto with_inf = [](auto m) {
    m(0, 2) = std::numeric_limits<Scalar>::infinity();
    return m;
  };
  const std::string got = ", got inf in row 0, column 2";
  CHECK(message([&] { net(with_inf(b.x), b.t, b.c, v); }) == call + "finite numbers in x" + got);
  CHECK(message([&] { net(b.x, with_inf(b.t), b.c, v); }) == call + "finite numbers in t" + got);
  CHECK(message([&] { net(b.x, b.t, with_inf(b.c), v); }) == call + "finite numbers in c" + got);
  fm::Vector<Scalar> gradient(net.parameters().size());
  CHECK(message([&] { net.backward(v, w, gradient); }) ==
        "flowmatch: Mlp::backward: expected a call of forward before");
}

TEMPLATE_TEST_CASE("gradients of the inputs alone have the bits of those beside the parameters'", "[field]", float,
                   double) {
  using Scalar = TestType;
  fm::Rng rng(40);
  for (const bool residual : {false, true}) {
    auto o = small_options(residual);
    o.hidden = {6, 6, 6};
    const fm::VelocityMlp<Scalar> net(o, rng);
    const Batch<Scalar> b(rng, net, 37);
    typename fm::VelocityMlp<Scalar>::Workspace workspace;
    fm::Matrix<Scalar> v(2, 37), dx(2, 37), dc(1, 37);
    fm::InputGradient<Scalar> inputs;
    fm::Vector<Scalar> gradient = fm::Vector<Scalar>::Zero(net.parameters().size());
    net.forward(b.x, b.t, b.c, v, workspace);
    net.backward(b.u, workspace, gradient, inputs);
    net.condition_gradient(dc, workspace);
    CHECK(dc == inputs.c);
    net.vjp(b.u, dx, workspace);  // after backward as well: forward's memory is still there
    CHECK(dx == inputs.x);

    CHECK(test::message_of<std::invalid_argument>([&] { net.vjp(b.u, v.leftCols(3), workspace); }) ==
          "flowmatch: VelocityMlp::vjp: expected 37 columns in dx, got 3");
    CHECK(test::message_of<std::invalid_argument>([&] { net.vjp(b.u.leftCols(3), dx.leftCols(3), workspace); }) ==
          "flowmatch: Mlp::input_backward: expected 37 columns in dy, got 3");
    CHECK(test::message_of<std::invalid_argument>([&] { net.condition_gradient(v, workspace); }) ==
          "flowmatch: VelocityMlp::condition_gradient: expected 1 rows in dc, got 2");
    typename fm::VelocityMlp<Scalar>::Workspace unused;
    CHECK(test::message_of<std::invalid_argument>([&] { net.vjp(b.u, dx, unused); }) ==
          "flowmatch: Mlp::input_backward: expected a call of forward before");
  }
}
