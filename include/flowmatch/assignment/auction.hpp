// SPDX-License-Identifier: MIT
// The first half of an assignment (assignment.hpp): costs, who holds what, and an auction (Bertsekas 1988), which comes
// close to the optimum fast.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "flowmatch/assignment/squared_distances.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// Columns look for rows, since a column of the cost matrix is contiguous, and every row i carries a value v_i. The
/// auction starts from v_i = min_j c_ij. A column without a row takes its cheapest one by c_ij - v_i, from another
/// column if need be, and lowers v_i there by the lead over its second cheapest and by epsilon more. So a column ends
/// at most epsilon away from its best row. Epsilon scaling: several rounds with decreasing epsilon, each from an empty
/// assignment.
template <Real Scalar> struct Auction {
  static constexpr Index nobody = -1;
  static constexpr Scalar closed = Scalar(1e30);  // beyond any distance: those are differences of sums of costs

  Index n = 0, rows = 0;                 // rows: n in whole blocks
  CacheLineVector<Scalar> cost, values;  // rows x n, and v
  std::vector<Index> column_of, row_of, waiting;

  /// Allocates only for more rows than before.
  void resize(Index size) {
    n = size;
    rows = cost_rows(n);
    cost.resize(std::size_t(rows * n));
    values.resize(std::size_t(rows));
    for (auto* indices : {&column_of, &row_of, &waiting}) indices->resize(std::size_t(rows));
  }
  Scalar* column(Index j) { return cost.data() + j * rows; }
  const Scalar* column(Index j) const { return cost.data() + j * rows; }

  /// Column j gets row i.
  void take(Index j, Index i) {
    row_of[std::size_t(j)] = i;
    column_of[std::size_t(i)] = j;
  }

  /// Leaves values, and rows held by columns: nearly all of them, by nearly the best.
  void run() {
    reduce();
    bid_in_rounds();
  }

 private:
  /// v_i = min_j c_ij, and costs of a moderate size: a power of two brings them there, an exact change, after which
  /// nothing overflows. Padding rows cost more than any column would pay.
  void reduce() {
    for (Index j = 0; j < n; ++j) std::fill(column(j) + n, column(j) + rows, Scalar(0));
    std::fill_n(values.begin(), rows, closed);
    Scalar largest = 0;
    dispatch([&](auto width) FLOWMATCH_INLINE {
      using L = Lanes<Scalar, decltype(width)::bytes>;
      typename L::V most{};
      for (Index j = 0; j < n; ++j)
        for (Index i = 0; i < rows; i += L::width) {
          typename L::V c, v;
          L::load(column(j) + i, c);
          L::load(&values[std::size_t(i)], v);
          L::store(&values[std::size_t(i)], c < v ? c : v);
          c = c < typename L::V{} ? -c : c;
          most = c > most ? c : most;
        }
      for (int lane = 0; lane < L::width; ++lane) largest = std::max(largest, Scalar(most[lane]));
    });
    int exponent = 0;
    std::frexp(largest, &exponent);
    if (std::abs(exponent) > 30) {
      constexpr int limit = -std::numeric_limits<Scalar>::min_exponent;
      const Scalar scale = std::ldexp(Scalar(1), -std::clamp(exponent, -limit, limit));
      for (Scalar& c : cost) c *= scale;
      for (Scalar& v : values) v *= scale;
    }
    std::fill(values.begin() + n, values.begin() + rows, -closed);
  }

  /// How much the costs c_ij - v_i of a column differ: mean less minimum, averaged over a few columns.
  double spread() const {
    const Index step = (n + 15) / 16;
    double sum = 0;
    for (Index j = 0; j < n; j += step) {
      double total = 0, least = double(closed);
      for (Index i = 0; i < n; ++i) {
        const double x = double(column(j)[i]) - double(values[std::size_t(i)]);
        total += x;
        least = std::min(least, x);
      }
      sum += total / double(n) - least;
    }
    return n > 0 ? sum / double((n + step - 1) / step) : 0;
  }

  /// Each round bids with a fifth of the epsilon of the one before; the last, with a tenth of spread / n, is close to
  /// the optimum. Costs on which columns outbid each other for long, as many equal ones do, are given up after 100 n
  /// bids.
  void bid_in_rounds() {
    const double widest = spread();
    Index bids = 100 * n;
    bool more = widest > 0 && n > 1;
    if (!more) release();
    for (double epsilon = 0.3 * widest, last = 0.1 * widest / double(n); more; epsilon = std::max(epsilon / 5, last)) {
      release();
      Index left = n;
      for (Index j = 0; j < n; ++j) waiting[std::size_t(j)] = j;
      while (left > 0 && bids-- > 0) {
        const Index j = waiting[std::size_t(left - 1)];
        const Bid bid = two_cheapest(j);
        values[std::size_t(bid.row)] -= (bid.second - bid.cheapest) + Scalar(epsilon);
        const Index holder = column_of[std::size_t(bid.row)];
        if (holder == nobody)
          --left;
        else
          waiting[std::size_t(left - 1)] = holder;
        if (holder != nobody) row_of[std::size_t(holder)] = nobody;
        take(j, bid.row);
      }
      more = epsilon > last && bids > 0;
    }
  }

  void release() {
    std::fill_n(row_of.begin(), n, nobody);
    std::fill_n(column_of.begin(), rows, nobody);
  }

  /// The least c_ij - v_i of column j, the first row that has it, and the least of the others.
  struct Bid {
    Scalar cheapest, second;
    Index row;
  };
  Bid two_cheapest(Index j) const {
    Bid bid{closed, closed, 0};
    const Scalar *c = column(j), *v = values.data();
    dispatch([&, end = rows](auto width) FLOWMATCH_INLINE {
      using L = Lanes<Scalar, decltype(width)::bytes>;
      typename L::V cheapest = typename L::V{} + closed, second = cheapest;
      typename L::I row{}, here;
      for (int lane = 0; lane < L::width; ++lane) here[lane] = lane;
      for (Index i = 0; i < end; i += L::width) {
        typename L::V x, value;
        L::load(c + i, x);
        L::load(v + i, value);
        x -= value;
        const typename L::I less = x < cheapest;
        const typename L::V other = less ? cheapest : x;
        row = less ? here : row;
        cheapest = less ? x : cheapest;
        second = other < second ? other : second;
        here += L::width;
      }
      for (int lane = 0; lane < L::width; ++lane) {
        const bool less =
            cheapest[lane] < bid.cheapest || (cheapest[lane] == bid.cheapest && Index(row[lane]) < bid.row);
        const Scalar other = less ? bid.cheapest : Scalar(cheapest[lane]);
        if (less) bid = {cheapest[lane], bid.second, Index(row[lane])};
        bid.second = std::min({bid.second, other, Scalar(second[lane])});
      }
    });
    return bid;
  }
};

}
}
}
