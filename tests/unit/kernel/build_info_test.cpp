// SPDX-License-Identifier: MIT
#include <flowmatch/kernel/build_info.hpp>

#include "catch.hpp"

namespace fm = flowmatch;

TEST_CASE("build_info tells versions and the instruction set in use") {
  const std::string info = fm::build_info();
  const auto has = [&](const std::string& text) {
    INFO(info << "should contain " << text);
    CHECK(info.find(text) != std::string::npos);
  };
  has(fm::detail::concat({"flowmatch ", FLOWMATCH_VERSION_MAJOR, ".", FLOWMATCH_VERSION_MINOR, "."}));
  has(fm::detail::concat({"Eigen ", EIGEN_WORLD_VERSION, ".", EIGEN_MAJOR_VERSION, "."}));
  has(std::string("kernels ") + fm::name(fm::instruction_set()) + ",");
  has(__VERSION__);
#if defined(NDEBUG)
  has(" NDEBUG");
#endif
}

TEST_CASE("the name of an instruction set is what the environment variable takes") {
  CHECK(fm::name(fm::InstructionSet::baseline) == std::string("baseline"));
  CHECK(fm::name(fm::InstructionSet::avx2) == std::string("avx2"));
  CHECK(fm::name(fm::InstructionSet::avx512) == std::string("avx512"));
}
