// SPDX-License-Identifier: MIT
#include "flowmatch/random/random.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "catch.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using fm::Index;

namespace {

using Words4 = std::array<std::uint32_t, 4>;

// Known answers of Random123 (kat_vectors, philox4x32 10): all zeros, all ones, the digits of pi.
static_assert(fm::philox4x32({0, 0, 0, 0}, {0, 0}) == Words4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(fm::philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
              Words4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(fm::philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
              Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

/// Word i of the stream, from its definition.
std::uint32_t word(const fm::Rng& rng, std::uint64_t i) { return rng.block(i / 4)[i % 4]; }
std::uint64_t two_words(const fm::Rng& rng, std::uint64_t i) {
  return word(rng, i) + (std::uint64_t(word(rng, i + 1)) << 32);
}
std::uint64_t whole_block(std::uint64_t position) { return (position + 3) / 4 * 4; }

template <class Scalar> std::vector<Scalar> uniforms(fm::Rng& rng, std::size_t n) {
  std::vector<Scalar> x(n, Scalar(-7));
  fm::fill_uniform(rng, std::span<Scalar>(x));
  return x;
}
template <class Scalar> std::vector<Scalar> normals(fm::Rng& rng, std::size_t n) {
  std::vector<Scalar> x(n, Scalar(-70));
  fm::fill_normal(rng, std::span<Scalar>(x));
  return x;
}

/// Moments 1 to 4 of x against the exact values, each to 5 standard deviations of its estimate.
template <class Scalar>
void require_moments(const std::vector<Scalar>& x, const std::array<double, 9>& moment /* of orders 0 to 8 */) {
  for (std::size_t k = 1; k <= 4; ++k) {
    double mean = 0;
    for (const Scalar value : x) mean += std::pow(double(value), double(k));
    mean /= double(x.size());
    const double sigma = std::sqrt((moment[2 * k] - moment[k] * moment[k]) / double(x.size()));
    CAPTURE(k, mean, moment[k], sigma);
    REQUIRE(std::abs(mean - moment[k]) < 5 * sigma);
  }
}

/// Kolmogorov-Smirnov: sqrt(n) sup |F_n - F| exceeds t with probability 2 exp(-2 t^2), at t = 2.7 less than 1e-6.
template <class Scalar, class F> void require_distribution(std::vector<Scalar> x, const F& cumulative) {
  std::sort(x.begin(), x.end());
  const double n = double(x.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double f = cumulative(double(x[i]));
    worst = std::max({worst, std::abs(f - double(i) / n), std::abs(f - double(i + 1) / n)});
  }
  REQUIRE(worst * std::sqrt(n) < 2.7);
}

constexpr std::array<double, 9> uniform_moments{1, 1. / 2, 1. / 3, 1. / 4, 1. / 5, 1. / 6, 1. / 7, 1. / 8, 1. / 9};
constexpr std::array<double, 9> normal_moments{1, 0, 1, 0, 3, 0, 15, 0, 105};

double normal_cumulative(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }

}

TEST_CASE("Philox gives the known answers of Random123 at run time too", "[random]") {
  volatile std::uint32_t zero = 0;  // keeps the compiler from answering
  REQUIRE(fm::philox4x32({zero, zero, zero, zero}, {zero, zero}) ==
          Words4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = ~zero;
  REQUIRE(fm::philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
          Words4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  REQUIRE(fm::philox4x32({0x243f6a88 + zero, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("A block has its number and the stream as counter and the seed as key", "[random]") {
  const fm::Rng rng(0x299f31d0a4093822u, 0x0370734413198a2eu);
  REQUIRE(rng.block(0x85a308d3243f6a88u) == Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("A generator is a value: equal states give equal numbers, different seeds and streams differ", "[random]") {
  fm::Rng a(1, 2), b = a;
  REQUIRE(uniforms<float>(a, 9) == uniforms<float>(b, 9));
  REQUIRE(a == b);
  REQUIRE(a != fm::Rng(1, 2));
  REQUIRE(fm::Rng(1, 2).block(0) != fm::Rng(1, 3).block(0));
  REQUIRE(fm::Rng(1, 2).block(0) != fm::Rng(2, 2).block(0));
  REQUIRE(fm::Rng(1).block(0) != fm::Rng(1 + (std::uint64_t(1) << 32)).block(0));
  REQUIRE(fm::Rng(1, 0).block(0) != fm::Rng(1, std::uint64_t(1) << 32).block(0));
}

TEST_CASE("Uniform floats are the documented words at every position and length", "[random]") {
  for (std::uint64_t position = 0; position < 10; ++position)
    for (std::size_t n = 0; n < 12; ++n) {
      fm::Rng rng(3, 4);
      rng.position = position;
      const std::uint64_t first = whole_block(position);
      const auto x = uniforms<float>(rng, n);
      for (std::size_t i = 0; i < n; ++i) REQUIRE(x[i] == float(word(rng, first + i) / 256) / 16777216.0f);
      REQUIRE(rng.position == first + whole_block(n));
    }
}

TEST_CASE("Uniform doubles are the documented words at every position and length", "[random]") {
  for (std::uint64_t position = 0; position < 10; ++position)
    for (std::size_t n = 0; n < 12; ++n) {
      fm::Rng rng(3, 4);
      rng.position = position;
      const std::uint64_t first = whole_block(position);
      const auto x = uniforms<double>(rng, n);
      for (std::size_t i = 0; i < n; ++i)
        REQUIRE(x[i] == double(two_words(rng, first + 2 * i) / 2048) / 9007199254740992.0);
      REQUIRE(rng.position == first + whole_block(2 * n));
    }
}

TEST_CASE("Normal floats follow the documented formula at every position and length", "[random]") {
  for (std::uint64_t position = 0; position < 10; ++position)
    for (std::size_t n = 0; n < 12; ++n) {
      fm::Rng rng(5, 6);
      rng.position = position;
      const std::uint64_t first = whole_block(position);
      const auto x = normals<float>(rng, n);
      for (std::size_t i = 0; i < n; ++i) {
        const double u = (double(word(rng, first + i / 2 * 2) / 2) + 0.5) / 2147483648.0;
        const double a = 2 * std::numbers::pi * double(word(rng, first + i / 2 * 2 + 1) / 256) / 16777216.0;
        const double expected = std::sqrt(-2 * std::log(u)) * (i % 2 == 0 ? std::cos(a) : std::sin(a));
        REQUIRE(std::abs(double(x[i]) - expected) < 2e-6);
      }
      REQUIRE(rng.position == first + whole_block(n + n % 2));
    }
}

TEST_CASE("Normal doubles follow the documented formula at every position and length", "[random]") {
  for (std::uint64_t position = 0; position < 10; ++position)
    for (std::size_t n = 0; n < 12; ++n) {
      fm::Rng rng(5, 6);
      rng.position = position;
      const std::uint64_t first = whole_block(position);
      const auto x = normals<double>(rng, n);
      for (std::size_t i = 0; i < n; ++i) {
        const double u = (double(two_words(rng, first + i / 2 * 4) / 2048) + 0.5) / 9007199254740992.0;
        const double a =
            2 * std::numbers::pi * double(two_words(rng, first + i / 2 * 4 + 2) / 2048) / 9007199254740992.0;
        const double expected = std::sqrt(-2 * std::log(u)) * (i % 2 == 0 ? std::cos(a) : std::sin(a));
        REQUIRE(std::abs(x[i] - expected) < 4e-15);
      }
      REQUIRE(rng.position == first + whole_block(2 * (n + n % 2)));
    }
}

TEST_CASE("Indices are the documented words at every position and length", "[random]") {
  for (std::uint64_t position = 0; position < 6; ++position)
    for (std::size_t n = 0; n < 9; ++n) {
      fm::Rng rng(7, 8), same = rng;
      rng.position = same.position = position;
      const std::uint64_t first = whole_block(position);
      std::vector<Index> thousand(n, -1), power(n, -1);
      fm::fill_below(rng, 1000, thousand);
      fm::fill_below(same, Index(1) << 32, power);
      for (std::size_t i = 0; i < n; ++i) {
        // 1000 w / 2^64 by long division: w = 2^40 q + r, and 2^64 = 2^40 2^24.
        const std::uint64_t w = two_words(rng, first + 2 * i), q = w >> 40, r = w & ((std::uint64_t(1) << 40) - 1);
        REQUIRE(thousand[i] == Index((1000 * q + (1000 * r >> 40)) >> 24));
        REQUIRE(power[i] == Index(w >> 32));
      }
      REQUIRE(rng.position == first + whole_block(2 * n));
    }
}

TEMPLATE_TEST_CASE("A fill does not depend on how it is split between blocks", "[random]", float, double) {
  const std::size_t per_block = 16 / sizeof(TestType);
  fm::Rng rng(9);
  const auto all_uniform = uniforms<TestType>(rng, 96);
  const fm::Rng end = rng;
  rng = fm::Rng(9);
  const auto all_normal = normals<TestType>(rng, 96);
  REQUIRE(rng == end);
  for (const std::size_t blocks : {1u, 2u, 3u, 4u, 6u, 8u, 12u}) {
    fm::Rng u(9), z(9);
    std::vector<TestType> split_uniform, split_normal;
    while (split_uniform.size() < 96) {
      for (const TestType x : uniforms<TestType>(u, blocks * per_block)) split_uniform.push_back(x);
      for (const TestType x : normals<TestType>(z, blocks * per_block)) split_normal.push_back(x);
    }
    REQUIRE(split_uniform == all_uniform);
    REQUIRE(split_normal == all_normal);
    REQUIRE(u == end);
  }
  fm::Rng half(9);
  half.position = 48 * sizeof(TestType) / 4;  // and any part can be had without those before it
  REQUIRE(uniforms<TestType>(half, 48) == std::vector<TestType>(all_uniform.begin() + 48, all_uniform.end()));
}

TEMPLATE_TEST_CASE("Matrices, vectors and rows are filled in the order of their memory", "[random]", float, double) {
  fm::Rng a(10), b(10), c(10), d(10);
  const auto u = uniforms<TestType>(a, 15), z = normals<TestType>(b, 15);
  fm::Matrix<TestType> m(3, 5);
  fm::RowVector<TestType> row(15);
  fm::fill_uniform(c, m);
  fm::fill_normal(d, row);
  REQUIRE(std::equal(u.begin(), u.end(), m.data()));
  REQUIRE(std::equal(z.begin(), z.end(), row.data()));
}

TEMPLATE_TEST_CASE("Uniform numbers are uniform between 0 and 1", "[random]", float, double) {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    fm::Rng rng(seed);
    const auto x = uniforms<TestType>(rng, std::size_t(1) << 19);
    REQUIRE(*std::min_element(x.begin(), x.end()) >= 0);
    REQUIRE(*std::max_element(x.begin(), x.end()) < 1);
    require_moments(x, uniform_moments);
    require_distribution(x, [](double value) { return value; });
  }
}

TEMPLATE_TEST_CASE("Normal numbers are normal", "[random]", float, double) {
  for (const std::uint64_t seed : {4u, 5u, 6u}) {
    fm::Rng rng(seed);
    const auto x = normals<TestType>(rng, std::size_t(1) << 19);
    require_moments(x, normal_moments);
    require_distribution(x, normal_cumulative);
  }
}

TEMPLATE_TEST_CASE("The two normals of a pair, and neighbouring pairs, streams and seeds, are uncorrelated", "[random]",
                   float, double) {
  const std::size_t n = std::size_t(1) << 18;
  fm::Rng rng(7, 0), stream(7, 1), seed(8, 0);
  const auto x = normals<TestType>(rng, n), y = normals<TestType>(stream, n), z = normals<TestType>(seed, n);
  const auto require_uncorrelated = [](double sum, double count) { REQUIRE(std::abs(sum) < 5 * std::sqrt(count)); };
  for (const std::size_t lag : {1u, 2u, 3u, 4u}) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i + lag < n; ++i) {
      sum += double(x[i]) * double(x[i + lag]);
      squares += (double(x[i]) * double(x[i]) - 1) * (double(x[i + lag]) * double(x[i + lag]) - 1) / 2;
    }
    require_uncorrelated(sum, double(n));
    require_uncorrelated(squares, double(n));
  }
  double streams = 0, seeds = 0;
  for (std::size_t i = 0; i < n; ++i) {
    streams += double(x[i]) * double(y[i]);
    seeds += double(x[i]) * double(z[i]);
  }
  require_uncorrelated(streams, double(n));
  require_uncorrelated(seeds, double(n));
}

TEST_CASE("Indices are uniform", "[random]") {
  // Chi square with k degrees of freedom exceeds k + 2 sqrt(15 k) + 30 with probability below e^-15 (Laurent, Massart).
  for (const Index n : {2, 3, 7, 10, 256, 1000}) {
    fm::Rng rng(std::uint64_t(11 + n));
    std::vector<Index> x(100000), count(std::size_t(n), 0);
    fm::fill_below(rng, n, x);
    for (const Index i : x) {
      REQUIRE((i >= 0 && i < n));
      ++count[std::size_t(i)];
    }
    const double expected = 1e5 / double(n), k = double(n - 1);
    double chi_square = 0;
    for (const Index c : count) chi_square += (double(c) - expected) * (double(c) - expected) / expected;
    CAPTURE(n, chi_square);
    REQUIRE(chi_square < k + 2 * std::sqrt(15 * k) + 30);
  }
  fm::Rng rng(12);
  std::vector<Index> zeros(10, 5);
  fm::fill_below(rng, 1, zeros);
  REQUIRE(zeros == std::vector<Index>(10, 0));
}

TEST_CASE("Indices need a bound from 1 to 2^32", "[random]") {
  fm::Rng rng(1);
  std::vector<Index> x(3);
  REQUIRE_THROWS_MATCHES(fm::fill_below(rng, 0, x), std::invalid_argument,
                         Message("flowmatch: fill_below: expected n in [1, 2^32], got 0"));
  REQUIRE_THROWS_MATCHES(fm::fill_below(rng, -1, x), std::invalid_argument,
                         Message("flowmatch: fill_below: expected n in [1, 2^32], got -1"));
  REQUIRE_THROWS_MATCHES(fm::fill_below(rng, (Index(1) << 32) + 1, x), std::invalid_argument,
                         Message("flowmatch: fill_below: expected n in [1, 2^32], got 4294967297"));
  REQUIRE(rng == fm::Rng(1));
}

TEMPLATE_TEST_CASE("The logarithm of a number between 0 and 1 is right to a few units in the last place", "[random]",
                   float, double) {
  const double epsilon = double(std::numeric_limits<TestType>::epsilon());
  double worst = 0;
  const auto hold = [&](TestType u) {
    const long double exact = std::log((long double)(u));
    const long double error = (long double)(fm::detail::log_of_unit(u)) - exact;
    worst = std::max(worst, double(std::abs(error) / std::max(std::abs(exact), (long double)(1e-30))) / epsilon);
  };
  REQUIRE(fm::detail::log_of_unit(TestType(1)) == 0);
  for (int e = 0; e < (sizeof(TestType) == 4 ? 32 : 54); ++e)
    for (int k = 0; k < 1000; ++k) hold(TestType(std::ldexp(1 - k / 2000.0, -e)));
  TestType below = 1;
  for (int k = 0; k < 1000; ++k) hold(below = std::nextafter(below, TestType(0)));  // where log u is next to nothing
  REQUIRE(worst < 4);
}

TEMPLATE_TEST_CASE("Cosine and sine of a turn are right to a few units in the last place", "[random]", float, double) {
  const double epsilon = double(std::numeric_limits<TestType>::epsilon());
  double worst = 0;
  const auto hold = [&](TestType v) {
    const long double angle = 2 * std::numbers::pi_v<long double> * (long double)(v);
    const auto [c, s] = fm::detail::cos_sin_of_turn(v);
    worst = std::max(worst, double(std::abs((long double)(c)-std::cos(angle))) / epsilon);
    worst = std::max(worst, double(std::abs((long double)(s)-std::sin(angle))) / epsilon);
  };
  for (int k = 0; k < 100000; ++k) hold(TestType(k) / TestType(100000));
  for (const double eighth : {0., 1., 2., 3., 4., 5., 6., 7., 8.}) {
    TestType v = TestType(eighth / 8);
    if (v < 1) hold(v);
    for (int k = 0; k < 20 && v > 0; ++k) hold(v = std::nextafter(v, TestType(0)));
  }
  REQUIRE(worst < 2);
  REQUIRE(fm::detail::cos_sin_of_turn(TestType(0)) == std::array<TestType, 2>{1, 0});
  REQUIRE(fm::detail::cos_sin_of_turn(TestType(0.25))[1] == 1);
  REQUIRE(fm::detail::cos_sin_of_turn(TestType(0.5))[0] == -1);
  REQUIRE(fm::detail::cos_sin_of_turn(TestType(0.75))[1] == -1);
}

TEST_CASE("Normal floats never exceed 6.7, whatever the words", "[random]") {
  using L = fm::detail::Lanes<float, 16>;
  const L::U zeros = {}, ones = ~zeros;
  L::V most, least, sine;
  fm::detail::Uniforms<L>::normal(zeros, zeros, most, sine);
  REQUIRE((most[0] > 6.6f && most[0] < 6.7f));
  fm::detail::Uniforms<L>::normal(ones, zeros, least, sine);
  REQUIRE((least[0] >= 0 && least[0] < 1e-4f));
}
