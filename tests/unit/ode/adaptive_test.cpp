// SPDX-License-Identifier: MIT
#include <cmath>
#include <flowmatch/ode/adaptive.hpp>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/golden.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using Catch::Matchers::WithinAbs;
using test::message_of;

namespace {

static_assert(fm::AdaptiveMethod<fm::DormandPrince> && fm::AdaptiveMethod<fm::Tsitouras>);
static_assert(!fm::AdaptiveMethod<fm::Rk4> && !fm::Stepper<fm::DormandPrince> && !fm::AdaptiveMethod<int>);

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

// The problems of tests/golden/make_ode.py.
const auto rotation = [](const auto& x, const auto&, const auto&, auto& v) {
  v.row(0) = -0.3 * x.row(0) - 2 * x.row(1);
  v.row(1) = 2 * x.row(0) - 0.3 * x.row(1);
};
const auto seasons = [](const auto& x, const auto& t, const auto&, auto& v) {
  v = (x.array().rowwise() * (3 * t.array()).cos()).rowwise() + t.array();
};
const auto logistic = [](const auto& x, const auto&, const auto&, auto& v) { v = x.array() * (1 - x.array()); };
const auto van_der_pol = [](const auto& x, const auto&, const auto&, auto& v) {
  v.row(0) = x.row(1);
  v.row(1) = 5 * (1 - x.row(0).array().square()) * x.row(1).array() - x.row(0).array();
};

/// Each with its name, and the time at which backward solutions start.
template <class Check> void for_all_problems(const Check& check) {
  check(rotation, "rotation", 5., 5.);
  check(seasons, "seasons", 3., 3.);
  check(logistic, "logistic", 4., 4.);
  check(van_der_pol, "van_der_pol", 12., 0.25);
}

/// dx/dt = c (t - x): as stiff as c is large. Arithmetic alone, so that it has the same bits in any batch.
const auto stiff = [](const auto& x, const auto& t, const auto& c, auto& v) {
  for (fm::Index j = 0; j < x.cols(); ++j)
    for (fm::Index i = 0; i < x.rows(); ++i) v(i, j) = c(0, j) * (t(j) - x(i, j));
};

/// 257 samples in two full tiles and one of a single sample, c from 0.1 to 1000 in no order.
template <class Scalar> struct StiffBatch {
  fm::Matrix<Scalar> x, c;
  StiffBatch() {
    fm::Rng rng(6);
    x = test::normal<Scalar>(rng, 3, 257);
    c = test::uniform<Scalar>(rng, 257, Scalar(-1), Scalar(3));
    for (fm::Index j = 0; j < 257; ++j) c(j) = Scalar(std::pow(10., double(c(j))));
  }
};

bool same(const fm::SampleReport& a, const fm::SampleReport& b) {
  return a.status == b.status && a.t == b.t && a.evaluations == b.evaluations && a.accepted == b.accepted &&
         a.rejected == b.rejected;
}

}

TEST_CASE("with I control, Dormand-Prince takes SciPy's steps: as many evaluations, the same states", "[ode]") {
  const test::Golden golden("ode.txt");
  for_all_problems([&](const auto& f, const std::string& name, double end, double back) {
    for (const bool backward : {false, true})
      for (const int digits : {3, 5, 7, 9}) {
        const std::string place = name + (backward ? ".backward." : ".forward.") + std::to_string(digits);
        INFO(place);
        const double tolerance = std::pow(10., -digits);
        const fm::Matrix<double> expected = golden.columns(place + ".states");
        fm::Matrix<double> x = expected.col(0);
        double worst = 0;
        const auto observe = [&](fm::Index i, double, const auto& state) {
          worst = std::max(worst, test::largest(state - expected.col(i)));
        };
        const auto report = fm::integrate(f, x, fm::DormandPrince{.rtol = tolerance, .atol = tolerance, .beta = 0},
                                          {.steps = 8, .from = backward ? back : 0, .to = backward ? 0 : end}, observe);
        CHECK(double(report.evaluations()) == golden.number(place + ".evaluations"));
        CHECK(worst < (name == "van_der_pol" ? 1e-8 : 1e-11));  // roundings, which van der Pol's jumps make grow
      }
  });
}

TEMPLATE_TEST_CASE("the error is proportional to the tolerance over six decades, forward and backward in time", "[ode]",
                   fm::DormandPrince, fm::Tsitouras) {
  const test::Golden golden("ode.txt");
  for_all_problems([&](const auto& f, const std::string& name, double end, double back) {
    for (const bool backward : {false, true}) {
      const fm::Matrix<double> exact = golden.columns(name + (backward ? ".backward" : ".forward") + ".reference");
      double first = 0, last = 0;
      for (int digits = 3; digits <= 9; ++digits) {
        const double tolerance = std::pow(10., -digits);
        fm::Matrix<double> x = exact.col(0);
        double inside = 0;
        const auto observe = [&](fm::Index i, double, const auto& state) {
          inside = std::max(inside, test::largest(state - exact.col(i)));
        };
        fm::integrate(f, x, TestType{.rtol = tolerance, .atol = tolerance},
                      {.steps = 8, .from = backward ? back : 0, .to = backward ? 0 : end}, observe);
        last = test::largest(x - exact.col(8));
        if (digits == 3) first = last;
        INFO(name << (backward ? " backward " : " forward ") << digits << ": " << last << ", inside " << inside);
        CHECK(last < 50 * tolerance);     // measured: at most 29 (logistic backward, whose errors grow by e^4)
        CHECK(inside < 150 * tolerance);  // at most 102, between steps as long as the fifth order allows
      }
      CHECK_THAT(std::log10(first / last) / 6, WithinAbs(1, 0.3));  // measured: 0.75 to 1.19
    }
  });
}

TEMPLATE_TEST_CASE("between steps the solution is of fourth order, and meets the steps with its slope", "[ode]",
                   fm::DormandPrince, fm::Tsitouras) {
  // One step of length h, whatever its error, and the state at a part of it.
  const auto after = [](double h, double part) {
    fm::Matrix<double> x(1, 1), inside;
    x << 0.2;
    const TestType method{.rtol = 0, .atol = 1e9, .first_step = h};
    const auto observe = [&](fm::Index i, double, const auto& state) {
      if (i == 1) inside = state;
    };
    REQUIRE(fm::integrate(logistic, x, method, {.grid = {0, part * h, h}}, observe).accepted() == 1);
    return inside(0, 0);
  };
  const auto exact = [](double t) { return 1 / (1 + 4 * std::exp(-t)); };
  for (const double part : {0.25, 0.5, 0.85}) {
    const auto error = [&](double h) { return std::abs(after(h, part) - exact(part * h)); };
    CHECK_THAT(std::log2(error(0.04) / error(0.02)), WithinAbs(5, 0.1));  // h^5: the error of one step of order 4
  }
  const double h = 0.5, d = 1e-6, start = 0.2, end = after(h, 1 - 1e-15);
  CHECK_THAT((after(h, d) - start) / (d * h), WithinAbs(start * (1 - start), 1e-6));
  CHECK_THAT((end - after(h, 1 - d)) / (d * h), WithinAbs(end * (1 - end), 1e-5));
}

TEMPLATE_TEST_CASE("looking at the way changes no step and no bit", "[ode]", float, double) {
  const StiffBatch<TestType> batch;
  const fm::DormandPrince method{.rtol = 1e-4, .atol = 1e-4};
  fm::Matrix<TestType> plain = batch.x, x = batch.x;
  const auto report = fm::integrate(stiff, plain, batch.c, method, {.from = 0.25, .to = 1});
  std::vector<double> seen;
  const auto watched = fm::integrate(stiff, x, batch.c, method, {.steps = 30, .from = 0.25, .to = 1},
                                     [&](fm::Index i, double t, const auto& state) {
                                       CHECK(i == fm::Index(seen.size()));
                                       CHECK((i > 0 || state == batch.x));
                                       CHECK((i < 30 || state == plain));
                                       CHECK(fm::find_non_finite(state)[0] == -1);
                                       seen.push_back(t);
                                     });
  CHECK(seen == fm::time_grid({.steps = 30, .from = 0.25, .to = 1}));
  fm::Rng rng(1);
  fm::Matrix<TestType> far = test::uniform<TestType>(rng, 50);  // a single long step: the end is its end, to the bit
  fm::integrate(logistic, far, fm::Tsitouras{.rtol = 0, .atol = 1e9, .first_step = 4}, {.steps = 1, .to = 4},
                [&](fm::Index i, double, const auto& state) { CHECK((state == far) == (i == 1)); });
  CHECK(x == plain);
  for (std::size_t j = 0; j < 257; ++j) CHECK(same(report.samples[j], watched.samples[j]));
}

TEMPLATE_TEST_CASE("a sample has the same bits and the same steps alone and in any batch", "[ode]", float, double) {
  const StiffBatch<TestType> batch;
  const auto check = [&](const auto& method) {
    fm::Matrix<TestType> together = batch.x;
    const auto report = fm::integrate(stiff, together, batch.c, method);
    const auto [easy, hard] = std::minmax_element(report.samples.begin(), report.samples.end(),
                                                  [](auto& a, auto& b) { return a.accepted < b.accepted; });
    CHECK(hard->accepted > 20 * easy->accepted);  // very different stiffness
    CHECK(report.rejected() > 100);
    const auto alone = [&](const std::vector<fm::Index>& order) {
      fm::Matrix<TestType> x(3, fm::Index(order.size())), c(1, fm::Index(order.size()));
      for (std::size_t k = 0; k < order.size(); ++k) {
        x.col(fm::Index(k)) = batch.x.col(order[k]);
        c.col(fm::Index(k)) = batch.c.col(order[k]);
      }
      const auto part = fm::integrate(stiff, x, c, method);
      for (std::size_t k = 0; k < order.size(); ++k) {
        REQUIRE(x.col(fm::Index(k)) == together.col(order[k]));
        REQUIRE(same(part.samples[k], report.samples[std::size_t(order[k])]));
      }
    };
    std::vector<fm::Index> order(257);
    std::iota(order.begin(), order.end(), 0);
    for (const fm::Index j : order) alone({j});
    std::reverse(order.begin(), order.end());
    alone(order);
    alone({5, 200, 5, 131, 256, 0, 77});
  };
  check(fm::DormandPrince{.rtol = 1e-4, .atol = 1e-4});
  check(fm::Tsitouras{.rtol = 1e-4, .atol = 1e-4});
}

TEMPLATE_TEST_CASE("a NaN in one sample leaves the others untouched", "[ode]", float, double) {
  const StiffBatch<TestType> batch;
  const fm::Tsitouras method{.rtol = 1e-4, .atol = 1e-4};
  fm::Matrix<TestType> plain = batch.x, x = batch.x, c = batch.c;
  const auto report = fm::integrate(stiff, plain, c, method);
  for (const fm::Index j : {3, 130}) c(j) = -1;  // stands for: breaks later
  c(200) = -2;                                   // breaks at once
  const auto breaks = [&](const auto& y, const auto& t, const auto& condition, auto& v) {
    stiff(y, t, condition, v);
    for (fm::Index j = 0; j < y.cols(); ++j)
      if (condition(0, j) < 0) {
        v.col(j).setZero();
        if (condition(0, j) == -2 || t(j) > TestType(0.5)) v(1, j) = TestType(not_a_number);
      }
  };
  const auto broken = fm::try_integrate(breaks, x, c, method, {.grid = {0, 0.25, 0.45, 0.75, 1}},
                                        [&](fm::Index i, double, const auto& state) {
                                          CHECK(fm::is_finite(state(0, 3)) == (i <= 2));  // seen as far as it came
                                          CHECK(fm::is_finite(state(0, 200)) == (i == 0));
                                          CHECK(fm::is_finite(state(0, 4)));
                                        });
  for (fm::Index j = 0; j < 257; ++j) {
    const fm::SampleReport& sample = broken.samples[std::size_t(j)];
    if (c(j) > 0) {
      REQUIRE(x.col(j) == plain.col(j));
      REQUIRE(same(sample, report.samples[std::size_t(j)]));
    } else {
      CHECK(sample.status == fm::OdeStatus::not_finite);
      CHECK(x.col(j) == batch.x.col(j));                            // where it came to: its velocity was 0
      CHECK_THAT(sample.t, WithinAbs(c(j) == -1 ? 0.5 : 0, 1e-6));  // up to the last time that had a velocity
    }
  }
  CHECK_FALSE(broken.reached());
  CHECK(broken.samples[200].evaluations == 1);
}

TEMPLATE_TEST_CASE("a step into a place without velocity is taken back and shortened", "[ode]", float, double) {
  const auto decays = [](const auto& x, const auto&, const auto&, auto& v) {  // not defined below zero
    v = (x.array() < 0).select(TestType(not_a_number), -50 * x.array());
  };
  fm::Matrix<TestType> x = fm::Matrix<TestType>::Constant(1, 2, 1);
  const auto report = fm::integrate(decays, x, fm::DormandPrince{.rtol = 1e-4, .atol = 1e-6, .first_step = 1});
  CHECK(report.rejected() > 0);
  CHECK(double(x(0)) >= 0);
  CHECK_THAT(double(x(0)), WithinAbs(0, 1e-4));
  fm::Matrix<TestType> huge = fm::Matrix<TestType>::Constant(1, 1, 1);  // overflow of the state counts as well
  const auto grows = [](const auto& y, const auto&, const auto&, auto& v) {
    v.setConstant(y(0, 0) < 10 ? 1 : std::numeric_limits<TestType>::max());
  };
  CHECK(fm::try_integrate(grows, huge, fm::DormandPrince{.first_step = 20}, {.to = 20}).samples[0].status !=
        fm::OdeStatus::reached);
  CHECK(fm::is_finite(huge(0)));
}

TEST_CASE("what cannot be reached is told with status and time, and the state there is kept", "[ode]") {
  fm::Matrix<double> x(1, 3);
  x << 1, 0.1, 0.5;
  const auto bursts = [](const auto& y, const auto&, const auto&, auto& v) { v = y.array().square(); };
  // x = 1 / (1 / x0 - t) leaves all numbers at t = 1 / x0: 1, 10, 2
  const auto report = fm::try_integrate(bursts, x, fm::DormandPrince{.max_steps = 1'000'000}, {.to = 3});
  CHECK(report.samples[0].status == fm::OdeStatus::step_too_small);
  CHECK_THAT(report.samples[0].t, WithinAbs(1, 1e-3));
  CHECK(x(0) > 1e3);
  CHECK(report.samples[1].status == fm::OdeStatus::reached);
  CHECK(report.samples[1].t == 3);
  CHECK_THAT(x(1), WithinAbs(1 / 7., 1e-4));
  CHECK_THAT(report.samples[2].t, WithinAbs(2, 1e-3));

  x << 1, 0.1, 0.5;
  const auto limited = fm::try_integrate(bursts, x, fm::DormandPrince{.max_steps = 7}, {.to = 3});
  for (const std::size_t j : {0u, 2u}) {
    const fm::SampleReport& sample = limited.samples[j];
    CHECK(sample.status == fm::OdeStatus::step_limit);
    CHECK(sample.accepted + sample.rejected == 7);
    const double start = j == 0 ? 1 : 0.5, left = 1 / start - sample.t;
    CHECK(left > 0);
    CHECK_THAT(x(fm::Index(j)) * left, WithinAbs(1, 1e-3));  // x is the solution at the time that is told
  }
  CHECK(limited.samples[1].status == fm::OdeStatus::reached);
  CHECK(limited.accepted() + limited.rejected() == 14 + limited.samples[1].accepted + limited.samples[1].rejected);

  // the strict form
  x << 0.1, 0.1, 0.5;
  const auto text =
      message_of<std::runtime_error>([&] { fm::integrate(bursts, x, fm::DormandPrince{.max_steps = 7}, {.to = 3}); });
  CHECK(text.find("flowmatch: integrate: sample 2 stopped at t = ") == 0);
  CHECK(text.find(" after 7 steps: the limit") != text.npos);
  CHECK(text.find(std::to_string(limited.samples[2].t).substr(0, 5)) != text.npos);
  CHECK_THAT(x(0), WithinAbs(1 / 7., 1e-4));  // the others are there
}

TEST_CASE("the report counts the columns that f really gets, and these are dense blocks with their conditions",
          "[ode]") {
  const StiffBatch<double> batch;
  fm::Index columns = 0, ends = 0, widest = 0, narrowest = 1000;
  const auto f = [&](const auto& x, const auto& t, const auto& c, auto& v) {
    REQUIRE((x.outerStride() == x.rows() && v.outerStride() == v.rows() && c.outerStride() == 1));
    REQUIRE((t.cols() == x.cols() && c.cols() == x.cols() && v.cols() == x.cols()));
    REQUIRE((t.minCoeff() >= 0.1 && t.maxCoeff() <= 0.7));  // never outside, not by a rounding either
    columns += x.cols();
    for (fm::Index j = 0; j < t.size(); ++j) ends += t(j) == 0.7;
    widest = std::max(widest, x.cols());
    narrowest = std::min(narrowest, x.cols());
    stiff(x, t, c, v);
  };
  fm::Matrix<double> x = batch.x;
  const auto report = fm::integrate(f, x, batch.c, fm::DormandPrince{}, {.from = 0.1, .to = 0.7});
  CHECK(ends >= 2 * 257);  // the last two stages of a last step are at the end itself
  CHECK(report.evaluations() == columns);
  CHECK(widest == fm::tile_columns);
  CHECK(narrowest == 1);
  for (const fm::SampleReport& sample : report.samples)
    REQUIRE(sample.evaluations == 2 + 6 * (sample.accepted + sample.rejected));
  double latest = -3;
  const auto late = [&](const auto& y, const auto& t, const auto&, auto& v) {
    latest = std::max(latest, t.maxCoeff());
    v = 0 * y;
  };
  x.setOnes(1, 1);
  fm::integrate(late, x, fm::DormandPrince{.first_step = 10}, {.from = -3, .to = 0.1});
  CHECK(latest == 0.1);  // -3 + (0.1 + 3) is more
  columns = 0;
  x = batch.x;
  const auto told = fm::integrate(f, x, batch.c, fm::DormandPrince{.first_step = 1e-3}, {.from = 0.1, .to = 0.7});
  CHECK(told.evaluations() == columns);
  CHECK(columns == 257 + 6 * (told.accepted() + told.rejected()));
}

TEMPLATE_TEST_CASE("in float the same steps lead to the same place, within float's roundings", "[ode]",
                   fm::DormandPrince, fm::Tsitouras) {
  const TestType method{.rtol = 1e-4, .atol = 1e-4};
  fm::Matrix<float> x = fm::Matrix<float>::Constant(2, 1, 1);
  fm::Matrix<double> y = fm::Matrix<double>::Constant(2, 1, 1);
  const auto a = fm::integrate(rotation, x, method, {.to = 2}), b = fm::integrate(rotation, y, method, {.to = 2});
  CHECK(a.evaluations() == b.evaluations());
  CHECK(test::largest(x.cast<double>() - y) < 1e-5);
}

TEST_CASE("the next step is eq. 17 times the last", "[ode]") {
  const fm::DormandPrince method{.safety = 0.8, .shrink = 0.1, .growth = 5, .beta = 0.04};
  const auto factor = [&](double error, double before, bool rejected = false) {
    return fm::detail::step_factor(method, error,
                                   {.sample = 0, .t = 0, .end = 0, .error = before, .rejected = rejected});
  };
  CHECK_THAT(factor(0.3, 0.02), WithinAbs(0.8 * std::pow(0.3, -0.17) * std::pow(0.02, 0.04), 1e-15));
  CHECK_THAT(factor(3, 0.02), WithinAbs(0.8 * std::pow(3, -0.2), 1e-15));
  CHECK(factor(1e9, 0.02) == 0.1);
  CHECK(factor(not_a_number, 0.02) == 0.1);
  CHECK(factor(0, 1) == 5);
  CHECK(factor(0, 1, true) == 1);
}

TEST_CASE("step control keeps its limits: growth, shrink, first step, safety", "[ode]") {
  std::vector<double> starts;  // times of the first stage of each step tried are not seen; of the second, they are
  const auto still = [&](const auto&, const auto& t, const auto&, auto& v) {
    starts.push_back(t(0));
    v.setZero();
  };
  fm::Matrix<double> x = fm::Matrix<double>::Ones(1, 1);
  const auto report = fm::integrate(still, x, fm::DormandPrince{.first_step = 1e-3, .growth = 4});
  CHECK(report.accepted() == 6);  // 0.001 (1 + 4 + 16 + 64 + 256) = 0.341, and the rest
  CHECK(starts[1] == 1e-3 / 5);   // t + h / 5
  CHECK_THAT(starts[7], WithinAbs(1e-3 + 4e-3 / 5, 1e-15));
  CHECK(starts.back() == 1);

  starts.clear();
  const auto hard = [&](const auto&, const auto& t, const auto&, auto& v) {
    starts.push_back(t(0));
    v.setConstant(t(0) > 0 ? 1e9 : 0);
  };
  (void)fm::try_integrate(hard, x, fm::DormandPrince{.max_steps = 2, .first_step = 1, .shrink = 0.5});
  CHECK(starts[1] == 0.2);
  CHECK(starts[7] == 0.1);

  const auto evaluations = [&](double safety) {
    fm::Matrix<double> y = fm::Matrix<double>::Ones(2, 1);
    return double(fm::integrate(rotation, y, fm::DormandPrince{.rtol = 1e-8, .atol = 1e-8, .safety = safety}, {.to = 5})
                      .evaluations());
  };
  CHECK(evaluations(0.45) > 1.8 * evaluations(0.9));
}

TEMPLATE_TEST_CASE("a warm AdaptiveIntegrator allocates nothing", "[ode]", float, double) {
  if (!test::counts_allocations) return;
  const StiffBatch<TestType> batch;
  fm::AdaptiveIntegrator<TestType, fm::DormandPrince> solve({.rtol = 1e-4, .atol = 1e-4}, {.steps = 5});
  fm::Matrix<TestType> x = batch.x;
  TestType sum = 0;
  const auto observe = [&](fm::Index, double, const auto& state) { sum += state(0); };
  CHECK(test::allocations_in([&] { solve(stiff, batch.c, x, observe); }) > 0);
  x = batch.x;
  CHECK(test::allocations_in([&] { solve(stiff, batch.c, x, observe); }) == 0);
  CHECK(test::allocations_in([&] { solve(stiff, batch.c.leftCols(9), x.leftCols(9)); }) == 0);
  x = batch.x;
  CHECK(test::allocations_in([&] { solve(stiff, batch.c, x); }) == 0);
  CHECK(solve.report().reached());
}

TEST_CASE("adaptive integration refuses wrong input before the first call of f, and says what", "[ode]") {
  const auto never = [](const auto&, const auto&, const auto&, auto&) { FAIL("f was called"); };
  fm::Matrix<double> x = fm::Matrix<double>::Ones(2, 3), c = fm::Matrix<double>::Ones(1, 2);
  const auto refused = [&](const fm::DormandPrince& method, const fm::OdeOptions& options = {}) {
    return message_of<std::invalid_argument>([&] { fm::integrate(never, x, method, options); });
  };
  const std::string where = "flowmatch: AdaptiveIntegrator: ";
  CHECK(refused({.rtol = -1}) == where + "expected rtol >= 0, got -1");
  CHECK(refused({.rtol = not_a_number}) == where + "expected rtol >= 0, got nan");
  CHECK(refused({.atol = 0}) == where + "expected atol > 0, got 0");
  CHECK(refused({.max_steps = 0}) == where + "expected max_steps >= 1, got 0");
  CHECK(refused({.first_step = -0.1}) == where + "expected first_step >= 0, got -0.1");
  CHECK(refused({.safety = 0}) == where + "expected safety > 0, got 0");
  CHECK(refused({.safety = 1.5}) == where + "expected safety <= 1, got 1.5");
  CHECK(refused({.shrink = 0}) == where + "expected shrink > 0, got 0");
  CHECK(refused({.shrink = 1}) == where + "expected shrink in [0, 1), got 1");
  CHECK(refused({.growth = 1}) == where + "expected growth > 1, got 1");
  CHECK(refused({.beta = 0.2}) == where + "expected beta in [0, 0.2), got 0.2");
  CHECK(refused({}, {.from = 1}) == "flowmatch: time_grid: expected times that strictly rise or fall, got 1 then 1");
  const auto invalid = [&](const auto& f) { return message_of<std::invalid_argument>(f); };
  CHECK(invalid([&] { fm::integrate(never, x, c, fm::Tsitouras{}); }) == where + "expected 3 columns in c, got 2");
  c = fm::Matrix<double>::Constant(1, 3, not_a_number);
  CHECK(invalid([&] { fm::integrate(never, x, c, fm::Tsitouras{}); }) ==
        where + "expected finite numbers in c, got nan in row 0, column 0");
  x(1, 2) = not_a_number;
  CHECK(invalid([&] { fm::integrate(never, x, fm::Tsitouras{}); }) ==
        where + "expected finite numbers in x, got nan in row 1, column 2");
  fm::Matrix<double> none(2, 0);
  CHECK(fm::integrate(rotation, none, fm::Tsitouras{}).evaluations() == 0);
}
