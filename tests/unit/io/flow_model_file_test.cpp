// SPDX-License-Identifier: MIT
#include "flowmatch/io/flow_model_file.hpp"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "flowmatch/data/whitening.hpp"
#include "support/files.hpp"
#include "support/message.hpp"
#include "support/random.hpp"
#include "support/safetensors.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

/// Normalizers of d rows: as they are, standardised, and whitened to k components.
template <class Scalar> fm::Normalizer<Scalar> standard(Index d) {
  fm::Rng rng(1);
  return fm::Normalizer((10 * test::normal<Scalar>(rng, d, 50)).eval());
}
template <class Scalar> fm::Normalizer<Scalar> whitened(Index d, Index k) {
  fm::Rng rng(2);
  return fm::whitening((10 * test::normal<Scalar>(rng, d, 50)).eval(), k);
}

template <class Scalar> fm::VelocityMlp<Scalar> net_of(Index dim, Index condition_dim) {
  fm::Rng rng(3);
  return {{.dim = dim, .condition_dim = condition_dim, .hidden = {3}}, rng};
}

/// A model of 3 rows and conditions of 2, whose net sees 2 and 1.
template <class Scalar> fm::FlowModel<fm::VelocityMlp<Scalar>> steered() {
  return {net_of<Scalar>(2, 1), whitened<Scalar>(3, 2), whitened<Scalar>(2, 1)};
}

template <class Scalar> bool same(const fm::Normalizer<Scalar>& a, const fm::Normalizer<Scalar>& b) {
  return a.mean == b.mean && a.scale == b.scale && a.components.rows() == b.components.rows() &&
         (a.components.rows() == 0 || a.components == b.components) && a.deviation == b.deviation;
}

/// That model's file as its parts, to be damaged.
template <class Scalar = float> fm::Safetensors saved() {
  const test::Folder folder;
  fm::save(folder / "model", steered<Scalar>());
  return fm::read_safetensors(folder / "model");
}

/// What loading such a file says, without "flowmatch: path: ". Any exception but std::runtime_error fails the test.
template <class Scalar = float> std::string complaint(const fm::Safetensors& file) {
  const test::Folder folder;
  const std::string path = folder / "model", start = "flowmatch: " + path + ": ";
  test::write_safetensors(path, file);
  const std::string message =
      test::message_of<std::runtime_error>([&] { fm::load_flow_model<fm::VelocityMlp<Scalar>>(path); });
  REQUIRE(message.compare(0, start.size(), start) == 0);
  return message.substr(start.size());
}

std::size_t place_of(const fm::Safetensors& file, const std::string& name) {
  for (std::size_t i = 0; i < file.tensors.size(); ++i)
    if (file.tensors[i].name == name) return i;
  FAIL("no tensor " << name);
  return 0;
}

/// The same file, but for one number of a tensor.
template <class Scalar> std::string complaint_with(const std::string& name, std::size_t entry, Scalar value) {
  fm::Safetensors file = saved<Scalar>();
  std::memcpy(file.data.data() + file.tensors[place_of(file, name)].begin + entry * sizeof(Scalar), &value,
              sizeof value);
  return complaint<Scalar>(file);
}

const std::string wrong_tensors = "expected the tensors that the metadata describe";

}

TEMPLATE_TEST_CASE("a saved model comes back bit for bit, whatever its normalizers", "[io]", float, double) {
  using N = fm::Normalizer<TestType>;
  fm::Matrix<TestType> constant = fm::Matrix<TestType>::Constant(2, 5, TestType(0.1));
  const std::vector<fm::FlowModel<fm::VelocityMlp<TestType>>> models = {
      {net_of<TestType>(2, 0), standard<TestType>(2)},
      {net_of<TestType>(2, 0), N::identity(2)},
      {net_of<TestType>(2, 0), N(constant)},
      {net_of<TestType>(2, 3), standard<TestType>(2), N::identity(3)},
      {net_of<TestType>(2, 1), standard<TestType>(2), whitened<TestType>(4, 1)},
      {net_of<TestType>(4, 0), whitened<TestType>(4, 4)},
      steered<TestType>()};
  for (const auto& model : models) {
    const test::Folder folder;
    fm::save(folder / "model", model);
    CHECK(folder.files() == 1);  // the part written beside is renamed
    const auto back = fm::load_flow_model<fm::VelocityMlp<TestType>>(folder / "model");
    CHECK(back.net.options() == model.net.options());
    CHECK(back.net.parameters() == model.net.parameters());
    CHECK(same(back.normalizer, model.normalizer));
    CHECK(same(back.condition_normalizer, model.condition_normalizer));
    fm::save(folder / "again", back);
    CHECK(test::read(folder / "again") == test::read(folder / "model"));
    fm::Rng a(1), b(1);
    const fm::Matrix<TestType> c = fm::Matrix<TestType>::Random(model.condition_normalizer.dim(), 9);
    CHECK(fm::sample(back, c, a, fm::Euler{}, {.steps = 2}) == fm::sample(model, c, b, fm::Euler{}, {.steps = 2}));
  }
}

TEMPLATE_TEST_CASE("a model of a conditional net comes back bit for bit, with its table and its path", "[io]", float,
                   double) {
  using Net = fm::ConditionalVelocityMlp<TestType>;
  fm::Rng rng(4);
  auto of_conditions = fm::Normalizer<TestType>::identity(3);  // the label stays as it is
  of_conditions.mean << 0, 5, -1;
  of_conditions.scale << 1, 2, 3;
  const fm::FlowModel model(Net({.dim = 2, .classes = 4, .embedding_dim = 3, .vector_dim = 2, .hidden = {5}}, rng),
                            standard<TestType>(2), of_conditions, "linear");
  const test::Folder folder;
  fm::save(folder / "model", model);
  const auto back = fm::load_flow_model<Net>(folder / "model");
  CHECK(back.net.options() == model.net.options());
  CHECK(back.net.parameters() == model.net.parameters());
  CHECK(same(back.normalizer, model.normalizer));
  CHECK(same(back.condition_normalizer, model.condition_normalizer));
  CHECK(back.path == "linear");
  fm::Rng a(1), b(1);
  fm::Matrix<TestType> c = fm::Matrix<TestType>::Random(3, 9);
  for (Index j = 0; j < 9; ++j) c(0, j) = TestType(j % 5);  // 4: no condition
  CHECK(fm::sample(back, c, a, fm::Heun{}, {.steps = 2}) == fm::sample(model, c, b, fm::Heun{}, {.steps = 2}));

  const fm::Safetensors file = fm::read_safetensors(folder / "model");
  CHECK(file.metadata.front().second == "conditional_flow_model");
  CHECK(file.metadata.back() == std::pair<std::string, std::string>("path", "linear"));
  CHECK(file.tensor("net.condition_embedding.weight").shape == std::vector<Index>{5, 3});
  CHECK(file.tensor("net.condition_null").shape == std::vector<Index>{2});
  CHECK(test::message_of<std::runtime_error>([&] {
          fm::load_flow_model(folder / "model");
        }).ends_with("expected \"flow_model\" as metadata \"kind\", got \"conditional_flow_model\""));
}

TEMPLATE_TEST_CASE("a model's file has the documented names, shapes and metadata", "[io]", float, double) {
  const fm::Safetensors file = saved<TestType>();
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"kind", "flow_model"}, {"dim", "2"},        {"condition_dim", "1"},      {"hidden", "3"},
      {"activation", "silu"}, {"residual", "0"},   {"time_frequencies", "0"},   {"zero_output", "0"},
      {"data_dim", "3"},      {"components", "2"}, {"data_condition_dim", "2"}, {"condition_components", "1"}};
  CHECK(file.metadata == expected);
  const std::vector<std::string> names = {"net.layers.0.weight",
                                          "net.layers.0.bias",
                                          "net.layers.1.weight",
                                          "net.layers.1.bias",
                                          "normalizer.mean",
                                          "normalizer.scale",
                                          "normalizer.components",
                                          "normalizer.deviation",
                                          "condition_normalizer.mean",
                                          "condition_normalizer.scale",
                                          "condition_normalizer.components",
                                          "condition_normalizer.deviation"};
  const std::vector<std::vector<Index>> shapes = {{3, 4}, {3}, {2, 3}, {2}, {3},    {3},
                                                  {3, 2}, {2}, {2},    {2}, {2, 1}, {1}};
  REQUIRE(file.tensors.size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    CHECK(file.tensors[i].name == names[i]);
    CHECK(file.tensors[i].shape == shapes[i]);
    CHECK(file.tensors[i].dtype == (sizeof(TestType) == 4 ? "F32" : "F64"));
  }
  // components [dim, k], row-major as NumPy reads it: entry (1, 0) is the second row's share of the first component
  TestType entry;
  std::memcpy(&entry, file.data.data() + file.tensors[6].begin + 2 * sizeof(TestType), sizeof entry);
  CHECK(entry == steered<TestType>().normalizer.components(0, 1));
}

TEST_CASE("a model's file lacks, adds and changes no tensor unnoticed", "[io]") {
  const fm::Safetensors whole = saved();
  for (const fm::TensorEntry& tensor : whole.tensors) {
    CAPTURE(tensor.name);
    fm::Safetensors file = whole;
    fm::TensorEntry& changed = file.tensors[place_of(file, tensor.name)];
    changed.name = "x";
    CHECK(complaint(file) == wrong_tensors + "; no tensor \"" + tensor.name + "\"; unknown tensor \"x\"");
    changed = tensor;
    changed.shape.insert(changed.shape.begin(), 1);
    const std::string shape = fm::detail::comma_separated(tensor.shape);
    CHECK(complaint(file) ==
          wrong_tensors + "; tensor \"" + tensor.name + "\" should be F32 [" + shape + "], is F32 [1," + shape + "]");
    changed = tensor;
    changed.dtype = "I32";
    CHECK(complaint(file) ==
          wrong_tensors + "; tensor \"" + tensor.name + "\" should be F32 [" + shape + "], is I32 [" + shape + "]");
  }
  fm::Safetensors file = whole;
  file.tensors.push_back(
      {.name = "more", .dtype = "U8", .shape = {0}, .begin = file.data.size(), .end = file.data.size()});
  CHECK(complaint(file) == wrong_tensors + "; unknown tensor \"more\"");
  CHECK(complaint<double>(whole).find(wrong_tensors +
                                      "; tensor \"net.layers.0.weight\" should be F64 [3,4], is F32 [3,4]") == 0);
}

TEST_CASE("metadata that does not describe a model is refused, each with its fault", "[io]") {
  const auto with = [](const std::string& key, const std::string& value) {
    fm::Safetensors file = saved();
    for (auto& [k, v] : file.metadata)
      if (k == key) v = value;
    return complaint(file);
  };
  CHECK(with("kind", "velocity_mlp") == "expected \"flow_model\" as metadata \"kind\", got \"velocity_mlp\"");
  CHECK(with("data_dim", "4").find(wrong_tensors + "; tensor \"normalizer.mean\" should be F32 [4], is F32 [3]") == 0);
  CHECK(with("data_dim", "0") == wrong_tensors +
                                     "; unknown tensor \"normalizer.mean\"; unknown tensor \"normalizer.scale\""
                                     "; tensor \"normalizer.components\" should be F32 [0,2], is F32 [3,2]");
  CHECK(with("components", "0") == wrong_tensors +
                                       "; unknown tensor \"normalizer.components\""
                                       "; unknown tensor \"normalizer.deviation\"");
  CHECK(with("components", "two").find("expected up to 10000 whole numbers below 10^7 in metadata \"components\"") ==
        0);
  CHECK(with("data_condition_dim", "1,2") == "expected one number in metadata \"data_condition_dim\"");
  // 10^14 numbers: to make them would fail with std::bad_alloc, which complaint does not catch
  fm::Safetensors huge = saved();
  for (auto& [key, value] : huge.metadata)
    if (key == "data_dim" || key == "components") value = "9999999";
  CHECK(complaint(huge).find(wrong_tensors + "; tensor \"normalizer.mean\" should be F32 [9999999], is F32 [3]") == 0);
  for (std::size_t i = 0; i < saved().metadata.size(); ++i) {
    fm::Safetensors file = saved();
    const std::string key = file.metadata[i].first;
    file.metadata.erase(file.metadata.begin() + std::ptrdiff_t(i));
    CHECK(complaint(file) == "expected \"" + key + "\" in the metadata, found none");
  }
  fm::Safetensors file = saved();
  file.metadata.emplace_back("author", "me");
  CHECK(complaint(file) == "unknown metadata \"author\"");
}

TEST_CASE("a net's file is no model's, nor a model's a net's", "[io]") {
  const test::Folder folder;
  const std::string path = folder / "file", start = "flowmatch: " + path + ": ";
  fm::save(path, net_of<float>(2, 0));
  CHECK(test::message_of<std::runtime_error>([&] { fm::load_flow_model(path); }) ==
        start + "expected \"flow_model\" as metadata \"kind\", got \"velocity_mlp\"");
  fm::save(path, steered<float>());
  CHECK(test::message_of<std::runtime_error>([&] { fm::load_velocity_mlp(path); }) ==
        start + "expected \"velocity_mlp\" as metadata \"kind\", got \"flow_model\"");
}

TEMPLATE_TEST_CASE("numbers that no model has are refused with their place", "[io]", float, double) {
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN(), inf = std::numeric_limits<TestType>::infinity();
  const std::string start = "flowmatch: load_flow_model: expected ";
  const auto with = complaint_with<TestType>;
  const auto not_finite = [](const char* name, const char* value, int place) {
    return fm::detail::concat({"tensor \"", name, "\": expected finite numbers, got ", value, " at place ", place});
  };
  for (const char* name : {"net.layers.1.bias", "normalizer.mean", "normalizer.scale", "condition_normalizer.scale",
                           "condition_normalizer.components"}) {
    CHECK(with(name, 1, nan) == not_finite(name, "nan", 1));
    CHECK(with(name, 0, -inf) == not_finite(name, "-inf", 0));
  }
  CHECK(with("normalizer.scale", 1, -1) == start + "normalizer.scale of row 1 >= 0, got -1");
  CHECK(with("normalizer.deviation", 1, 0) == start + "normalizer.deviation of component 1 > 0, got 0");
  CHECK(with("normalizer.components", 3, TestType(2)).find(start + "orthonormal rows in normalizer.components, got ") ==
        0);
  CHECK(with("condition_normalizer.components", 0, TestType(0.1))
            .find(start + "orthonormal rows in condition_normalizer.components, got ") == 0);
}

TEMPLATE_TEST_CASE("a model that could not be loaded again is not saved", "[io]", float, double) {
  const test::Folder folder;
  const auto saving = [&](const fm::FlowModel<fm::VelocityMlp<TestType>>& model) {
    return test::message_of<std::invalid_argument>([&] { fm::save(folder / "model", model); });
  };
  fm::FlowModel<fm::VelocityMlp<TestType>> model = steered<TestType>();
  model.normalizer = standard<TestType>(3);
  CHECK(saving(model) == "flowmatch: save: expected 2 rows in normalizer(x), got 3");
  model = steered<TestType>();
  model.condition_normalizer = {};
  CHECK(saving(model) == "flowmatch: save: expected 1 rows in condition_normalizer(c), got 0");
  model = steered<TestType>();
  model.normalizer.scale(2) = -1;
  CHECK(saving(model) == "flowmatch: save: expected normalizer.scale of row 2 >= 0, got -1");
  model.net.parameters()(4) = std::numeric_limits<TestType>::infinity();
  model.normalizer.scale(2) = 1;
  CHECK(saving(model) == "flowmatch: save: expected finite numbers in net.parameters(), got inf in row 4, column 0");
  model = steered<TestType>();
  model.normalizer.scale.resize(2);
  CHECK(saving(model) == "flowmatch: save: expected 3 entries in normalizer.scale, got 2");
  model = steered<TestType>();
  model.normalizer.components.row(0).swap(model.normalizer.components.row(1));
  CHECK(saving(model) == "nothing thrown");  // another order is another model, not a mistake
  model.normalizer.components.row(0) = model.normalizer.components.row(1);
  CHECK(saving(model).find("flowmatch: save: expected orthonormal rows in normalizer.components, got 1 as product of "
                           "rows 0 and 1") == 0);
  model.normalizer.components.resize(2, 2);
  CHECK(saving(model) == "flowmatch: save: expected 3 columns in normalizer.components, got 2");
  CHECK(folder.files() == 1);
}

TEST_CASE("every truncation of a model's file is refused, and leaves the model that one has", "[io]") {
  const test::Folder folder;
  const std::string path = folder / "model";
  fm::FlowModel model = steered<float>();
  fm::save(path, model);
  const std::string whole = test::read(path);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    test::write(path, whole.substr(0, n));
    CAPTURE(n);
    CHECK_THROWS_AS(model = fm::load_flow_model(path), std::runtime_error);
  }
  CHECK(model.net.parameters() == steered<float>().net.parameters());
  CHECK(same(model.normalizer, steered<float>().normalizer));
  test::write(path, whole);
  CHECK_NOTHROW(model = fm::load_flow_model(path));
}
