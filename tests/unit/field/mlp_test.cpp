// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/field/mlp.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/finite_difference.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"
#include "support/reference_mlp.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using fm::Activation, fm::Index;

namespace {

const Activation all_activations[] = {Activation::silu, Activation::gelu, Activation::tanh,
                                      Activation::relu, Activation::selu, Activation::softplus};

fm::MlpOptions options(Index in, std::vector<Index> hidden, Index out, Activation f = Activation::silu,
                       bool residual = false) {
  return {.in = in, .hidden = std::move(hidden), .out = out, .activation = f, .residual = residual};
}

/// Parameters of both kinds of net that hide nothing: norms away from the identity.
template <class Scalar> fm::Mlp<Scalar> perturbed(const fm::MlpOptions& o, fm::Rng& rng) {
  fm::Mlp<Scalar> net(o, rng);
  net.parameters() += Scalar(0.1) * test::normal<Scalar>(rng, net.parameters().size(), 1);
  return net;
}

template <class Scalar> fm::Matrix<Scalar> forward(const fm::Mlp<Scalar>& net, const fm::Matrix<Scalar>& x) {
  typename fm::Mlp<Scalar>::Workspace workspace;
  fm::Matrix<Scalar> y(net.out(), x.cols());
  net.forward(x, y, workspace);
  return y;
}

/// Largest difference, relative to the largest entry of the reference block.
double relative_error(const Eigen::VectorXd& got, const Eigen::VectorXd& want) {
  return test::largest(got - want) / test::largest(want);
}

}

TEMPLATE_TEST_CASE("the output of an Mlp is its formula", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(10);
  for (Activation f : all_activations)
    for (bool residual : {false, true})
      for (Index layers : {0, 1, 2, 5}) {
        if (residual && layers == 0) continue;
        INFO(fm::name(f) << ", residual " << residual << ", " << layers << " hidden layers");
        const auto net = perturbed<Scalar>(options(3, std::vector<Index>(std::size_t(layers), 9), 4, f, residual), rng);
        const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 3, 20);
        const fm::Matrix<Scalar> y = forward(net, x);
        test::ReferenceMlp reference(net);
        double worst = 0;
        for (Index j = 0; j < x.cols(); ++j) {
          const auto want = reference(x.col(j));
          for (Index i = 0; i < 4; ++i)
            worst = std::max(worst, std::abs(double((long double)(y(i, j)) - want[std::size_t(i)])));
        }
        // outputs of size 1 after up to 6 layers that add a few epsilon each; layer norm may divide by 0.1
        CHECK(worst <= 200 * double(std::numeric_limits<Scalar>::epsilon()));
      }
}

TEST_CASE("gradients of an Mlp at parameters and input agree with finite differences", "[field]") {
  fm::Rng rng(11);
  for (Activation f : all_activations)
    for (bool residual : {false, true})
      for (Index layers : {0, 1, 3})
        for (Index n : {1, 5, 130}) {
          if (residual && layers == 0) continue;
          if (n == 130 && layers == 3 && f != Activation::silu) continue;  // the activation adds nothing to this size
          INFO(fm::name(f) << ", residual " << residual << ", " << layers << " hidden layers, " << n << " samples");
          std::vector<Index> hidden(std::size_t(layers), 5);
          if (!residual && layers == 3) hidden = {4, 6, 5};
          auto net = perturbed<double>(options(3, hidden, 2, f, residual), rng);
          const bool kink = f == Activation::relu || f == Activation::selu;
          const double step = kink ? 0x1p-12 : 0x1p-6;
          test::ReferenceMlp reference(net);
          Eigen::MatrixXd x(3, n);
          for (Index j = 0; j < n; ++j) do  // away from the kinks, further than a step moves any activation's argument
              x.col(j) = test::normal<double>(rng, 3, 1);
            while (kink && (reference(x.col(j)), reference.kink_distance() < 16 * step));
          const Eigen::MatrixXd dy = test::normal<double>(rng, 2, n);
          fm::Mlp<double>::Workspace workspace;
          Eigen::MatrixXd y(2, n), dx;
          const auto loss = [&] {
            net.forward(x, y, workspace);
            return y.cwiseProduct(dy).sum();
          };
          loss();
          Eigen::VectorXd gradient = Eigen::VectorXd::Zero(net.parameters().size());
          net.backward(dy, workspace, gradient, dx);
          const double error_x = relative_error(dx.reshaped(), test::numerical_gradient(loss, x, step));
          CHECK(error_x <
                1e-7);  // relative to the largest entry of each block; finite differences are good to 1e-10 here
          const Eigen::VectorXd want = test::numerical_gradient(loss, net.parameters(), step);
          for (const auto& block : net.parameter_blocks()) {
            INFO(block.name);
            const double error =
                relative_error(gradient.segment(block.offset, block.size()), want.segment(block.offset, block.size()));
            CHECK(error < 1e-7);
          }
        }
}

TEMPLATE_TEST_CASE("backward adds to the gradient", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(12);
  for (bool residual : {false, true}) {
    const auto net = perturbed<Scalar>(options(2, {6, 6, 6}, 3, Activation::gelu, residual), rng);
    const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 2, 7), dy = test::normal<Scalar>(rng, 3, 7);
    typename fm::Mlp<Scalar>::Workspace workspace;
    fm::Matrix<Scalar> y(3, 7);
    fm::Vector<Scalar> once = fm::Vector<Scalar>::Zero(net.parameters().size()), onto = once;
    onto.setConstant(10);
    net.forward(x, y, workspace);
    net.backward(dy, workspace, once);
    net.forward(x, y, workspace);
    net.backward(dy, workspace, onto);
    // 10 + g rounds to epsilon of about 10, once for each part of a sum
    CHECK((onto.array() - 10 - once.array()).abs().maxCoeff() <= 200 * std::numeric_limits<Scalar>::epsilon());
  }
}

TEMPLATE_TEST_CASE("both forms of backward give the same gradient", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(13);
  const auto net = perturbed<Scalar>(options(2, {6, 6}, 3), rng);
  const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 2, 7), dy = test::normal<Scalar>(rng, 3, 7);
  typename fm::Mlp<Scalar>::Workspace workspace;
  fm::Matrix<Scalar> y(3, 7), dx;
  fm::Vector<Scalar> a = fm::Vector<Scalar>::Zero(net.parameters().size()), b = a;
  net.forward(x, y, workspace);
  net.backward(dy, workspace, a);
  net.forward(x, y, workspace);
  net.backward(dy, workspace, b, dx);
  CHECK(a == b);
  CHECK(dx.rows() == 2);
  CHECK(dx.cols() == 7);
}

TEMPLATE_TEST_CASE("what a workspace was used for before does not matter", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(14);
  for (bool residual : {false, true}) {
    const auto net = perturbed<Scalar>(options(2, {6, 6, 6}, 3, Activation::silu, residual), rng);
    typename fm::Mlp<Scalar>::Workspace used;
    for (Index n : {3, 200, 1, 64, 17, 201, 5}) {
      INFO(n << " samples");
      const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 2, n), dy = test::normal<Scalar>(rng, 3, n);
      typename fm::Mlp<Scalar>::Workspace fresh;
      fm::Matrix<Scalar> y(3, n), want(3, n), dx, want_dx;
      fm::Vector<Scalar> gradient = fm::Vector<Scalar>::Zero(net.parameters().size()), want_gradient = gradient;
      net.forward(x, want, fresh);
      net.backward(dy, fresh, want_gradient, want_dx);
      net.forward(x, y, used);
      net.backward(dy, used, gradient, dx);
      // Not to the bit: a product may take another order of summation at another leading dimension.
      const Scalar tolerance = 100 * std::numeric_limits<Scalar>::epsilon();
      CHECK(test::largest(y - want) <= tolerance);
      CHECK(test::largest(dx - want_dx) <= tolerance);
      CHECK(test::largest(gradient - want_gradient) <= tolerance * Scalar(n));
    }
  }
}

// A net wider than the one before, of equal depth, once wrote past the end of the memory.
TEMPLATE_TEST_CASE("one workspace serves nets of other widths and depths in turn", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(22);
  const fm::MlpOptions shapes[] = {options(2, {4, 4}, 3), options(2, {9, 9}, 3),
                                   options(5, {4, 3}, 1), options(2, {9, 9}, 3, Activation::silu, true),
                                   options(3, {}, 12),    options(2, {7, 2}, 2)};
  typename fm::Mlp<Scalar>::Workspace used;
  for (const auto& shape : shapes) {
    const auto net = perturbed<Scalar>(shape, rng);
    const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, net.in(), 6), dy = test::normal<Scalar>(rng, net.out(), 6);
    fm::Matrix<Scalar> y(net.out(), 6), dx;
    fm::Vector<Scalar> gradient = fm::Vector<Scalar>::Zero(net.parameters().size());
    net.forward(x, y, used);
    net.backward(dy, used, gradient, dx);
    CHECK(test::largest(y - forward(net, x)) <= 100 * std::numeric_limits<Scalar>::epsilon());
  }
}

TEST_CASE("float agrees with double", "[field]") {
  for (Activation f : all_activations)
    for (bool residual : {false, true}) {
      INFO(fm::name(f) << ", residual " << residual);
      fm::Rng rng(15);
      const auto single = perturbed<float>(options(3, {16, 16, 16}, 2, f, residual), rng);
      fm::Mlp<double> twice(single.options(), rng);
      twice.set_parameters(single.parameters().cast<double>());
      const Eigen::MatrixXf x = test::normal<float>(rng, 3, 50), dy = test::normal<float>(rng, 2, 50);
      fm::Mlp<float>::Workspace w;
      fm::Mlp<double>::Workspace w2;
      Eigen::MatrixXf y(2, 50), dx;
      Eigen::MatrixXd y2(2, 50), dx2;
      Eigen::VectorXf g = Eigen::VectorXf::Zero(single.parameters().size());
      Eigen::VectorXd g2 = Eigen::VectorXd::Zero(g.size());
      single.forward(x, y, w);
      single.backward(dy, w, g, dx);
      twice.forward(x.cast<double>(), y2, w2);
      twice.backward(dy.cast<double>(), w2, g2, dx2);
      // 1e-5: about 80 float epsilons, for sums of 50 terms through 4 layers
      CHECK(relative_error(y.cast<double>().reshaped(), y2.reshaped()) < 1e-5);
      CHECK(relative_error(dx.cast<double>().reshaped(), dx2.reshaped()) < 1e-5);
      CHECK(relative_error(g.cast<double>(), g2) < 1e-5);
    }
}

TEMPLATE_TEST_CASE("weights start uniform in +-1 / sqrt(in), norms as the identity", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(16);
  const fm::Mlp<Scalar> net(options(40, {50, 50, 50}, 30, Activation::silu, true), rng);
  Index layer_in = 0;
  for (const auto& block : net.parameter_blocks()) {
    INFO(block.name);
    const fm::Vector<Scalar> values = net.parameters().segment(block.offset, block.size());
    if (block.name.substr(0, 6) == "norms.") {
      CHECK((values.array() == Scalar(block.name.ends_with("weight") ? 1 : 0)).all());
      continue;
    }
    if (block.shape.size() == 2) layer_in = block.shape[1];
    const double bound = 1 / std::sqrt(double(layer_in));
    CHECK(double(test::largest(values)) <= bound * (1 + 1e-6));
    if (block.shape.size() == 1) continue;
    CHECK(double(test::largest(values)) > 0.99 * bound);
    // Variance bound^2 / 3. Its estimate from n numbers has relative standard deviation sqrt(0.8 / n), the mean has
    // bound / sqrt(3 n): five of each, n >= 1500.
    const double n = double(values.size());
    const double variance = values.template cast<double>().squaredNorm() / n;
    CHECK_THAT(variance / (bound * bound / 3), WithinAbs(1, 5 * std::sqrt(0.8 / n)));
    CHECK_THAT(double(values.mean()), WithinAbs(0, 5 * bound / std::sqrt(3 * n)));
  }
}

TEMPLATE_TEST_CASE("a net depends on the random numbers it is given, and moves them on", "[field]", float, double) {
  const auto o = options(2, {8, 8}, 2);
  fm::Rng a(17), b(17), other(18);
  const fm::Mlp<TestType> first(o, a), same(o, b), different(o, other), next(o, a);
  CHECK(first.parameters() == same.parameters());
  CHECK(first.parameters() != different.parameters());
  CHECK(first.parameters() != next.parameters());
  CHECK(a.position > b.position);
}

TEMPLATE_TEST_CASE("zero_output makes an untrained net say 0", "[field]", float, double) {
  for (bool residual : {false, true}) {
    fm::Rng rng(19);
    auto o = options(2, {8, 8}, 3, Activation::silu, residual);
    o.zero_output = true;
    const fm::Mlp<TestType> net(o, rng);
    CHECK((forward(net, test::normal<TestType>(rng, 2, 11)).array() == 0).all());
    CHECK(net.parameters().head(16).cwiseAbs().minCoeff() > 0);  // only the output layer is zero
  }
}

TEMPLATE_TEST_CASE("a copy of a net is independent", "[field]", float, double) {
  fm::Rng rng(20);
  fm::Mlp<TestType> net(options(2, {8}, 2), rng);
  const fm::Mlp<TestType> snapshot = net;
  const fm::Vector<TestType> before = net.parameters();
  const fm::Matrix<TestType> x = test::normal<TestType>(rng, 2, 3);
  const fm::Matrix<TestType> y = forward(net, x);
  net.parameters().setOnes();
  CHECK(snapshot.parameters() == before);
  CHECK(forward(snapshot, x) == y);
  CHECK(forward(net, x) != y);
  net = snapshot;
  CHECK(net.parameters() == before);
  CHECK(forward(net, x) == y);
}

TEST_CASE("parameters lie as PyTorch's do, block after block", "[field]") {
  fm::Rng rng(21);
  const fm::Mlp<float> plain(options(3, {5, 4}, 2), rng);
  const fm::Mlp<float> residual(options(3, {4, 4, 4}, 2, Activation::silu, true), rng);
  const auto describe = [](const fm::Mlp<float>& net) {
    std::string all;
    Index offset = 0;
    for (const auto& block : net.parameter_blocks()) {
      CHECK(block.offset == offset);
      offset += block.size();
      all += block.name + "[";
      for (const Index& s : block.shape) all += std::to_string(s) + (&s == &block.shape.back() ? "]" : ",");
      all += " ";
    }
    CHECK(net.parameters().size() == offset);
    return all;
  };
  CHECK(describe(plain) ==
        "layers.0.weight[5,3] layers.0.bias[5] layers.1.weight[4,5] layers.1.bias[4] "
        "layers.2.weight[2,4] layers.2.bias[2] ");
  CHECK(describe(residual) ==
        "layers.0.weight[4,3] layers.0.bias[4] "
        "norms.1.weight[4] norms.1.bias[4] layers.1.weight[4,4] layers.1.bias[4] "
        "norms.2.weight[4] norms.2.bias[4] layers.2.weight[4,4] layers.2.bias[4] "
        "layers.3.weight[2,4] layers.3.bias[2] ");
}

TEMPLATE_TEST_CASE("set_parameters takes all or nothing", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(23);
  fm::Mlp<Scalar> net(options(1, {2}, 1), rng);  // 7 parameters
  const fm::Vector<Scalar> before = net.parameters(), values = test::normal<Scalar>(rng, 7, 1);
  CHECK(test::message_of<std::invalid_argument>([&] { net.set_parameters(values.head(6)); }) ==
        "flowmatch: set_parameters: expected 7 entries in values, got 6");
  CHECK(net.parameters() == before);
  for (Scalar bad : {std::numeric_limits<Scalar>::quiet_NaN(), std::numeric_limits<Scalar>::infinity()}) {
    fm::Vector<Scalar> broken = values;
    broken(6) = bad;
    CHECK(test::message_of<std::invalid_argument>([&] {
            net.set_parameters(broken);
          }).find("flowmatch: set_parameters: expected finite numbers in values, got ") == 0);
    CHECK(net.parameters() == before);
  }
  net.set_parameters(values);
  CHECK(net.parameters() == values);
}

TEMPLATE_TEST_CASE("options of an Mlp out of range are refused", "[field]", float, double) {
  const auto refused = [](const fm::MlpOptions& o) {
    return test::message_of<std::invalid_argument>([&] {
      fm::Rng rng(1);
      fm::Mlp<TestType> net(o, rng);
    });
  };
  CHECK(refused(options(0, {3}, 1)) == "flowmatch: Mlp: expected options.in >= 1, got 0");
  CHECK(refused(options(1, {3}, 0)) == "flowmatch: Mlp: expected options.out >= 1, got 0");
  CHECK(refused(options(1, {3, 0}, 1)) == "flowmatch: Mlp: expected every width in options.hidden >= 1, got 0");
  CHECK(refused(options(1, {3, -2}, 1)) == "flowmatch: Mlp: expected every width in options.hidden >= 1, got -2");
  CHECK(refused(options(1, {3, 4}, 1, Activation::silu, true)) ==
        "flowmatch: Mlp: expected equal widths in options.hidden for a residual net, got 3 and 4");
  CHECK(refused(options(1, {}, 1, Activation::silu, true)) ==
        "flowmatch: Mlp: expected at least one width in options.hidden for a residual net, got none");
}

TEMPLATE_TEST_CASE("an Mlp refuses matrices of the wrong shape", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(24);
  const fm::Mlp<Scalar> net(options(2, {4}, 3), rng);  // 27 parameters
  typename fm::Mlp<Scalar>::Workspace w;
  fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 2, 5), y(3, 5), dy = test::normal<Scalar>(rng, 3, 5), dx;
  fm::Matrix<Scalar> low = test::normal<Scalar>(rng, 1, 5), few(3, 4), flat(2, 5);
  fm::Vector<Scalar> gradient(27), small(26);
  const auto message = [](const auto& f) { return test::message_of<std::invalid_argument>(f); };
  CHECK(message([&] { net.backward(dy, w, gradient); }) ==
        "flowmatch: Mlp::backward: expected a call of forward before");
  const fm::Mlp<Scalar> wider(options(2, {5}, 3), rng);
  wider.forward(x, y, w);
  CHECK(message([&] { net.backward(dy, w, gradient); }) ==
        "flowmatch: Mlp::backward: expected a call of forward before");
  CHECK(message([&] { net.forward(low, y, w); }) == "flowmatch: Mlp::forward: expected 2 rows in x, got 1");
  CHECK(message([&] { net.forward(x, flat, w); }) == "flowmatch: Mlp::forward: expected 3 rows in y, got 2");
  CHECK(message([&] { net.forward(x, few, w); }) == "flowmatch: Mlp::forward: expected 5 columns in y, got 4");
  net.forward(x, y, w);
  CHECK(message([&] { net.backward(flat, w, gradient); }) == "flowmatch: Mlp::backward: expected 3 rows in dy, got 2");
  CHECK(message([&] { net.backward(few, w, gradient); }) ==
        "flowmatch: Mlp::backward: expected 5 columns in dy, got 4");
  CHECK(message([&] { net.backward(dy, w, small); }) ==
        "flowmatch: Mlp::backward: expected 27 entries in gradient, got 26");
  CHECK(message([&] { net.backward(dy, w, small, dx); }) ==
        "flowmatch: Mlp::backward: expected 27 entries in gradient, got 26");
}
