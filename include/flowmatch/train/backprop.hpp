// SPDX-License-Identifier: MIT
// The value and gradient of any loss of a net's output: carries a batch through the net tile by tile, hands each
// tile's output to a loss of your choice, and takes the loss's gradient there back to all parameters.
//
// An output loss is any function
//   Scalar loss(const auto& y, Index first, auto&& dy)
// that gets the outputs y (rows x n) of the samples first .. first + n - 1, writes dy = dloss/dy (rows x n), and
// returns these samples' share of the loss. Shares are added, so it divides by the size of the whole batch itself.
// It may be called for several tiles at once from different threads. If it has a member samples(), the batch must have
// that many columns. Ready ones: mean_squared_error (train/loss.hpp), softmax_cross_entropy (train/cross_entropy.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "flowmatch/core/threads.hpp"
#include "flowmatch/field/field.hpp"
#include "flowmatch/field/mlp.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// For a TrainableField or an Mlp. Owns the scratch memory: make it once, use it in every step. After the first step of
/// the largest batch size it allocates nothing. Use one for each of your threads. A team of threads shares the tiles of
/// a batch: at most one thread for 128 samples has work.
///
/// The batch is cut into blocks of tiles, by its size alone. Each block adds its gradient in the order of the samples,
/// and the blocks are added over a binary tree, so that the number of threads does not show in a single bit.
template <class Net> class Backprop {
 public:
  using Scalar = typename Net::Scalar;

  /// The net only tells the type of the memory; the one to evaluate is passed with each call.
  explicit Backprop(const Net&);
  /// With a team, which must outlive this object.
  Backprop(const Net&, Threads& team);

  /// For a field: loss of v(x, t, c); x: dim x n, t: n, c: condition_dim x n. Returns its value and writes its gradient
  /// (resized). Throws std::invalid_argument if a shape is wrong, there is no sample, or a number is not finite, and
  /// std::runtime_error if the loss is not finite: training diverged, and the gradient is not to be used. where and
  /// x_name are for these messages.
  template <class OutputLoss>
  Scalar operator()(const Net& net, MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                    const OutputLoss& loss, Vector<Scalar>& gradient, const char* where = "Backprop",
                    const char* x_name = "x") requires TrainableField<Net>;

  /// For an Mlp: loss of y(x); x: in x n. Otherwise the same.
  template <class OutputLoss>
  Scalar operator()(const Net& net, MatrixIn<Scalar> x, const OutputLoss& loss,
                    Vector<Scalar>& gradient) requires std::same_as<Net, Mlp<Scalar>>;

 private:
  struct Memory {  // of one thread
    typename Net::Workspace workspace;
    Matrix<Scalar> output, output_gradient;
  };
  struct Block {  // of the batch; the first adds into the user's gradient
    Vector<Scalar> gradient;
    Scalar value = 0;
  };

  /// Few, since each but the first costs a pass over a gradient, yet enough for some threads.
  static constexpr Index most_blocks = 16;
  static Index block_count(Index tiles) {
    return std::max(std::min<Index>(tiles, 4), std::min<Index>(tiles / 2, most_blocks));
  }
  /// Multiply-adds below which waking threads would cost more than it saves, some 10 microseconds.
  static constexpr double least_work = 1e6;

  template <class OutputLoss, class Forward>
  Scalar run(const char* where, const Net& net, Index samples, Index rows, const OutputLoss& loss,
             Vector<Scalar>& gradient, const Forward& forward) {
    if (samples < 1) detail::fail(where, {"expected at least one sample, got none"});
    if constexpr (requires { loss.samples(); }) detail::check_columns(where, "the target", loss.samples(), samples);
    const Index tiles = (samples + tile_columns - 1) / tile_columns, size = net.parameters().size();
    const Index count = block_count(tiles);
    gradient.resize(size);
    for (Index b = 1; b < count; ++b) blocks_[std::size_t(b)].gradient.resize(size);

    const auto sum_of = [&](Index b) -> Vector<Scalar>& {
      return b == 0 ? gradient : blocks_[std::size_t(b)].gradient;
    };
    const bool shared = team_ && count > 1 && double(samples) * double(size) > least_work;
    const int threads = shared ? team_->size() : 1;
    const auto work = [&](int thread) {
      Memory& memory = memory_[std::size_t(thread)];
      if (const Index most = std::min(samples, tile_columns);
          memory.output.rows() != rows || memory.output.cols() < most) {  // grows, so that batch sizes may take turns
        memory.output.resize(rows, most);
        memory.output_gradient.resize(rows, most);
      }
      for (Index b = thread; b < count; b += threads) {  // the first to the caller, who is awake
        Scalar value = 0;
        std::fill_n(sum_of(b).data(), size, Scalar(0));
        for (Index tile = tiles * b / count; tile < tiles * (b + 1) / count; ++tile) {
          const Index first = tile * tile_columns, n = std::min(tile_columns, samples - first);
          Eigen::Ref<Matrix<Scalar>> y = detail::columns_of<Scalar>(memory.output, 0, n);
          Eigen::Ref<Matrix<Scalar>> dy = detail::columns_of<Scalar>(memory.output_gradient, 0, n);
          forward(first, n, y, memory.workspace);
          value += loss(std::as_const(y), first, dy);
          net.backward(dy, memory.workspace, sum_of(b));
        }
        blocks_[std::size_t(b)].value = value;
      }
    };
    if (threads > 1)
      team_->run(work);
    else
      work(0);
    const auto add_blocks = [&](detail::Share entries) {  // the tree, piece by piece while they are in cache
      constexpr Index piece = 1024;
      for (Index i = entries.begin; i < entries.end; i += piece) {
        const Index n = std::min(piece, entries.end - i);
        for (Index step = 1; step < count; step *= 2)
          for (Index b = 0; b + step < count; b += 2 * step) {
            Scalar* sum = sum_of(b).data() + i;
            const Scalar* other = sum_of(b + step).data() + i;
            for (Index k = 0; k < n; ++k) sum[k] += other[k];
          }
      }
    };
    if (threads > 1 && size > 4096)
      team_->run([&](int thread) { add_blocks(detail::share(size, thread, threads)); });
    else
      add_blocks({0, size});
    for (Index step = 1; step < count; step *= 2)
      for (Index b = 0; b + step < count; b += 2 * step)
        blocks_[std::size_t(b)].value += blocks_[std::size_t(b + step)].value;
    const Scalar value = blocks_[0].value;
    if (!is_finite(value))
      detail::raise<std::runtime_error>(
          detail::concat({"flowmatch: ", where, ": the loss is ", value,
                          ": training diverged; a lower learning rate or clipping may help"}));
    return value;
  }

  Threads* team_ = nullptr;
  std::vector<Memory> memory_;
  std::array<Block, most_blocks> blocks_;
};

template <class Net> Backprop<Net>::Backprop(const Net&) : memory_(1) {}

template <class Net>
Backprop<Net>::Backprop(const Net&, Threads& team) : team_(&team), memory_(std::size_t(team.size())) {}

template <class Net>
template <class OutputLoss>
typename Net::Scalar Backprop<Net>::operator()(const Net& net, MatrixIn<Scalar> x, RowVectorIn<Scalar> t,
                                               MatrixIn<Scalar> c, const OutputLoss& loss, Vector<Scalar>& gradient,
                                               const char* where, const char* x_name) requires TrainableField<Net> {
  detail::check_batch(where, x_name, net, x, t, c);
  return run(where, net, x.cols(), net.dim(), loss, gradient,
             [&](Index first, Index n, MatrixRef<Scalar> v, typename Net::Workspace& workspace) {
               net.forward(detail::columns_in<Scalar>(x, first, n), detail::times_in<Scalar>(t, first, n),
                           detail::columns_in<Scalar>(c, first, n), v, workspace);
             });
}

template <class Net>
template <class OutputLoss>
typename Net::Scalar Backprop<Net>::operator()(const Net& net, MatrixIn<Scalar> x, const OutputLoss& loss,
                                               Vector<Scalar>& gradient) requires std::same_as<Net, Mlp<Scalar>> {
  detail::check_rows("Backprop", "x", x.rows(), net.in());
  detail::check_finite("Backprop", "x", x);
  return run("Backprop", net, x.cols(), net.out(), loss, gradient,
             [&](Index first, Index n, MatrixRef<Scalar> y, typename Net::Workspace& workspace) {
               net.forward(detail::columns_in<Scalar>(x, first, n), y, workspace);
             });
}

}
}
