// SPDX-License-Identifier: MIT
// The exact field of an affine path from N(0, I) to N(m, S): eq. 7 for any schedule.
#pragma once

#include <Eigen/LU>
#include <flowmatch/path/schedule.hpp>

namespace test {

template <class Schedule> struct GaussianField {
  using Scalar = double;
  struct Workspace {};
  Eigen::VectorXd m;
  Eigen::MatrixXd S;
  Schedule schedule = {};
  Eigen::VectorXd none = {};

  Eigen::Index dim() const { return m.size(); }
  Eigen::Index condition_dim() const { return 0; }
  Eigen::VectorXd& parameters() { return none; }
  const Eigen::VectorXd& parameters() const { return none; }

  void forward(const auto& x, const auto& t, const auto&, auto&& v, Workspace&) const {
    const Eigen::MatrixXd I = Eigen::MatrixXd::Identity(dim(), dim());
    for (Eigen::Index j = 0; j < x.cols(); ++j) {
      const auto s = schedule(double(t(j)));
      const Eigen::MatrixXd covariance = s.alpha * s.alpha * S + s.sigma * s.sigma * I;
      const Eigen::MatrixXd slope = (s.alpha * s.alpha_dot * S + s.sigma * s.sigma_dot * I) * covariance.inverse();
      v.col(j) = s.alpha_dot * m + slope * (x.col(j) - s.alpha * m);
    }
  }
};

}
