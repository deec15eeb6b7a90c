// SPDX-License-Identifier: MIT
// Paths with noise on the way (eq. 38 - 40 in docs/math.md): around a mean that moves from x0 to x1, x_t is Gaussian.
// They smooth a distribution that lies on points or lines, and are the conditional paths of Tong et al. 2023.
#pragma once

#include <algorithm>
#include <cmath>

#include "flowmatch/path/further_schedules.hpp"
#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// A path with noise of its own on the way: path.sample(rng, x0, x1, t, x_t, u_t). See path/noisy.hpp.
template <class P>
concept NoisyPath = requires(const P& path, Rng& rng, const Matrix<float>& x, const RowVector<float>& t,
                             Matrix<float>& out) {
  path.sample(rng, x, x, t, out, out);
};
/// A path that draws its start itself, so that there is no x0: path.sample(rng, x1, t, x_t, u_t). See LipmanPath.
template <class P>
concept PathFromNoise = requires(const P& path, Rng& rng, const Matrix<float>& x, const RowVector<float>& t,
                                 Matrix<float>& out) {
  path.sample(rng, x, t, out, out);
};

/// Standard deviation of the noise at one time, and its derivative with respect to time.
struct NoiseValue {
  double sigma, sigma_dot;
};

/// noise(t) gives the NoiseValue at t in [0, 1].
template <class N>
concept PathNoise = requires(const N& noise) {
  { noise(0.5) } -> std::same_as<NoiseValue>;
};

/// Constant in t. It does not vanish at t = 1, so samples follow the data convolved with N(0, sigma^2 I).
struct ConstantNoise {
  double sigma = 0.1;  ///< >= 0
  NoiseValue operator()(double) const {
    detail::check_at_least("ConstantNoise", "sigma", sigma, 0);
    return {sigma, 0};
  }
};

/// That of a Brownian bridge, sigma sqrt(t (1 - t)), which is 0 at both ends, where its derivative is infinite:
/// t (1 - t) counts as at least `end` in the derivative's divisor.
struct BridgeNoise {
  double sigma = 1;   ///< >= 0
  double end = 1e-4;  ///< > 0
  NoiseValue operator()(double t) const {
    detail::check_at_least("BridgeNoise", "sigma", sigma, 0);
    detail::check_positive("BridgeNoise", "end", end);
    const double variance = t * (1 - t);
    return {sigma * std::sqrt(variance), sigma * (1 - 2 * t) / (2 * std::sqrt(std::max(variance, end)))};
  }
};

/// x_t = alpha_t x1 + sigma_t x0 + noise_t e and u_t = d x_t / dt with e ~ N(0, I), its own for each sample.
template <Schedule S, PathNoise N> struct AffineNoisyPath {
  N noise = {};
  S schedule = {};

  /// As AffinePath::sample. Takes one fill_normal of dim x n numbers of rng.
  template <Real Scalar>
  void sample(Rng& rng, MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, Matrix<Scalar>& x_t,
              Matrix<Scalar>& u_t) const;
};

template <Schedule S, PathNoise N>
template <Real Scalar>
void AffineNoisyPath<S, N>::sample(Rng& rng, MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t,
                                   Matrix<Scalar>& x_t, Matrix<Scalar>& u_t) const {
  detail::prepare_path<Scalar>("AffineNoisyPath::sample", x0, x1, t, x_t, u_t);
  fill_normal(rng, x_t);
  for (Index j = 0; j < x0.cols(); ++j) {
    const ScheduleValue<Scalar> s = schedule(t(j));
    const NoiseValue n = noise(double(t(j)));
    for (Index i = 0; i < x0.rows(); ++i) {
      const Scalar e = x_t(i, j);
      x_t(i, j) = s.alpha * x1(i, j) + s.sigma * x0(i, j) + Scalar(n.sigma) * e;
      u_t(i, j) = s.alpha_dot * x1(i, j) + s.sigma_dot * x0(i, j) + Scalar(n.sigma_dot) * e;
    }
  }
}

/// x_t = (1 - t) x0 + t x1 + sigma e, u_t = x1 - x0: conditional flow matching (Tong et al. 2023), with or without
/// optimal transport.
using ConstantSigmaPath = AffineNoisyPath<LinearSchedule, ConstantNoise>;
/// x_t = (1 - t) x0 + t x1 + sigma sqrt(t (1 - t)) e: with pairs from entropic transport of regularization 2 sigma^2,
/// the Schroedinger bridge (Tong et al. 2023).
using BridgePath = AffineNoisyPath<LinearSchedule, BridgeNoise>;

/// x_t = t x1 + (1 - (1 - sigma_min) t) e, u_t = x1 - (1 - sigma_min) e with e ~ N(0, I) (Lipman et al. 2022). It is
/// made for Gaussian noise alone and draws it itself: there is no x0 to pass, and a source that is not noise needs
/// another path.
struct LipmanPath {
  LipmanSchedule schedule = {};

  /// As AffinePath::sample with x0 = e. Takes one fill_normal of dim x n numbers of rng.
  template <Real Scalar>
  void sample(Rng& rng, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, Matrix<Scalar>& x_t, Matrix<Scalar>& u_t) const;
};

template <Real Scalar>
void LipmanPath::sample(Rng& rng, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t, Matrix<Scalar>& x_t,
                        Matrix<Scalar>& u_t) const {
  detail::prepare_path<Scalar>("LipmanPath::sample", x1, x1, t, x_t, u_t, "x1");
  fill_normal(rng, x_t);
  for (Index j = 0; j < x1.cols(); ++j) {
    const ScheduleValue<Scalar> s = schedule(t(j));
    for (Index i = 0; i < x1.rows(); ++i) {
      const Scalar e = x_t(i, j);
      x_t(i, j) = s.alpha * x1(i, j) + s.sigma * e;
      u_t(i, j) = s.alpha_dot * x1(i, j) + s.sigma_dot * e;
    }
  }
}

namespace detail {

/// x_t and u_t of a path of any kind; a path takes from rng and x0 what it needs.
template <class P, Real Scalar>
void sample_path(const P& path, Rng& rng, MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, RowVectorIn<Scalar> t,
                 Matrix<Scalar>& x_t, Matrix<Scalar>& u_t) {
  if constexpr (NoisyPath<P>)
    path.sample(rng, x0, x1, t, x_t, u_t);
  else if constexpr (PathFromNoise<P>)
    path.sample(rng, x1, t, x_t, u_t);
  else
    path.sample(x0, x1, t, x_t, u_t);
}

}
}
}
