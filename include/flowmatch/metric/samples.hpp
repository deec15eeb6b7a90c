// SPDX-License-Identifier: MIT
// Two sets of samples: what every distance asks of them, and two of one distribution, whose distance is the floor.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "flowmatch/random/draw.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// Throws std::invalid_argument unless x and y have the same rows, at least `least` columns each, and finite numbers.
template <Real Scalar>
void check_sets(const char* where, const Matrix<Scalar>& x, const char* name, MatrixIn<Scalar> y, Index least_x = 1,
                Index least_y = 1) {
  check_rows(where, name, y.rows(), x.rows());
  check_at_least(where, "x.cols()", x.cols(), least_x);
  if (y.cols() < least_y) fail(where, {"expected ", name, ".cols() >= ", least_y, ", got ", y.cols()});
  check_finite(where, "x", x);
  check_finite(where, name, y);
}

/// The median as NumPy has it: of an even number, the mean of the two in the middle.
template <Real Scalar> Scalar median(std::vector<Scalar> values) {
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return values.size() % 2 == 1 ? *middle : (*middle + *std::max_element(values.begin(), middle)) / 2;
}

template <Real Scalar>
std::array<Matrix<Scalar>, 2> disjoint_subsets(const char* where, const Matrix<Scalar>& data, Index n, Rng& rng) {
  check_at_least(where, "n", n, 1);
  if (n > data.cols() / 2)
    fail(where, {"expected data with at least 2 n = ", 2 * double(n), " columns, got ", data.cols()});
  std::vector<Index> order(std::size_t(data.cols()));
  std::iota(order.begin(), order.end(), Index(0));
  shuffle_front(rng, order, 2 * n);
  const std::span<const Index> chosen(order);
  std::array<Matrix<Scalar>, 2> sets;
  take_columns<Scalar>(data, chosen.first(std::size_t(n)), sets[0]);
  take_columns<Scalar>(data, chosen.subspan(std::size_t(n), std::size_t(n)), sets[1]);
  return sets;
}

}

/// Two disjoint random subsets of n columns each of data: as far apart as perfect samples are from data. Any distance
/// between them is its floor at n against n samples, in one draw; average a few, for it varies from draw to draw. Take
/// data that no model was trained on, n as in the comparison. data: dim x at least 2 n. Throws std::invalid_argument
/// unless 1 <= n <= data.cols() / 2.
template <Real Scalar> std::array<Matrix<Scalar>, 2> disjoint_subsets(const Matrix<Scalar>& data, Index n, Rng& rng) {
  return detail::disjoint_subsets("disjoint_subsets", data, n, rng);
}

}
}
