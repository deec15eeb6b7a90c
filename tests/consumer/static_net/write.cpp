// SPDX-License-Identifier: MIT
// Writes nets as headers, one for each activation and one of doubles, and prints what they answer.
#include <cinttypes>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>

#include "answers.hpp"
namespace fm = flowmatch;

/// A VelocityMlp under the names of a StaticVelocityMlp, which is all that answers() calls.
template <class ScalarType, int dim, int condition_dim> struct Dynamic {
  using Scalar = ScalarType;
  using Sample = std::array<Scalar, std::size_t(dim)>;
  using Condition = std::array<Scalar, std::size_t(condition_dim)>;
  using Column = Eigen::Map<const fm::Matrix<Scalar>>;
  fm::VelocityMlp<Scalar> net;

  Sample velocity(const Sample& x, Scalar t, const Condition& c) const {
    fm::Matrix<Scalar> v(dim, 1);
    net(Column(x.data(), dim, 1), fm::RowVector<Scalar>::Constant(1, t), Column(c.data(), condition_dim, 1), v);
    return from(v);
  }
  template <class Table, int steps> Sample sample(const Sample& x, const Condition& c) const {
    return from(fm::transport(net, Column(x.data(), dim, 1), Column(c.data(), condition_dim, 1),
                              fm::RungeKutta<Table>{}, {.steps = steps}));
  }
  static Sample from(const fm::Matrix<Scalar>& v) {
    Sample x;
    std::copy_n(v.data(), dim, x.data());
    return x;
  }
};

template <class Scalar, int dim, int condition_dim>
void write(fm::Rng& rng, const char* name, const fm::VelocityMlpOptions& options) {
  Dynamic<Scalar, dim, condition_dim> dynamic{fm::VelocityMlp<Scalar>(options, rng)};
  fm::Vector<Scalar> noise(dynamic.net.parameters().size());  // so that the norms are not the identity
  fm::fill_normal(rng, noise);
  dynamic.net.parameters() += Scalar(0.1) * noise;
  fm::write_header(std::string(name) + ".hpp", dynamic.net, name);
  answers(dynamic, [](std::uint64_t bits) { std::printf("%016" PRIx64 "\n", bits); });
}

int main() {
  using enum fm::Activation;
  fm::Rng rng(3);
  write<float, 2, 2>(rng, "plain", {.dim = 2, .condition_dim = 2, .hidden = {32, 32, 32}});
  write<float, 3, 0>(rng, "residual",
                     {.dim = 3, .hidden = {20, 20, 20}, .activation = gelu, .residual = true, .time_frequencies = 5});
  for (const auto& [name, f] :
       {std::pair{"tanh_net", tanh}, {"relu_net", relu}, {"selu_net", selu}, {"softplus_net", softplus}})
    write<float, 1, 1>(rng, name, {.dim = 1, .condition_dim = 1, .hidden = {9, 5}, .activation = f});
  write<double, 1, 1>(rng, "twice",
                      {.dim = 1, .condition_dim = 1, .hidden = {33, 7}, .activation = tanh, .time_frequencies = 1});
}
