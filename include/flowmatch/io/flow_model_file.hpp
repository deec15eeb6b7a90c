// SPDX-License-Identifier: MIT
// A FlowModel as one file: the net's tensors as net.layers.0.weight and so on, those of the normalizers beside them.
#pragma once

#include "flowmatch/io/model_file.hpp"
#include "flowmatch/sample/flow_model.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

namespace detail {

/// Appends the tensors of a normalizer from dim rows to that many components (0: none); none at all for no rows.
inline void append_normalizer_blocks(std::vector<ParameterBlock>& blocks, const std::string& name, Index dim,
                                     Index components) {
  const auto add = [&](const char* member, std::vector<Index> shape) {
    append_block(blocks, name + member, std::move(shape));
  };
  if (dim > 0) {
    add(".mean", {dim});
    add(".scale", {dim});
  }
  if (components > 0) {
    add(".components", {dim, components});  // row-major in the file: the matrix is its transpose
    add(".deviation", {components});
  }
}

/// All tensors of a model, as blocks of one vector.
template <class Options>
std::vector<ParameterBlock> flow_model_layout(const Options& options, Index dim, Index components, Index condition_dim,
                                              Index condition_components) {
  std::vector<ParameterBlock> blocks = layout(options);
  for (ParameterBlock& block : blocks) block.name = "net." + block.name;
  append_normalizer_blocks(blocks, "normalizer", dim, components);
  append_normalizer_blocks(blocks, "condition_normalizer", condition_dim, condition_components);
  return blocks;
}

/// Calls part(values) for each of the vectors of a model, in the order of flow_model_layout.
template <class Model, class Part> void for_each_part(Model& model, const Part& part) {
  part(model.net.parameters());
  for (auto* normalizer : {&model.normalizer, &model.condition_normalizer}) {
    part(normalizer->mean);
    part(normalizer->scale);
    part(normalizer->components.reshaped());
    part(normalizer->deviation);
  }
}

inline const char* model_kind(const VelocityMlpOptions&) { return "flow_model"; }
inline const char* model_kind(const ConditionalVelocityMlpOptions&) { return "conditional_flow_model"; }

template <class Net> void check_flow_model(const char* where, const FlowModel<Net>& model) {
  model.check(where);
  check_finite(where, "net.parameters()", model.net.parameters());
  check_normalizer(where, "normalizer", model.normalizer);
  check_normalizer(where, "condition_normalizer", model.condition_normalizer);
}

}

/// Writes net and normalizers; the file appears whole or not at all. Throws std::invalid_argument if the normalizers do
/// not fit the net or are none (see Normalizer) or a number is not finite, std::runtime_error with path and reason if
/// the file cannot be written or the net is too large to be read again.
template <detail::StoredNet Net> void save(const std::string& path, const FlowModel<Net>& model) {
  detail::check_flow_model("save", model);
  const auto& options = model.net.options();
  const auto &normalizer = model.normalizer, &of_conditions = model.condition_normalizer;
  const auto blocks = detail::flow_model_layout(options, normalizer.dim(), normalizer.components.rows(),
                                                of_conditions.dim(), of_conditions.components.rows());
  Vector<typename Net::Scalar> all(blocks.back().offset + blocks.back().size());
  Index at = 0;
  detail::for_each_part(model, [&](const auto& values) {
    all.segment(at, values.size()) = values;
    at += values.size();
  });
  Safetensors file = detail::file_of<typename Net::Scalar>(blocks, all);
  detail::add_architecture(file.metadata, path, detail::model_kind(options), options);
  detail::add_entry(file.metadata, "data_dim", normalizer.dim());
  detail::add_entry(file.metadata, "components", normalizer.components.rows());
  detail::add_entry(file.metadata, "data_condition_dim", of_conditions.dim());
  detail::add_entry(file.metadata, "condition_components", of_conditions.components.rows());
  if (!model.path.empty()) detail::add_entry(file.metadata, "path", model.path);
  write_safetensors(path, file);
}

/// Reads what save wrote, as strictly as load_velocity_mlp: nothing may be missing, unknown, of another shape, dtype or
/// range. Throws std::runtime_error that names file, tensor, expected and found.
template <detail::StoredNet Net = VelocityMlp<float>> FlowModel<Net> load_flow_model(const std::string& path) {
  using Scalar = typename Net::Scalar;
  const Safetensors file = read_safetensors(path);
  detail::Metadata metadata(file);
  Rng unused(0);
  return detail::reading(path, [&] {
    detail::OptionsOf<Net> options;
    metadata.expect("kind", detail::model_kind(options));
    detail::take(metadata, options);
    const Index dim = metadata.take_number("data_dim"), components = metadata.take_number("components"),
                condition_dim = metadata.take_number("data_condition_dim"),
                condition_components = metadata.take_number("condition_components");
    const std::string* trained_on = metadata.find("path");
    metadata.expect_empty();
    // Before memory is taken for the sizes in the metadata, as in load_velocity_mlp.
    const Vector<Scalar> all = detail::read_parameters<Scalar>(
        file, detail::flow_model_layout(options, dim, components, condition_dim, condition_components));
    const auto sized = [](Index rows, Index k) {
      Normalizer<Scalar> normalizer = Normalizer<Scalar>::identity(rows);
      normalizer.components.resize(k, rows);
      normalizer.deviation.resize(k);
      return normalizer;
    };
    FlowModel<Net> model{Net(options, unused), sized(dim, components), sized(condition_dim, condition_components),
                         trained_on ? *trained_on : ""};
    Index at = 0;
    detail::for_each_part(model, [&](auto&& values) {
      values = all.segment(at, values.size());
      at += values.size();
    });
    detail::check_flow_model("load_flow_model", model);
    return model;
  });
}

}
}
