// SPDX-License-Identifier: MIT
#pragma once

#include <flowmatch/field/mlp.hpp>
#include <stdexcept>

#include "support/golden.hpp"

namespace test {

/// The numbers of a golden file for all blocks of a net, in the net's order. Names and sizes must agree.
template <class Net> Eigen::VectorXd golden_blocks(const Golden& golden, const std::string& prefix, const Net& net) {
  const auto names = golden.names(prefix);
  if (names.size() != net.parameter_blocks().size()) throw std::runtime_error(prefix + ": other number of blocks");
  Eigen::VectorXd all(net.parameters().size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& block = net.parameter_blocks()[i];
    const Eigen::VectorXd values = golden.flat(prefix + names[i]);
    if (names[i] != block.name || values.size() != block.size())
      throw std::runtime_error(prefix + names[i] + " stands where the net has " + block.name);
    all.segment(block.offset, block.size()) = values;
  }
  return all;
}

}
