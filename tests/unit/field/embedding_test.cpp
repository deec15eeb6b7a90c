// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/field/conditional_velocity_mlp.hpp>
#include <limits>

#include "catch.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using fm::Index;

TEMPLATE_TEST_CASE("a label is a whole number from 0 to the number of classes", "[field]", float, double) {
  for (Index k : {0, 1, 9, 10}) CHECK(fm::detail::label_of("f", TestType(k), 10, 0) == k);
  CHECK(fm::detail::label_of("f", TestType(1 << 24), 1 << 24, 0) == 1 << 24);
  CHECK(fm::detail::label_of("f", TestType(-0.), 10, 0) == 0);
  const auto message = [](TestType label) {
    return test::message_of<std::invalid_argument>([&] { fm::detail::label_of("f", label, 10, 4); });
  };
  CHECK(message(TestType(2.5)) ==
        "flowmatch: f: expected whole numbers from 0 to 10 (10: none) as labels in row 0 of c, got 2.5 in column 4");
  for (double wrong : {-1., 11., 1e30, -1e30, 1e-30, double(INFINITY), -double(INFINITY), double(NAN)}) {
    CAPTURE(wrong);
    CHECK(message(TestType(wrong)).find("flowmatch: f: expected whole numbers") == 0);
  }
}

TEST_CASE("an embedded condition is a row of the table above the vector or what stands for none", "[field]") {
  const fm::detail::EmbeddingShape shape{.classes = 2, .embedding_dim = 3, .vector_dim = 2};
  CHECK(shape.rows() == 5);
  CHECK(shape.table_size() == 9);
  const Eigen::VectorXd numbers = Eigen::VectorXd::LinSpaced(11, 0, 10);  // three rows of three, then two
  const Eigen::Vector3d c(-1, 70, 80);
  Eigen::VectorXd e(5), expected(5);
  fm::detail::embed(shape, numbers.data(), 0, c.data(), e.data());
  expected << 0, 1, 2, 70, 80;
  CHECK(e == expected);
  fm::detail::embed(shape, numbers.data(), 2, c.data(), e.data());
  expected << 6, 7, 8, 9, 10;
  CHECK(e == expected);

  // The way back adds to the same places.
  Eigen::VectorXd gradient = Eigen::VectorXd::Ones(11), want = gradient;
  const Eigen::VectorXd de = Eigen::VectorXd::LinSpaced(5, 1, 5);
  fm::detail::embed_backward(shape, 1, de.data(), gradient.data());
  want.segment(3, 3) += de.head(3);
  CHECK(gradient == want);
  fm::detail::embed_backward(shape, 2, de.data(), gradient.data());
  want.tail(5) += de;
  CHECK(gradient == want);
}
