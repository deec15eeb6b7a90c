// SPDX-License-Identifier: MIT
#include "flowmatch/io/description.hpp"
#include "flowmatch/path/further_schedules.hpp"

#include <charconv>

#include "catch.hpp"

namespace fm = flowmatch;

namespace mine {

struct Path {};
struct Named {};
inline std::string description(const Named&) { return "mine"; }

}

TEST_CASE("paths and samplers of times are described by name and options", "[io]") {
  CHECK(fm::description(fm::LinearPath{}) == "linear");
  CHECK(fm::description(fm::CosinePath{}) == "cosine");
  CHECK(fm::description(fm::PolynomialPath{{.exponent = 3}}) == "polynomial 3 0.001");
  CHECK(fm::description(fm::VariancePreservingPath{}) == "variance-preserving 0.1 20 0.001");
  CHECK(fm::description(fm::LinearVariancePreservingPath{}) == "linear-variance-preserving 0.001");
  CHECK(fm::description(fm::LipmanPath{{.sigma_min = 0.25}}) == "lipman 0.25");
  CHECK(fm::description(fm::ConstantSigmaPath{}) == "linear, noise 0.1");
  CHECK(fm::description(fm::BridgePath{}) == "linear, bridge 1 1e-04");
  const auto normalizer = fm::Normalizer<float>::identity(2);
  CHECK(fm::description(fm::NormalizedPath(normalizer)) == "each row, normalized");
  CHECK(fm::description(fm::NormalizedPath(normalizer, fm::BalancedSchedule{})) == "balanced 0.001 1000, normalized");
  CHECK(fm::description(fm::UniformTime{}) == "uniform");
  CHECK(fm::description(fm::StratifiedTime{}) == "stratified");
  CHECK(fm::description(fm::LogitNormalTime{.mean = -0.5}) == "logit-normal -0.5 1");
  CHECK(fm::description(fm::ModeTime{}) == "mode 1.29");
  CHECK(fm::description(fm::UShapedTime{}) == "u-shaped 4");
  CHECK(fm::description(fm::PowerTime{.exponent = 0.1}) == "power 0.1");
  CHECK(fm::description(fm::BetaTime{.a = 2}) == "beta 2 1");
  CHECK(fm::description(fm::WeightedTime<fm::UniformTime, fm::InverseVarianceWeight>{}) ==
        "uniform, weight inverse-variance 100");
  CHECK(fm::description(fm::WeightedTime<fm::PowerTime, fm::CosineMapWeight>{}) == "power 0, weight cosine-map");
}

TEST_CASE("what is not the library's is described as own, or by a function beside it", "[io]") {
  CHECK(fm::description(mine::Path{}) == "own");
  CHECK(description(mine::Named{}) == "mine");
}

TEST_CASE("a number as text is the shortest that reads back as the same", "[io]") {
  for (const double x : {0.1, 1. / 3, 1e-3, 1e300, -2.5e-310, 0., 123456789.125}) {
    const std::string text = fm::detail::text_of(x);
    double back = 1;
    std::from_chars(text.data(), text.data() + text.size(), back);
    CHECK(back == x);
  }
  CHECK(fm::detail::text_of(0.1) == "0.1");
  CHECK(fm::detail::text_of(256) == "256");
}
