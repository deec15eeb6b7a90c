// SPDX-License-Identifier: MIT
// Change of schedule after training: against the exact fields of Gaussian data, from every schedule to every other one.
#include <cmath>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/path/further_schedules.hpp>
#include <flowmatch/path/path.hpp>
#include <flowmatch/sample/sample.hpp>
#include <flowmatch/transform/schedule_transform.hpp>
#include <string>

#include "catch.hpp"
#include "support/gaussian_field.hpp"
#include "support/largest.hpp"
#include "support/message.hpp"
#include "support/random.hpp"
#include "support/schedules.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

const Eigen::Vector2d mean(1, -2);
const Eigen::Matrix2d covariance = (Eigen::Matrix2d() << 1.5, 0.6, 0.6, 0.8).finished();

template <class S> test::GaussianField<S> gaussian(const S& schedule) { return {mean, covariance, schedule}; }

/// check(name, trained, wanted) for all pairs.
template <class Check> void for_each_pair(const Check& check) {
  test::for_each_schedule([&](const char* from, const auto& trained) {
    test::for_each_schedule(
        [&, from](const char* to, const auto& wanted) { check(std::string(from) + " to " + to, trained, wanted); });
  });
}

/// A path whose noise begins with deviation 3.
struct LoudSchedule {
  template <fm::Real Scalar> fm::ScheduleValue<Scalar> operator()(Scalar t) const { return {t, 3 * (1 - t), 1, -3}; }
};

using Net = fm::VelocityMlp<double>;
static_assert(fm::JvpField<fm::ScheduleTransform<Net, fm::CosineSchedule, fm::LinearSchedule>> &&
              fm::VjpField<fm::ScheduleTransform<Net, fm::CosineSchedule, fm::LinearSchedule>>);
using Gaussian = test::GaussianField<fm::LinearSchedule>;
static_assert(fm::ParametricField<fm::ScheduleTransform<Gaussian, fm::LinearSchedule, fm::CosineSchedule>> &&
              !fm::TrainableField<fm::ScheduleTransform<Gaussian, fm::LinearSchedule, fm::CosineSchedule>>);

}

TEST_CASE("the field of a changed schedule is the exact one of the wanted path, from each schedule to each",
          "[field]") {
  fm::Rng rng(1);
  const Eigen::MatrixXd x = 2 * test::normal<double>(rng, 2, 6), none(0, 6);
  Eigen::RowVectorXd t(6);
  t << 0.3, 0.31, 0.5, 0.8, 0.97, 0.99;  // where all have the ratio: one that begins with data has none below it
  for_each_pair([&](const std::string& name, const auto& trained, const auto& wanted) {
    Eigen::MatrixXd expected(2, 6), v(2, 6);
    auto exact = gaussian(wanted);
    typename decltype(exact)::Workspace w;
    exact.forward(x, t, none, expected, w);
    fm::ScheduleTransform(gaussian(trained), trained, wanted)(x, t, none, v);
    INFO(name);
    CHECK(test::largest(v - expected) < 1e-9 * (1 + test::largest(expected)));
  });
}

TEMPLATE_TEST_CASE("a schedule changed to itself is the same field", "[field]", float, double) {
  using Scalar = TestType;
  fm::Rng rng(2);
  const fm::VelocityMlp<Scalar> net({.dim = 3, .hidden = {16, 16}}, rng);
  const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, 3, 150), none(0, 150);
  fm::RowVector<Scalar> t = test::uniform<Scalar>(rng, 150);
  t(0) = 0, t(1) = 1;
  fm::Matrix<Scalar> expected(3, 150), v(3, 150);
  net(x, t, none, expected);
  test::for_each_schedule([&](const char* name, const auto& schedule) {
    fm::ScheduleTransform(net, schedule, schedule)(x, t, none, v);
    INFO(name);
#ifdef __FMA__  // a compiler may fuse the products of two equal terms, whose difference is then no longer 0
    CHECK(test::largest(v - expected) < 100 * std::numeric_limits<Scalar>::epsilon());
#else
    CHECK(v == expected);
#endif
  });
}

TEST_CASE("samples do not depend on the schedule in which they are drawn, if the solver is good", "[field]") {
  fm::Rng rng(3);
  const Net net({.dim = 2, .hidden = {16, 16}}, rng);  // as good as trained: a flow is a flow
  const Eigen::MatrixXd x0 = test::normal<double>(rng, 2, 30);
  const fm::DormandPrince tight{.rtol = 1e-10, .atol = 1e-10, .max_steps = 100000};
  const Eigen::MatrixXd expected = fm::transport(net, x0, tight);
  const auto far = [&](const auto& trained, const auto& wanted) {
    const auto changed = fm::ScheduleTransform(net, trained, wanted);
    return test::largest(fm::transport(changed, x0, tight) - expected);
  };
  const fm::LinearSchedule linear;
  const fm::CosineSchedule cosine;
  const fm::PolynomialSchedule polynomial;
  CHECK(far(linear, cosine) < 1e-7);
  CHECK(far(cosine, linear) < 1e-7);
  CHECK(far(linear, fm::BalancedSchedule{.smallest = 0.1, .largest = 20}) < 1e-7);
  CHECK(far(fm::BalancedSchedule{.smallest = 0.1, .largest = 20}, linear) < 1e-7);
  // What the schedule holds at an end is missing there: start^2 of x1, half of `end` and sigma_min of x0, times numbers
  // below 4.
  CHECK(far(cosine, polynomial) < 1e-5);
  CHECK(far(linear, fm::LinearVariancePreservingSchedule{}) < 3e-3);
  CHECK(far(linear, fm::LipmanSchedule{}) < 1e-3);
}

TEST_CASE("on its way a sample in a changed schedule is the trained one at the same ratio, scaled", "[field]") {
  fm::Rng rng(4);
  const Net net({.dim = 2, .hidden = {16, 16}}, rng);
  const Eigen::MatrixXd x0 = test::normal<double>(rng, 2, 30);
  const fm::ScheduleTransform changed(net, fm::LinearSchedule{}, fm::CosineSchedule{});
  for (const double r : {0.2, 0.7}) {
    const double angle = std::acos(0.0) * r, t = std::sin(angle) / (std::sin(angle) + std::cos(angle));
    const Eigen::MatrixXd trained = fm::transport(net, x0, fm::Rk4{}, {.steps = 60, .to = t});
    const Eigen::MatrixXd wanted = fm::transport(changed, x0, fm::Rk4{}, {.steps = 60, .to = r});
    CHECK(test::largest(wanted - (std::sin(angle) + std::cos(angle)) * trained) < 1e-6);
  }
}

TEST_CASE("a wanted schedule of louder noise starts at sigma_0 x0", "[field]") {
  fm::Rng rng(5);
  const auto field = gaussian(fm::LinearSchedule{});
  const Eigen::MatrixXd x0 = test::normal<double>(rng, 2, 30);
  const Eigen::MatrixXd expected = fm::transport(field, x0, fm::Rk4{}, {.steps = 200});
  const fm::ScheduleTransform changed(field, fm::LinearSchedule{}, LoudSchedule{});
  CHECK(test::largest(fm::transport(changed, 3 * x0, fm::Rk4{}, {.steps = 200}) - expected) < 1e-6);
  const fm::ScheduleTransform back(gaussian(LoudSchedule{}), LoudSchedule{}, fm::LinearSchedule{});
  CHECK(test::largest(fm::transport(back, x0, fm::Rk4{}, {.steps = 200}) - expected) < 1e-6);
}

TEST_CASE("the time of a ratio is found everywhere, in few evaluations", "[field]") {
  test::for_each_schedule([](const char* name, const auto& schedule) {
    int most = 0;
    for (const double t : {0.0, 1e-12, 1e-6, 1e-3, 0.02, 0.3, 0.5, 0.77, 0.95, 0.999, 1 - 1e-6, 1 - 1e-12, 1.0})
      for (const double guess : {t, 0.0, 0.2, 0.9, 1.0}) {
        int count = 0;
        const auto counted = [&](auto time) { return ++count, schedule(time); };
        const auto s = schedule(t);
        const double found = fm::detail::time_of_ratio(counted, 7 * s.alpha, 7 * s.sigma, guess);
        INFO(name << ": t = " << t << " from " << guess << ", found " << found << " after " << count);
        // The time to its rounding or, where the ratio hardly changes with it, the ratio to its own.
        const auto r = schedule(found);
        CHECK((std::abs(found - t) < 2e-15 || std::abs(r.alpha * s.sigma - r.sigma * s.alpha) < 1e-15));
        most = std::max(most, count);
        if (t > 0.01 && t < 0.96) CHECK(std::abs(found - t) < 1e-12);
        if (guess == t) CHECK(count <= 3);  // 1 but for rounding, which makes it look at both ends
      }
    CHECK(most < 70);
  });
  CHECK(fm::detail::time_of_ratio(fm::VariancePreservingSchedule{}, 0., 1., 0.4) == 0);
  CHECK(fm::detail::time_of_ratio(fm::LipmanSchedule{}, 1., 0., 0.4) == 1);
}

TEST_CASE("a change of schedule refuses a trained schedule that does not tell data from noise", "[field]") {
  const auto still = [](auto t) { return fm::ScheduleValue<decltype(t)>{t, 1 - t, 0, 0}; };
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(2, 1), v(2, 1);
  const auto field = gaussian(fm::LinearSchedule{});
  CHECK(test::message_of<std::invalid_argument>([&] {
          fm::ScheduleTransform(field, still, fm::LinearSchedule{})(x, Eigen::RowVectorXd::Constant(1, 0.5),
                                                                    Eigen::MatrixXd(0, 1), v);
        }) == "flowmatch: ScheduleTransform: expected a schedule with alpha' sigma - alpha sigma' > 0, got 0");
  CHECK(test::message_of<std::invalid_argument>([&] {
          fm::ScheduleTransform(field, fm::LinearSchedule{}, fm::CosineSchedule{})(
              Eigen::MatrixXd::Zero(3, 1), Eigen::RowVectorXd::Constant(1, 0.5), Eigen::MatrixXd(0, 1), v);
        }) == "flowmatch: ScheduleTransform: expected 2 rows in x, got 3");
}
