// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <flowmatch/kernel/activation_name.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/finite_difference.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using fm::Activation;

namespace {

const Activation all[] = {Activation::silu, Activation::gelu, Activation::tanh,
                          Activation::relu, Activation::selu, Activation::softplus};

template <class Scalar> struct ValueAndSlope { Scalar value, slope; };

/// On the instruction set that the kernels use, with z in every lane.
template <class Scalar> ValueAndSlope<Scalar> evaluate(Activation f, Scalar z) {
  ValueAndSlope<Scalar> result{};
  fm::detail::dispatch([&](auto width) FLOWMATCH_INLINE {
    using L = fm::detail::Lanes<Scalar, decltype(width)::bytes>;
    const typename L::V in = typename L::V{} + z;
    typename L::V value, slope;
    fm::detail::evaluate<L>(f, in, value, slope);
    result = {value[0], slope[L::width - 1]};
  });
  return result;
}

/// From the textbook formulas, in long double and without cancellation.
ValueAndSlope<long double> reference(Activation f, long double z) {
  const long double pi = 3.141592653589793238462643383279502884L;
  switch (f) {
    case Activation::silu: {
      const long double s = 1 / (1 + std::exp(-z)), other = 1 / (1 + std::exp(z));
      return {z * s, s + z * s * other};
    }
    case Activation::gelu: {
      const long double phi = std::erfc(-z / std::sqrt(2.0L)) / 2;
      return {z * phi, phi + z * std::exp(-z * z / 2) / std::sqrt(2 * pi)};
    }
    case Activation::tanh: {
      const long double c = std::cosh(z);
      return {std::tanh(z), 1 / (c * c)};
    }
    case Activation::relu:
      return {z > 0 ? z : 0, z > 0 ? 1.0L : 0.0L};
    case Activation::selu: {
      const long double scale = 1.0507009873554804934193349852946L, alpha = 1.6732632423543772848170429916717L;
      return z > 0 ? ValueAndSlope<long double>{scale * z, scale}
                   : ValueAndSlope<long double>{scale * alpha * std::expm1(z), scale * alpha * std::exp(z)};
    }
    case Activation::softplus:
      return {std::max(z, 0.0L) + std::log1p(std::exp(-std::abs(z))), 1 / (1 + std::exp(-z))};
  }
  return {};
}

/// [-80, 80] finely, every power of two from tiny to 64 with both signs, and 0.
template <class Scalar> std::vector<Scalar> points() {
  std::vector<Scalar> z = {Scalar(0)};
  for (int k = -16000; k <= 16000; ++k) z.push_back(Scalar(k) * Scalar(0.005));
  for (int e = -30; e <= 6; ++e)
    for (Scalar sign : {Scalar(1), Scalar(-1)}) z.push_back(sign * std::ldexp(Scalar(1), e));
  return z;
}

/// How many epsilons value and slope may be off at z, in proportion to the number itself and beyond that.
struct Bound {
  double value_relative, slope_relative, slope_absolute;
};

Bound bound(Activation f, double z) {
  switch (f) {
    case Activation::relu:
      return {0, 0, 0};  // exact
    case Activation::silu:
      return {4, 0, 4 + std::abs(z)};  // the slope has a zero, and 1 - sigmoid is rounded before z multiplies it
    case Activation::gelu:
      return {10, 0, 8};
    case Activation::tanh:
      return {4, 8, 0};
    case Activation::selu:
    case Activation::softplus:
      return {4, 4, 0};
  }
  return {};
}

/// Where the formula has a kink or a jump in its slope, nothing is differentiable: relu and selu at 0.
bool smooth_around(Activation f, double z, double distance) {
  return (f != Activation::relu && f != Activation::selu) || std::abs(z) > distance;
}

}

TEMPLATE_TEST_CASE("activations and their slopes are within a few epsilon of the exact numbers", "[field]", float,
                   double) {
  using Scalar = TestType;
  const double epsilon = double(std::numeric_limits<Scalar>::epsilon());
  const double least = double(std::numeric_limits<Scalar>::min());  // below it, exp may stop short of zero
  for (Activation f : all) {
    INFO(fm::name(f));
    double value_excess = -1, slope_excess = -1, worst_value_at = 0, worst_slope_at = 0;
    for (Scalar z : points<Scalar>()) {
      const auto got = evaluate(f, z);
      const auto want = reference(f, (long double)(z));
      const Bound b = bound(f, double(z));
      const double value_error = double(std::abs((long double)(got.value) - want.value));
      const double slope_error = double(std::abs((long double)(got.slope) - want.slope));
      const double value = value_error - epsilon * b.value_relative * double(std::abs(want.value)) - 4 * least;
      const double slope = slope_error - epsilon * b.slope_relative * double(std::abs(want.slope)) -
                           epsilon * b.slope_absolute - 100 * least;
      if (!(value <= value_excess)) value_excess = value, worst_value_at = double(z);
      if (!(slope <= slope_excess)) slope_excess = slope, worst_slope_at = double(z);
    }
    INFO("value at " << worst_value_at << ", slope at " << worst_slope_at);
    CHECK(value_excess <= 0);
    CHECK(slope_excess <= 0);
  }
}

TEMPLATE_TEST_CASE("far tails of activations neither overflow nor turn into NaN", "[field]", float, double) {
  using Scalar = TestType;
  const Scalar far[] = {Scalar(100), Scalar(1000), Scalar(1e4), Scalar(1e15)};
  for (Scalar z : far) {
    INFO(z);
    for (Activation f : all) {
      INFO(fm::name(f));
      const Scalar scale = f == Activation::selu ? Scalar(1.0507009873554804934193349852946) : Scalar(1);
      const auto right = evaluate(f, z), left = evaluate(f, -z);
      CHECK(right.value == (f == Activation::tanh ? 1 : scale * z));
      if (f == Activation::tanh)
        CHECK(right.slope < 1e-80);  // 4 e^-2z
      else
        CHECK(right.slope == scale);
      const double limit = f == Activation::tanh ? -1 : f == Activation::selu ? -1.7580993408473768599402175208123 : 0;
      // 1e-20: exp(-z) is only known to be tiny there, and gelu's slope multiplies it by z
      CHECK_THAT(double(left.value), WithinAbs(limit, 1e-20 + 2 * std::numeric_limits<Scalar>::epsilon() * -limit));
      CHECK_THAT(double(left.slope), WithinAbs(0, 1e-20));
    }
  }
}

TEST_CASE("slopes of activations are the derivatives of their values", "[field]") {
  for (Activation f : all) {
    INFO(fm::name(f));
    for (int k = -601; k <= 601; k += 2) {
      const double z = k * 0.05, h = 1.0 / 64;
      if (!smooth_around(f, z, h)) continue;
      const double slope = test::derivative_at_zero([&](double step) { return evaluate(f, z + step).value; }, h);
      INFO(z);
      // 1e-9: rounding of values up to 30 is divided by steps down to h / 8
      CHECK_THAT(evaluate(f, z).slope, WithinAbs(slope, 1e-9));
    }
  }
}

TEMPLATE_TEST_CASE("relu and selu take the slope from the left at their kink", "[field]", float, double) {
  CHECK(evaluate(Activation::relu, TestType(0)).value == 0);
  CHECK(evaluate(Activation::relu, TestType(0)).slope == 0);
  CHECK(evaluate(Activation::selu, TestType(0)).value == 0);
  CHECK_THAT(double(evaluate(Activation::selu, TestType(0)).slope), WithinAbs(1.7580993408473766, 1e-6));
}

TEMPLATE_TEST_CASE("NaN goes through every activation, in any lane, and leaves its neighbours alone", "[field]", float,
                   double) {
  using L = fm::detail::Lanes<TestType, 64>;
  for (Activation f : all)
    for (int lane = 0; lane < L::width; ++lane) {
      INFO(fm::name(f) << ", lane " << lane);
      typename L::V z = typename L::V{} + TestType(0.5), value, slope;
      z[lane] = std::numeric_limits<TestType>::quiet_NaN();
      fm::detail::evaluate<L>(f, z, value, slope);
      for (int i = 0; i < L::width; ++i) CHECK(std::isnan(value[i]) == (i == lane));
    }
}

TEST_CASE("names of activations go to and fro", "[field]") {
  for (Activation f : all) CHECK(fm::activation_from_name(fm::name(f)) == f);
  CHECK(fm::name(Activation::silu) == "silu");
  CHECK(fm::name(Activation::gelu) == "gelu");
  CHECK(fm::name(Activation::tanh) == "tanh");
  CHECK(fm::name(Activation::relu) == "relu");
  CHECK(fm::name(Activation::selu) == "selu");
  CHECK(fm::name(Activation::softplus) == "softplus");
}

TEST_CASE("an unknown activation is refused with the known names", "[field]") {
  CHECK(test::message_of<std::invalid_argument>([] { (void)fm::activation_from_name("swish"); }) ==
        "flowmatch: activation_from_name: expected one of silu, gelu, tanh, relu, selu, softplus, got \"swish\"");
  CHECK(test::message_of<std::invalid_argument>([] { (void)fm::activation_from_name("SiLU"); }) ==
        "flowmatch: activation_from_name: expected one of silu, gelu, tanh, relu, selu, softplus, got \"SiLU\"");
  CHECK(test::message_of<std::invalid_argument>([] { (void)fm::name(Activation(17)); }) ==
        "flowmatch: name: expected an Activation, got number 17");
}
