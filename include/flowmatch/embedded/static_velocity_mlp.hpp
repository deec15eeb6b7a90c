// SPDX-License-Identifier: MIT
// A VelocityMlp inside the program: architecture and weights are constants of the compiler. No heap, no exceptions, no
// RTTI, no files, no Eigen: for audio threads, controllers and microcontrollers. write_header
// (embedded/write_header.hpp) writes the weights as a C++ header.
#pragma once

#include <array>

#include "flowmatch/kernel/activation.hpp"
#include "flowmatch/kernel/one_sample_kernel.hpp"
#include "flowmatch/ode/tableau.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_VERSION {

/// All that is known about a VelocityMlp before its weights; see VelocityMlpOptions.
struct VelocityMlpArchitecture {
  int dim = 0;                      ///< rows of a sample, >= 1
  int condition_dim = 0;            ///< rows of a condition, 0: none
  std::array<int, 16> hidden = {};  ///< width of each hidden layer, then zeros
  Activation activation = Activation::silu;
  bool residual = false;
  int time_frequencies = 0;

  constexpr int in() const { return dim + 1 + 2 * time_frequencies + condition_dim; }
  constexpr int last() const {  ///< the number L of the output layer
    int l = 0;
    while (l < int(hidden.size()) && hidden[std::size_t(l)] > 0) ++l;
    return l;
  }
  constexpr int width(int l) const {  ///< rows of a_l, l = 0 .. L + 1 (eq. 9)
    return l == 0 ? in() : l > last() ? dim : hidden[std::size_t(l - 1)];
  }
  constexpr bool has_norm(int l) const { return residual && l > 0 && l < last(); }
  /// Numbers of layer l with the norm before it, and of all layers.
  constexpr int parameters(int l) const { return (width(l) + 1) * width(l + 1) + (has_norm(l) ? 2 * width(l) : 0); }
  constexpr int parameters() const {
    int count = 0;
    for (int l = 0; l <= last(); ++l) count += parameters(l);
    return count;
  }
  constexpr bool valid() const {
    bool valid = dim >= 1 && condition_dim >= 0 && time_frequencies >= 0 && !(residual && last() == 0);
    for (int l = 0; l < int(hidden.size()); ++l)
      valid &= l < last() ? hidden[std::size_t(l)] == hidden[0] || !residual : hidden[std::size_t(l)] == 0;
    return valid;
  }

  friend constexpr bool operator==(const VelocityMlpArchitecture&, const VelocityMlpArchitecture&) = default;
};

namespace simd {

/// Up to whole blocks of n numbers.
constexpr int padded(int size, int n) { return (size + n - 1) / n * n; }

/// How a StaticVelocityMlp keeps its numbers: for each layer scale and shift of the norm before it, if there is one,
/// then the transposed weights (one_sample_kernel.hpp); every row padded to the widest vector.
template <class Scalar> struct TransposedLayout {
  VelocityMlpArchitecture architecture;

  constexpr int stride(int l) const {  ///< of a_l
    return padded(architecture.width(l), LanesOf<Scalar, Width<widest_bytes>>::width);
  }
  constexpr int norms(int l) const { return architecture.has_norm(l) ? 2 * stride(l) : 0; }
  constexpr int offset(int l) const {  ///< where layer l starts
    int at = 0;
    for (int k = 0; k < l; ++k) at += norms(k) + (architecture.width(k) + 1) * stride(k + 1);
    return at;
  }
  constexpr int size() const { return offset(architecture.last() + 1); }
  constexpr int widest() const {
    int widest = 0;
    for (int l = 0; l <= architecture.last() + 1; ++l) widest = stride(l) > widest ? stride(l) : widest;
    return widest;
  }
};

/// The numbers of one explicit Runge-Kutta step from t to t + h (eq. 14), rounded as integrate rounds them.
template <class Table, class Scalar> struct StepNumbers {
  static constexpr std::size_t stages = Table::b.size();
  std::array<Scalar, stages> t = {}, b = {};
  std::array<std::array<Scalar, stages>, stages> a = {};

  constexpr StepNumbers() = default;
  constexpr StepNumbers(double start, double h) {
    for (std::size_t i = 0; i < stages; ++i) {
      t[i] = Scalar(start + Table::c[i] * h);
      b[i] = Scalar(h * Table::b[i]);
      for (std::size_t j = 0; j < i; ++j) a[i][j] = Scalar(h * Table::a[i][j]);
    }
  }
};

/// Those of all steps from 0 to 1.
template <class Table, class Scalar, int steps> constexpr auto numbers_of_steps() {
  std::array<StepNumbers<Table, Scalar>, steps> numbers;
  for (int i = 0; i < steps; ++i) {
    const double t = double(i) / steps;
    numbers[std::size_t(i)] = {t, double(i + 1) / steps - t};
  }
  return numbers;
}

}

/// Meets the formulas of VelocityMlp and Sampler, one sample a call, with their bits (docs/embedded.md). A value of
/// constants: made as a constexpr variable it lies in read-only memory and costs nothing when the program starts. Any
/// number of threads may call it. A call takes the stack for two of the widest layers, and for sample a few vectors of
/// dim; it checks nothing: NaN in gives NaN out.
template <Real ScalarType, VelocityMlpArchitecture architecture> class StaticVelocityMlp {
 public:
  using Scalar = ScalarType;
  static_assert(architecture.valid(), "expected dim >= 1, no number < 0, and equal widths if residual");
  static constexpr int dim = architecture.dim, condition_dim = architecture.condition_dim;
  using Sample = std::array<Scalar, std::size_t(dim)>;
  using Condition = std::array<Scalar, std::size_t(condition_dim)>;
  using Parameters = std::array<Scalar, std::size_t(architecture.parameters())>;

  /// parameters: as VelocityMlp has them.
  explicit constexpr StaticVelocityMlp(const Parameters& parameters) {
    const Scalar* from = parameters.data();
    for (int l = 0; l <= last; ++l) {
      const int in = architecture.width(l), out = architecture.width(l + 1), stride = layout.stride(l + 1);
      Scalar *norm = numbers_.data() + layout.offset(l), *transposed = norm + layout.norms(l);
      for (; norm < transposed; norm += layout.stride(l))
        for (int i = 0; i < in; ++i) norm[i] = *from++;
      for (int o = 0; o < out; ++o)
        for (int i = 0; i < in; ++i) transposed[i * stride + o] = *from++;
      for (int o = 0; o < out; ++o) transposed[in * stride + o] = *from++;
    }
  }

  /// v(x, t, c), with |t| < 10^6 if there are time features.
  Sample velocity(const Sample& x, Scalar t, const Condition& c = {}) const {
    Sample v;
    simd::dispatch(simd::widest_of_cpu(),
                   [&](auto width) FLOWMATCH_INLINE { evaluate<simd::LanesOf<Scalar, decltype(width)>>(x, t, c, v); });
    return v;
  }

  /// Where the start point x ends: dx/dt = v(x, t, c), t from 0 to 1 in equal steps of an explicit Runge-Kutta method,
  /// sample<fm::tableau::Heun, 8>(x, c).
  template <class Table, int steps> Sample sample(Sample x, const Condition& c = {}) const {
    static_assert(steps >= 1);
    constexpr std::size_t stages = Table::b.size();
    static constexpr auto numbers = simd::numbers_of_steps<Table, Scalar, steps>();
    const auto add = [](Scalar factor, const Sample& k, Sample& y) {
      if (factor == 0) return;
      for (std::size_t i = 0; i < y.size(); ++i) y[i] += factor * k[i];
    };
    for (const auto& step : numbers) {
      std::array<Sample, stages> k;
      for (std::size_t i = 0; i < stages; ++i) {
        Sample y = x;
        for (std::size_t j = 0; j < i; ++j) add(step.a[i][j], k[j], y);
        k[i] = velocity(y, step.t[i], c);
      }
      for (std::size_t i = 0; i < stages; ++i) add(step.b[i], k[i], x);
    }
    return x;
  }

 private:
  static constexpr int last = architecture.last(), frequencies = architecture.time_frequencies;
  static constexpr simd::TransposedLayout<Scalar> layout = {architecture};

  template <class L> FLOWMATCH_INLINE void evaluate(const Sample& x, Scalar t, const Condition& c, Sample& v) const {
    alignas(Scalar) alignas(simd::widest_bytes) Scalar a[layout.widest()], z[layout.widest()];
    Scalar* input = a;
    for (Scalar value : x) *input++ = value;
    *input++ = t;
    for (int k = 0; k < frequencies; k += L::width) {
      typename L::V turn, cosine, sine;
      Scalar half_k[L::width];
      for (int lane = 0; lane < L::width; ++lane) half_k[lane] = Scalar(k + 1 + lane) / 2;
      L::load(half_k, turn);
      turn *= t;
      simd::fraction<L>(turn);
      simd::cos_sin_of_turn<L>(turn, cosine, sine);
      L::store(input + k, frequencies - k, sine);
      L::store(input + frequencies + k, frequencies - k, cosine);
    }
    input += 2 * frequencies;
    for (Scalar value : c) *input++ = value;
    layers<L, 0>(a, z);
    for (int i = 0; i < dim; ++i) v[std::size_t(i)] = z[i];
  }

  /// Layer l and all behind it, from a = a_l to z = z_L (eq. 9-11).
  template <class L, int l> FLOWMATCH_INLINE void layers(Scalar* a, Scalar* z) const {
    constexpr int in = architecture.width(l), out = architecture.width(l + 1), stride = layout.stride(l + 1);
    constexpr int vectors = simd::padded(out, L::width) / L::width, most = simd::most_sums<L>, rest = vectors % most;
    constexpr bool residual = architecture.residual && l > 0 && l < last;
    const Scalar* transposed = numbers_.data() + layout.offset(l) + layout.norms(l);
    int o = 0;
    for (; o < (vectors - rest) * L::width; o += most * L::width)
      simd::product_single<L, most>(transposed + o, in, stride, a, residual, z + o);
    if constexpr (rest > 0) simd::product_single<L, rest>(transposed + o, in, stride, a, residual, z + o);
    if constexpr (l < last) {
      constexpr bool norm = architecture.has_norm(l + 1);
      const Scalar* scale = numbers_.data() + layout.offset(l + 1);
      if constexpr (norm) simd::normalize_single<L>(scale, scale + stride, z, out, a);
      for (int k = 0; k < out; k += L::width) {
        typename L::V before, after, slope;
        L::load((norm ? a : z) + k, before);
        simd::evaluate<L>(architecture.activation, before, after, slope);
        L::store(a + k, after);
      }
      layers<L, l + 1>(a, z);
    }
  }

  alignas(Scalar) alignas(simd::widest_bytes) std::array<Scalar, std::size_t(layout.size())> numbers_ = {};
};

}
}
