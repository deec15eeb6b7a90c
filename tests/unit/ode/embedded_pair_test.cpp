// SPDX-License-Identifier: MIT
// The tables of the adaptive pairs, by the conditions of order (Hairer, Norsett, Wanner II.2): one for each rooted
// tree.
#include <cmath>
#include <flowmatch/ode/embedded_pair.hpp>
#include <flowmatch/ode/integrate.hpp>
#include <vector>

#include "catch.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;

namespace {

using Seven = Eigen::Array<double, 7, 1>;

template <class Table> Eigen::Matrix<double, 7, 7> matrix() {
  Eigen::Matrix<double, 7, 7> a;
  for (int i = 0; i < 7; ++i)
    for (int j = 0; j < 7; ++j) a(i, j) = Table::a[std::size_t(i)][std::size_t(j)];
  return a;
}
Seven vector(const std::array<double, 7>& row) { return Eigen::Map<const Seven>(row.data()); }

/// How far the weights miss the conditions of this order for a step of length theta.
template <class Table> double miss(const Seven& b, int order, double theta = 1) {
  const Eigen::Matrix<double, 7, 7> a = matrix<Table>();
  const Seven c = vector(Table::c), one = Seven::Ones();
  const auto times = [&](const Seven& u) { return Seven(a * u.matrix()); };
  const Seven ac = times(c), ac2 = times(c * c), aac = times(ac);
  std::vector<std::pair<Seven, double>> trees;  // with their density
  if (order == 1) trees = {{one, 1}};
  if (order == 2) trees = {{c, 2}};
  if (order == 3) trees = {{c * c, 3}, {ac, 6}};
  if (order == 4) trees = {{c * c * c, 4}, {c * ac, 8}, {ac2, 12}, {aac, 24}};
  if (order == 5)
    trees = {{c * c * c * c, 5},     {c * c * ac, 10},    {c * ac2, 15},    {c * aac, 30},    {ac * ac, 20},
             {times(c * c * c), 20}, {times(c * ac), 40}, {times(ac2), 60}, {times(aac), 120}};
  double worst = 0;
  for (const auto& [tree, density] : trees)
    worst = std::max(worst, std::abs((b * tree).sum() - std::pow(theta, order) / density));
  return worst;
}

/// dx/dt = A x with A turning, damped, over some turns; and cos(3t) x, which grows and falls.
template <class S> double order_by_halving(const S& stepper, bool turning) {
  const auto f = [&](const auto& x, const auto& t, const auto&, auto& v) {
    if (turning) {
      v.row(0) = -0.1 * x.row(0) - 3 * x.row(1);
      v.row(1) = 3 * x.row(0) - 0.1 * x.row(1);
    } else {
      v = x.array().rowwise() * (3 * t.array()).cos();
    }
  };
  const double end = turning ? 3 : 8;
  Eigen::Vector2d exact(std::exp(-0.1 * end) * std::cos(3 * end), std::exp(-0.1 * end) * std::sin(3 * end));
  if (!turning) exact << std::exp(std::sin(3 * end) / 3), 0;
  const auto error = [&](fm::Index n) {
    fm::Matrix<double> x(2, 1);
    x << 1, 0;
    fm::integrate(f, x, stepper, {.steps = n, .to = end});
    return (x - exact).norm();
  };
  return std::log2(error(400) / error(800));
}

}

TEMPLATE_TEST_CASE("an adaptive pair meets the conditions of orders 5 and 4, and inside a step of order 4", "[ode]",
                   fm::tableau::DormandPrince, fm::tableau::Tsitouras) {
  using Table = TestType;
  constexpr double tolerance = 3e-15;  // some roundings of coefficients up to 13
  const Seven b = vector(Table::b), c = vector(Table::c), b4 = b - vector(Table::error), dense = vector(Table::dense);
  CHECK((Seven(matrix<Table>().rowwise().sum().array()) - c).abs().maxCoeff() < tolerance);
  for (int i = 0; i < 7; ++i)
    for (int j = i; j < 7; ++j) CHECK(matrix<Table>()(i, j) == 0);  // explicit
  CHECK((vector(Table::a[6]) == b).all());                          // the last stage is the first of the next step
  for (int order = 1; order <= 5; ++order) {
    CAPTURE(order);
    CHECK(miss<Table>(b, order) < tolerance);
    if (order < 5) CHECK(miss<Table>(b4, order) < tolerance);
  }
  CHECK(miss<Table>(b4, 5) > 1e-4);  // what the estimate measures

  Seven first = Seven::Zero(), last = first;
  first(0) = last(6) = 1;
  for (const double theta : {0.1, 0.5, 0.9}) {  // eq. 18, its weights
    const double left = 1 - theta;
    const Seven inside = theta * (b + left * (first - b + theta * (2 * b - first - last + left * dense)));
    for (int order = 1; order <= 4; ++order) CHECK(miss<Table>(inside, order, theta) < tolerance);
  }
}

TEMPLATE_TEST_CASE("an adaptive pair has order 5 with equal steps", "[ode]", fm::tableau::DormandPrince,
                   fm::tableau::Tsitouras) {
  for (const bool turning : {true, false})
    CHECK_THAT(order_by_halving(fm::RungeKutta<TestType>{}, turning), WithinAbs(5, 0.05));
}
