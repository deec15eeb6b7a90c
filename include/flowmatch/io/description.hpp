// SPDX-License-Identifier: MIT
// Paths and samplers of times in words, for the metadata of files: a name and the numbers of its options in their
// order, such as "polynomial 2 0.001".
#pragma once

#include "flowmatch/io/metadata.hpp"
#include "flowmatch/path/noisy.hpp"
#include "flowmatch/path/time_sampler.hpp"
#include "flowmatch/transform/normalized.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

template <class... Numbers> std::string words(const char* name, Numbers... numbers) {
  std::string text = name;
  ((text += ' ' + text_of(numbers)), ...);
  return text;
}

}

/// For a user-defined schedule, path, time sampler or weight: "own".
template <class T> std::string description(const T&) { return "own"; }

inline std::string description(const LinearSchedule&) { return "linear"; }
inline std::string description(const PolynomialSchedule& s) { return detail::words("polynomial", s.exponent, s.start); }
inline std::string description(const VariancePreservingSchedule& s) {
  return detail::words("variance-preserving", s.low, s.high, s.end);
}
inline std::string description(const LinearVariancePreservingSchedule& s) {
  return detail::words("linear-variance-preserving", s.end);
}
inline std::string description(const CosineSchedule&) { return "cosine"; }
inline std::string description(const LipmanSchedule& s) { return detail::words("lipman", s.sigma_min); }
inline std::string description(const BalancedSchedule& s) { return detail::words("balanced", s.smallest, s.largest); }
inline std::string description(const GeometricScaling&) { return "each row"; }

inline std::string description(const ConstantNoise& n) { return detail::words("noise", n.sigma); }
inline std::string description(const BridgeNoise& n) { return detail::words("bridge", n.sigma, n.end); }

template <class S> std::string description(const AffinePath<S>& path) { return description(path.schedule); }
template <class S, class N> std::string description(const AffineNoisyPath<S, N>& path) {
  return description(path.schedule) + ", " + description(path.noise);
}
inline std::string description(const LipmanPath& path) { return description(path.schedule); }
template <class S> std::string description(const NormalizedPath<S>& path) {
  return description(path.schedule()) + ", normalized";
}

inline std::string description(const UniformTime&) { return "uniform"; }
inline std::string description(const StratifiedTime&) { return "stratified"; }
inline std::string description(const LogitNormalTime& t) { return detail::words("logit-normal", t.mean, t.deviation); }
inline std::string description(const ModeTime& t) { return detail::words("mode", t.scale); }
inline std::string description(const UShapedTime& t) { return detail::words("u-shaped", t.curve); }
inline std::string description(const PowerTime& t) { return detail::words("power", t.exponent); }
inline std::string description(const BetaTime& t) { return detail::words("beta", t.a, t.b); }
inline std::string description(const InverseVarianceWeight& w) { return detail::words("inverse-variance", w.largest); }
inline std::string description(const CosineMapWeight&) { return "cosine-map"; }
template <class T, class W> std::string description(const WeightedTime<T, W>& t) {
  return description(t.times) + ", weight " + description(t.weight);
}

}
}
