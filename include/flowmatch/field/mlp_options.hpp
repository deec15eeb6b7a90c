// SPDX-License-Identifier: MIT
// What a multi-layer perceptron looks like, and where each of its numbers lies in the one vector of parameters.
#pragma once

#include <string>
#include <vector>

#include "flowmatch/kernel/activation_name.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct MlpOptions {
  Index in = 0;                    ///< rows of the input, >= 1
  std::vector<Index> hidden = {};  ///< width of each hidden layer; residual: all equal, the first is the input layer
  Index out = 0;                   ///< rows of the output, >= 1
  Activation activation = Activation::silu;
  bool residual = false;     ///< pre-layer-norm residual blocks instead of plain layers
  bool zero_output = false;  ///< start the output layer at zero, so that the untrained net says 0

  Index last() const { return Index(hidden.size()); }  ///< the number L of the output layer
  Index width(Index l) const {                         ///< rows of a_l; width(L + 1) is the output's
    return l == 0 ? in : l > last() ? out : hidden[std::size_t(l - 1)];
  }
  bool has_norm(Index l) const { return residual && l > 0 && l < last(); }

  friend bool operator==(const MlpOptions&, const MlpOptions&) = default;
};

/// A named part of the flat parameter vector, row-major, as PyTorch names and orders it.
struct ParameterBlock {
  std::string name;
  std::vector<Index> shape;
  Index offset = 0;

  Index size() const {
    Index n = 1;
    for (Index s : shape) n *= s;
    return n;
  }
};

namespace detail {

/// Appends a block, behind the last one.
inline void append_block(std::vector<ParameterBlock>& blocks, std::string name, std::vector<Index> shape) {
  const Index offset = blocks.empty() ? 0 : blocks.back().offset + blocks.back().size();
  blocks.push_back({std::move(name), std::move(shape), offset});
}

/// The blocks of a net in their order. Throws std::invalid_argument for options out of range.
inline std::vector<ParameterBlock> mlp_layout(const MlpOptions& o) {
  name(o.activation);  // throws if it is none
  check_at_least("Mlp", "options.in", o.in, 1);
  check_at_least("Mlp", "options.out", o.out, 1);
  for (Index h : o.hidden) {
    check_at_least("Mlp", "every width in options.hidden", h, 1);
    if (o.residual && h != o.hidden[0])
      fail("Mlp", {"expected equal widths in options.hidden for a residual net, got ", o.hidden[0], " and ", h});
  }
  if (o.residual && o.hidden.empty())
    fail("Mlp", {"expected at least one width in options.hidden for a residual net, got none"});
  std::vector<ParameterBlock> blocks;
  for (Index l = 0; l <= o.last(); ++l) {
    const Index in = o.width(l), out = o.width(l + 1);
    const auto add = [&](const char* kind, const char* part, std::vector<Index> shape) {
      append_block(blocks, concat({kind, l, part}), std::move(shape));
    };
    if (o.has_norm(l)) {
      add("norms.", ".weight", {in});
      add("norms.", ".bias", {in});
    }
    add("layers.", ".weight", {out, in});
    add("layers.", ".bias", {out});
  }
  return blocks;
}

}

}
}
