// SPDX-License-Identifier: MIT
// Elementary functions and the choice of instruction set: accuracy against long double, and the same bits on every
// instruction set with fused multiply-add.
#include <cmath>
#include <cstring>
#include <flowmatch/kernel/elementary.hpp>
#include <flowmatch/kernel/instruction_set.hpp>
#include <limits>
#include <vector>

#include "catch.hpp"

namespace fm = flowmatch;
using fm::InstructionSet;

namespace {

std::vector<InstructionSet> available() {
  std::vector<InstructionSet> sets = {InstructionSet::baseline};
  for (InstructionSet set : {InstructionSet::avx2, InstructionSet::avx512})
    if (set <= fm::simd::widest_of_cpu()) sets.push_back(set);
  return sets;
}

/// f(L, x, y) applied to all of x on one instruction set.
template <class Scalar, class F> std::vector<Scalar> map(InstructionSet set, std::vector<Scalar> x, const F& f) {
  const std::size_t n = x.size();
  x.resize((n + 15) / 16 * 16, Scalar(0.5));
  std::vector<Scalar> y(x.size());
  fm::simd::dispatch(set, [&](auto width) FLOWMATCH_INLINE {
    using L = fm::simd::Lanes<Scalar, decltype(width)::bytes>;
    for (std::size_t i = 0; i < x.size(); i += std::size_t(L::width)) {
      typename L::V in, out;
      L::load(x.data() + i, in);
      f(L(), in, out);
      L::store(y.data() + i, out);
    }
  });
  y.resize(n);
  return y;
}

/// Points of [low, high], evenly and with many digits.
template <class Scalar> std::vector<Scalar> points(double low, double high) {
  std::vector<Scalar> x;
  for (int i = 0; i <= 20011; ++i) x.push_back(Scalar(low + (high - low) * i / 20011));
  return x;
}

/// Holds f to reference within ulps of relative error on every instruction set, and compares the bits of the wide ones.
template <class Scalar, class F, class R>
void hold(double low, double high, double ulps, const F& f, const R& reference) {
  const std::vector<Scalar> x = points<Scalar>(low, high);
  std::vector<Scalar> wide;
  for (InstructionSet set : available()) {
    const std::vector<Scalar> y = map<Scalar>(set, x, f);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double want = reference((long double)(x[i]));
      const double error = double(std::abs((long double)(y[i]) - want));
      worst = std::max(worst, error / (double(std::abs(want)) + double(std::numeric_limits<Scalar>::min())));
    }
    INFO("instruction set " << int(set) << ", worst " << worst / double(std::numeric_limits<Scalar>::epsilon()));
    CHECK(worst <= ulps * double(std::numeric_limits<Scalar>::epsilon()));
    if (set == InstructionSet::baseline) continue;
    if (!wide.empty()) CHECK(std::memcmp(y.data(), wide.data(), y.size() * sizeof(Scalar)) == 0);
    wide = y;
  }
}

}

TEMPLATE_TEST_CASE("exp, log, square root, log1p and expm1 are within 4 ulp", "[elementary]", float, double) {
  using namespace fm::simd;
  const double low = sizeof(TestType) == 4 ? -87 : -708;
  hold<TestType>(
      low, 0, 4, [](auto l, auto& x, auto& y) { exp_of_negative<decltype(l)>(x, y); },
      [](long double x) { return std::exp(x); });
  hold<TestType>(
      1e-9, 0.9, 4, [](auto l, auto& x, auto& y) { log_of_unit<decltype(l)>(x, y); },
      [](long double x) { return std::log(x); });
  hold<TestType>(
      0, 1e6, 4, [](auto l, auto& x, auto& y) { square_root<decltype(l)>(x, y); },
      [](long double x) { return std::sqrt(x); });
  hold<TestType>(
      0, 1, 4, [](auto l, auto& x, auto& y) { log1p_of_unit<decltype(l)>(x, y); },
      [](long double x) { return std::log1p(x); });
  const auto expm1 = [](auto l, auto& x, auto& y) {
    typename decltype(l)::V e;
    exp_of_negative<decltype(l)>(x, e);
    expm1_of_negative<decltype(l)>(x, e, y);
  };
  hold<TestType>(-20, 0, 4, expm1, [](long double x) { return std::expm1(x); });
}

TEST_CASE("exp of very negative numbers is zero", "[elementary]") {
  for (InstructionSet set : available()) {
    const auto f = [](auto l, auto& x, auto& y) { fm::simd::exp_of_negative<decltype(l)>(x, y); };
    for (float y : map<float>(set, {-88.0f, -1e4f, -3e38f}, f)) CHECK(y == 0);
    for (double y : map<double>(set, {-709.0, -1e5, -1e308}, f)) CHECK(y == 0);
  }
}

TEMPLATE_TEST_CASE("the normal distribution function is within 16 ulp down its tail", "[elementary]", float, double) {
  const auto phi = [](auto l, auto& x, auto& y) {
    typename decltype(l)::V density;
    fm::simd::normal_distribution<decltype(l)>(x, y, density);
  };
  const double low = sizeof(TestType) == 4 ? -12 : -36;
  hold<TestType>(low, 8, 16, phi, [](long double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2; });
}

TEST_CASE("the kernels use an instruction set that the CPU has", "[elementary]") {
  CHECK(fm::instruction_set() <= fm::simd::widest_of_cpu());
}
