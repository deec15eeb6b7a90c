// SPDX-License-Identifier: MIT
// A trained field together with the units of its data: what is kept, and sampled in those units.
#pragma once

#include <string>

#include "flowmatch/data/normalizer.hpp"
#include "flowmatch/field/velocity_mlp.hpp"
#include "flowmatch/sample/sample.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// A net that was trained on normalizer(data) and condition_normalizer(conditions). A value with plain members. The net
/// is any field: VelocityMlp, or ConditionalVelocityMlp, whose label, the first row of c, the condition_normalizer must
/// leave as it is (mean 0 and scale 1 in that row).
template <ParametricField Net = VelocityMlp<float>> struct FlowModel {
  using Scalar = typename Net::Scalar;

  Net net;
  Normalizer<Scalar> normalizer;            ///< to net.dim() rows
  Normalizer<Scalar> condition_normalizer;  ///< to net.condition_dim() rows
  std::string path;                         ///< that it was trained on, as description(path) names it; empty: not told

  /// Throws std::invalid_argument if a normalizer gives another number of rows than the net takes.
  FlowModel(Net field, Normalizer<Scalar> of_data, Normalizer<Scalar> of_conditions = {}, std::string path_ = {})
      : net(std::move(field)),
        normalizer(std::move(of_data)),
        condition_normalizer(std::move(of_conditions)),
        path(std::move(path_)) {
    check("FlowModel");
  }

  /// The same for members that have been set since.
  void check(const char* where) const {
    detail::check_rows(where, "normalizer(x)", normalizer.normalized_dim(), net.dim());
    detail::check_rows(where, "condition_normalizer(c)", condition_normalizer.normalized_dim(), net.condition_dim());
  }
};

/// n samples in the units of the data, model.normalizer.dim() x n: normalizer.inverse(sample(net, ...)), to the bit.
/// Throws as sample of a field does, and std::invalid_argument if a normalizer does not fit the net.
template <class Net, Solver S>
Matrix<typename Net::Scalar> sample(const FlowModel<Net>& model, Index n, Rng& rng, const S& solver,
                                    const OdeOptions& options = {}) {
  detail::check_at_least("sample", "n", n, 0);
  return sample(model, Matrix<typename Net::Scalar>(0, n), rng, solver, options);
}

/// One sample for each condition, a column of c in its own units.
template <class Net, Solver S>
Matrix<typename Net::Scalar> sample(const FlowModel<Net>& model, MatrixIn<typename Net::Scalar> c, Rng& rng,
                                    const S& solver, const OdeOptions& options = {}) {
  model.check("sample");
  detail::check_rows("sample", "c", c.rows(), model.condition_normalizer.dim());
  return model.normalizer.inverse(sample(model.net, model.condition_normalizer(c), rng, solver, options));
}

}
}
