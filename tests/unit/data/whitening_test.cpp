// SPDX-License-Identifier: MIT
#include "flowmatch/data/whitening.hpp"

#include <limits>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

template <class F> std::string invalid_argument_of(const F& f) { return test::message_of<std::invalid_argument>(f); }

/// n points of dim rows that mix `directions` independent normal numbers, of rows with scales from 1e-6 to 1e6 and an
/// offset of three deviations.
template <class Scalar> fm::Matrix<Scalar> mixture(Index dim, Index directions, Index n) {
  fm::Rng rng(8);
  const fm::Matrix<double> mixing = test::normal<double>(rng, dim, directions);
  fm::Matrix<double> x = mixing * test::normal<double>(rng, directions, n);
  x.array() += 3;
  for (Index row = 0; row < dim; ++row) x.row(row) *= std::pow(10.0, 6 - 12.0 * double(row) / double(dim - 1));
  return x.cast<Scalar>();
}

template <class Scalar> fm::Matrix<double> covariance(const fm::Matrix<Scalar>& z) {
  const fm::Matrix<double> d = z.template cast<double>().colwise() - z.template cast<double>().rowwise().mean();
  return d * d.transpose() / double(z.cols());
}

/// The largest difference, in standard deviations of each row.
template <class Scalar>
double error(const fm::Normalizer<Scalar>& normalizer, const fm::Matrix<Scalar>& a, const fm::Matrix<Scalar>& b) {
  double worst = 0;
  for (Index row = 0; row < a.rows(); ++row)
    worst = std::max(worst, double(test::largest(a.row(row) - b.row(row))) / double(normalizer.scale(row)));
  return worst;
}

}

TEMPLATE_TEST_CASE("whitened data has mean 0 and covariance I", "[data]", float, double) {
  const double tolerance = 2000 * double(std::numeric_limits<TestType>::epsilon());  // deviations down to 1/50, dim 6
  const fm::Matrix<TestType> x = mixture<TestType>(6, 6, 2000);
  for (const Index components : {1, 3, 6}) {
    CAPTURE(components);
    const fm::Normalizer normalizer = fm::whitening(x, components);
    const fm::Matrix<TestType> z = normalizer(x);
    REQUIRE(z.rows() == components);
    CHECK(test::largest(z.template cast<double>().rowwise().mean()) <= tolerance);
    const auto identity = fm::Matrix<double>::Identity(components, components);
    CHECK(test::largest(covariance(z) - identity) <= tolerance);
  }
}

TEMPLATE_TEST_CASE("all components give the data back, and fewer their share of it", "[data]", float, double) {
  const double rounding = 100 * double(std::numeric_limits<TestType>::epsilon());
  const fm::Matrix<TestType> x = mixture<TestType>(8, 8, 1000);
  const fm::Normalizer all = fm::whitening(x, 8);
  CHECK(error(all, x, all.inverse(all(x))) <= rounding);
  CHECK(std::abs(all.deviation.squaredNorm() - 8) <= 8 * rounding);  // of eight rows with variance 1
  for (const Index components : {1, 4, 7}) {
    CAPTURE(components);
    const fm::Normalizer some = fm::whitening(x, components);
    CHECK(some.components == all.components.topRows(components));
    CHECK(some.deviation == all.deviation.head(components));
    // What is left out, in units of scale, is the variance of the other components: the least for any subspace.
    fm::Matrix<double> left_out = (x - some.inverse(some(x))).template cast<double>();
    for (Index row = 0; row < 8; ++row) left_out.row(row) /= double(some.scale(row));
    const double expected = double(all.deviation.tail(8 - components).squaredNorm());
    CHECK(std::abs(left_out.squaredNorm() / 1000 - expected) <= 8 * rounding);
    // The principal subspace itself stays: a second way there and back changes nothing.
    const fm::Matrix<TestType> projected = some.inverse(some(x));
    CHECK(error(some, projected, some.inverse(some(projected))) <= rounding);
  }
}

TEMPLATE_TEST_CASE("data in a subspace comes back from as many components as that has", "[data]", float, double) {
  const fm::Matrix<TestType> x = mixture<TestType>(20, 3, 500);
  const fm::Normalizer normalizer = fm::whitening(x, 3);
  CHECK(error(normalizer, x, normalizer.inverse(normalizer(x))) <=
        100 * double(std::numeric_limits<TestType>::epsilon()));
  CHECK(invalid_argument_of([&] { fm::whitening(x, 4); }) ==
        "flowmatch: whitening: expected at most 3 components, the directions in which the data varies, got 4");
}

TEST_CASE("components are in order of deviation, orthonormal, of fixed sign and those of the closed form", "[data]") {
  // Two standardised rows with correlation r have the axes (1, 1) and (1, -1) with variances 1 + r and 1 - r.
  fm::Rng rng(4);
  fm::Matrix<double> x = test::normal<double>(rng, 2, 1000);
  x.row(1) += 2 * x.row(0);
  const fm::Matrix<double> z = fm::Normalizer(x)(x);
  const double r = z.row(0).dot(z.row(1)) / 1000;
  for (const double sign : {1.0, -1.0}) {  // of the correlation
    fm::Matrix<double> turned = x;
    turned.row(1) *= sign;
    const fm::Normalizer normalizer = fm::whitening(turned, 2);
    CHECK(std::abs(normalizer.deviation(0) - std::sqrt(1 + r)) < 1e-12);
    CHECK(std::abs(normalizer.deviation(1) - std::sqrt(1 - r)) < 1e-12);
    const double half = std::sqrt(0.5);
    for (Index i = 0; i < 2; ++i) {
      CHECK(std::abs(test::largest(normalizer.components.row(i)) - half) < 1e-12);
      CHECK(normalizer.components.row(i).maxCoeff() >= half - 1e-12);
      CHECK(normalizer.components(i, 0) * normalizer.components(i, 1) * (i == 0 ? sign : -sign) > 0);
    }
  }
  const fm::Normalizer normalizer = fm::whitening(mixture<double>(5, 5, 300), 5);
  for (Index i = 0; i < 5; ++i) {
    const Eigen::VectorXd axis = normalizer.components.row(i);
    CHECK(axis.maxCoeff() == test::largest(axis));
    if (i > 0) CHECK(normalizer.deviation(i) <= normalizer.deviation(i - 1));
  }
  CHECK((normalizer.components * normalizer.components.transpose()).isIdentity(1e-12));
}

TEMPLATE_TEST_CASE("units do not decide what is principal", "[data]", float, double) {
  const fm::Matrix<TestType> x = mixture<TestType>(4, 4, 500);
  fm::Matrix<TestType> other = x;
  other.row(1) *= 1024;  // a power of two: no rounding
  other.row(2) /= 1024;
  CHECK(fm::whitening(other, 3).components == fm::whitening(x, 3).components);
  CHECK(fm::whitening(other, 3)(other) == fm::whitening(x, 3)(x));
}

TEMPLATE_TEST_CASE("a constant row is no direction and comes back exactly", "[data]", float, double) {
  fm::Matrix<TestType> x = mixture<TestType>(4, 4, 300);
  x.row(2).setConstant(TestType(0.1));
  const fm::Normalizer normalizer = fm::whitening(x, 3);
  const fm::Matrix<TestType> z = 50 * fm::Matrix<TestType>::Random(3, 100);
  CHECK((normalizer.inverse(z).row(2).array() == TestType(0.1)).all());
  CHECK(invalid_argument_of([&] { fm::whitening(x, 4); }) ==
        "flowmatch: whitening: expected at most 3 components, the directions in which the data varies, got 4");
}

TEMPLATE_TEST_CASE("a direction counts if the data varies along it by more than rounding", "[data]", float, double) {
  fm::Rng rng(2);
  fm::Matrix<TestType> x = test::normal<TestType>(rng, 2, 500);
  x.row(1) = x.row(0) + TestType(1e-4) * x.row(1);
  const fm::Normalizer normalizer = fm::whitening(x, 2);
  CHECK(normalizer.deviation(1) < TestType(1e-3));
  CHECK(normalizer.deviation(1) > TestType(1e-5));
}

TEMPLATE_TEST_CASE("n points have n - 1 directions, even if rounding of their mean looks like one more", "[data]",
                   float, double) {
  fm::Rng rng(2);
  const TestType offset = TestType(0.05) / std::numeric_limits<TestType>::epsilon();  // numbers there are 1/32 apart
  const fm::Matrix<TestType> x = (test::normal<TestType>(rng, 4, 3).array() + offset).matrix();
  CHECK(fm::whitening(x, 2).normalized_dim() == 2);
  CHECK(invalid_argument_of([&] { fm::whitening(x, 3); }) ==
        "flowmatch: whitening: expected at most 2 components, the directions in which the data varies, got 3");
}

TEMPLATE_TEST_CASE("blocks of the sum do not show", "[data]", float, double) {
  // 600 samples are three blocks: the covariance is that of all samples, and of no other
  const fm::Matrix<TestType> x = mixture<TestType>(3, 3, 600);
  const fm::Matrix<double> whitened = covariance<TestType>(fm::whitening(x, 3)(x));
  CHECK(test::largest(whitened - fm::Matrix<double>::Identity(3, 3)) <=
        2000 * double(std::numeric_limits<TestType>::epsilon()));
}

TEMPLATE_TEST_CASE("a column's whitened form does not depend on its neighbours, and needs no allocation", "[data]",
                   float, double) {
  const fm::Matrix<TestType> x = mixture<TestType>(7, 7, 300);
  const fm::Normalizer normalizer = fm::whitening(x, 5);
  fm::Matrix<TestType> z = normalizer(x), back = normalizer.inverse(z);
  for (const Index j : {0, 1, 299}) {
    CHECK(normalizer(x.col(j)) == z.col(j));
    CHECK(normalizer.inverse(z.col(j)) == back.col(j));
  }
  CHECK(test::allocations_in([&] {
          normalizer(x, z);
          normalizer.inverse(z, back);
        }) == 0);
}

TEMPLATE_TEST_CASE("whitening refuses data and numbers of components that do not fit", "[data]", float, double) {
  fm::Matrix<TestType> x = mixture<TestType>(4, 4, 3);
  CHECK(invalid_argument_of([&] { fm::whitening(x, 0); }) == "flowmatch: whitening: expected components >= 1, got 0");
  CHECK(fm::whitening(x, 2).normalized_dim() == 2);
  CHECK(invalid_argument_of([&] { fm::whitening(x, 3); }) ==  // three points span a plane
        "flowmatch: whitening: expected at most 2 components, the directions in which the data varies, got 3");
  CHECK(invalid_argument_of([&] { fm::whitening(fm::Matrix<TestType>(0, 3), 1); }) ==
        "flowmatch: whitening: expected data.rows() >= 1, got 0");
  CHECK(invalid_argument_of([&] { fm::whitening<TestType>(x.leftCols(1), 1); }) ==
        "flowmatch: Normalizer: expected data.cols() >= 2, got 1");
  x(3, 1) = std::numeric_limits<TestType>::quiet_NaN();
  CHECK(invalid_argument_of([&] { fm::whitening(x, 2); }) ==
        "flowmatch: Normalizer: expected finite numbers in data, got nan in row 3, column 1");
}
