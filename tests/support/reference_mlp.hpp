// SPDX-License-Identifier: MIT
// An Mlp once more, slowly and in long double, straight from the formulas: an independent forward pass, and the
// distance of a sample from the kinks of relu and selu, where finite differences mean nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <flowmatch/field/mlp.hpp>
#include <vector>

namespace test {

class ReferenceMlp {
 public:
  using Numbers = std::vector<long double>;

  template <class Scalar>
  explicit ReferenceMlp(const flowmatch::Mlp<Scalar>& net)
      : options_(net.options()), p_(net.parameters().data(), net.parameters().data() + net.parameters().size()) {}

  /// The output for one input. Afterwards kink_distance() is the least |argument| that the activation got.
  template <class X> Numbers operator()(const X& x) {
    kink_distance_ = 1e9L;
    const long double* p = p_.data();
    Numbers h(std::size_t(x.size()));
    for (std::size_t i = 0; i < h.size(); ++i) h[i] = static_cast<long double>(x(Eigen::Index(i)));
    const auto last = options_.hidden.size();
    for (std::size_t l = 0; l <= last; ++l) {
      Numbers a = h;
      const bool block = options_.residual && l > 0 && l < last;
      if (block) {
        long double mean = 0, variance = 0;
        for (long double z : a) mean += z / static_cast<long double>(a.size());
        for (long double z : a) variance += (z - mean) * (z - mean) / static_cast<long double>(a.size());
        const std::size_t m = a.size();
        for (std::size_t i = 0; i < m; ++i) a[i] = (a[i] - mean) / std::sqrt(variance + 1e-5L) * p[i] + p[m + i];
        p += 2 * m;
      }
      if (l > 0)
        for (long double& z : a) z = activation(z);
      const std::size_t out = std::size_t(l == last ? options_.out : options_.hidden[l]);
      Numbers z(out);
      for (std::size_t o = 0; o < out; ++o) {
        z[o] = p[out * a.size() + o];  // the bias stands after the weight [out, in]
        for (std::size_t i = 0; i < a.size(); ++i) z[o] += p[o * a.size() + i] * a[i];
        if (block) z[o] += h[o];
      }
      p += out * (a.size() + 1);
      h = z;
    }
    return h;
  }
  long double kink_distance() const { return kink_distance_; }

 private:
  long double activation(long double z) {
    kink_distance_ = std::min(kink_distance_, std::abs(z));
    switch (options_.activation) {
      case flowmatch::Activation::silu:
        return z / (1 + std::exp(-z));
      case flowmatch::Activation::gelu:
        return z * (1 + std::erf(z / std::sqrt(2.0L))) / 2;
      case flowmatch::Activation::tanh:
        return std::tanh(z);
      case flowmatch::Activation::relu:
        return std::max(z, 0.0L);
      case flowmatch::Activation::selu:
        return 1.0507009873554804934193349852946L * (z > 0 ? z : 1.6732632423543772848170429916717L * std::expm1(z));
      case flowmatch::Activation::softplus:
        return std::log(1 + std::exp(z));
    }
    return 0;
  }

  flowmatch::MlpOptions options_;
  Numbers p_;
  long double kink_distance_ = 0;
};

}
