// SPDX-License-Identifier: MIT
// The net inside the program against the one in memory: the same bits, for all that an architecture can say.
#include <flowmatch/embedded/static_velocity_mlp.hpp>
#include <flowmatch/field/velocity_mlp.hpp>
#include <flowmatch/sample/sample.hpp>

#include "catch.hpp"
#include "support/allocations.hpp"
#include "support/random.hpp"

namespace fm = flowmatch;
using fm::Activation;
using fm::Index;
using fm::VelocityMlpArchitecture;

namespace {

fm::VelocityMlpOptions options_of(const VelocityMlpArchitecture& a) {
  return {.dim = a.dim,
          .condition_dim = a.condition_dim,
          .hidden = {a.hidden.begin(), a.hidden.begin() + a.last()},
          .activation = a.activation,
          .residual = a.residual,
          .time_frequencies = a.time_frequencies};
}

/// A net whose norms are not the identity, and the same as a static one.
template <class Scalar, VelocityMlpArchitecture architecture> struct Twins {
  using Static = fm::StaticVelocityMlp<Scalar, architecture>;

  explicit Twins(fm::Rng& rng) : dynamic(options_of(architecture), rng) {
    fm::Vector<Scalar> noise(dynamic.parameters().size());
    fm::fill_normal(rng, noise);
    dynamic.parameters() += Scalar(0.1) * noise;
  }
  Static in_program() const {
    typename Static::Parameters parameters;
    REQUIRE(dynamic.parameters().size() == Index(parameters.size()));
    std::copy_n(dynamic.parameters().data(), parameters.size(), parameters.data());
    return Static(parameters);
  }

  fm::VelocityMlp<Scalar> dynamic;
};

template <class Scalar, std::size_t n> fm::Matrix<Scalar> column(const std::array<Scalar, n>& x) {
  return Eigen::Map<const fm::Matrix<Scalar>>(x.data(), Index(n), 1);
}
template <std::size_t n, class Scalar> std::array<Scalar, n> array(const fm::Matrix<Scalar>& x, Index j) {
  std::array<Scalar, n> values;
  std::copy_n(x.col(j).data(), n, values.data());
  return values;
}

/// To the bit, unless FLOWMATCH_INSTRUCTION_SET holds the dynamic net to other instructions than the CPU has.
template <class Scalar> void check_same(const fm::Matrix<Scalar>& a, const fm::Matrix<Scalar>& b) {
  if (fm::instruction_set() == fm::detail::widest_of_cpu())
    CHECK(a == b);
  else
    CHECK((a - b).norm() <= 200 * std::numeric_limits<Scalar>::epsilon() * (1 + b.norm()));
}

template <class Scalar, VelocityMlpArchitecture architecture> void check_velocities() {
  constexpr Index n = 20;
  constexpr std::size_t dim = std::size_t(architecture.dim), condition_dim = std::size_t(architecture.condition_dim);
  fm::Rng rng(5);
  const Twins<Scalar, architecture> twins(rng);
  const auto net = twins.in_program();
  const fm::Matrix<Scalar> x = test::normal<Scalar>(rng, architecture.dim, n);
  const fm::Matrix<Scalar> c = test::normal<Scalar>(rng, architecture.condition_dim, n);
  fm::RowVector<Scalar> t(n);
  fm::fill_uniform(rng, t);
  fm::Matrix<Scalar> v(architecture.dim, n), own(architecture.dim, n);
  twins.dynamic(x, t, c, v);
  for (Index j = 0; j < n; ++j) own.col(j) = column(net.velocity(array<dim>(x, j), t(j), array<condition_dim>(c, j)));
  check_same<Scalar>(own, v);
}

template <class Scalar, Activation f> void check_activation() {
  INFO(fm::name(f));
  check_velocities<Scalar, VelocityMlpArchitecture{.dim = 3, .hidden = {33, 20}, .activation = f}>();
  check_velocities<Scalar, VelocityMlpArchitecture{.dim = 5,
                                                   .condition_dim = 3,
                                                   .hidden = {17, 17, 17, 17},
                                                   .activation = f,
                                                   .residual = true,
                                                   .time_frequencies = 17}>();
}

template <class Scalar, class Table, int steps> void check_samples() {
  constexpr VelocityMlpArchitecture architecture{.dim = 3, .condition_dim = 2, .hidden = {16, 16}};
  fm::Rng rng(6);
  const Twins<Scalar, architecture> twins(rng);
  const auto net = twins.in_program();
  fm::Sampler sampler(twins.dynamic, fm::RungeKutta<Table>{}, {.steps = steps});
  const fm::Matrix<Scalar> x0 = test::normal<Scalar>(rng, 3, 5), c = test::normal<Scalar>(rng, 2, 5);
  fm::Matrix<Scalar> x = x0, own = x0;
  sampler(c, x);
  for (Index j = 0; j < 5; ++j) own.col(j) = column(net.template sample<Table, steps>(array<3>(x0, j), array<2>(c, j)));
  check_same<Scalar>(own, x);
}

}

TEMPLATE_TEST_CASE("a net in the program has the bits of the one in memory, for every activation", "[field]", float,
                   double) {
  static_assert(std::size(fm::detail::activation_names) == 6);  // those below
  check_activation<TestType, Activation::silu>();
  check_activation<TestType, Activation::gelu>();
  check_activation<TestType, Activation::tanh>();
  check_activation<TestType, Activation::relu>();
  check_activation<TestType, Activation::selu>();
  check_activation<TestType, Activation::softplus>();
}

TEMPLATE_TEST_CASE("a net in the program has the bits of the one in memory, for all kinds of input", "[field]", float,
                   double) {
  check_velocities<TestType,
                   VelocityMlpArchitecture{.dim = 2, .condition_dim = 2, .hidden = {24, 70}, .time_frequencies = 3}>();
  check_velocities<TestType, VelocityMlpArchitecture{.dim = 2, .hidden = {24}, .time_frequencies = 1}>();
  check_velocities<TestType,
                   VelocityMlpArchitecture{.dim = 2, .condition_dim = 1, .hidden = {36, 36, 36}, .residual = true}>();
}

TEMPLATE_TEST_CASE("a net in the program has the bits of the one in memory, for every width", "[field]", float,
                   double) {
  check_velocities<TestType, VelocityMlpArchitecture{.dim = 4}>();
  check_velocities<TestType, VelocityMlpArchitecture{.dim = 1, .hidden = {1}}>();
  check_velocities<TestType, VelocityMlpArchitecture{.dim = 70, .condition_dim = 9, .hidden = {3, 129}}>();
  check_velocities<TestType, VelocityMlpArchitecture{.dim = 1, .hidden = {7, 8, 15, 16, 17, 63, 64, 65}}>();
  check_velocities<TestType, VelocityMlpArchitecture{.dim = 2, .hidden = {100, 100}, .residual = true}>();
  check_velocities<TestType, VelocityMlpArchitecture{.dim = 2, .hidden = {5}, .residual = true}>();
  check_velocities<TestType,
                   VelocityMlpArchitecture{.dim = 1, .hidden = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}}>();
}

TEMPLATE_TEST_CASE("a net in the program samples with the bits of Sampler", "[field]", float, double) {
  check_samples<TestType, fm::tableau::Euler, 1>();
  check_samples<TestType, fm::tableau::Euler, 10>();
  check_samples<TestType, fm::tableau::Midpoint, 7>();
  check_samples<TestType, fm::tableau::Heun, 3>();
  check_samples<TestType, fm::tableau::Rk4, 1>();
  check_samples<TestType, fm::tableau::Rk4, 6>();
  check_samples<TestType, fm::tableau::Rk4ThreeEighths, 3>();
}

TEST_CASE("a net in the program is a constant, and takes nothing from the heap", "[field]") {
  constexpr VelocityMlpArchitecture architecture{.dim = 1, .hidden = {2}, .activation = Activation::relu};
  using Net = fm::StaticVelocityMlp<float, architecture>;
  static_assert(architecture.parameters() == (2 + 1) * 2 + (2 + 1) * 1);
  static constexpr Net net({1, 0, 0, 1, 0, -0.25f, 2, 3, 0.5f});
  CHECK(net.velocity({2}, 0.75f)[0] == 2 * 2 + 3 * (0.75f - 0.25f) + 0.5f);
  CHECK(test::allocations_in([] { net.sample<fm::tableau::Rk4, 20>({1}); }) == 0);
}

TEST_CASE("an architecture that makes no sense is not valid", "[field]") {
  using Architecture = VelocityMlpArchitecture;
  static_assert(Architecture{.dim = 1}.valid());
  static_assert(Architecture{.dim = 1, .hidden = {3, 3}, .residual = true}.valid());
  static_assert(!Architecture{.dim = 0}.valid());
  static_assert(!Architecture{.dim = 1, .condition_dim = -1}.valid());
  static_assert(!Architecture{.dim = 1, .hidden = {3, 0, 3}}.valid());
  static_assert(!Architecture{.dim = 1, .hidden = {3, 4}, .residual = true}.valid());
  static_assert(!Architecture{.dim = 1, .residual = true}.valid());
  static_assert(!Architecture{.dim = 1, .time_frequencies = -1}.valid());
  SUCCEED();
}
