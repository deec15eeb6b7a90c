// SPDX-License-Identifier: MIT
#include "flowmatch/core/check.hpp"

#include <array>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"

namespace fm = flowmatch;
namespace detail = fm::detail;
using Catch::Matchers::Message;
using fm::Index;

TEMPLATE_TEST_CASE("Infinite and NaN numbers are told from finite ones by their bits", "[check]", float, double) {
  using limits = std::numeric_limits<TestType>;
  for (const TestType x :
       {TestType(0), TestType(-0.0), TestType(1), limits::max(), limits::lowest(), limits::min(), limits::denorm_min()})
    REQUIRE(fm::is_finite(x));
  for (const TestType x : {limits::infinity(), -limits::infinity(), limits::quiet_NaN(), -limits::quiet_NaN()})
    REQUIRE_FALSE(fm::is_finite(x));
}

TEMPLATE_TEST_CASE("A number that is not finite is found wherever it is", "[check]", float, double) {
  using limits = std::numeric_limits<TestType>;
  fm::Matrix<TestType> m = fm::Matrix<TestType>::Constant(5, 7, limits::max());
  REQUIRE(fm::find_non_finite(m) == std::array<Index, 2>{-1, -1});
  REQUIRE(fm::find_non_finite(fm::Matrix<TestType>(0, 3)) == std::array<Index, 2>{-1, -1});
  for (const TestType bad : {limits::infinity(), -limits::infinity(), limits::quiet_NaN()})
    for (Index j = 0; j < m.cols(); ++j)
      for (Index i = 0; i < m.rows(); ++i) {
        fm::Matrix<TestType> damaged = m;
        damaged(i, j) = bad;
        REQUIRE(fm::find_non_finite(damaged) == std::array<Index, 2>{i, j});
        REQUIRE(fm::find_non_finite(damaged.middleCols(j, 1)) == std::array<Index, 2>{i, 0});
        damaged(4, 6) = bad;  // the first one, column by column, is reported
        REQUIRE(fm::find_non_finite(damaged) == std::array<Index, 2>{i, j});
      }
}

TEMPLATE_TEST_CASE("A run of numbers is finite only if each of them is, at any length", "[check]", float, double) {
  std::vector<TestType> x(100, std::numeric_limits<TestType>::lowest());
  for (Index n = 0; n <= 100; ++n) REQUIRE(fm::all_finite(x.data(), n));
  for (std::size_t bad = 0; bad < 100; ++bad) {
    x[bad] = std::numeric_limits<TestType>::quiet_NaN();
    for (Index n = 0; n <= 100; ++n) REQUIRE(fm::all_finite(x.data(), n) == (n <= Index(bad)));
    x[bad] = 0;
  }
}

TEST_CASE("A message is made of text, integers and short numbers", "[check]") {
  REQUIRE(detail::concat({"a", std::string("b"), -3, std::size_t(4), 0.5, 1e-7f, 2.0}) == "ab-340.51e-072");
  REQUIRE_THROWS_MATCHES(detail::fail("here", {"x = ", 7}), std::invalid_argument, Message("flowmatch: here: x = 7"));
}

TEST_CASE("Shapes are checked by name, rows first", "[check]") {
  const fm::Matrix<float> m(2, 3);
  REQUIRE_NOTHROW(detail::check_rows("f", "m", 2, 2));
  REQUIRE_NOTHROW(detail::check_columns("f", "m", 3, 3));
  REQUIRE_NOTHROW(detail::check_size("f", "m", 6, 6));
  REQUIRE_NOTHROW(detail::check_shape("f", "m", m, 2, 3));
  REQUIRE_THROWS_MATCHES(detail::check_rows("f", "m", 2, 5), std::invalid_argument,
                         Message("flowmatch: f: expected 5 rows in m, got 2"));
  REQUIRE_THROWS_MATCHES(detail::check_columns("f", "m", 3, 4), std::invalid_argument,
                         Message("flowmatch: f: expected 4 columns in m, got 3"));
  REQUIRE_THROWS_MATCHES(detail::check_size("f", "v", 3, 4), std::invalid_argument,
                         Message("flowmatch: f: expected 4 entries in v, got 3"));
  REQUIRE_THROWS_MATCHES(detail::check_shape("f", "m", m, 5, 4), std::invalid_argument,
                         Message("flowmatch: f: expected 5 rows in m, got 2"));
  REQUIRE_THROWS_MATCHES(detail::check_shape("f", "m", m, 2, 4), std::invalid_argument,
                         Message("flowmatch: f: expected 4 columns in m, got 3"));
}

TEST_CASE("Ranges of options are checked by name and refuse what is not finite", "[check]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE_NOTHROW(detail::check_at_least("f", "n", 1, 1));
  REQUIRE_NOTHROW(detail::check_positive("f", "h", 1e-300));
  REQUIRE_NOTHROW(detail::check_below("f", "beta", 0, 0, 1));
  REQUIRE_THROWS_MATCHES(detail::check_at_least("f", "n", 0, 1), std::invalid_argument,
                         Message("flowmatch: f: expected n >= 1, got 0"));
  REQUIRE_THROWS_MATCHES(detail::check_at_least("f", "n", inf, 1), std::invalid_argument,
                         Message("flowmatch: f: expected n >= 1, got inf"));
  REQUIRE_THROWS_MATCHES(detail::check_at_least("f", "n", nan, 1), std::invalid_argument,
                         Message("flowmatch: f: expected n >= 1, got nan"));
  REQUIRE_THROWS_MATCHES(detail::check_positive("f", "h", 0), std::invalid_argument,
                         Message("flowmatch: f: expected h > 0, got 0"));
  REQUIRE_THROWS_MATCHES(detail::check_positive("f", "h", nan), std::invalid_argument,
                         Message("flowmatch: f: expected h > 0, got nan"));
  REQUIRE_THROWS_MATCHES(detail::check_below("f", "beta", 1, 0, 1), std::invalid_argument,
                         Message("flowmatch: f: expected beta in [0, 1), got 1"));
  REQUIRE_THROWS_MATCHES(detail::check_below("f", "beta", -0.5, 0, 1), std::invalid_argument,
                         Message("flowmatch: f: expected beta in [0, 1), got -0.5"));
  REQUIRE_THROWS_MATCHES(detail::check_below("f", "beta", nan, 0, 1), std::invalid_argument,
                         Message("flowmatch: f: expected beta in [0, 1), got nan"));
}

TEMPLATE_TEST_CASE("Values are checked with their place", "[check]", float, double) {
  fm::Matrix<TestType> m = fm::Matrix<TestType>::Zero(2, 3);
  REQUIRE_NOTHROW(detail::check_finite("f", "m", m));
  m(1, 2) = -std::numeric_limits<TestType>::infinity();
  REQUIRE_THROWS_MATCHES(detail::check_finite("f", "m", m), std::invalid_argument,
                         Message("flowmatch: f: expected finite numbers in m, got -inf in row 1, column 2"));
  fm::RowVector<TestType> t(3);
  t << 0, TestType(0.5), 1;
  REQUIRE_NOTHROW(detail::check_times("f", t));
  t(1) = TestType(1.5);
  REQUIRE_THROWS_MATCHES(detail::check_times("f", t), std::invalid_argument,
                         Message("flowmatch: f: expected t in [0, 1], got 1.5 in column 1"));
  t(1) = TestType(-0.25);
  REQUIRE_THROWS_MATCHES(detail::check_times("f", t), std::invalid_argument,
                         Message("flowmatch: f: expected t in [0, 1], got -0.25 in column 1"));
  t(1) = std::numeric_limits<TestType>::quiet_NaN();
  REQUIRE_THROWS_MATCHES(detail::check_times("f", t), std::invalid_argument,
                         Message("flowmatch: f: expected finite numbers in t, got nan in row 0, column 1"));
}
