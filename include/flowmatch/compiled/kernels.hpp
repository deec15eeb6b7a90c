// SPDX-License-Identifier: MIT
// The compiled library's kernels. Nets of the library need no more than their own list; these are for fields of a
// user's own, whose file may be compiled without optimization, and would bring slow kernels of the same name along.
#include "flowmatch/compiled/instantiate.hpp"
#include "flowmatch/field/one_sample.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

FLOWMATCH_INSTANTIATE void transpose(const FLOWMATCH_SCALAR*, Index, Index, Index, FLOWMATCH_SCALAR*, Index);
FLOWMATCH_INSTANTIATE void add_up<true>(const Sums<FLOWMATCH_SCALAR>&, Index, Index);
FLOWMATCH_INSTANTIATE void add_up<false>(const Sums<FLOWMATCH_SCALAR>&, Index, Index);
FLOWMATCH_INSTANTIATE void add_sums<FLOWMATCH_SCALAR>(TileIn<FLOWMATCH_SCALAR>, TileIn<FLOWMATCH_SCALAR>,
                                                      FLOWMATCH_SCALAR*);
FLOWMATCH_INSTANTIATE void activate<FLOWMATCH_SCALAR>(Activation, TileIn<FLOWMATCH_SCALAR>, TileOut<FLOWMATCH_SCALAR>,
                                                      TileOut<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void time_features<FLOWMATCH_SCALAR>(TileIn<FLOWMATCH_SCALAR>, TileOut<FLOWMATCH_SCALAR>,
                                                           TileOut<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void normalize<FLOWMATCH_SCALAR>(const Norm<const FLOWMATCH_SCALAR>&, TileIn<FLOWMATCH_SCALAR>,
                                                       TileOut<FLOWMATCH_SCALAR>, TileOut<FLOWMATCH_SCALAR>,
                                                       TileOut<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void normalize_backward<FLOWMATCH_SCALAR>(const Norm<const FLOWMATCH_SCALAR>&,
                                                                TileIn<FLOWMATCH_SCALAR>, TileIn<FLOWMATCH_SCALAR>,
                                                                TileIn<FLOWMATCH_SCALAR>, const Norm<FLOWMATCH_SCALAR>&,
                                                                TileOut<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void activate_tangent<FLOWMATCH_SCALAR>(TileIn<FLOWMATCH_SCALAR>, TileIn<FLOWMATCH_SCALAR>,
                                                              TileOut<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void normalize_tangent<FLOWMATCH_SCALAR>(const Norm<const FLOWMATCH_SCALAR>&,
                                                               TileIn<FLOWMATCH_SCALAR>, TileIn<FLOWMATCH_SCALAR>,
                                                               TileIn<FLOWMATCH_SCALAR>, TileIn<FLOWMATCH_SCALAR>,
                                                               TileOut<FLOWMATCH_SCALAR>);
FLOWMATCH_INSTANTIATE void layer_single(const FLOWMATCH_SCALAR*, Index, Index, Index, const FLOWMATCH_SCALAR*, bool,
                                        FLOWMATCH_SCALAR*, const FLOWMATCH_SCALAR*, FLOWMATCH_SCALAR*);

}
}
}
