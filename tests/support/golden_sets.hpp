// SPDX-License-Identifier: MIT
// The sets of samples and the stored distances of tests/golden/make_metric.py.
#pragma once

#include <flowmatch/core/types.hpp>
#include <fstream>
#include <string>
#include <vector>

namespace test {

template <class Scalar>
flowmatch::Matrix<Scalar> golden_points(flowmatch::Index dim, flowmatch::Index first, flowmatch::Index n) {
  flowmatch::Matrix<Scalar> x(dim, n);
  for (flowmatch::Index i = 0; i < dim * n; ++i) {
    const flowmatch::Index k = dim * first + i;
    x(i) = Scalar(double((2654435 * k * k + 40503 * k) % 65521) / 4096 - 8);
  }
  return x;
}

/// One line of metric.txt with its two sets, whose entries are exact in float.
template <class Scalar> struct GoldenDistance {
  flowmatch::Index dim = 0, n = 0, m = 0;
  double expected = 0;
  flowmatch::Matrix<Scalar> x, y;
};

template <class Scalar> std::vector<GoldenDistance<Scalar>> golden_distances(const std::string& metric) {
  std::ifstream file(FLOWMATCH_GOLDEN_DIR "/metric.txt");
  std::vector<GoldenDistance<Scalar>> lines;
  std::string name;
  for (GoldenDistance<Scalar> line; file >> name >> line.dim >> line.n >> line.m >> line.expected;) {
    if (name != metric) continue;
    line.x = golden_points<Scalar>(line.dim, 0, line.n);
    line.y = (golden_points<Scalar>(line.dim, line.n, line.m).array() / 2 + 1).matrix();
    lines.push_back(line);
  }
  return lines;
}

}
