// SPDX-License-Identifier: MIT
// What the lists of this folder are written with. They hold the templates that the compiled library has, for the scalar
// FLOWMATCH_SCALAR: declared where it is used, instantiated in its own sources, which define FLOWMATCH_INSTANTIATE as
// `template` before they read a list. Each list is read once for each scalar, so none has an include guard.
#ifndef FLOWMATCH_INSTANTIATE
#define FLOWMATCH_INSTANTIATE extern template
#endif
#ifndef FLOWMATCH_SCALAR
#define FLOWMATCH_SCALAR float
#endif
