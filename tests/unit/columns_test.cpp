// SPDX-License-Identifier: MIT
// What the example `table` takes a column for.
#include "../../examples/support/columns.hpp"

#include <vector>

#include "catch.hpp"

TEST_CASE("a column of few whole numbers has levels, others have none", "[examples]") {
  Eigen::RowVectorXf x(40);
  const auto levels_of = [&](auto value) {
    for (Eigen::Index j = 0; j < x.size(); ++j) x(j) = value(j);
    return support::levels(x);
  };
  CHECK(levels_of([](Eigen::Index j) { return float(j % 3) - 1; }) == std::vector<float>{-1, 0, 1});
  CHECK(levels_of([](Eigen::Index) { return 0.25f; }) == std::vector<float>{0.25f});  // constant
  CHECK(levels_of([](Eigen::Index j) { return float(j % 2) / 2; }).empty());          // not whole
  CHECK(levels_of([](Eigen::Index j) { return float(j % 5); }).empty());              // under ten rows for each
  CHECK(levels_of([](Eigen::Index j) { return float(j); }).empty());                  // too many
}

TEST_CASE("numbers are snapped to the nearest level", "[examples]") {
  const std::vector<float> levels{-1, 0, 4};
  CHECK(support::snap(-7, levels) == -1);
  CHECK(support::snap(-0.4f, levels) == 0);
  CHECK(support::snap(1.9f, levels) == 0);
  CHECK(support::snap(2.1f, levels) == 4);
  CHECK(support::snap(99, levels) == 4);
}

TEST_CASE("one_hot marks the level of each number", "[examples]") {
  Eigen::RowVectorXf x(3);
  x << 4, -1, 0;
  Eigen::MatrixXf want(3, 3);
  want << 0, 1, 0, 0, 0, 1, 1, 0, 0;
  CHECK(support::one_hot(x, {-1, 0, 4}) == want);
}

TEST_CASE("correlations are those of Pearson, 0 for a constant row", "[examples]") {
  Eigen::MatrixXf x(4, 4);
  x << 1, 2, 3, 4, -2, -4, -6, -8, 1, -1, -1, 1, 5, 5, 5, 5;
  const Eigen::MatrixXd c = support::correlations(x);
  CHECK(std::abs(c(0, 0) - 1) < 1e-12);
  CHECK(std::abs(c(0, 1) + 1) < 1e-12);
  CHECK(std::abs(c(0, 2)) < 1e-12);
  CHECK(c.row(3).isZero(0));
}
