// SPDX-License-Identifier: MIT
// The kernels against plain loops in double: nothing here knows how they compute, so a faster body has to pass as it
// is.
#include <array>
#include <cmath>
#include <flowmatch/kernel/elementwise.hpp>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "support/largest.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

struct Shape {
  Index samples, in, out;
};

/// Every size from 1 to 40 in each of the three places, and some that are no multiple of any vector width.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (Index n = 1; n <= 40; ++n) {
    all.push_back({n, 41 - n, 1 + (7 * n) % 40});
    all.push_back({1 + (11 * n) % 40, n, 41 - n});
    all.push_back({41 - n, 1 + (3 * n) % 40, n});
  }
  for (Shape s : {Shape{128, 64, 64}, {127, 65, 33}, {129, 1, 2}, {1, 257, 1}, {2, 3, 131}, {67, 100, 100}})
    all.push_back(s);
  return all;
}

/// Sum of terms terms of size 1: each product and sum rounds once. Eight standard deviations of the terms' product are
/// allowed for the largest partial sum.
template <class Scalar> double tolerance(Index terms) {
  return 8 * double(std::numeric_limits<Scalar>::epsilon()) * double(terms + 2);
}

template <class Scalar> struct Affine {
  fm::Matrix<Scalar> weight;  // in x out
  fm::RowVector<Scalar> bias;

  Affine(fm::Rng& rng, Shape s)
      : weight(test::normal<Scalar>(rng, s.in, s.out)), bias(test::normal<Scalar>(rng, 1, s.out)) {}
  fm::detail::Layer<const Scalar> view() const { return {weight.data(), bias.data(), weight.rows(), weight.cols()}; }
  fm::detail::Layer<Scalar> writable() { return {weight.data(), bias.data(), weight.rows(), weight.cols()}; }
};

/// A matrix in the memory that the kernels want: samples x features, padded. The padding starts as NaN, which must stay
/// there.
template <class Scalar> class Tile {
 public:
  Tile(const fm::Matrix<Scalar>& m) : rows_(m.rows()), columns_(m.cols()) {
    memory_.resize(rows_, columns_);
    matrix((rows_ + 31) / 32 * 32).setConstant(Scalar(NAN));
    matrix() = m;
  }
  fm::detail::Tile<Scalar> view() { return memory_.view(rows_, columns_); }
  auto matrix() { return matrix(rows_); }

 private:
  auto matrix(Index rows) {
    return Eigen::Map<fm::Matrix<Scalar>, 0, Eigen::OuterStride<>>(view().data, rows, columns_,
                                                                   Eigen::OuterStride<>(view().stride));
  }

  fm::detail::TileMemory<Scalar> memory_;
  Index rows_, columns_;
};

template <class A, class B> double largest_difference(const A& a, const B& b) {
  return test::largest(a.template cast<double>() - b.template cast<double>());
}

/// W x + b by loops, in double
template <class Scalar> Eigen::MatrixXd affine_by_loops(const Affine<Scalar>& layer, const fm::Matrix<Scalar>& x) {
  Eigen::MatrixXd z(x.rows(), layer.weight.cols());
  for (Index j = 0; j < z.rows(); ++j)
    for (Index o = 0; o < z.cols(); ++o) {
      double sum = double(layer.bias(o));
      for (Index i = 0; i < x.cols(); ++i) sum += double(x(j, i)) * double(layer.weight(i, o));
      z(j, o) = sum;
    }
  return z;
}

}

TEMPLATE_TEST_CASE("product is W x + b, or adds it, and with an activation it is f(W x + b) and its slope", "[field]",
                   float, double) {
  using Scalar = TestType;
  fm::Rng rng(1);
  for (Shape s : shapes()) {
    INFO(s.samples << " samples, " << s.in << " -> " << s.out);
    const Affine<Scalar> layer(rng, s);
    const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, s.samples, s.in);
    const Eigen::MatrixXd want = affine_by_loops(layer, x);
    Tile<Scalar> in(x), z(fm::Matrix<Scalar>::Constant(s.samples, s.out, Scalar(NAN)));  // must not be read
    fm::detail::product<Scalar>(layer.view(), in.view(), false, z.view());
    CHECK(largest_difference(z.matrix(), want) <= tolerance<Scalar>(s.in));
    const fm::Matrix<Scalar> before = test::normal<Scalar>(rng, s.samples, s.out);
    z.matrix() = before;
    fm::detail::product<Scalar>(layer.view(), in.view(), true, z.view());
    CHECK(largest_difference(z.matrix(), before.template cast<double>() + want) <= tolerance<Scalar>(s.in + 1));
    z.matrix() = fm::Matrix<Scalar>(want.template cast<Scalar>());
    Tile<Scalar> y(before), slope(before), want_slope(before);
    fm::detail::activate<Scalar>(fm::Activation::silu, z.view(), z.view(), want_slope.view());
    fm::detail::product<Scalar>(layer.view(), in.view(), fm::Activation::silu, y.view(), slope.view());
    CHECK(largest_difference(y.matrix(), z.matrix()) <= 2 * tolerance<Scalar>(s.in));
    CHECK(largest_difference(slope.matrix(), want_slope.matrix()) <= 2 * tolerance<Scalar>(s.in));
  }
}

TEMPLATE_TEST_CASE("product_backward is W' dz, times the slope if there is one", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(2);
  for (Shape s : shapes()) {
    INFO(s.samples << " samples, " << s.in << " -> " << s.out);
    const Affine<Scalar> layer(rng, s);
    const fm::Matrix<Scalar> dz = test::normal<Scalar>(rng, s.samples, s.out);
    Eigen::MatrixXd want(s.samples, s.in);
    for (Index j = 0; j < s.samples; ++j)
      for (Index i = 0; i < s.in; ++i) {
        want(j, i) = 0;
        for (Index o = 0; o < s.out; ++o) want(j, i) += double(dz(j, o)) * double(layer.weight(i, o));
      }
    Tile<Scalar> in(dz), dx(fm::Matrix<Scalar>::Constant(s.samples, s.in, Scalar(NAN)));
    fm::detail::product_backward<Scalar>(layer.view(), in.view(), {}, dx.view());
    CHECK(largest_difference(dx.matrix(), want) <= tolerance<Scalar>(s.out));
    const fm::Matrix<Scalar> factor = test::normal<Scalar>(rng, s.samples, s.in);
    Tile<Scalar> slope(factor);
    fm::detail::product_backward<Scalar>(layer.view(), in.view(), slope.view(), dx.view());
    want = want.cwiseProduct(factor.template cast<double>());
    CHECK(largest_difference(dx.matrix(), want) <= 4 * tolerance<Scalar>(s.out));
  }
}

TEMPLATE_TEST_CASE("gradient_product adds dz x' to the weights and the sum of dz to the bias", "[field]", float,
                   double) {
  using Scalar = TestType;
  fm::Rng rng(3);
  for (Shape s : shapes()) {
    INFO(s.samples << " samples, " << s.in << " -> " << s.out);
    Affine<Scalar> gradient(rng, s);
    const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, s.samples, s.in);
    const fm::Matrix<Scalar> dz = test::normal<Scalar>(rng, s.samples, s.out);
    Eigen::MatrixXd weight = gradient.weight.template cast<double>();
    Eigen::RowVectorXd bias = gradient.bias.template cast<double>();
    for (Index o = 0; o < s.out; ++o)
      for (Index j = 0; j < s.samples; ++j) {
        bias(o) += double(dz(j, o));
        for (Index i = 0; i < s.in; ++i) weight(i, o) += double(x(j, i)) * double(dz(j, o));
      }
    Tile<Scalar> in(x), out(dz);
    fm::detail::gradient_product<Scalar>(in.view(), out.view(), gradient.writable());
    CHECK(largest_difference(gradient.weight, weight) <= tolerance<Scalar>(s.samples + 1));
    CHECK(largest_difference(gradient.bias, bias) <= tolerance<Scalar>(s.samples + 1));
  }
}

TEMPLATE_TEST_CASE("activate gives value and slope for every length, in place too", "[field]", float, double) {
  using Scalar = TestType;
  using One = fm::detail::Lanes<Scalar, sizeof(Scalar)>;
  fm::Rng rng(5);
  for (fm::Activation f : {fm::Activation::silu, fm::Activation::gelu, fm::Activation::tanh, fm::Activation::relu,
                           fm::Activation::selu, fm::Activation::softplus})
    for (Index samples = 1; samples <= 40; ++samples) {
      const Index features = 1 + samples % 3;
      INFO(fm::name(f) << ", " << samples << " samples");
      const fm::Matrix<Scalar> z = 3 * test::normal<Scalar>(rng, samples, features);
      fm::Matrix<Scalar> y(samples, features), slope(samples, features), want_y = y, want_slope = y;
      for (Index i = 0; i < z.size(); ++i) {  // each number alone: activation_test says what that is worth
        const typename One::V in = {z.data()[i]};
        typename One::V value = {}, derivative = {};
        fm::detail::evaluate<One>(f, in, value, derivative);
        want_y.data()[i] = value[0];
        want_slope.data()[i] = derivative[0];
      }
      Tile<Scalar> in(z), value(y), derivative(slope);
      fm::detail::activate<Scalar>(f, in.view(), value.view(), derivative.view());
      y = value.matrix();
      slope = derivative.matrix();
      // Up to the contraction of a product and a sum, which the instruction sets here may differ in.
      const double bound = 8 * double(std::numeric_limits<Scalar>::epsilon());
      CHECK(largest_difference(y, want_y) <= bound * 8);
      CHECK(largest_difference(slope, want_slope) <= bound * 2);
      fm::detail::activate<Scalar>(f, in.view(), in.view(), derivative.view());
      CHECK(in.matrix() == y);  // to the bit
      CHECK(derivative.matrix() == slope);
    }
}

namespace {

template <class Scalar> struct NormCase {
  fm::Matrix<Scalar> z, n, y;
  fm::RowVector<Scalar> scale, shift;
  fm::Vector<Scalar> inverse_deviation;

  NormCase(fm::Rng& rng, Index samples, Index features)
      : z(2 * test::normal<Scalar>(rng, samples, features)),
        n(samples, features),
        y(samples, features),
        scale(test::normal<Scalar>(rng, 1, features)),
        shift(test::normal<Scalar>(rng, 1, features)),
        inverse_deviation(samples) {
    z.array() += Scalar(0.5);
    Tile<Scalar> in(z), normalized(n), deviation(inverse_deviation), out(y);
    fm::detail::normalize<Scalar>(view(), in.view(), normalized.view(), deviation.view(), out.view());
    n = normalized.matrix();
    inverse_deviation = deviation.matrix();
    y = out.matrix();
  }
  fm::detail::Norm<const Scalar> view() const { return {scale.data(), shift.data()}; }
};

/// The same in double by loops.
struct NormByLoops {
  Eigen::MatrixXd n, y;
  Eigen::VectorXd inverse_deviation;

  template <class Scalar> explicit NormByLoops(const NormCase<Scalar>& c) : n(c.z.template cast<double>()), y(n) {
    inverse_deviation.resize(n.rows());
    for (Index j = 0; j < n.rows(); ++j) {
      double mean = 0, variance = 0;
      for (Index i = 0; i < n.cols(); ++i) mean += n(j, i) / double(n.cols());
      for (Index i = 0; i < n.cols(); ++i) variance += std::pow(n(j, i) - mean, 2) / double(n.cols());
      inverse_deviation(j) = 1 / std::sqrt(variance + 1e-5);
      for (Index i = 0; i < n.cols(); ++i) {
        n(j, i) = (n(j, i) - mean) * inverse_deviation(j);
        y(j, i) = double(c.scale(i)) * n(j, i) + double(c.shift(i));
      }
    }
  }
};

/// Rounding of z and of its mean is divided by the deviation, which is small for two or three features by chance.
template <class Scalar> double norm_tolerance(const NormByLoops& want) {
  return 32 * double(std::numeric_limits<Scalar>::epsilon()) * (1 + want.inverse_deviation.maxCoeff());
}

}

TEMPLATE_TEST_CASE("normalize is layer norm over the features of each sample", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(6);
  for (Shape s : shapes()) {
    INFO(s.samples << " samples, " << s.in << " features");
    const NormCase<Scalar> c(rng, s.samples, s.in);
    const NormByLoops want(c);
    const double tolerance = norm_tolerance<Scalar>(want);
    CHECK(largest_difference(c.n, want.n) <= tolerance);
    CHECK(largest_difference(c.y, want.y) <= 4 * tolerance);  // scale reaches about 4
    const Eigen::ArrayXd relative =
        c.inverse_deviation.template cast<double>().array() / want.inverse_deviation.array();
    CHECK((relative - 1).abs().maxCoeff() <= tolerance);
  }
}

TEMPLATE_TEST_CASE("normalize_backward is the derivative of layer norm, and adds", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(7);
  for (Shape s : shapes()) {
    const Index samples = s.samples, features = s.in;
    INFO(samples << " samples, " << features << " features");
    const NormCase<Scalar> c(rng, samples, features);
    const NormByLoops forward(c);
    fm::Matrix<Scalar> dy = test::normal<Scalar>(rng, samples, features),
                       dz = test::normal<Scalar>(rng, samples, features);
    fm::RowVector<Scalar> d_scale = test::normal<Scalar>(rng, 1, features),
                          d_shift = test::normal<Scalar>(rng, 1, features);
    // The Jacobian of n at z is (I - 1 1' / m - n n' / m) / deviation: written out entry by entry.
    Eigen::MatrixXd want = dz.template cast<double>();
    Eigen::RowVectorXd want_scale = d_scale.template cast<double>(), want_shift = d_shift.template cast<double>();
    const double m = double(features);
    for (Index j = 0; j < samples; ++j)
      for (Index k = 0; k < features; ++k) {
        want_scale(k) += double(dy(j, k)) * forward.n(j, k);
        want_shift(k) += double(dy(j, k));
        for (Index i = 0; i < features; ++i) {
          const double jacobian = (double(i == k) - (1 + forward.n(j, i) * forward.n(j, k)) / m);
          want(j, i) += jacobian * forward.inverse_deviation(j) * double(c.scale(k)) * double(dy(j, k));
        }
      }
    Tile<Scalar> normalized(c.n), deviation(c.inverse_deviation), above(dy), below(dz);
    fm::detail::normalize_backward<Scalar>(c.view(), normalized.view(), deviation.view(), above.view(),
                                           {d_scale.data(), d_shift.data()}, below.view());
    dz = below.matrix();
    // Errors of n and of the two means are divided by the deviation once more.
    const double tolerance = 8 * norm_tolerance<Scalar>(forward) * (1 + forward.inverse_deviation.maxCoeff());
    CHECK(largest_difference(dz, want) <= tolerance);
    CHECK(largest_difference(d_scale, want_scale) <= tolerance + 4 * ::tolerance<Scalar>(samples));
    CHECK(largest_difference(d_shift, want_shift) <= ::tolerance<Scalar>(samples + 1));
  }
}

TEMPLATE_TEST_CASE("normalize gives the shift for features that are all equal", "[field]", float, double) {
  using Scalar = TestType;
  const fm::Matrix<Scalar> quarters = fm::Matrix<Scalar>::Constant(3, 4, Scalar(0.25));
  Tile<Scalar> z(quarters), n(quarters), out(quarters), deviation(quarters.col(0));
  fm::RowVector<Scalar> scale = fm::RowVector<Scalar>::Constant(4, 2), shift(4);
  shift << 1, 2, 3, 4;
  fm::detail::normalize<Scalar>({scale.data(), shift.data()}, z.view(), n.view(), deviation.view(), out.view());
  const fm::Matrix<Scalar> y = out.matrix();
  const fm::Vector<Scalar> inverse_deviation = deviation.matrix();
  CHECK((y.rowwise() - shift).isZero(0));
  const Scalar want = 1 / std::sqrt(Scalar(1e-5));
  CHECK((inverse_deviation.array() / want - 1).abs().maxCoeff() <= 4 * std::numeric_limits<Scalar>::epsilon());
}
