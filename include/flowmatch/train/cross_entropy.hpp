// SPDX-License-Identifier: MIT
// Softmax cross-entropy of a net's output, for classifiers: an output loss of Backprop (train/backprop.hpp).
#pragma once

#include <cmath>
#include <span>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Output loss: mean over samples of -log softmax(y)[label], as PyTorch's CrossEntropyLoss; labels in [0, rows of y).
/// A view of its labels.
struct SoftmaxCrossEntropy {
  std::span<const Index> labels;

  Index samples() const { return Index(labels.size()); }

  template <class Y, class Gradient> typename Y::Scalar operator()(const Y& y, Index first, Gradient&& dy) const;
};

template <class Y, class Gradient>
typename Y::Scalar SoftmaxCrossEntropy::operator()(const Y& y, Index first, Gradient&& dy) const {
  using Scalar = typename Y::Scalar;
  const Scalar scale = 1 / Scalar(labels.size());
  Scalar value = 0;
  for (Index j = 0; j < y.cols(); ++j) {
    const Index label = labels[std::size_t(first + j)];
    if (label < 0 || label >= y.rows())
      detail::fail("softmax_cross_entropy",
                   {"expected labels in [0, ", y.rows(), "), got ", label, " for sample ", first + j});
    const Scalar highest = y.col(j).maxCoeff();  // so that exp cannot overflow
    dy.col(j) = (y.col(j).array() - highest).exp().matrix();
    const Scalar sum = dy.col(j).sum();
    value += (std::log(sum) + highest - y(label, j)) * scale;
    dy.col(j) *= scale / sum;
    dy(label, j) -= scale;
  }
  return value;
}

inline SoftmaxCrossEntropy softmax_cross_entropy(std::span<const Index> labels) { return {labels}; }

}
}
