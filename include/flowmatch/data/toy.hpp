// SPDX-License-Identifier: MIT
// Distributions in the plane, for examples and tests. Each function returns 2 x n independent samples, one per column.
// Notation: k uniform on the integers named, u, u' uniform on [0, 1), z = (z1, z2) standard normal. The numbers are
// drawn in bulk in the order k, u, z, by one fill_below, fill_uniform and fill_normal each (those that a formula
// needs), so that a set is reproducible, by another compiler to within rounding. All functions throw
// std::invalid_argument unless n >= 1 and noise (a standard deviation, per coordinate) is finite and not negative.
#pragma once

#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

inline void check_toy(const char* where, Index n, double noise) {
  check_at_least(where, "n", n, 1);
  check_at_least(where, "noise", noise, 0);
}

inline std::vector<Index> indices_below(Rng& rng, Index classes, Index n) {
  std::vector<Index> k(static_cast<std::size_t>(n));
  fill_below(rng, classes, k);
  return k;
}

template <Real Scalar> Matrix<Scalar> uniforms(Rng& rng, Index rows, Index n) {
  Matrix<Scalar> u(rows, n);
  fill_uniform(rng, u);
  return u;
}

/// factor z
template <Real Scalar> Matrix<Scalar> normals(Rng& rng, Index n, double factor = 1) {
  Matrix<Scalar> z(2, n);
  fill_normal(rng, z);
  for (Index i = 0; i < z.size(); ++i) z.data()[i] *= Scalar(factor);
  return z;
}

/// {cos 2 pi v, sin 2 pi v} for any v of moderate size
template <Real Scalar> std::array<Scalar, 2> cos_sin(Scalar v) { return cos_sin_of_turn(v - std::floor(v)); }

/// x_j += r (cos 2 pi v, sin 2 pi v)
template <Real Scalar> void add_on_circle(Matrix<Scalar>& x, Index j, Scalar r, Scalar v) {
  const auto [c, s] = cos_sin(v);
  x.data()[2 * j] += r * c;
  x.data()[2 * j + 1] += r * s;
}

}

namespace toy {

/// Two interleaved half circles, as scikit-learn's make_moons: for u < 1/2 the outer one, (cos a, sin a), else the
/// inner one, (1 + cos a, 1/2 + sin a), a = 2 pi u; plus noise z. Mean (1/2, 1/4).
template <Real Scalar = float> Matrix<Scalar> two_moons(Rng& rng, Index n, double noise = 0.05) {
  detail::check_toy("toy::two_moons", n, noise);
  const Matrix<Scalar> u = detail::uniforms<Scalar>(rng, 1, n);
  Matrix<Scalar> x = detail::normals<Scalar>(rng, n, noise);
  for (Index j = 0; j < n; ++j) {
    detail::add_on_circle(x, j, Scalar(1), u(j));
    if (u(j) < Scalar(0.5)) continue;
    x(0, j) += 1;
    x(1, j) += Scalar(0.5);
  }
  return x;
}

/// Eight Gaussians on a circle of radius 5: 5 (cos a, sin a) + noise z, a = 2 pi k / 8, k in 0..7. The default noise is
/// 0.1^(1/4), that is a variance of sqrt(0.1), as in the tutorials of torchcfm. Mean 0, covariance (25/2 + noise^2) I.
template <Real Scalar = float> Matrix<Scalar> eight_gaussians(Rng& rng, Index n, double noise = 0.5623413251903491) {
  detail::check_toy("toy::eight_gaussians", n, noise);
  const std::vector<Index> k = detail::indices_below(rng, 8, n);
  Matrix<Scalar> x = detail::normals<Scalar>(rng, n, noise);
  for (Index j = 0; j < n; ++j) detail::add_on_circle(x, j, Scalar(5), Scalar(k[std::size_t(j)]) / 8);
  return x;
}

/// Uniform on 8 of the 16 squares of side 2 in [-4, 4]^2: (2 (a + u) - 4, 2 (b + u') - 4) with a = k mod 4 and
/// b = 2 floor(k / 4) + a mod 2, k in 0..7. The density is 1/32 on the squares, so the entropy is 5 ln 2 = 3.466 nats
/// and no model has a mean log-likelihood above -3.466. (The set in the notebooks of flow_matching is 1.111 times as
/// large.)
template <Real Scalar = float> Matrix<Scalar> checkerboard(Rng& rng, Index n) {
  detail::check_toy("toy::checkerboard", n, 0);
  const std::vector<Index> k = detail::indices_below(rng, 8, n);
  Matrix<Scalar> x = 2 * detail::uniforms<Scalar>(rng, 2, n);
  for (Index j = 0; j < n; ++j) {
    const Index a = k[std::size_t(j)] % 4, b = 2 * (k[std::size_t(j)] / 4) + a % 2;
    x(0, j) += Scalar(2 * a - 4);
    x(1, j) += Scalar(2 * b - 4);
  }
  return x;
}

/// Two turns of an Archimedean spiral: 4 s (cos 4 pi s, sin 4 pi s) + noise z, s = sqrt(u). Mean (1/pi^2, -2/pi).
template <Real Scalar = float> Matrix<Scalar> spiral(Rng& rng, Index n, double noise = 0.1) {
  detail::check_toy("toy::spiral", n, noise);
  const Matrix<Scalar> u = detail::uniforms<Scalar>(rng, 1, n);
  Matrix<Scalar> x = detail::normals<Scalar>(rng, n, noise);
  for (Index j = 0; j < n; ++j) {
    const Scalar s = std::sqrt(u(j));
    detail::add_on_circle(x, j, 4 * s, 2 * s);
  }
  return x;
}

/// Five curved blades (Johnson et al. 2016, with the numbers of FFJORD): the point 2 (1 + 0.3 z1, 0.1 z2) turned
/// clockwise by 2 pi k / 5 + exp(1 + 0.3 z1) / 4, k in 0..4. Mean 0, covariance 2.2 I.
template <Real Scalar = float> Matrix<Scalar> pinwheel(Rng& rng, Index n) {
  detail::check_toy("toy::pinwheel", n, 0);
  const std::vector<Index> k = detail::indices_below(rng, 5, n);
  Matrix<Scalar> x = detail::normals<Scalar>(rng, n);
  for (Index j = 0; j < n; ++j) {
    const Scalar a = 1 + Scalar(0.3) * x(0, j), b = Scalar(0.1) * x(1, j);
    const Scalar radians = std::exp(a) / 4;
    const auto [c, s] = detail::cos_sin(Scalar(k[std::size_t(j)]) / 5 + radians / Scalar(2 * std::numbers::pi));
    x(0, j) = 2 * (a * c + b * s);
    x(1, j) = 2 * (b * c - a * s);
  }
  return x;
}

/// Four concentric circles: 3/4 (k + 1) (cos 2 pi u, sin 2 pi u) + noise z, k in 0..3. Mean 0, covariance
/// (135/64 + noise^2) I.
template <Real Scalar = float> Matrix<Scalar> rings(Rng& rng, Index n, double noise = 0.08) {
  detail::check_toy("toy::rings", n, noise);
  const std::vector<Index> k = detail::indices_below(rng, 4, n);
  const Matrix<Scalar> u = detail::uniforms<Scalar>(rng, 1, n);
  Matrix<Scalar> x = detail::normals<Scalar>(rng, n, noise);
  for (Index j = 0; j < n; ++j) detail::add_on_circle(x, j, Scalar(0.75) * Scalar(k[std::size_t(j)] + 1), u(j));
  return x;
}

/// The letter S, as coordinates 0 and 2 of scikit-learn's make_s_curve: (sin a, sign(a) (cos a - 1)) + noise z,
/// a = 3 pi (u - 1/2). Mean 0.
template <Real Scalar = float> Matrix<Scalar> s_curve(Rng& rng, Index n, double noise = 0.05) {
  detail::check_toy("toy::s_curve", n, noise);
  const Matrix<Scalar> u = detail::uniforms<Scalar>(rng, 1, n);
  Matrix<Scalar> x = detail::normals<Scalar>(rng, n, noise);
  for (Index j = 0; j < n; ++j) {
    const Scalar turn = Scalar(1.5) * (u(j) - Scalar(0.5));
    const auto [c, s] = detail::cos_sin(turn);
    x(0, j) += s;
    x(1, j) += turn < 0 ? 1 - c : c - 1;
  }
  return x;
}

}

}
}
