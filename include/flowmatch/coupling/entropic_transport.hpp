// SPDX-License-Identifier: MIT
// Entropic optimal transport (Cuturi 2013) by Sinkhorn's iteration on logarithms (eq. 59 in docs/math.md), which
// neither overflows nor loses small entries of the plan. Its pairs are those of the Schroedinger bridge for epsilon = 2
// sigma^2 (Tong et al. 2023).
#pragma once

#include "flowmatch/assignment/squared_distances.hpp"
#include "flowmatch/coupling/coupling.hpp"
#include "flowmatch/kernel/elementary.hpp"
#include "flowmatch/kernel/instruction_set.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct EntropicTransportOptions {
  double epsilon = 0.05;        ///< weight of the entropy, in the units of the data squared, > 0
  Index max_iterations = 1000;  ///< >= 1
  double tolerance = 1e-3;      ///< of the marginal error at which the iteration ends, > 0
};

struct SinkhornReport {
  Index iterations = 0;
  double marginal_error = 0;  ///< sum over rows of |sum of the plan - 1/n|, in [0, 2]; those of columns are exact
  bool converged = false;     ///< marginal_error <= tolerance
};

/// The plan P, n x n, of least sum of P_ij (|x0_i - x1_j|^2 + epsilon log P_ij) whose rows and columns sum to 1/n. The
/// smaller epsilon is beside the squared distances, the nearer it is to OptimalTransport and the more iterations it
/// needs. With conditions it does what OptimalTransport does to them.
template <Real Scalar = float> class EntropicTransport {
 public:
  /// Throws std::invalid_argument for an option outside its range.
  explicit EntropicTransport(EntropicTransportOptions options = {});

  /// Finds the plan and draws a column of x1 for each column i of x0, with the probabilities of the plan's row i: each
  /// column of x0 appears once, those of x1 with replacement. Valid until the next call; look at report() for
  /// convergence. x0, x1: dim x n, n >= 1, finite. Throws std::invalid_argument otherwise, or if epsilon is so small
  /// beside the squared distances that their quotient has no digits (10^6 in float). O(n^2 (dim + iterations)).
  /// Allocates only for a larger problem than before.
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, Rng& rng);
  std::span<const Index> operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, MatrixIn<Scalar>, Rng& rng) {
    return (*this)(x0, x1, rng);
  }

  const SinkhornReport& report() const { return report_; }

  /// The plan of the last call.
  Matrix<Scalar> plan() const;

 private:
  static constexpr Scalar far = Scalar(1e30);

  const Scalar& cost(Index i, Index j) const { return cost_[std::size_t(i + j * rows_)]; }

  void solve(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1) {
    detail::check_coupled<Scalar>("EntropicTransport", x0, x1);
    n_ = x0.cols();
    rows_ = detail::cost_rows(n_);
    distances_.set(x0, x1, true);
    cost_.resize(std::size_t(rows_ * n_));
    distances_.write(cost_.data(), rows_);
    const double factor = 1 / (options_.epsilon * distances_.scale() * distances_.scale());
    const double largest = factor * double(*std::max_element(cost_.begin(), cost_.end()));
    if (!(largest < 0.1 / double(std::numeric_limits<Scalar>::epsilon())))
      detail::fail("EntropicTransport", {"options.epsilon, ", options_.epsilon,
                                         ", is too small for squared distances of ", largest * options_.epsilon});
    for (Scalar& c : cost_) c *= Scalar(factor);
    f_.assign(std::size_t(rows_), Scalar(0));
    std::fill(f_.begin() + n_, f_.end(), -far);
    g_.assign(std::size_t(n_), Scalar(0));
    most_.resize(std::size_t(rows_));
    sums_.resize(std::size_t(rows_));

    report_ = {};
    while (report_.iterations < options_.max_iterations && !report_.converged) {
      update_columns();
      ++report_.iterations;
      report_.marginal_error = sum_rows();
      report_.converged = report_.marginal_error <= options_.tolerance;
      if (!report_.converged && report_.iterations < options_.max_iterations)
        for (Index i = 0; i < n_; ++i) f_[std::size_t(i)] = row_potential(i);
    }
  }

  Scalar row_potential(Index i) const { return -most_[std::size_t(i)] - std::log(sums_[std::size_t(i)] / Scalar(n_)); }

  /// g_j = -log of the mean over i of exp(f_i - c_ij): now the columns of the plan sum to 1/n.
  void update_columns() {
    detail::dispatch([&, f = f_.data(), rows = rows_](auto width) FLOWMATCH_INLINE {
      using L = detail::Lanes<Scalar, decltype(width)::bytes>;
      using V = typename L::V;
      for (Index j = 0; j < n_; ++j) {
        const Scalar* c = &cost_[std::size_t(j * rows)];
        V x, value, most = V{} - far, sum{};
        for (Index i = 0; i < rows; i += L::width) {
          L::load(f + i, x);
          L::load(c + i, value);
          x -= value;
          most = x > most ? x : most;
        }
        Scalar largest = -far, total = 0;
        for (int lane = 0; lane < L::width; ++lane) largest = std::max(largest, Scalar(most[lane]));
        for (Index i = 0; i < rows; i += L::width) {
          L::load(f + i, x);
          L::load(c + i, value);
          detail::exp_of_negative<L>(x - value - largest, value);
          sum += value;
        }
        for (int lane = 0; lane < L::width; ++lane) total += Scalar(sum[lane]);
        g_[std::size_t(j)] = -largest - std::log(total / Scalar(n_));
      }
    });
  }

  /// most_i = max over j of g_j - c_ij and sums_i = the sum of exp(g_j - c_ij - most_i). Returns the marginal error.
  double sum_rows() {
    std::fill(most_.begin(), most_.end(), -far);
    detail::dispatch([&, most = most_.data(), rows = rows_](auto width) FLOWMATCH_INLINE {
      using L = detail::Lanes<Scalar, decltype(width)::bytes>;
      for (Index j = 0; j < n_; ++j)
        for (Index i = 0; i < rows; i += L::width) {
          typename L::V x, value;
          L::load(&cost_[std::size_t(j * rows + i)], x);
          L::load(most + i, value);
          x = g_[std::size_t(j)] - x;
          L::store(most + i, x > value ? x : value);
        }
    });
    std::fill(sums_.begin(), sums_.end(), Scalar(0));
    for_each_term([&, sums = sums_.data()](auto lanes, Index, Index i, const auto& term) FLOWMATCH_INLINE {
      using L = decltype(lanes);
      typename L::V sum;
      L::load(sums + i, sum);
      L::store(sums + i, sum + term);
    });
    double error = 0;
    for (Index i = 0; i < n_; ++i)
      error += std::abs(std::exp(double(f_[std::size_t(i)]) - double(row_potential(i))) - 1) / double(n_);
    return error;
  }

  /// Calls visit(lanes, j, i, term) with term = exp(g_j - c_ij - most_i) for i, i + 1, ..., in the order of j.
  template <class Visit> void for_each_term(const Visit& visit) const {
    detail::dispatch([&, most = most_.data(), rows = rows_](auto width) FLOWMATCH_INLINE {
      using L = detail::Lanes<Scalar, decltype(width)::bytes>;
      for (Index j = 0; j < n_; ++j)
        for (Index i = 0; i < rows; i += L::width) {
          typename L::V x, value, term;
          L::load(&cost_[std::size_t(j * rows + i)], x);
          L::load(most + i, value);
          x = g_[std::size_t(j)] - x - value;
          detail::exp_of_negative<L>(x, term);
          visit(L(), j, i, term);
        }
    });
  }

  /// For each row, the first column at which the sum of the terms so far exceeds target = u sum, all rows at once.
  std::span<const Index> draw_rows() {
    chosen_.assign(std::size_t(rows_), Bit(0));
    for (Index i = 0; i < n_; ++i) targets_[std::size_t(i)] *= sums_[std::size_t(i)];
    std::fill(sums_.begin(), sums_.end(), Scalar(0));
    for_each_term([&, sums = sums_.data(), targets = targets_.data(), chosen = chosen_.data()](
                      auto lanes, Index, Index i, const auto& term) FLOWMATCH_INLINE {
      using L = decltype(lanes);
      typename L::V sum, target;
      typename L::I before;
      L::load(sums + i, sum);
      L::load(targets + i, target);
      std::memcpy(&before, chosen + i, sizeof before);
      sum += term;
      before -= sum <= target;
      L::store(sums + i, sum);
      std::memcpy(chosen + i, &before, sizeof before);
    });
    pairs_.resize(std::size_t(n_));
    for (std::size_t i = 0; i < pairs_.size(); ++i) pairs_[i] = std::min(Index(chosen_[i]), n_ - 1);
    return pairs_;
  }

  using Bit = typename detail::Lanes<Scalar, 16>::Bit;
  EntropicTransportOptions options_;
  SinkhornReport report_;
  detail::SquaredDistances<Scalar> distances_;
  Index n_ = 0, rows_ = 0;
  detail::CacheLineVector<Scalar> cost_, f_, g_;           // costs and potentials divided by epsilon
  detail::CacheLineVector<Scalar> most_, sums_, targets_;  // of rows
  detail::CacheLineVector<Bit> chosen_;
  std::vector<Index> pairs_;
};

template <Real Scalar>
EntropicTransport<Scalar>::EntropicTransport(EntropicTransportOptions options) : options_(options) {
  detail::check_positive("EntropicTransport", "options.epsilon", options.epsilon);
  detail::check_at_least("EntropicTransport", "options.max_iterations", options.max_iterations, 1);
  detail::check_positive("EntropicTransport", "options.tolerance", options.tolerance);
}

template <Real Scalar>
std::span<const Index> EntropicTransport<Scalar>::operator()(MatrixIn<Scalar> x0, MatrixIn<Scalar> x1, Rng& rng) {
  solve(x0, x1);
  targets_.assign(std::size_t(rows_), Scalar(0));
  fill_uniform(rng, std::span(targets_).first(std::size_t(n_)));
  return draw_rows();
}

template <Real Scalar> Matrix<Scalar> EntropicTransport<Scalar>::plan() const {
  Matrix<Scalar> p(n_, n_);
  for (Index j = 0; j < n_; ++j)
    for (Index i = 0; i < n_; ++i) p(i, j) = std::exp(f_[std::size_t(i)] + g_[std::size_t(j)] - cost(i, j));
  return p / (Scalar(n_) * Scalar(n_));
}

}
}
