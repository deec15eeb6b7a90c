// SPDX-License-Identifier: MIT
// What an example claims of itself, checked as it ends: a table "measured | demanded | baseline", one line a claim, and
// whether all of them hold.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "support/rounded.hpp"

namespace support {

/// A word and a figure, for the last column of Claims.
inline std::string worded(const std::string& word, double value) { return word + " " + rounded(value); }

class Claims {
 public:
  /// quick: the run is too short for the figures that the full run must reach. Each line then asks only for `quick`'s
  /// bound, which shows that the figure moves the right way.
  explicit Claims(bool quick = false) : quick_(quick) {}

  /// measured <= demanded. baseline: a word on what the figure would be otherwise.
  void at_most(const std::string& what, double measured, double demanded, double quick,
               const std::string& baseline = {}) {
    add(what, measured, "<=", quick_ ? quick : demanded, baseline, measured <= (quick_ ? quick : demanded));
  }
  /// measured >= demanded.
  void at_least(const std::string& what, double measured, double demanded, double quick,
                const std::string& baseline = {}) {
    add(what, measured, ">=", quick_ ? quick : demanded, baseline, measured >= (quick_ ? quick : demanded));
  }

  /// Prints the table. The program's exit code: EXIT_FAILURE if a claim does not hold (NaN never does).
  int close() const {
    std::size_t width = 4;
    for (const Line& line : lines_) width = std::max(width, line.what.size());
    std::printf("\n%-*s  %10s  %11s  %-6s %s\n", int(width), "", "measured", "demanded", "", "baseline");
    bool all = true;
    for (const Line& line : lines_) {
      std::printf("%-*s  %10.4g  %s %8.4g  %-6s %s\n", int(width), line.what.c_str(), line.measured, line.relation,
                  line.demanded, line.holds ? "pass" : "FAIL", line.baseline.c_str());
      all = all && line.holds;
    }
    return all ? EXIT_SUCCESS : EXIT_FAILURE;
  }

 private:
  struct Line {
    std::string what;
    double measured;
    const char* relation;
    double demanded;
    std::string baseline;
    bool holds;
  };

  void add(const std::string& what, double measured, const char* relation, double demanded, const std::string& baseline,
           bool holds) {
    lines_.push_back({what, measured, relation, demanded, baseline, holds});
  }

  bool quick_;
  std::vector<Line> lines_;
};

}
