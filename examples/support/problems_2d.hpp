// SPDX-License-Identifier: MIT
// The data of benchmark_2d.cpp, by the definitions in the programs of the papers (published_2d.hpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <flowmatch/flowmatch.hpp>
#include <functional>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace support {

/// Points (2 x n) and their conditions (0 or 1 x n).
struct Labelled {
  Eigen::MatrixXf x, c;
};

/// Where a flow starts and where it should end.
struct Problem {
  std::string name;
  std::function<Eigen::MatrixXf(flowmatch::Rng&, Eigen::Index)> source;
  std::function<Labelled(flowmatch::Rng&, Eigen::Index)> target;
};

inline Labelled unlabelled(const Eigen::MatrixXf& x) { return {x, Eigen::MatrixXf(0, x.cols())}; }

/// The 8 Gaussians of the programs for table 2: as many points on each, by turns; toy::eight_gaussians draws them.
inline Eigen::MatrixXf even_gaussians(flowmatch::Rng& rng, Eigen::Index n, float noise) {
  Eigen::MatrixXf x(2, n);
  flowmatch::fill_normal(rng, x);
  for (Eigen::Index j = 0; j < n; ++j) {
    const float a = std::numbers::pi_v<float> / 4 * float(j % 8);
    x.col(j) = 5 * Eigen::Vector2f(std::cos(a), std::sin(a)) + noise * x.col(j);
  }
  return x;
}

/// Noise to three sets, as the programs for table 2 have them, and moons to 8 Gaussians, of mean 0 and deviation 7 over
/// both coordinates together, and at the scale of the tutorials.
inline std::vector<Problem> flow_problems() {
  using flowmatch::Rng, Eigen::Index, Eigen::MatrixXf;
  namespace toy = flowmatch::toy;
  const auto noise = [](Rng& rng, Index n) {
    MatrixXf x(2, n);
    flowmatch::fill_normal(rng, x);
    return x;
  };
  const auto moons = [](Rng& rng, Index n) {
    MatrixXf x = 2 * toy::two_moons(rng, n, 0.05);
    x.row(0).array() -= 1;
    return unlabelled(x);
  };
  const auto spread_moons = [](Rng& rng, Index n) -> MatrixXf {
    MatrixXf x = toy::two_moons(rng, n, 0.1);
    x.array() -= x.mean();
    return x * (7 * std::sqrt(float(x.size())) / x.norm());
  };
  const auto tutorial_moons = [](Rng& rng, Index n) -> MatrixXf {
    return (3 * toy::two_moons(rng, n, 0.05)).array() - 1;
  };
  return {
      {"8 gaussians", noise, [](Rng& rng, Index n) { return unlabelled(even_gaussians(rng, n, 1)); }},
      {"moons", noise, moons},
      {"s-curve", noise, [](Rng& rng, Index n) { return unlabelled(1.5f * toy::s_curve(rng, n, 0.05)); }},
      {"moons to 8 gaussians", spread_moons,
       [](Rng& rng, Index n) { return unlabelled(2.4f * even_gaussians(rng, n, 0.625f)); }},
      {"the same, radius 5", tutorial_moons,
       [](Rng& rng, Index n) { return unlabelled(toy::eight_gaussians(rng, n)); }},
  };
}

enum class Condition { none, label, x };

/// The moons of torchdyn, three times as large: n / 2 points at even steps on each half circle, both coordinates moved
/// by the same amount of up to 0.6. Labels are -1 and 1.
inline Labelled even_moons(flowmatch::Rng& rng, Eigen::Index n, Condition condition) {
  Labelled moons{Eigen::MatrixXf(2, n), Eigen::MatrixXf(condition == Condition::none ? 0 : 1, n)};
  Eigen::RowVectorXf shift(n);
  flowmatch::fill_uniform(rng, shift);
  for (Eigen::Index j = 0; j < n; ++j) {
    const bool inner = j >= n / 2;
    const Eigen::Index first = inner ? n / 2 : 0, last = inner ? n - 1 : n / 2 - 1;
    const float a = std::numbers::pi_v<float> * float(j - first) / float(std::max<Eigen::Index>(last - first, 1));
    moons.x(0, j) = 3 * ((inner ? 1 - std::cos(a) : std::cos(a)) + 0.2f * shift(j)) - 1;
    moons.x(1, j) = 3 * ((inner ? 0.5f - std::sin(a) : std::sin(a)) + 0.2f * shift(j)) - 1;
    if (condition != Condition::none) moons.c(0, j) = condition == Condition::x ? moons.x(0, j) : inner ? 1.f : -1.f;
  }
  return moons;
}

/// 8 Gaussians to these moons, whose class or first coordinate may be the condition.
inline std::vector<Problem> condition_problems() {
  using flowmatch::Rng, Eigen::Index;
  const auto start = [](Rng& rng, Index n) { return flowmatch::toy::eight_gaussians(rng, n); };
  const auto moons = [](Condition c) { return [c](Rng& rng, Index n) { return even_moons(rng, n, c); }; };
  return {{"no condition", start, moons(Condition::none)},
          {"class", start, moons(Condition::label)},
          {"x coordinate", start, moons(Condition::x)}};
}

/// What a perfect model would give for the conditions of test: points drawn from those of the pool that have the same
/// condition or, if none has, the next larger one.
inline Eigen::MatrixXf perfect_samples(const Labelled& test, const Labelled& pool, flowmatch::Rng& rng) {
  using Key = std::pair<float, Eigen::Index>;
  const auto condition = [](const Labelled& p, Eigen::Index j) { return p.c.rows() > 0 ? p.c(0, j) : 0; };
  std::vector<Key> sorted;
  for (Eigen::Index j = 0; j < pool.x.cols(); ++j) sorted.emplace_back(condition(pool, j), j);
  std::sort(sorted.begin(), sorted.end());
  Eigen::MatrixXf x(2, test.x.cols());
  for (Eigen::Index j = 0; j < x.cols(); ++j) {
    const auto first = std::lower_bound(sorted.begin(), sorted.end() - 1, Key(condition(test, j), -1));
    const auto last = std::upper_bound(first, sorted.end(), Key(first->first, pool.x.cols()));
    Eigen::Index k = 0;
    flowmatch::fill_below(rng, last - first, std::span(&k, 1));
    x.col(j) = pool.x.col(first[k].second);
  }
  return x;
}

}
