// SPDX-License-Identifier: MIT
// A simulated robot arm: three links in a plane, from angles to where the hand is. The way back has two answers at most
// places, the elbow on either side, and what a flow says of it is measured here.
#pragma once

#include <algorithm>
#include <cmath>
#include <flowmatch/flowmatch.hpp>
#include <string>
#include <vector>

#include "support/figure.hpp"
#include "support/progress.hpp"

namespace support {

/// The most that each joint turns to either side, in radians.
inline const Eigen::Array3f joint_limits(1.5707963f, 2.6f, 1.2f);

/// The arm stands at the origin. Angles are radians, one column for each pose (3 x n): the first link's against the x
/// axis, each other's against the link before.
struct Arm {
  Eigen::Vector3f lengths = {1.f, 0.8f, 0.5f};
  Eigen::Vector3f offsets = {0, 0, 0};  ///< what a joint is turned by when its angle says 0
  float give = 0;                       ///< the elbow gives way by this times sin(first + second angle)

  /// Foot, elbow, wrist and hand in one pose: 2 x 4.
  Eigen::Matrix<float, 2, 4> joints(Eigen::Vector3f angles) const {
    angles += offsets;
    angles(1) += give * std::sin(angles(0) + angles(1));
    Eigen::Matrix<float, 2, 4> places = Eigen::Matrix<float, 2, 4>::Zero();
    float direction = 0;
    for (int k = 0; k < 3; ++k) {
      direction += angles(k);
      places.col(k + 1) = places.col(k) + lengths(k) * Eigen::Vector2f(std::cos(direction), std::sin(direction));
    }
    return places;
  }

  /// Where the hand is: 2 x n.
  Eigen::MatrixXf hand(const Eigen::MatrixXf& angles) const {
    Eigen::MatrixXf places(2, angles.cols());
    for (Eigen::Index j = 0; j < angles.cols(); ++j) places.col(j) = joints(angles.col(j)).col(3);
    return places;
  }
};

/// The same for an arm of its own in each column: lengths 3 x n.
inline Eigen::MatrixXf hands(const Eigen::MatrixXf& lengths, const Eigen::MatrixXf& angles) {
  Eigen::MatrixXf places(2, angles.cols());
  for (Eigen::Index j = 0; j < angles.cols(); ++j)
    places.col(j) = Arm{.lengths = lengths.col(j)}.joints(angles.col(j)).col(3);
  return places;
}

/// Uniform within the joint limits: 3 x n.
inline Eigen::MatrixXf draw_angles(flowmatch::Rng& rng, Eigen::Index n) {
  Eigen::MatrixXf angles(3, n);
  flowmatch::fill_uniform(rng, angles);
  return ((2 * angles.array() - 1).colwise() * joint_limits).matrix();
}

/// Rows above rows, as many columns: several things that are told at once.
inline Eigen::MatrixXf stack(const Eigen::MatrixXf& above, const Eigen::MatrixXf& below) {
  Eigen::MatrixXf both(above.rows() + below.rows(), above.cols());
  both << above, below;
  return both;
}

/// The value below which a share of all lies, 0 <= share <= 1.
inline double quantile(Eigen::VectorXd values, double share) {
  const auto at = values.begin() + Eigen::Index(share * double(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

/// Median distance from hands to targets, both 2 x n, in the unit of the lengths.
inline double median_miss(const Eigen::MatrixXf& hands, const Eigen::MatrixXf& targets) {
  return quantile((hands - targets).colwise().norm().transpose().cast<double>(), 0.5);
}

/// Share of the poses on the rarer side of the elbow, 0 to 1/2.
inline double rarer_elbow(const Eigen::MatrixXf& angles) {
  const double left = double((angles.row(1).array() > 0).count()) / double(angles.cols());
  return std::min(left, 1 - left);
}

/// Whether both elbows lead to the target: of the tried poses whose hand comes `within` so much of it, more than 5 in
/// all, at least the share `least` has the elbow on the rarer side.
inline bool both_elbows_lead(const Eigen::MatrixXf& angles, const Eigen::MatrixXf& hands, const Eigen::Vector2f& target,
                             double least = 0.15, float within = 0.05f) {
  std::vector<flowmatch::Index> near;
  for (Eigen::Index j = 0; j < hands.cols(); ++j)
    if ((hands.col(j) - target).norm() < within) near.push_back(j);
  Eigen::MatrixXf poses;
  flowmatch::take_columns(angles, near, poses);
  return near.size() > 5 && rarer_elbow(poses) >= least;
}

/// A field over angles: hidden layers of one width, conditions of so many rows.
inline flowmatch::VelocityMlp<float> arm_field(std::size_t layers, flowmatch::Index width, flowmatch::Index conditions,
                                               flowmatch::Rng& rng) {
  return flowmatch::VelocityMlp({.dim = 3,
                                 .condition_dim = conditions,
                                 .hidden = std::vector<flowmatch::Index>(layers, width),
                                 .residual = true,
                                 .time_frequencies = 8,
                                 .zero_output = true},
                                rng);
}

/// A flow from noise to angles (3 x n) that lead to what the conditions say, one column each.
inline flowmatch::FlowModel<> train_arm_flow(const Eigen::MatrixXf& angles, const Eigen::MatrixXf& conditions,
                                             flowmatch::Index width, const flowmatch::TrainerOptions& options,
                                             flowmatch::Rng& rng, flowmatch::Threads& team, const std::string& label) {
  namespace fm = flowmatch;
  fm::FlowModel<> model(arm_field(4, width, conditions.rows(), rng), fm::Normalizer(angles),
                        fm::Normalizer(conditions));
  Progress bar(int(options.steps), label);
  fm::Trainer(model.net, options, team)
      .run(model.normalizer(angles), model.condition_normalizer(conditions), rng, bar.observer());
  return model;
}

/// Draws each pose of the arm, the elbow's two sides in two colours.
inline void draw_poses(Panel& panel, const Arm& arm, const Eigen::MatrixXf& angles, double opacity = 0.35) {
  for (Eigen::Index j = 0; j < angles.cols(); ++j)
    panel.polyline(arm.joints(angles.col(j)),
                   {.colour = angles(1, j) > 0 ? colour::blue : colour::orange, .size = 1.5, .opacity = opacity});
}

}
