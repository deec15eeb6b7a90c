// SPDX-License-Identifier: MIT
#include "flowmatch/data/normalizer.hpp"

#include <limits>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

template <class F> std::string invalid_argument_of(const F& f) { return test::message_of<std::invalid_argument>(f); }

template <class Scalar> constexpr Scalar epsilon = std::numeric_limits<Scalar>::epsilon();

/// Normal rows with the given means and deviations.
template <class Scalar>
fm::Matrix<Scalar> rows_of(const std::vector<double>& means, const std::vector<double>& deviations, Index n) {
  fm::Rng rng(3);
  fm::Matrix<Scalar> x = test::normal<Scalar>(rng, Index(means.size()), n);
  for (Index row = 0; row < x.rows(); ++row)
    x.row(row) = (Scalar(deviations[std::size_t(row)]) * x.row(row).array() + Scalar(means[std::size_t(row)])).matrix();
  return x;
}

/// The largest difference between two matrices in row `row`.
template <class Scalar> Scalar difference(const fm::Matrix<Scalar>& a, const fm::Matrix<Scalar>& b, Index row) {
  return test::largest(a.row(row) - b.row(row));
}

const std::vector<double> means = {0, 3, -2e6, 1e4, 0, 5e-5}, deviations = {1, 1e-6, 1e6, 1, 1e6, 1e-6};

}

TEMPLATE_TEST_CASE("a normalised row has mean 0 and standard deviation 1, whatever its offset and scale", "[data]",
                   float, double) {
  const fm::Matrix<TestType> x = rows_of<TestType>(means, deviations, 5000);
  const fm::Normalizer normalizer(x);
  const fm::Matrix<double> z = normalizer(x).template cast<double>();
  for (Index row = 0; row < x.rows(); ++row) {
    CAPTURE(row);
    // The mean is a number of type Scalar, which moves z by up to half the spacing of the data; the rest is rounding of
    // z and, in double, of the sums here and there.
    const double rounding = 4 * double(epsilon<TestType>) + 5000 * epsilon<double>;
    const double spacing = double(epsilon<TestType>) * double(test::largest(x.row(row)));
    CHECK(std::abs(z.row(row).mean()) <= spacing / double(normalizer.scale(row)) + rounding);
    const double variance = (z.row(row).array() - z.row(row).mean()).square().mean();
    CHECK(std::abs(variance - 1) <= rounding);
  }
}

TEMPLATE_TEST_CASE("data comes back from its normalised form to rounding, at scales from 1e-6 to 1e6", "[data]", float,
                   double) {
  const fm::Matrix<TestType> x = rows_of<TestType>(means, deviations, 1000);
  const fm::Normalizer normalizer(x);
  const fm::Matrix<TestType> back = normalizer.inverse(normalizer(x));
  for (Index row = 0; row < x.rows(); ++row) {
    CAPTURE(row);
    // four roundings: of the difference, the quotient, the product (each at most 5 deviations) and the sum
    CHECK(difference(x, back, row) <= epsilon<TestType> * (test::largest(x.row(row)) + 8 * normalizer.scale(row)));
  }
}

TEMPLATE_TEST_CASE("the statistics are those of two passes in double: an offset costs no digits", "[data]", float,
                   double) {
  // 2^20 + {-1, 0, 0, 1} / 8: exact in float, where the sum of squares has no digit left of the variance
  fm::Matrix<TestType> x(1, 4);
  x << TestType(1048576.125), TestType(1048575.875), TestType(1048576), TestType(1048576);
  const fm::Normalizer normalizer(x);
  CHECK(normalizer.mean(0) == TestType(1048576));
  CHECK(normalizer.scale(0) == std::sqrt(TestType(0.0078125)));
  // Half a million of a number that is not exact, summed in TestType or from 0, would not give it back.
  fm::Matrix<TestType> many = fm::Matrix<TestType>::Constant(1, 500000, TestType(0.1));
  many(0, 1) += TestType(0.5);
  many(0, 2) -= TestType(0.5);
  CHECK(std::abs(fm::Normalizer(many).mean(0) - TestType(0.1)) <= epsilon<TestType> / 8);
}

TEMPLATE_TEST_CASE("a constant row becomes 0 and comes back exactly, whatever is sampled for it", "[data]", float,
                   double) {
  for (const TestType value : {TestType(0), TestType(0.1), TestType(-1e6) / 3, std::numeric_limits<TestType>::max()}) {
    CAPTURE(value);
    fm::Matrix<TestType> x = rows_of<TestType>({0, 0, 7}, {1, 0, 2}, 999);
    x.row(1).setConstant(value);
    const fm::Normalizer normalizer(x);
    CHECK(normalizer.scale(1) == 0);
    fm::Matrix<TestType> z = normalizer(x);
    CHECK(z.row(1).isZero(0));
    CHECK(normalizer(fm::Matrix<TestType>::Ones(3, 1))(1, 0) == 0);  // and for another value
    z.row(1).setLinSpaced(-1000, 1000);
    CHECK((normalizer.inverse(z).row(1).array() == value).all());
  }
  // all rows, and the least that is not constant
  const fm::Matrix<TestType> same = fm::Matrix<TestType>::Constant(2, 3, TestType(0.3));
  CHECK(fm::Normalizer(same).inverse(fm::Matrix<TestType>::Ones(2, 1)) == same.leftCols(1));
  fm::Matrix<TestType> nearly = same;
  nearly(0, 1) = std::nextafter(nearly(0, 1), TestType(1));
  CHECK(fm::Normalizer(nearly).scale(0) > 0);
  CHECK(fm::Normalizer(nearly).inverse(fm::Normalizer(nearly)(nearly)) == nearly);
}

TEMPLATE_TEST_CASE("an identity leaves every bit", "[data]", float, double) {
  fm::Rng rng(5);
  const fm::Matrix<TestType> x = test::normal<TestType>(rng, 3, 10);
  const auto identity = fm::Normalizer<TestType>::identity(3);
  CHECK(identity(x) == x);
  CHECK(identity.inverse(x) == x);
}

TEMPLATE_TEST_CASE("no rows stay no rows", "[data]", float, double) {
  const fm::Matrix<TestType> none(0, 5);
  for (const auto& normalizer : {fm::Normalizer<TestType>(), fm::Normalizer(none)}) {
    CHECK(normalizer.dim() == 0);
    CHECK(normalizer(none).cols() == 5);
    CHECK(normalizer.inverse(none).rows() == 0);
  }
}

TEMPLATE_TEST_CASE("a column's normalised form does not depend on its neighbours", "[data]", float, double) {
  const fm::Matrix<TestType> x = rows_of<TestType>(means, deviations, 300);
  const fm::Normalizer normalizer(x);
  const fm::Matrix<TestType> z = normalizer(x), back = normalizer.inverse(z);
  for (const Index j : {0, 1, 299}) {
    CHECK(normalizer(x.col(j)) == z.col(j));
    CHECK(normalizer.inverse(z.col(j)) == back.col(j));
  }
}

TEMPLATE_TEST_CASE("results of known size are written without allocation", "[data]", float, double) {
  if (!test::counts_allocations) return;
  const fm::Matrix<TestType> x = rows_of<TestType>(means, deviations, 50);
  const fm::Normalizer normalizer(x);
  fm::Matrix<TestType> z, back;
  CHECK(test::allocations_in([&] { normalizer(x, z); }) > 0);
  normalizer.inverse(z, back);
  CHECK(test::allocations_in([&] {
          normalizer(x, z);
          normalizer.inverse(z, back);
        }) == 0);
}

TEMPLATE_TEST_CASE("a Normalizer fits blocks of data too, and only those", "[data]", float, double) {
  fm::Matrix<TestType> x = rows_of<TestType>({0, 1, 2}, {1, 2, 3}, 40);
  const fm::Matrix<TestType> part = x.block(1, 5, 2, 20);
  const fm::Normalizer of_block(x.block(1, 5, 2, 20)), of_copy(part);
  CHECK(of_block.mean == of_copy.mean);
  CHECK(of_block.scale == of_copy.scale);
}

TEMPLATE_TEST_CASE("data that has no mean and deviation is refused by name and place", "[data]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  fm::Matrix<TestType> x = rows_of<TestType>({0, 0}, {1, 1}, 4);
  CHECK(invalid_argument_of([&] { fm::Normalizer(x.leftCols(1)); }) ==
        "flowmatch: Normalizer: expected data.cols() >= 2, got 1");
  CHECK(invalid_argument_of([&] { fm::Normalizer(x.leftCols(0)); }) ==
        "flowmatch: Normalizer: expected data.cols() >= 2, got 0");
  x(1, 2) = Limits::infinity();
  CHECK(invalid_argument_of([&] { fm::Normalizer{x}; }) ==
        "flowmatch: Normalizer: expected finite numbers in data, got inf in row 1, column 2");
  x(1, 2) = Limits::quiet_NaN();
  CHECK(invalid_argument_of([&] { fm::Normalizer{x}; }) ==
        "flowmatch: Normalizer: expected finite numbers in data, got nan in row 1, column 2");
  // Deviations that are no normal numbers of the type: 0 would make a row constant that is not.
  x(1, 2) = 0;
  x.row(0).setZero();
  x(0, 3) = Limits::denorm_min();
  CHECK(invalid_argument_of([&] {
          fm::Normalizer{x};
        }).find("flowmatch: Normalizer: expected a standard deviation in [") == 0);
  CHECK(invalid_argument_of([&] { fm::Normalizer{x}; }).find(" in row 0 of data, got ") != std::string::npos);
  x.row(0) << Limits::max(), -Limits::max(), Limits::max(), -Limits::max();
  if (sizeof(TestType) == 8)
    CHECK(invalid_argument_of([&] { fm::Normalizer{x}; }).find(" in row 0 of data, got ") != std::string::npos);
  else
    CHECK(fm::Normalizer(x).scale(0) == Limits::max());
}

TEMPLATE_TEST_CASE("a Normalizer refuses what does not fit it", "[data]", float, double) {
  fm::Matrix<TestType> x = rows_of<TestType>({0, 0}, {1, 1}, 4), z;
  fm::Normalizer normalizer(x);
  CHECK(invalid_argument_of([&] { normalizer(x.topRows(1), z); }) ==
        "flowmatch: Normalizer: expected 2 rows in x, got 1");
  CHECK(invalid_argument_of([&] { normalizer.inverse(x.topRows(1), z); }) ==
        "flowmatch: Normalizer::inverse: expected 2 rows in z, got 1");
  CHECK(invalid_argument_of([&] { normalizer(x, x); }) ==
        "flowmatch: Normalizer: x must not share memory with the result");
  CHECK(invalid_argument_of([&] { normalizer.inverse(x, x); }) ==
        "flowmatch: Normalizer::inverse: z must not share memory with the result");
  fm::Matrix<TestType> bad = x;
  bad(1, 3) = std::numeric_limits<TestType>::quiet_NaN();
  CHECK(invalid_argument_of([&] { normalizer(bad); }) ==
        "flowmatch: Normalizer: expected finite numbers in x, got nan in row 1, column 3");
  CHECK(invalid_argument_of([&] { normalizer.inverse(bad); }) ==
        "flowmatch: Normalizer::inverse: expected finite numbers in z, got nan in row 1, column 3");
  normalizer.scale.resize(3);
  CHECK(invalid_argument_of([&] { normalizer(x); }) == "flowmatch: Normalizer: expected 2 entries in scale, got 3");
  normalizer.scale.setOnes(2);
  normalizer.deviation.setOnes(1);
  CHECK(invalid_argument_of([&] { normalizer(x); }) == "flowmatch: Normalizer: expected 0 entries in deviation, got 1");
  normalizer.components.setOnes(1, 3);
  CHECK(invalid_argument_of([&] { normalizer(x); }) ==
        "flowmatch: Normalizer: expected 2 columns in components, got 3");
}
