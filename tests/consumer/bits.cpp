// SPDX-License-Identifier: MIT
// Trains and samples a little and prints a hash of all bits. tests/CMakeLists.txt compares it between the instruction
// sets that have fused multiply-add: they must agree in a build without -march; and between headers and compiled
// library, on each instruction set.
#include <cstdint>
#include <cstdio>
#include <flowmatch/flowmatch.hpp>
namespace fm = flowmatch;

struct Hash {
  std::uint64_t value = 14695981039346656037u;  // FNV-1a
  template <class Values> void add(const Values& values) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    for (std::size_t i = 0; i < std::size_t(values.size()) * sizeof(typename Values::Scalar); ++i)
      value = (value ^ bytes[i]) * 1099511628211u;
  }
};

template <class Scalar> std::uint64_t hash_of_training(const fm::VelocityMlpOptions& options) {
  fm::Rng rng(7);
  const fm::Matrix<Scalar> data = fm::toy::pinwheel<Scalar>(rng, 1000);
  fm::VelocityMlp<Scalar> net(options, rng);
  fm::FlowMatchingLoss loss(net);
  fm::AdamW adam(net.parameters());
  fm::Ema ema(net.parameters());
  fm::Matrix<Scalar> x0(2, 200), x1(2, 200), x_t, u_t;
  fm::RowVector<Scalar> t(200);
  fm::Vector<Scalar> gradient;
  for (int step = 0; step < 20; ++step) {
    fm::draw_columns(rng, data, x1);
    fm::fill_normal(rng, x0);
    fm::fill_uniform(rng, t);
    fm::LinearPath().sample(x0, x1, t, x_t, u_t);
    loss(net, x_t, t, u_t, gradient);
    adam.step(net.parameters(), gradient);
    ema.update(net.parameters());
  }
  const fm::Matrix<Scalar> x = fm::sample(net, 100, rng, fm::Rk4{}, {.steps = 10});
  Hash hash;
  hash.add(ema.parameters());
  hash.add(x);
  return hash.value;
}

template <class Scalar> std::uint64_t hash_of_conditional_training() {
  fm::Rng rng(7);
  const fm::Matrix<Scalar> data = fm::toy::two_moons<Scalar>(rng, 1000);
  fm::Matrix<Scalar> c(2, 1000);
  fm::fill_uniform(rng, c);
  for (fm::Index j = 0; j < c.cols(); ++j) c(0, j) = Scalar(j % 3);
  fm::ConditionalVelocityMlp<Scalar> net({.dim = 2, .classes = 3, .vector_dim = 1, .hidden = {32, 32}}, rng);
  fm::Trainer(net, {.steps = 20, .batch = 200, .held_out = 0.1}).run(data, c, rng);
  const fm::Matrix<Scalar> some = c.leftCols(60);
  const fm::Matrix<Scalar> x = fm::sample(net, some, rng, fm::DormandPrince{});
  Hash hash;
  hash.add(net.parameters());
  hash.add(x);
  hash.add(fm::log_likelihood(net, x, some, fm::Heun{}, {.steps = 4}));
  return hash.value;
}

int main() {
  using enum fm::Activation;
  for (fm::Activation f : {silu, gelu, tanh, relu, selu, softplus}) {
    const fm::VelocityMlpOptions plain{.dim = 2, .hidden = {40, 33}, .activation = f};
    const fm::VelocityMlpOptions residual{
        .dim = 2, .hidden = {36, 36, 36}, .activation = f, .residual = true, .time_frequencies = 3};
    for (const auto& options : {plain, residual})
      std::printf("%016llx %016llx\n", static_cast<unsigned long long>(hash_of_training<float>(options)),
                  static_cast<unsigned long long>(hash_of_training<double>(options)));
  }
  std::printf("%016llx %016llx\n", static_cast<unsigned long long>(hash_of_conditional_training<float>()),
              static_cast<unsigned long long>(hash_of_conditional_training<double>()));
}
