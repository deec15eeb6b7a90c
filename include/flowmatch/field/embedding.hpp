// SPDX-License-Identifier: MIT
// How a condition looks to the layers of a net. A column c = [label; vector] has a label 0 .. classes - 1, or
// `classes`, which says that there is no condition. It becomes e = [row `label` of a learned table; vector] (eq. 60),
// and without a condition e = [the last row of the table; a learned vector].
#pragma once

#include <algorithm>

#include "flowmatch/core/check.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// Sizes, and the order of the learned numbers: the table, row by row, then the vector for no condition.
struct EmbeddingShape {
  Index classes, embedding_dim, vector_dim;

  Index rows() const { return embedding_dim + vector_dim; }
  Index table_size() const { return (classes + 1) * embedding_dim; }
};

/// The label of a condition. Throws std::invalid_argument if it is none.
template <class Scalar> Index label_of(const char* where, Scalar label, Index classes, Index column) {
  if (!(is_finite(label) && label >= 0 && label <= Scalar(classes)) || Scalar(Index(label)) != label)
    fail(where, {"expected whole numbers from 0 to ", classes, " (", classes, ": none) as labels in row 0 of c, got ",
                 label, " in column ", column});
  return Index(label);
}

/// e = what stands for the condition c of this label.
template <class Scalar>
void embed(const EmbeddingShape& shape, const Scalar* numbers, Index label, const Scalar* c, Scalar* e) {
  e = std::copy_n(numbers + label * shape.embedding_dim, shape.embedding_dim, e);
  std::copy_n(label < shape.classes ? c + 1 : numbers + shape.table_size(), shape.vector_dim, e);
}

/// The way back (eq. 61): gradient += what de says about the numbers behind e.
template <class Scalar> void embed_back(const EmbeddingShape& shape, Index label, const Scalar* de, Scalar* gradient) {
  Scalar* row = gradient + label * shape.embedding_dim;
  for (Index i = 0; i < shape.embedding_dim; ++i) row[i] += de[i];
  if (label < shape.classes) return;
  for (Index i = 0; i < shape.vector_dim; ++i) gradient[shape.table_size() + i] += de[shape.embedding_dim + i];
}

}
}
}
