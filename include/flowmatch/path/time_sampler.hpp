// SPDX-License-Identifier: MIT
// At which times a field is trained (eq. 44 - 50 in docs/math.md): a time sampler is a struct with sampler(rng, t),
// which fills a row with times in [0, 1). Trainer takes any. All but UniformTime and StratifiedTime reweight the loss
// by their density.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "flowmatch/random/random.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Anything with sampler(rng, t), in float and in double. If it also has weight(t), Trainer multiplies each sample's
/// loss with it.
template <class T>
concept TimeSampler = requires(const T& sampler, Rng& rng, RowVector<float>& single, RowVector<double>& twofold) {
  sampler(rng, single);
  sampler(rng, twofold);
};

namespace detail {

/// The nearest Scalar in [0, 1): rounding may not put a time on the end.
template <Real Scalar> Scalar time_below_one(double t) {
  return std::clamp(Scalar(t), Scalar(0), 1 - std::numeric_limits<Scalar>::epsilon() / 2);
}

/// t = quantile(u), u uniform in [0, 1): takes one fill_uniform of rng.
template <Real Scalar, class Quantile> void fill_by_quantile(Rng& rng, RowVector<Scalar>& t, const Quantile& quantile) {
  fill_uniform(rng, t);
  for (Index j = 0; j < t.size(); ++j) t(j) = time_below_one<Scalar>(quantile(double(t(j))));
}

}

/// t uniform in [0, 1): what the loss of flow matching is defined with.
struct UniformTime {
  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const { fill_uniform(rng, t); }
};

/// One time in each of n equal parts of [0, 1), in random order: each t is uniform, and together they are more even
/// than chance, which takes the part of the loss's variance that comes from t. Takes one fill_uniform and n - 1
/// indices.
struct StratifiedTime {
  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const {
    const Index n = t.size();
    fill_uniform(rng, t);
    for (Index j = 0; j < n; ++j) t(j) = detail::time_below_one<Scalar>((double(j) + double(t(j))) / double(n));
    for (Index j = 0; j + 1 < n; ++j) {  // Fisher-Yates
      Index i = 0;
      fill_below(rng, n - j, std::span(&i, 1));
      std::swap(t(j), t(j + i));
    }
  }
};

/// t = 1 / (1 + exp(-z)), z ~ N(mean, deviation^2): more of the middle, or of the end that the mean points to (Esser et
/// al. 2024). Throws std::invalid_argument unless the mean is finite and the deviation above 0.
struct LogitNormalTime {
  double mean = 0, deviation = 1;

  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const {
    if (!is_finite(mean)) detail::fail("LogitNormalTime", {"expected a finite mean, got ", mean});
    detail::check_positive("LogitNormalTime", "deviation", deviation);
    fill_normal(rng, t);
    for (Index j = 0; j < t.size(); ++j)
      t(j) = detail::time_below_one<Scalar>(1 / (1 + std::exp(-(mean + deviation * double(t(j))))));
  }
};

/// t = 1 - u - scale (cos^2(pi u / 2) - 1 + u): more of the middle if scale > 0, of both ends if scale < 0, uniform for
/// 0 (Esser et al. 2024). Throws std::invalid_argument unless -1 <= scale < 2 / (pi - 2), where t falls with u.
struct ModeTime {
  double scale = 1.29;

  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const {
    detail::check_below("ModeTime", "scale", scale, -1, 2 / (std::numbers::pi - 2));
    detail::fill_by_quantile(rng, t, [this](double u) {
      const double cosine = std::cos(std::numbers::pi * u / 2);
      return 1 - u - scale * (cosine * cosine - 1 + u);
    });
  }
};

/// Density proportional to cosh(curve (t - 1/2)): more of both ends, for a second rectification (Lee et al. 2024).
/// Throws std::invalid_argument unless curve > 0.
struct UShapedTime {
  double curve = 4;

  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const {
    detail::check_positive("UShapedTime", "curve", curve);
    const double half = std::sinh(curve / 2);
    detail::fill_by_quantile(rng, t, [half, this](double u) { return 0.5 + std::asinh((2 * u - 1) * half) / curve; });
  }
};

/// Density (1 + exponent) t^exponent: favors times near the data if exponent > 0, near the noise if < 0. Throws
/// std::invalid_argument unless exponent > -1.
struct PowerTime {
  double exponent = 0;

  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const {
    detail::check_positive("PowerTime", "1 + exponent", 1 + exponent);
    detail::fill_by_quantile(rng, t, [this](double u) { return std::pow(u, 1 / (1 + exponent)); });
  }
};

namespace detail {

/// One number of the gamma distribution, by rejection (Marsaglia and Tsang 2000): takes one block of rng for each try,
/// of which 95 in 100 are taken.
inline double gamma_variate(Rng& rng, double shape) {
  const double d = (shape < 1 ? shape + 1 : shape) - 1. / 3, c = 1 / std::sqrt(9 * d);
  double result = 0, boost = 1;
  for (bool done = false; !done;)
    for_each_block(rng, 1, [&](const std::array<std::uint32_t, 4>& w, Index) {
      const auto above_zero = [](std::uint32_t word) { return (double(word) + 0.5) * 0x1p-32; };
      const double z = std::sqrt(-2 * std::log(above_zero(w[0]))) * std::cos(2 * std::numbers::pi * above_zero(w[1]));
      const double root = 1 + c * z, v = root * root * root;
      if (root <= 0 || std::log(above_zero(w[2])) >= z * z / 2 + d * (1 - v + std::log(v))) return;
      if (shape < 1) boost = std::pow(above_zero(w[3]), 1 / shape);  // from shape + 1 down to shape
      result = d * v * boost;
      done = true;
    });
  return result;
}

}

/// Density proportional to t^(a - 1) (1 - t)^(b - 1). Takes two blocks of rng or a few more for each time. Throws
/// std::invalid_argument unless a and b are at least 0.01.
struct BetaTime {
  double a = 1, b = 1;

  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const {
    detail::check_at_least("BetaTime", "a", a, 0.01);
    detail::check_at_least("BetaTime", "b", b, 0.01);
    for (Index j = 0; j < t.size(); ++j) {
      const double x = detail::gamma_variate(rng, a), y = detail::gamma_variate(rng, b);
      t(j) = detail::time_below_one<Scalar>(x / std::max(x + y, std::numeric_limits<double>::min()));
    }
  }
};

/// Weight 1 / sigma^2 of the linear path, sigma = 1 - t, but at most `largest`.
struct InverseVarianceWeight {
  double largest = 100;  ///< > 0
  double operator()(double t) const {
    detail::check_positive("InverseVarianceWeight", "largest", largest);
    return 1 / std::max((1 - t) * (1 - t), 1 / largest);
  }
};
/// Weight 2 / (pi (1 - 2 t + 2 t^2)), which on the linear path with uniform times is as if the times were those of a
/// cosine path (Esser et al. 2024): the density of t = sin / (sin + cos) of a uniform angle.
struct CosineMapWeight {
  double operator()(double t) const { return 2 / (std::numbers::pi * (1 - 2 * t + 2 * t * t)); }
};

/// Times of a sampler, and a weight for each: any function of t that is not negative. Trainer's loss is then a mean of
/// weight (v - u_t)^2.
template <TimeSampler T, class Weight> struct WeightedTime {
  T times = {};
  Weight weight = {};

  template <Real Scalar> void operator()(Rng& rng, RowVector<Scalar>& t) const { times(rng, t); }
};

}
}
