// SPDX-License-Identifier: MIT
// Conversions between velocity, data, noise and score: against their definitions, and there and back.
#include <cmath>
#include <flowmatch/path/conversion.hpp>
#include <flowmatch/path/further_schedules.hpp>
#include <string>

#include "catch.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"
#include "support/schedules.hpp"

namespace fm = flowmatch;
using fm::Index;
using fm::Prediction;

namespace {

constexpr Prediction all[] = {Prediction::velocity, Prediction::data, Prediction::noise, Prediction::score};

/// Points of a path and the four predictions of them, by their definitions.
template <class Scalar> struct Points {
  fm::RowVector<Scalar> t;
  fm::Matrix<Scalar> x0, x1, x, v, score;

  template <class S> Points(const S& schedule, const fm::RowVector<Scalar>& times) : t(times) {
    fm::Rng rng(3);
    x0 = test::normal<Scalar>(rng, 3, t.size());
    x1 = test::normal<Scalar>(rng, 3, t.size());
    fm::AffinePath<S>{schedule}.sample(x0, x1, t, x, v);
    score = x0;
    for (Index j = 0; j < t.size(); ++j) score.col(j) /= -std::max(schedule(t(j)).sigma, Scalar(1e-3));
  }
  const fm::Matrix<Scalar>& operator[](Prediction p) const {
    return p == Prediction::velocity ? v : p == Prediction::data ? x1 : p == Prediction::noise ? x0 : score;
  }
};

fm::RowVector<double> row(std::initializer_list<double> values) {
  fm::RowVector<double> t(Index(values.size()));
  std::copy(values.begin(), values.end(), t.data());
  return t;
}

}

TEST_CASE("each prediction of a path turns into each other one, for every schedule", "[path]") {
  test::for_each_schedule([](const char* name, const auto& schedule) {
    // off the ends by so much that alpha and sigma exceed 1e-3, and t exceeds the start of a polynomial's clamp
    const Points<double> p(schedule, row({0.15, 0.3, 0.5, 0.77, 0.99}));
    for (const Prediction from : all)
      for (const Prediction to : all) {
        INFO(name << ": " << int(from) << " to " << int(to));
        fm::Matrix<double> y = p[from];
        fm::convert(schedule, from, to, p.x, p.t, y);
        // rounding, times 1 / alpha, at most 0.15^-3.5 = 800, and sizes of the score, at most 4 / 0.01
        CHECK(test::largest(y - p[to]) < 1e-10);
        fm::convert(schedule, to, from, p.x, p.t, y);
        CHECK(test::largest(y - p[from]) < 1e-10);
      }
  });
}

TEST_CASE("single precision converts to its own rounding", "[path]") {
  test::for_each_schedule([](const char* name, const auto& schedule) {
    const Points<float> p(schedule, row({0.4, 0.5, 0.9}).cast<float>());
    for (const Prediction from : all)
      for (const Prediction to : all) {
        INFO(name << ": " << int(from) << " to " << int(to));
        fm::Matrix<float> y = p[from];
        fm::convert(schedule, from, to, p.x, p.t, y);
        // 6e-8, times numbers of at most 40 and amplification by 1 / 0.4^3.5 = 25
        CHECK(test::largest(y - p[to]) < 1e-4f);
      }
  });
}

TEST_CASE("a velocity tells data and noise up to both ends, for every schedule", "[path]") {
  test::for_each_schedule([](const char* name, const auto& schedule) {
    const Points<double> p(schedule, row({0, 1e-9, 1e-4, 0.9999, 1 - 1e-9, 1}));
    for (const Prediction to : {Prediction::data, Prediction::noise, Prediction::score}) {
      INFO(name << " to " << int(to));
      fm::Matrix<double> y = p.v;
      fm::convert(schedule, Prediction::velocity, to, p.x, p.t, y);
      // exact but for rounding: 1e-16 over the least determinant, 3.5 * 1e-3^2.5, times 4, and 1e3 more for a score
      CHECK(test::largest(y - p[to]) < (to == Prediction::score ? 1e-5 : 1e-8));
    }
  });
}

TEST_CASE("the clamp acts where the ends leave a question open, and is as documented", "[path]") {
  fm::RowVector<double> t = row({0.0, 1.0});
  fm::Matrix<double> x(1, 2), y(1, 2), z;
  x << 2, 3;
  y << 5, 5;
  const fm::LinearSchedule linear;
  fm::convert(linear, Prediction::data, Prediction::velocity, x, t, z = y, 0.01);
  CHECK(std::abs(z(0, 0) - (5 - 2)) < 1e-12);              // x1 - x
  CHECK(std::abs(z(0, 1) - (5 + (5 - 3) / 0.01)) < 1e-9);  // x0 = (x - x1) / 0.01
  fm::convert(linear, Prediction::noise, Prediction::data, x, t, z = y, 0.01);
  CHECK(std::abs(z(0, 0) - (2 - 5) / 0.01) < 1e-9);
  CHECK(z(0, 1) == 3);
  fm::convert(linear, Prediction::noise, Prediction::score, x, t, z = y);
  CHECK(z(0, 0) == -5);
  CHECK(std::abs(z(0, 1) + 5000) < 1e-9);
  test::for_each_schedule([](const char* name, const auto& schedule) {
    const Points<double> p(schedule, row({0, 1}));
    for (const Prediction from : all)
      for (const Prediction to : all) {
        fm::Matrix<double> at_end = p[from];
        fm::convert(schedule, from, to, p.x, p.t, at_end);
        INFO(name << ": " << int(from) << " to " << int(to));
        CHECK(at_end.allFinite());
      }
  });
}

TEST_CASE("on the linear path the conversions are the short formulas", "[path]") {
  const Points<double> p(fm::LinearSchedule{}, row({0.2, 0.6}));
  fm::Matrix<double> y = p.v;
  fm::convert(fm::LinearSchedule{}, Prediction::velocity, Prediction::data, p.x, p.t, y);
  for (Index j = 0; j < 2; ++j) CHECK((y.col(j) - (p.x.col(j) + (1 - p.t(j)) * p.v.col(j))).norm() < 1e-14);
  y = p.v;
  fm::convert(fm::LinearSchedule{}, Prediction::velocity, Prediction::score, p.x, p.t, y);
  for (Index j = 0; j < 2; ++j) CHECK((y.col(j) - (p.t(j) * p.v.col(j) - p.x.col(j)) / (1 - p.t(j))).norm() < 1e-14);
}

TEST_CASE("conversions take blocks, and leave a prediction that stays one to the bit", "[path]") {
  const fm::CosineSchedule schedule;
  const Points<double> p(schedule, row({0.2, 0.6, 0.7}));
  fm::Matrix<double> large = fm::Matrix<double>::Ones(5, 4), y = p.v;
  large.block(1, 1, 3, 3) = p.v;
  fm::convert(schedule, Prediction::velocity, Prediction::noise, p.x, p.t, large.block(1, 1, 3, 3));
  fm::convert(schedule, Prediction::velocity, Prediction::noise, p.x, p.t, y);
  CHECK(large.block(1, 1, 3, 3) == y);
  CHECK((large.col(0).array() == 1).all());
  for (const Prediction same : all) {
    y = p.score;
    fm::convert(schedule, same, same, p.x, p.t, y);
    CHECK(y == p.score);
  }
}

TEST_CASE("the scaled score is the noise with its sign turned", "[path]") {
  test::for_each_schedule([](const char* name, const auto& schedule) {
    const Points<double> p(schedule, row({0, 0.2, 0.9, 1}));
    INFO(name);
    for (Index j = 0; j < 4; ++j)
      CHECK(std::abs(fm::scaled_score(schedule(p.t(j)), p.v(0, j), p.x(0, j)) + p.x0(0, j)) < 1e-8);
  });
}

TEST_CASE("conversions refuse what they cannot use", "[path]") {
  fm::Matrix<double> x = fm::Matrix<double>::Ones(2, 3), y = x;
  fm::RowVector<double> t = row({0, 0.5, 1});
  const auto message = [&](const auto& schedule, double least) {
    return test::message_of<std::invalid_argument>(
        [&] { fm::convert(schedule, Prediction::velocity, Prediction::noise, x, t, y, least); });
  };
  const fm::LinearSchedule linear;
  CHECK(message(linear, 0) == "flowmatch: convert: expected least > 0, got 0");
  const auto still = [](auto s) { return fm::ScheduleValue<decltype(s)>{s, 1 - s, 0, 0}; };
  CHECK(message(still, 1e-3) == "flowmatch: convert: expected a schedule with alpha' sigma - alpha sigma' > 0, got 0");
  t(1) = 2;
  CHECK(message(linear, 1e-3) == "flowmatch: convert: expected t in [0, 1], got 2 in column 1");
  t(1) = 0.5;
  y(1, 2) = NAN;
  CHECK(message(linear, 1e-3) == "flowmatch: convert: expected finite numbers in y, got nan in row 1, column 2");
  y.setOnes(1, 3);
  CHECK(message(linear, 1e-3) == "flowmatch: convert: expected 2 rows in y, got 1");
  CHECK(test::message_of<std::invalid_argument>([&] {
          fm::convert(linear, Prediction::velocity, Prediction::noise, x, t, x);
        }) == "flowmatch: convert: y must not share memory with x");
}
