// SPDX-License-Identifier: MIT
// One way through time: a solver, on a fixed grid or adaptive, carries the columns of a batch, tile by tile.
#pragma once

#include <algorithm>
#include <type_traits>
#include <vector>

#include "flowmatch/core/threads.hpp"
#include "flowmatch/ode/adaptive.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// Calls body(memory, first, n) for each tile of at most `width` of the columns, on the team's threads if there is one,
/// each of which has its own memory = memory_of(thread). A tile goes through all its steps while it is in cache.
template <class MemoryOf, class Body>
void for_each_tile(Index columns, Index width, Threads* team, const MemoryOf& memory_of, const Body& body) {
  const Index tiles = (columns + width - 1) / width;
  const int threads = team && tiles > 1 ? team->size() : 1;
  const auto work = [&](int thread) {
    decltype(auto) memory = memory_of(thread);
    for (Index tile = thread; tile < tiles; tile += threads)
      body(memory, tile * width, std::min(width, columns - tile * width));
  };
  if (threads > 1)
    team->run(work);
  else
    work(0);
}

/// The scratch of a solver of either kind.
template <Real Scalar, Solver S>
using SolverMemory = std::conditional_t<Stepper<S>, StepperMemory<Scalar>, AdaptiveMemory<Scalar>>;

/// Carries columns first .. first + n - 1 of x in place along f over the times. `where` is the caller's name in errors;
/// the report is an adaptive method's, with an entry for each column of x.
template <Real Scalar, Solver S, class F>
void carry_tile(const char* where, F& f, MatrixRef<Scalar> x, MatrixIn<Scalar> c, Index first, Index n, const S& solver,
                const std::vector<double>& times, SolverMemory<Scalar, S>& memory, AdaptiveReport& report) {
  if constexpr (Stepper<S>)
    integrate_tile<Scalar>(where, f, columns_of<Scalar>(x, first, n), columns_in<Scalar>(c, first, n), solver, times,
                           memory, first, NoObserver());
  else
    adaptive_tile<Scalar>(f, columns_of<Scalar>(x, first, n), columns_in<Scalar>(c, first, n), solver, times, memory,
                          report.samples.data() + first);
}

}
}
}
