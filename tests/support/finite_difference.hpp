// SPDX-License-Identifier: MIT
// Derivatives by central differences, extrapolated to step zero (Richardson 1911, Ridders 1982): the reference for
// every gradient written by hand.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cmath>
#include <limits>

namespace test {

/// f'(0) for a smooth f in double. Central differences at steps h, h/2, h/4, h/8 err by even powers of the step; each
/// column of the tableau removes one of them, up to h^8. Of the entries, the one wins that agrees best with its
/// neighbours, since late columns amplify rounding. Good to about 1e-11 of the scale of f when f varies over lengths
/// well above h.
template <class F> double derivative_at_zero(const F& f, double h) {
  constexpr int levels = 4;
  std::array<std::array<double, levels>, levels> a{};
  double best = 0, least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < levels; ++i, h /= 2) {
    a[0][std::size_t(i)] = (f(h) - f(-h)) / (2 * h);
    double power = 4;
    for (int k = 1; k <= i; ++k, power *= 4) {
      const auto row = std::size_t(k), column = std::size_t(i);
      const double coarse = a[row - 1][column - 1], fine = a[row - 1][column];
      a[row][column] = (power * fine - coarse) / (power - 1);
      const double error = std::max(std::abs(a[row][column] - fine), std::abs(a[row][column] - coarse));
      if (error <= least) least = error, best = a[row][column];
    }
  }
  return best;
}

/// The gradient of f() with respect to every entry of x, which f reads and which is as before afterwards. x is a
/// matrix, vector or map of double.
template <class F, class Dense> Eigen::VectorXd numerical_gradient(const F& f, Dense&& x, double h = 1.0 / 64) {
  Eigen::VectorXd gradient(x.size());
  for (Eigen::Index j = 0; j < x.cols(); ++j)
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      const double before = x(i, j);
      gradient(i + j * x.rows()) = derivative_at_zero(
          [&](double step) {
            x(i, j) = before + step;
            return double(f());
          },
          h);
      x(i, j) = before;
    }
  return gradient;
}

}
