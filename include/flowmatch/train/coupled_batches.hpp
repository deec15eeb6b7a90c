// SPDX-License-Identifier: MIT
// Training batches through a coupling: the source of Trainer::run(fill, rng), or of a loop by hand.
#pragma once

#include <optional>

#include "flowmatch/coupling/coupling.hpp"
#include "flowmatch/random/draw.hpp"
#include "flowmatch/train/prefetch.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct CoupledBatchesOptions {
  Index coupled = 1024;  ///< samples that are coupled at a time, >= 1; batches are pieces of them
  bool ahead = false;    ///< couples the next ones on a second thread meanwhile; changes no bit
};

/// Draws x0 ~ N(0, I), the usual source. A source of your own is any function of the same arguments that fills x0.
struct NormalSource {
  template <Real Scalar> void operator()(Rng& rng, Matrix<Scalar>& x0) const { fill_normal(rng, x0); }
};

/// Batches of start points from a source and end points, with their conditions, from data, paired by a coupling:
///
///   trainer.run(CoupledBatches(data, c, OptimalTransport{}, Rng(42, 1)), rng);
///
/// To look at a coupling afterwards, such as at EntropicTransport::report(), pass std::ref(coupling), and not `ahead`.
///
/// It draws `coupled` samples at a time, data with replacement, and cuts batches from them. Every group of samples has
/// random numbers of its own (Prefetch), so that a batch depends on its number and the generator alone.
///
/// OptimalTransport and EntropicTransport with conditions skew what is learned: x0 then depends on c in training but
/// not in sampling, and samples of a condition miss p(x1 | c). With conditions take ClassTransport (labels, or few
/// values) or ConditionalTransport (continuous), or IndependentCoupling, which pairs independently.
template <Real Scalar, Coupling<Scalar> C, class Source = NormalSource> class CoupledBatches {
 public:
  /// Copies data (dim x n, n >= 1) and c (condition_dim x n, or empty). rng: of a stream that nothing else uses,
  /// another one than the trainer's. coupling and source are called on the second thread if ahead. Throws
  /// std::invalid_argument if a shape is wrong, a number not finite or coupled < 1.
  CoupledBatches(Matrix<Scalar> data, Matrix<Scalar> c, C coupling, const Rng& rng, CoupledBatchesOptions options = {},
                 Source source = {})
      : data_(std::move(data)),
        c_(std::move(c)),
        coupling_(std::move(coupling)),
        source_(std::move(source)),
        rng_(rng),
        options_(options) {
    constexpr auto name = "CoupledBatches";
    detail::check_at_least(name, "data.cols()", data_.cols(), 1);
    if (c_.size() == 0) c_.resize(0, data_.cols());
    detail::check_columns(name, "c", c_.cols(), data_.cols());
    detail::check_finite(name, "data", data_);
    detail::check_finite(name, "c", c_);
    detail::check_at_least(name, "options.coupled", options.coupled, 1);
  }
  /// Without conditions.
  CoupledBatches(Matrix<Scalar> data, C coupling, const Rng& rng, CoupledBatchesOptions options = {},
                 Source source = {})
      : CoupledBatches(std::move(data), Matrix<Scalar>(), std::move(coupling), rng, options, std::move(source)) {}

  /// The next batch is number `step`, counted from 0. A resumed run calls it.
  void seek(Index step) {
    detail::check_at_least("CoupledBatches::seek", "step", step, 0);
    step_ = std::uint64_t(step);
    groups_.reset();
    group_ = nullptr;
  }

  /// The next batch, of x0's size, as a BatchFill. The generator is not used. Throws std::invalid_argument if a shape
  /// is wrong or the batch no part of `coupled`, or what coupling and source throw. All calls ask for the same size.
  void operator()(Rng&, Matrix<Scalar>& x0, Matrix<Scalar>& x1, Matrix<Scalar>& c) {
    constexpr auto name = "CoupledBatches";
    const Index batch = x0.cols();
    detail::check_rows(name, "x0", x0.rows(), data_.rows());
    detail::check_shape(name, "x1", x1, data_.rows(), batch);
    detail::check_shape(name, "c", c, c_.rows(), batch);
    if (batch < 1 || options_.coupled % batch != 0)
      detail::fail(name,
                   {"expected options.coupled, ", options_.coupled, ", to be a multiple of the batch, got ", batch});
    if (batch_ > 0) detail::check_columns(name, "x0", batch, batch_);
    batch_ = batch;
    const std::uint64_t pieces = std::uint64_t(options_.coupled / batch), group = step_ / pieces;
    if (!groups_) groups_.emplace(Make{this}, rng_, options_.ahead, group);
    if (!group_ || step_ % pieces == 0) group_ = &groups_->next();
    const Index first = Index(step_ % pieces) * batch;
    ++step_;
    x0 = group_->x0.middleCols(first, batch);
    x1 = group_->x1.middleCols(first, batch);
    c = group_->c.middleCols(first, batch);
  }

 private:
  struct Group {
    Matrix<Scalar> x0, x1, c, drawn_x1, drawn_c;
    std::vector<Index> indices;
  };

  struct Make {
    CoupledBatches* batches;
    void operator()(Rng& rng, std::uint64_t, Group& group) const { batches->make(rng, group); }
  };

  void make(Rng& rng, Group& group) {
    group.indices.resize(std::size_t(options_.coupled));
    fill_below(rng, data_.cols(), group.indices);
    take_columns<Scalar>(data_, group.indices, group.drawn_x1);
    take_columns<Scalar>(c_, group.indices, group.drawn_c);
    group.x0.resize(data_.rows(), options_.coupled);
    source_(rng, group.x0);
    detail::check_shape("CoupledBatches", "the source's x0", group.x0, data_.rows(), options_.coupled);
    const std::span<const Index> pairs = coupling_(group.x0, group.drawn_x1, group.drawn_c, rng);
    detail::check_size("CoupledBatches", "the coupling's pairs", Index(pairs.size()), options_.coupled);
    take_columns<Scalar>(group.drawn_x1, pairs, group.x1);
    take_columns<Scalar>(group.drawn_c, pairs, group.c);
  }

  Matrix<Scalar> data_, c_;
  C coupling_;
  Source source_;
  Rng rng_;
  CoupledBatchesOptions options_;
  std::uint64_t step_ = 0;
  Index batch_ = 0;
  Group* group_ = nullptr;
  std::optional<Prefetch<Group, Make>> groups_;  // last: its thread uses the others
};

}
}
