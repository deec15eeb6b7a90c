// SPDX-License-Identifier: MIT
// Published results that benchmark_2d.cpp is held against: means and standard deviations over seeds of the two measures
// of a table.
#pragma once

#include <string_view>

namespace support {

struct Spread {
  double mean, deviation;
};

struct Published {
  std::string_view data, coupling;
  Spread first, second;
};

/// Tong et al., Simulation-free Schroedinger bridges via score and flow matching (2024), table 2, over 5 seeds: I-CFM
/// and OT-CFM; 2-Wasserstein distance and normalised path energy. The last two rows are held against the same figures,
/// with another definition of the data.
inline constexpr Published published_flows[] = {
    {"8 gaussians", "independent", {.373, .103}, {.202, .055}},
    {"8 gaussians", "OT", {.303, .043}, {.031, .027}},
    {"moons", "independent", {.178, .014}, {.891, .120}},
    {"moons", "OT", {.130, .016}, {.083, .009}},
    {"s-curve", "independent", {.242, .141}, {.856, .031}},
    {"s-curve", "OT", {.144, .028}, {.027, .012}},
    {"moons to 8 gaussians", "independent", {1.557, .407}, {2.680, .292}},
    {"moons to 8 gaussians", "OT", {.601, .027}, {.015, .010}},
    {"the same, radius 5", "independent", {1.557, .407}, {2.680, .292}},
    {"the same, radius 5", "OT", {.601, .027}, {.015, .010}},
};

/// Cheng and Schwing, The curse of conditions (2025), 8 gaussians to moons over 10 seeds: FM, OT and C2OT; squared
/// 2-Wasserstein distance after one step of Euler, and with an adaptive solver.
inline constexpr Published published_conditions[] = {
    {"no condition", "independent", {6.232, .186}, {.120, .045}},
    {"no condition", "OT", {.072, .025}, {.050, .040}},
    {"class", "independent", {2.573, .112}, {.059, .029}},
    {"class", "OT", {.483, .059}, {.462, .025}},
    {"class", "C2OT", {.048, .010}, {.018, .006}},
    {"x coordinate", "independent", {.732, .052}, {.028, .010}},
    {"x coordinate", "OT", {8.276, 6.510}, {2.143, 1.993}},
    {"x coordinate", "C2OT", {.077, .024}, {.013, .003}},
};

}
