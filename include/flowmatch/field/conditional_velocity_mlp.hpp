// SPDX-License-Identifier: MIT
// A velocity field with class labels, a continuous condition, or both, and with neither: a VelocityMlp behind a learned
// embedding. Trained with drop_condition, it is what classifier-free guidance needs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "flowmatch/field/velocity_mlp.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

struct ConditionalVelocityMlpOptions {
  Index dim = 0;                   ///< rows of a sample, >= 1
  Index classes = 1;               ///< labels are 0 .. classes - 1; 1 if the condition is a vector alone; up to 2^24
  Index embedding_dim = 16;        ///< learned numbers for each label, >= 1
  Index vector_dim = 0;            ///< rows of the continuous condition below the label, 0: none
  std::vector<Index> hidden = {};  ///< this and the following as in VelocityMlpOptions
  Activation activation = Activation::silu;
  bool residual = false;
  Index time_frequencies = 0;
  bool zero_output = false;

  friend bool operator==(const ConditionalVelocityMlpOptions&, const ConditionalVelocityMlpOptions&) = default;
};

namespace detail {

// A column c = [label; vector] has a label 0 .. classes - 1, or `classes`, which says that there is no condition. It
// becomes e = [row `label` of a learned table; vector] (eq. 60), and without a condition e = [the last row of the
// table; a learned vector].

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

/// Backward pass of embed (eq. 61): accumulates de into the gradient of the table and of the null vector.
template <class Scalar>
void embed_backward(const EmbeddingShape& shape, Index label, const Scalar* de, Scalar* gradient) {
  Scalar* row = gradient + label * shape.embedding_dim;
  for (Index i = 0; i < shape.embedding_dim; ++i) row[i] += de[i];
  if (label < shape.classes) return;
  for (Index i = 0; i < shape.vector_dim; ++i) gradient[shape.table_size() + i] += de[shape.embedding_dim + i];
}

inline EmbeddingShape embedding_shape(const ConditionalVelocityMlpOptions& o) {
  constexpr auto where = "ConditionalVelocityMlp";
  if (o.classes < 1 || o.classes > 1 << 24)  // up to which a float is exact
    fail(where, {"expected options.classes in [1, 2^24], got ", o.classes});
  check_at_least(where, "options.embedding_dim", o.embedding_dim, 1);
  check_at_least(where, "options.vector_dim", o.vector_dim, 0);
  return {o.classes, o.embedding_dim, o.vector_dim};
}

/// The net behind the embedding, whose condition is e.
inline VelocityMlpOptions velocity_options(const ConditionalVelocityMlpOptions& o) {
  return {.dim = o.dim,
          .condition_dim = embedding_shape(o).rows(),
          .hidden = o.hidden,
          .activation = o.activation,
          .residual = o.residual,
          .time_frequencies = o.time_frequencies,
          .zero_output = o.zero_output};
}

/// What is learned beside the layers.
inline std::vector<ParameterBlock> embedding_blocks(const ConditionalVelocityMlpOptions& o) {
  std::vector<ParameterBlock> blocks;
  append_block(blocks, "condition_embedding.weight", {o.classes + 1, o.embedding_dim});
  if (o.vector_dim > 0) append_block(blocks, "condition_null", {o.vector_dim});
  return blocks;
}

}

/// A condition is a column c = [label; vector] of 1 + vector_dim rows. The label is a whole number from 0 to
/// classes - 1; or `classes`, which says that there is no condition: the vector's rows then do not count, but must
/// be finite. (For a
/// vector alone, classes = 1: label 0 says that it is there, 1 that it is not.) What stands for no condition is
/// learned, from the columns without one.
///
/// Meets TrainableField, JvpField, VjpField and VelocityField; a value, like VelocityMlp. Where a label
/// is none of these numbers, all calls throw std::invalid_argument.
template <Real ScalarType = float> class ConditionalVelocityMlp {
 public:
  using Scalar = ScalarType;
  /// Reuse it, as that of Mlp.
  class Workspace {
    friend class ConditionalVelocityMlp;
    typename VelocityMlp<Scalar>::Workspace net;
    Matrix<Scalar> e, de;       // embedded conditions of a tile, and their gradient
    std::vector<Index> labels;  // of the tile
  };
  class OneSample;

  /// The layers start as those of a VelocityMlp, the table as N(0, 1), like PyTorch's Embedding, and the vector for no
  /// condition as zero, the mean of a normalized one. Throws std::invalid_argument if an option is out of range.
  ConditionalVelocityMlp(ConditionalVelocityMlpOptions options, Rng& rng);

  const ConditionalVelocityMlpOptions& options() const { return options_; }
  Index dim() const { return options_.dim; }
  Index condition_dim() const { return 1 + options_.vector_dim; }
  /// The column of c that says that there is no condition: [classes; 0].
  Vector<Scalar> null_condition() const;

  /// One contiguous vector: the layers as in VelocityMlp, then condition_embedding.weight [classes + 1, embedding_dim],
  /// row-major, whose last row is for no condition, and, if there is a vector, condition_null [vector_dim].
  Eigen::Map<Vector<Scalar>> parameters() { return net_.parameters(); }
  Eigen::Map<const Vector<Scalar>> parameters() const { return net_.parameters(); }
  void set_parameters(VectorIn<Scalar> values);
  const std::vector<ParameterBlock>& parameter_blocks() const { return net_.parameter_blocks(); }

  /// v = v(x, t, c) for one tile of n columns; x, v: dim x n, t: n, c: 1 + vector_dim x n. Allocates only when n
  /// exceeds what the workspace has seen.
  void forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v,
               Workspace& workspace) const;

  /// gradient += (dv/dparameters)' dv for the tile that forward saw last.
  void backward(MatrixIn<Scalar> dv, Workspace& workspace, VectorRef<Scalar> gradient) const;

  /// dv = (dv/dx) dx and dx = (dv/dx)' dv, as in VelocityMlp.
  void jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dv, Workspace& workspace) const;
  void vjp(MatrixIn<Scalar> dv, MatrixRef<Scalar> dx, Workspace& workspace) const;

  /// v(x, t, c) for any number of columns, when a look at the field is wanted, as in VelocityMlp.
  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v) const;

 private:
  ConditionalVelocityMlpOptions options_;
  detail::EmbeddingShape shape_;
  VelocityMlp<Scalar> net_;
  Index table_;  // where the embedding's numbers start among the parameters
};

template <Real ScalarType>
ConditionalVelocityMlp<ScalarType>::ConditionalVelocityMlp(ConditionalVelocityMlpOptions options, Rng& rng)
    : options_(std::move(options)),
      shape_(detail::embedding_shape(options_)),
      net_(detail::velocity_options(options_), rng, detail::embedding_blocks(options_)),
      table_(net_.parameters().size() - shape_.table_size() - shape_.vector_dim) {
  fill_normal(rng, std::span(net_.parameters().data() + table_, std::size_t(shape_.table_size())));
}

template <Real ScalarType> Vector<ScalarType> ConditionalVelocityMlp<ScalarType>::null_condition() const {
  return Scalar(options_.classes) * Vector<Scalar>::Unit(condition_dim(), 0);
}

template <Real ScalarType> void ConditionalVelocityMlp<ScalarType>::set_parameters(VectorIn<Scalar> values) {
  net_.set_parameters(values);
}

template <Real ScalarType>
void ConditionalVelocityMlp<ScalarType>::forward(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                                 MatrixRef<Scalar> v, Workspace& workspace) const {
  constexpr auto where = "ConditionalVelocityMlp::forward";
  const Index n = x.cols(), rows = shape_.rows();
  detail::check_shape(where, "c", c, condition_dim(), n);
  if (workspace.e.rows() != rows || workspace.e.cols() < n) {
    const Index most = std::max(n, workspace.e.cols());
    workspace.e.resize(rows, most);
    workspace.de.resize(rows, most);
    workspace.labels.resize(std::size_t(most));
  }
  for (Index j = 0; j < n; ++j) {
    const Index label = detail::label_of(where, c(0, j), options_.classes, j);
    detail::embed(shape_, net_.parameters().data() + table_, label, c.col(j).data(), &workspace.e(0, j));
    workspace.labels[std::size_t(j)] = label;
  }
  net_.forward(x, t, workspace.e.leftCols(n), v, workspace.net);
}

template <Real ScalarType>
void ConditionalVelocityMlp<ScalarType>::backward(MatrixIn<Scalar> dv, Workspace& workspace,
                                                  VectorRef<Scalar> gradient) const {
  net_.backward(dv, workspace.net, gradient);
  net_.condition_gradient(workspace.de.leftCols(dv.cols()), workspace.net);
  for (Index j = 0; j < dv.cols(); ++j)
    detail::embed_backward(shape_, workspace.labels[std::size_t(j)], &workspace.de(0, j), gradient.data() + table_);
}

template <Real ScalarType>
void ConditionalVelocityMlp<ScalarType>::jvp(MatrixIn<Scalar> dx, MatrixRef<Scalar> dv, Workspace& workspace) const {
  net_.jvp(dx, dv, workspace.net);
}

template <Real ScalarType>
void ConditionalVelocityMlp<ScalarType>::vjp(MatrixIn<Scalar> dv, MatrixRef<Scalar> dx, Workspace& workspace) const {
  net_.vjp(dv, dx, workspace.net);
}

template <Real ScalarType>
void ConditionalVelocityMlp<ScalarType>::operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c,
                                                    MatrixRef<Scalar> v) const {
  detail::forward_in_tiles("ConditionalVelocityMlp", *this, x, t, c, v);
}

/// As VelocityMlp::OneSample.
template <Real ScalarType> class ConditionalVelocityMlp<ScalarType>::OneSample {
 public:
  explicit OneSample(const ConditionalVelocityMlp& field);

  void update(const ConditionalVelocityMlp& field);

  void operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t, MatrixIn<Scalar> c, MatrixRef<Scalar> v);

 private:
  detail::EmbeddingShape shape_;
  typename VelocityMlp<Scalar>::OneSample net_;
  Matrix<Scalar> e_;
  Vector<Scalar> embedding_;
};

template <Real ScalarType>
ConditionalVelocityMlp<ScalarType>::OneSample::OneSample(const ConditionalVelocityMlp& field)
    : shape_(field.shape_),
      net_(field.net_),
      e_(shape_.rows(), 1),
      embedding_(shape_.table_size() + shape_.vector_dim) {
  update(field);
}

template <Real ScalarType>
void ConditionalVelocityMlp<ScalarType>::OneSample::update(const ConditionalVelocityMlp& field) {
  net_.update(field.net_);
  embedding_ = field.parameters().tail(embedding_.size());
}

template <Real ScalarType>
void ConditionalVelocityMlp<ScalarType>::OneSample::operator()(MatrixIn<Scalar> x, RowVectorIn<Scalar> t,
                                                               MatrixIn<Scalar> c, MatrixRef<Scalar> v) {
  constexpr auto where = "ConditionalVelocityMlp::OneSample";
  detail::check_shape(where, "c", c, 1 + shape_.vector_dim, 1);
  const Index label = detail::label_of(where, c(0, 0), shape_.classes, 0);
  detail::embed(shape_, embedding_.data(), label, c.data(), e_.data());
  net_(x, t, e_, v);
}

}
}
