// SPDX-License-Identifier: MIT
// Runge-Kutta pairs for adaptive steps: a fifth-order method with, from the same stages, an estimate of its error and a
// polynomial through the step (eq. 15-18). As in stepper.hpp, a method is a table.
#pragma once

#include "flowmatch/core/check.hpp"
#include "flowmatch/ode/stepper.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// A pair with the options of its step control (eq. 17). An error of 1 is one that the tolerances just allow: the root
/// mean square over a sample's rows of error / (atol + rtol |x|).
template <class TableType> struct EmbeddedRungeKutta {
  using Table = TableType;
  static constexpr int order = Table::order;

  double rtol = 1e-5;       ///< error allowed in a step relative to |x|, >= 0
  double atol = 1e-5;       ///< absolute tolerance, > 0
  Index max_steps = 10000;  ///< steps that a sample may try, accepted or not, >= 1
  double first_step = 0;    ///< the first step to try; 0: estimated, by one more evaluation
  double safety = 0.9;      ///< aims at error safety^5, in (0, 1]
  double shrink = 0.2;      ///< smallest ratio of a step to the one before, in (0, 1)
  double growth = 10;       ///< largest ratio, > 1
  double beta = 0.04;       ///< weight of the error before (PI control), in [0, 0.2); 0: the last error alone decides
};

/// What chooses its own steps.
template <class M>
concept AdaptiveMethod = requires(const M& method) {
  M::Table::error;
  { method.rtol } -> std::convertible_to<double>;
  { method.max_steps } -> std::convertible_to<Index>;
};

}
}
namespace flowmatch {
inline namespace FLOWMATCH_VERSION {
namespace tableau {

/// Beside the table of a Runge-Kutta method, whose last stage is the first of the next step: error = b - b^, the
/// weights of the estimate, and dense, those of the polynomial (eq. 18). Dormand, Prince 1980; dense output of Shampine
/// 1986, as in Hairer, Norsett, Wanner II.6.
struct DormandPrince {
  static constexpr int order = 5;
  static constexpr std::array<Row<7>, 7> a = {{{},
                                               {1. / 5},
                                               {3. / 40, 9. / 40},
                                               {44. / 45, -56. / 15, 32. / 9},
                                               {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
                                               {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
                                               {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}}};
  static constexpr Row<7> b = a[6], c = {0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
  static constexpr Row<7> error = {71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525, -1. / 40};
  static constexpr Row<7> dense = {-12715105075. / 11282082432,  0,
                                   87487479700. / 32700410799,   -10690763975. / 1880347072,
                                   701980252875. / 199316789632, -1453857185. / 822651844,
                                   69997945. / 29380423};
};

/// Tsitouras, Computers and Mathematics with Applications 62 (2011) 770-775: smaller error at the same cost.
struct Tsitouras {
  static constexpr int order = 5;
  static constexpr std::array<Row<7>, 7> a = {
      {{},
       {0.161},
       {-0.008480655492356989, 0.335480655492357},
       {2.8971530571054935, -6.359448489975075, 4.3622954328695815},
       {5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525},
       {5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383},
       {0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774}}};
  static constexpr Row<7> b = a[6], c = {0, 0.161, 0.327, 0.9, 0.9800255409045097, 1, 1};
  static constexpr Row<7> error = {-0.00178001105222577714,
                                   -0.0008164344596567469,
                                   0.007880878010261995,
                                   -0.1447110071732629,
                                   0.5823571654525552,
                                   -0.45808210592918697,
                                   1. / 66};
  static constexpr Row<7> dense = {
      -1.0530884977290216, 0.1017, 2.4906272856512528, -16.548102889244905, 47.37952196281928, -34.87065786149661, 2.5};
};

}
}
}
namespace flowmatch {
inline namespace FLOWMATCH_ABI {

using DormandPrince = EmbeddedRungeKutta<tableau::DormandPrince>;  ///< 5(4), the classic pair; six evaluations a step
using Tsitouras = EmbeddedRungeKutta<tableau::Tsitouras>;          ///< 5(4), six evaluations a step

namespace detail {

template <AdaptiveMethod M> void check_method(const char* where, const M& method) {
  if (!(is_finite(method.rtol) && method.rtol >= 0)) fail(where, {"expected rtol >= 0, got ", method.rtol});
  check_positive(where, "atol", method.atol);
  check_at_least(where, "max_steps", method.max_steps, 1);
  check_at_least(where, "first_step", method.first_step, 0);
  check_positive(where, "safety", method.safety);
  if (!(method.safety <= 1)) fail(where, {"expected safety <= 1, got ", method.safety});
  check_positive(where, "shrink", method.shrink);
  check_below(where, "shrink", method.shrink, 0, 1);
  if (!(is_finite(method.growth) && method.growth > 1)) fail(where, {"expected growth > 1, got ", method.growth});
  check_below(where, "beta", method.beta, 0, 0.2);
}

}
}
}
