// SPDX-License-Identifier: MIT
// Exact linear assignment, min over permutations p of sum_i cost(i, p(i)), by the method of Jonker and Volgenant
// (1987): column reduction, augmenting row reduction, shortest augmenting paths.
//
// Here columns look for rows, since a column of the cost matrix is contiguous, and every row i carries a dual value
// v_i. A column j may hold row i only if i minimises c_ij - v_i over all rows. Each phase keeps that true of every pair
// it leaves, so once each column holds a row the total is minimal (complementary slackness):
//   reduction   v_i = min_j c_ij, and row i goes to the column at that minimum if it is still free
//   bidding     a free column takes its cheapest row and lowers v_i there by the lead over its second cheapest; a
//               column that loses its row this way is free again
//   augmenting  for each column still free, Dijkstra's algorithm over the reduced costs finds the cheapest chain of
//               exchanges that ends at a free row
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "flowmatch/core/check.hpp"

namespace flowmatch::inline FLOWMATCH_ABI {

namespace detail {

/// One problem and the state of its solution. Costs are kept in Scalar, all that is computed from them in double, where
/// sums and differences of float costs are as good as exact.
template <std::floating_point Scalar> class Assignment {
 public:
  explicit Assignment(const Matrix<Scalar>& cost)
      : n_(cost.rows()),
        cost_((n_ + block - 1) / block * block, n_),
        v_(cost_.rows()),
        distance_(cost_.rows()),
        lowest_(cost_.rows() / block),
        via_(cost_.rows()),
        column_of_(Indices::Constant(n_, nobody)),
        row_of_(Indices::Constant(n_, nobody)) {
    // A power of two brings the costs near 1: an exact change, after which nothing overflows. Rows are padded to whole
    // blocks with rows that are too dear for everyone.
    int exponent = 0;
    if (n_ > 0) std::frexp(cost.cwiseAbs().maxCoeff(), &exponent);
    constexpr int limit = -std::numeric_limits<Scalar>::min_exponent;
    cost_.setZero();
    cost_.topRows(n_) = cost * std::ldexp(Scalar(1), -std::clamp(exponent, -limit, limit));
    v_.setConstant(-closed);
  }

  std::vector<Index> solve() {
    reduce();
    std::vector<Index> waiting;
    for (Index j = 0; j < n_; ++j)
      if (row_of_[j] == nobody) waiting.push_back(j);
    for (int sweep = 0; sweep < 2; ++sweep) waiting = bid(waiting);  // more of them cost more than they save
    for (const Index j : waiting) augment(j);
    return {column_of_.begin(), column_of_.end()};
  }

 private:
  using Indices = Eigen::Array<Index, Eigen::Dynamic, 1>;
  static constexpr Index nobody = -1;
  static constexpr Index block = 64;
  static constexpr double closed = 1e30;  // beyond any distance: those are differences of sums of numbers below 8

  void reduce() {
    v_.head(n_).setConstant(closed);
    for (Index j = 0; j < n_; ++j)
      for (Index i = 0; i < n_; ++i)
        if (cost_(i, j) < v_[i]) {
          v_[i] = cost_(i, j);
          via_[i] = j;
        }
    for (Index i = 0; i < n_; ++i)
      if (row_of_[via_[i]] == nobody) take(via_[i], i);
  }

  void take(Index column, Index row) {
    row_of_[column] = row;
    column_of_[row] = column;
  }

  /// Lets each waiting column bid once and returns those without a row afterwards.
  std::vector<Index> bid(const std::vector<Index>& waiting) {
    std::vector<Index> left;
    for (const Index j : waiting) {
      distance_.setConstant(closed);
      const double cheapest = relax(j, 0);
      const Index i = find(cheapest), holder = column_of_[i];
      distance_[i] = closed;
      const double lowered = v_[i] - (distance_.minCoeff() - cheapest);
      if (lowered < v_[i]) {
        v_[i] = lowered;
      } else if (holder != nobody) {  // a tie: nothing to gain by an exchange
        left.push_back(j);
        continue;
      }
      if (holder != nobody) {
        row_of_[holder] = nobody;
        left.push_back(holder);
      }
      take(j, i);
    }
    return left;
  }

  /// Finds a row for column start, with the help of the columns that hold the rows nearest to it.
  void augment(Index start) {
    struct Step {
      Index row;
      double v, distance;
    };
    std::vector<Step> steps;
    distance_.setConstant(closed);
    double nearest = relax(start, 0);
    Index i = find(nearest);
    while (column_of_[i] != nobody) {
      steps.push_back({i, v_[i], nearest});
      const Index j = column_of_[i];
      const double offset = double(cost_(i, j)) - v_[i] - nearest;
      distance_[i] = closed;  // with these two, the row never again looks near, without a test in the inner loop
      v_[i] = -closed;
      nearest = relax(j, offset);
      i = find(nearest);
    }
    for (const Step& s : steps) v_[s.row] = s.v + (s.distance - nearest);
    for (Index j = nobody; j != start;) {  // hand on the rows along the chain, from its end
      j = via_[i];
      const Index previous = row_of_[j];
      take(j, i);
      i = previous;
    }
  }

  /// distance_i = min(distance_i, c_ij - v_i - offset), and via_i = j where that is less. Returns the least distance
  /// and notes that of each block for find.
  double relax(Index j, double offset) {
    double least = closed;
    for (Index b = 0; b < lowest_.size(); ++b) {
      const Index i = b * block;
      lowest_[b] = relax_block(&cost_(i, j), &v_[i], offset, j, &distance_[i], &via_[i]);
      least = std::min(least, lowest_[b]);
    }
    return least;
  }

  /// Nearly all the time is spent here. Short loops of fixed length without branches, which compilers vectorise.
  static double relax_block(const Scalar* __restrict c, const double* __restrict v, double offset, std::int64_t j,
                            double* __restrict distance, std::int64_t* __restrict via) {
    Eigen::Array<double, block, 1> x;
    for (Index k = 0; k < block; ++k) x[k] = double(c[k]) - v[k] - offset;
    for (Index k = 0; k < block; ++k) via[k] = x[k] < distance[k] ? j : via[k];
    for (Index k = 0; k < block; ++k) distance[k] = x[k] = x[k] < distance[k] ? x[k] : distance[k];
    return x.minCoeff();
  }

  /// A row at this distance, the least one: a free row if there is one.
  Index find(double least) const {
    Index found = nobody;
    for (Index b = 0; b < lowest_.size(); ++b)
      for (Index i = b * block; lowest_[b] == least && i < (b + 1) * block; ++i)
        if (distance_[i] == least) {
          if (column_of_[i] == nobody) return i;
          if (found == nobody) found = i;
        }
    return found;
  }

  Index n_;
  Matrix<Scalar> cost_;
  Eigen::ArrayXd v_, distance_, lowest_;
  Eigen::Array<std::int64_t, Eigen::Dynamic, 1> via_;  // the column from which a row is reached
  Indices column_of_, row_of_;
};

}

/// The permutation of least total cost: entry i of the result is the column assigned to row i. cost: n x n, any finite
/// numbers of any scale; ties are broken in a fixed way. The total is minimal up to rounding in double, that is to
/// about n 2^-52 max |cost|. Throws std::invalid_argument if cost is not square or not finite. O(n^3) at worst: n =
/// 2,000 took 0.1 to 2 seconds for squared distances of points in 2 to 64 dimensions and 5 to 8 for costs i j, the
/// worst found. Holds a copy of cost meanwhile.
template <std::floating_point Scalar> std::vector<Index> solve_assignment(const Matrix<Scalar>& cost) {
  detail::check_columns("solve_assignment", "cost", cost.cols(), cost.rows());
  detail::check_finite("solve_assignment", "cost", cost);
  return detail::Assignment<Scalar>(cost).solve();
}

}
