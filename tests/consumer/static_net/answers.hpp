// SPDX-License-Identifier: MIT
// The same questions to a net in the program and to the one that it was written from.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <flowmatch/ode/tableau.hpp>

/// print(bits) for each number of some velocities and samples.
template <class Net, class Print> void answers(const Net& net, const Print& print) {
  using Scalar = typename Net::Scalar;
  const auto print_all = [&](const auto& numbers) {
    for (const Scalar& x : numbers) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &x, sizeof x);
      print(bits);
    }
  };
  for (int n = 0; n < 16; ++n) {
    typename Net::Sample x{};
    typename Net::Condition c{};
    int k = 37 * n;
    for (Scalar& value : x) value = Scalar((k = (k * 53 + 11) % 257) - 128) / 64;
    for (Scalar& value : c) value = Scalar((k = (k * 53 + 11) % 257) - 128) / 64;
    print_all(net.velocity(x, Scalar(n) / 16, c));
    print_all(net.template sample<flowmatch::tableau::Heun, 3>(x, c));
  }
}
