// SPDX-License-Identifier: MIT
#pragma once

#include <flowmatch/path/further_schedules.hpp>
#include <flowmatch/path/schedule.hpp>

namespace test {

/// check(name, schedule) for every schedule of the library: a new one gets its line here.
template <class Check> void for_each_schedule(const Check& check) {
  namespace fm = flowmatch;
  check("linear", fm::LinearSchedule{});
  check("polynomial 1", fm::PolynomialSchedule{.exponent = 1});
  check("polynomial 2", fm::PolynomialSchedule{});
  check("polynomial 3.5", fm::PolynomialSchedule{.exponent = 3.5});
  check("variance-preserving", fm::VariancePreservingSchedule{});
  check("linear variance-preserving", fm::LinearVariancePreservingSchedule{});
  check("cosine", fm::CosineSchedule{});
  check("Lipman", fm::LipmanSchedule{});
  check("balanced", fm::BalancedSchedule{.smallest = 0.1, .largest = 20});
}

}
