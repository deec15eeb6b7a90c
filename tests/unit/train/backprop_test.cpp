// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/train/backprop.hpp>
#include <flowmatch/train/cross_entropy.hpp>
#include <flowmatch/train/loss.hpp>
#include <flowmatch/train/optimizer.hpp>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/finite_difference.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using fm::Index;

static_assert(fm::TrainableField<fm::VelocityMlp<float>> && fm::TrainableField<fm::VelocityMlp<double>>);
static_assert(!fm::TrainableField<fm::Mlp<float>>);

namespace {

/// An output loss of one's own: log cosh of the distance to a target, each sample with its number as weight.
struct LogCosh {
  const Eigen::MatrixXd& target;

  template <class Y, class Gradient> double operator()(const Y& y, Index first, Gradient&& dy) const {
    double value = 0;
    for (Index j = 0; j < y.cols(); ++j)
      for (Index i = 0; i < y.rows(); ++i) {
        const double weight = double(first + j + 1) / double(target.size());
        const double distance = y(i, j) - target(i, first + j);
        value += weight * std::log(std::cosh(distance));
        dy(i, j) = weight * std::tanh(distance);
      }
    return value;
  }
};

/// The smallest field that trains: v = a x + b t, the same for all rows.
template <class ScalarType> struct LinearField {
  using Scalar = ScalarType;
  struct Workspace {
    fm::Matrix<Scalar> x;
    fm::RowVector<Scalar> t;
  };
  fm::Vector<Scalar> p = fm::Vector<Scalar>::Zero(2);

  Index dim() const { return 2; }
  Index condition_dim() const { return 0; }
  fm::Vector<Scalar>& parameters() { return p; }
  const fm::Vector<Scalar>& parameters() const { return p; }
  void forward(fm::MatrixIn<Scalar> x, fm::RowVectorIn<Scalar> t, fm::MatrixIn<Scalar>, fm::MatrixRef<Scalar> v,
               Workspace& w) const {
    w.x = x;
    w.t = t;
    v = p(0) * x + p(1) * t.replicate(2, 1);
  }
  void backward(fm::MatrixIn<Scalar> dv, Workspace& w, fm::VectorRef<Scalar> gradient) const {
    gradient(0) += dv.cwiseProduct(w.x).sum();
    gradient(1) += dv.cwiseProduct(w.t.replicate(2, 1)).sum();
  }
};

template <class Scalar> fm::Mlp<Scalar> small_net(fm::Rng& rng) { return {{.in = 3, .hidden = {6, 6}, .out = 2}, rng}; }

}

TEST_CASE("a loss of one's own gets its gradient through an Mlp, over several tiles", "[train]") {
  for (Index n : {1, 5, 128, 300}) {
    INFO(n << " samples");
    fm::Rng rng(80);
    auto net = small_net<double>(rng);
    const Eigen::MatrixXd x = test::normal<double>(rng, 3, n), target = test::normal<double>(rng, 2, n);
    fm::Backprop backprop(net);
    Eigen::VectorXd gradient, scratch;
    const double value = backprop(net, x, LogCosh{target}, gradient);

    fm::Mlp<double>::Workspace workspace;
    Eigen::MatrixXd y(2, n), dy(2, n);
    net.forward(x, y, workspace);
    CHECK_THAT(value, WithinRel(LogCosh{target}(y, 0, dy), 1e-13));
    const Eigen::VectorXd want =
        test::numerical_gradient([&] { return backprop(net, x, LogCosh{target}, scratch); }, net.parameters());
    // relative to the largest entry; the finite differences are good to about 1e-9
    CHECK(test::largest(gradient - want) < 1e-7 * test::largest(want));
  }
}

TEST_CASE("a loss of one's own gets its gradient through a velocity net", "[train]") {
  fm::Rng rng(81);
  fm::VelocityMlp<double> net({.dim = 2, .condition_dim = 1, .hidden = {6, 6}, .residual = true}, rng);
  const Eigen::MatrixXd x = test::normal<double>(rng, 2, 150), target = test::normal<double>(rng, 2, 150);
  const Eigen::MatrixXd c = test::normal<double>(rng, 1, 150);
  const Eigen::RowVectorXd t = test::uniform<double>(rng, 150);
  fm::Backprop backprop(net);
  Eigen::VectorXd gradient, scratch;
  backprop(net, x, t, c, LogCosh{target}, gradient);
  const Eigen::VectorXd want =
      test::numerical_gradient([&] { return backprop(net, x, t, c, LogCosh{target}, scratch); }, net.parameters());
  CHECK(test::largest(gradient - want) < 1e-7 * test::largest(want));
}

TEMPLATE_TEST_CASE("an output loss sees every sample once, in tiles", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(82);
  const auto net = small_net<Scalar>(rng);
  fm::Backprop backprop(net);
  for (Index n : {1, 127, 128, 129, 300}) {
    std::vector<int> seen(std::size_t(n), 0);
    fm::Vector<Scalar> gradient;
    const auto loss = [&](const auto& y, Index first, auto&& dy) {
      CHECK(y.rows() == 2);
      CHECK(y.cols() <= fm::tile_columns);
      CHECK((dy.rows() == y.rows() && dy.cols() == y.cols()));
      for (Index j = 0; j < y.cols(); ++j) ++seen.at(std::size_t(first + j));
      dy.setZero();
      return Scalar(y.cols());
    };
    CHECK(backprop(net, test::normal<Scalar>(rng, 3, n), loss, gradient) == Scalar(n));  // shares are added
    CHECK(seen == std::vector<int>(std::size_t(n), 1));
    CHECK(gradient.size() == net.parameters().size());
    CHECK(gradient.isZero(0));
  }
}

TEMPLATE_TEST_CASE("a field of one's own trains", "[train]", float, double) {
  using Scalar = TestType;
  using Field = LinearField<Scalar>;
  static_assert(fm::TrainableField<Field>);
  fm::Rng rng(83);
  const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 2, 200);
  const fm::RowVector<Scalar> t = test::uniform<Scalar>(rng, 200);
  const fm::Matrix<Scalar> u = Scalar(-0.5) * x + Scalar(2) * t.replicate(2, 1);
  Field field;
  fm::FlowMatchingLoss<Field> loss(field);
  fm::Sgd sgd(field.parameters(), {.learning_rate = 0.4});
  fm::Vector<Scalar> gradient;
  for (int k = 0; k < 400; ++k) {  // least curvature of the loss about 0.6: contraction by 0.75 a step
    loss(field, x, t, u, gradient);
    sgd.step(field.parameters(), gradient);
  }
  CHECK_THAT(double(field.p(0)), WithinAbs(-0.5, 20.0 * std::numeric_limits<Scalar>::epsilon()));
  CHECK_THAT(double(field.p(1)), WithinAbs(2, 20.0 * std::numeric_limits<Scalar>::epsilon()));
}

TEMPLATE_TEST_CASE("an autoencoder with two hidden numbers learns a surface in six dimensions", "[train]", float,
                   double) {
  using Scalar = TestType;
  fm::Rng rng(84);
  fm::Mlp<Scalar> net({.in = 6, .hidden = {24, 2, 24}, .out = 6, .activation = fm::Activation::tanh}, rng);
  fm::Matrix<Scalar> hidden(2, 256), data(6, 256);
  fm::fill_uniform(rng, hidden);
  const auto a = hidden.row(0).array(), b = hidden.row(1).array();
  data << a.matrix(), b.matrix(), (a * b).matrix(), (a * a).matrix(), (3 * b).sin().matrix(), (a - b).matrix();
  const double variance = double((data.colwise() - data.rowwise().mean()).squaredNorm() / Scalar(data.size()));
  fm::Backprop backprop(net);
  fm::Adam adam(net.parameters(), {.learning_rate = 1e-2});
  fm::Vector<Scalar> gradient;
  double first = 0, last = 0;
  for (int k = 0; k < 1000; ++k) {
    adam.options.learning_rate = 1e-2 * (1 - k / 1000.0);
    last = double(backprop(net, data, fm::mean_squared_error(data), gradient));
    if (k == 0) first = last;
    adam.step(net.parameters(), gradient);
  }
  CHECK(first > variance);
  CHECK(last < 0.02 * variance);  // explains 98 %
}

TEMPLATE_TEST_CASE("a classifier learns which of three rings a point lies on", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(85);
  fm::Mlp<Scalar> net({.in = 2, .hidden = {24, 24}, .out = 3}, rng);
  const Index n = 300;
  const fm::RowVector<Scalar> angle = test::uniform<Scalar>(rng, n, 0, Scalar(6.2831853));
  fm::Matrix<Scalar> x(2, n);
  std::vector<Index> labels;
  for (Index j = 0; j < n; ++j) {
    labels.push_back(j % 3);
    x(0, j) = Scalar(j % 3 + 1) * std::cos(angle(j));
    x(1, j) = Scalar(j % 3 + 1) * std::sin(angle(j));
  }
  fm::Backprop backprop(net);
  fm::Adam adam(net.parameters(), {.learning_rate = 2e-2});
  fm::Vector<Scalar> gradient;
  double first = 0, last = 0;
  for (int k = 0; k < 300; ++k) {
    last = double(backprop(net, x, fm::softmax_cross_entropy(labels), gradient));
    if (k == 0) first = last;
    adam.step(net.parameters(), gradient);
  }
  CHECK_THAT(first, WithinAbs(std::log(3.0), 0.5));  // it starts by guessing
  CHECK(last < 0.05);                                // the rings are apart: only the number of steps limits it
  typename fm::Mlp<Scalar>::Workspace workspace;
  fm::Matrix<Scalar> y(3, n);
  net.forward(x, y, workspace);
  Index right = 0;
  for (Index j = 0; j < n; ++j) {
    Index best = 0;
    y.col(j).maxCoeff(&best);
    right += best == labels[std::size_t(j)];
  }
  CHECK(right == n);
}

TEMPLATE_TEST_CASE("backprop refuses batches that do not fit", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(86);
  const auto net = small_net<Scalar>(rng);
  fm::Backprop backprop(net);
  fm::Vector<Scalar> gradient;
  fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 3, 5);
  const fm::Matrix<Scalar> target = test::normal<Scalar>(rng, 2, 5);
  const auto message = [&](const auto& input, const auto& loss) {
    return test::message_of<std::invalid_argument>([&] { backprop(net, input, loss, gradient); });
  };
  CHECK(message(x.topRows(2), fm::mean_squared_error(target)) == "flowmatch: Backprop: expected 3 rows in x, got 2");
  CHECK(message(x.leftCols(4), fm::mean_squared_error(target)) ==
        "flowmatch: Backprop: expected 4 columns in the target, got 5");
  const std::vector<Index> labels(6, 0);
  CHECK(message(x, fm::softmax_cross_entropy(labels)) ==
        "flowmatch: Backprop: expected 5 columns in the target, got 6");
  CHECK(message(x, fm::mean_squared_error(target.topRows(1))) ==
        "flowmatch: mean_squared_error: expected 2 rows in target, got 1");
  CHECK(message(x.leftCols(0), fm::mean_squared_error(target.leftCols(0))) ==
        "flowmatch: Backprop: expected at least one sample, got none");
  x(2, 1) = std::numeric_limits<Scalar>::infinity();
  CHECK(message(x, fm::mean_squared_error(target)) ==
        "flowmatch: Backprop: expected finite numbers in x, got inf in row 2, column 1");

  const fm::VelocityMlp<Scalar> field({.dim = 2, .hidden = {4}}, rng);
  fm::Backprop through_field(field);
  const auto field_message = [&](Index rows, Index times, Index condition) {
    const fm::Matrix<Scalar> input = fm::Matrix<Scalar>::Zero(rows, 5), c = fm::Matrix<Scalar>::Zero(condition, 5);
    const fm::RowVector<Scalar> t = fm::RowVector<Scalar>::Zero(times);
    return test::message_of<std::invalid_argument>(
        [&] { through_field(field, input, t, c, fm::mean_squared_error(target), gradient); });
  };
  CHECK(field_message(1, 5, 0) == "flowmatch: Backprop: expected 2 rows in x, got 1");
  CHECK(field_message(2, 6, 0) == "flowmatch: Backprop: expected 5 columns in t, got 6");
  CHECK(field_message(2, 5, 1) == "flowmatch: Backprop: expected 0 rows in c, got 1");
}

TEMPLATE_TEST_CASE("a loss of one's own that is not finite is reported as divergence", "[train]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(87);
  const auto net = small_net<Scalar>(rng);
  fm::Backprop backprop(net);
  fm::Vector<Scalar> gradient;
  const auto infinite = [](const auto&, Index, auto&& dy) {
    dy.setZero();
    return std::numeric_limits<Scalar>::infinity();
  };
  CHECK(test::message_of<std::runtime_error>([&] {
          backprop(net, test::normal<Scalar>(rng, 3, 5), infinite, gradient);
        }) == "flowmatch: Backprop: the loss is inf: training diverged; a lower learning rate or clipping may help");
}
