// SPDX-License-Identifier: MIT
#include "flowmatch/io/state_dict.hpp"

#include <limits>

#include "catch.hpp"
#include "flowmatch/field/conditional_velocity_mlp.hpp"
#include "support/files.hpp"
#include "support/message.hpp"
#include "support/safetensors.hpp"

namespace fm = flowmatch;
using fm::Index;

namespace {

template <class Scalar = float> fm::VelocityMlp<Scalar> net_of(std::uint64_t seed, bool residual = false) {
  fm::Rng rng(seed);
  return {{.dim = 2, .hidden = {3, 3}, .residual = residual}, rng};
}

/// What PyTorch saves of a module: the tensors of the net under these names, without metadata of ours.
template <class Net> std::string state_dict(const Net& net, const std::vector<std::string>& names) {
  fm::Safetensors file = fm::detail::file_of<typename Net::Scalar>(net.parameter_blocks(), net.parameters());
  for (std::size_t i = 0; i < names.size(); ++i) file.tensors.at(i).name = names[i];
  return test::safetensors_bytes(fm::detail::header_text({{"format", "pt"}}, file.tensors),
                                 {file.data.begin(), file.data.end()});
}

const std::vector<std::string> sequential = {"net.0.weight", "net.0.bias",    "net.2.weight",
                                             "net.2.bias",   "net.10.weight", "net.10.bias"};

/// What loading this file into a net says, without "flowmatch: path: "; the net must then be as it was.
template <class Scalar = float> std::string complaint(const std::string& bytes, const fm::TensorNames& names = {}) {
  const test::Folder folder;
  test::write(folder / "f", bytes);
  auto net = net_of<Scalar>(1);
  const std::string message =
      test::message_of<std::runtime_error>([&] { fm::load_state_dict(folder / "f", net, names); });
  CHECK((message == "nothing thrown" || net.parameters() == net_of<Scalar>(1).parameters()));
  const std::string start = "flowmatch: " + (folder / "f") + ": ";
  return message.starts_with(start) ? message.substr(start.size()) : message;
}

const std::string not_this = "expected the tensors of this net";

}

TEMPLATE_TEST_CASE("weights under PyTorch's names load, by name or by number", "[io]", float, double) {
  const test::Folder folder;
  const auto source = net_of<TestType>(2);
  const std::vector<std::vector<std::string>> conventions = {
      {},  // the net's own: layers.0.weight and so on
      sequential,
      {"0.weight", "0.bias", "3.weight", "3.bias", "5.weight", "5.bias"},
      {"model.field.layer7.weight", "model.field.layer7.bias", "model.field.layer8.weight", "model.field.layer8.bias",
       "model.field.layer9.weight", "model.field.layer9.bias"}};
  for (const auto& names : conventions) {
    test::write(folder / "f", state_dict(source, names));
    auto net = net_of<TestType>(1);
    fm::load_state_dict(folder / "f", net);
    CHECK(net.parameters() == source.parameters());
  }
}

TEST_CASE("a map tells which tensor is which block", "[io]") {
  const std::string bytes =
      state_dict(net_of(2), {"in.weight", "in.bias", "layers.1.weight", "layers.1.bias", "out.weight", "out.bias"});
  const fm::TensorNames names = {{"layers.0.weight", "in.weight"},
                                 {"layers.0.bias", "in.bias"},
                                 {"layers.2.weight", "out.weight"},
                                 {"layers.2.bias", "out.bias"}};
  CHECK(complaint(bytes, names) == "nothing thrown");
  CHECK(complaint(bytes).find(not_this + "; no tensor \"layers.0.weight\"; no tensor \"layers.0.bias\"") == 0);
  CHECK(complaint(bytes, {names[0], names[1], names[2]}) ==
        not_this + "; no tensor \"layers.2.bias\"; unknown tensor \"out.bias\"");
  CHECK(complaint(bytes, {names[0], names[0], names[1], names[2], {"layers.2.bias", "in.bias"}}) ==
        not_this + "; unknown tensor \"out.bias\"; tensor \"in.bias\" should be F32, F64, F16 or BF16 [2], is F32 [3]");
  auto net = net_of(1);
  const test::Folder folder;
  test::write(folder / "f", bytes);
  CHECK(test::message_of<std::invalid_argument>([&] {
          fm::load_state_dict(folder / "f", net, {{"layers.3.bias", "in.bias"}});
        }) == "flowmatch: load_state_dict: expected names of the net's blocks, got \"layers.3.bias\"");
}

TEST_CASE("blocks with layer norm load in the order of their numbers, and by their names", "[io]") {
  const test::Folder folder;
  const auto source = net_of(2, true);
  std::vector<std::string> names;  // Linear, LayerNorm, Linear, Linear, with gaps
  for (const char* number : {"0", "1", "3", "6"})
    for (const char* parameter : {".weight", ".bias"}) names.push_back("blocks." + std::string(number) + parameter);
  REQUIRE(source.parameter_blocks().size() == names.size());
  for (const auto& convention : {std::vector<std::string>{}, names}) {
    test::write(folder / "f", state_dict(source, convention));
    auto net = net_of(1, true);
    fm::load_state_dict(folder / "f", net);
    CHECK(net.parameters() == source.parameters());
  }
}

TEST_CASE("what has no number in its name loads by name or map, beside layers by number", "[io]") {
  const test::Folder folder;
  const auto labelled = [](std::uint64_t seed) {
    fm::Rng rng(seed);
    fm::ConditionalVelocityMlp<float> net(
        {.dim = 2, .classes = 3, .embedding_dim = 4, .vector_dim = 2, .hidden = {3, 3}}, rng);
    net.parameters().tail(2).setConstant(float(seed));
    return net;
  };
  const auto source = labelled(2);
  const auto load = [&](std::vector<std::string> last, const fm::TensorNames& map) {
    std::vector<std::string> names = sequential;
    names.insert(names.end(), last.begin(), last.end());
    test::write(folder / "f", state_dict(source, names));
    auto net = labelled(1);
    fm::load_state_dict(folder / "f", net, map);
    return net.parameters() == source.parameters();
  };
  CHECK(load({"condition_embedding.weight", "condition_null"}, {}));
  const fm::TensorNames map = {{"condition_embedding.weight", "label.weight"}, {"condition_null", "nothing"}};
  CHECK(load({"label.weight", "nothing"}, map));
  CHECK(test::message_of<std::runtime_error>([&] {
          load({"label.weight", "nothing"}, {map[0]});
        }).find("no tensor \"layers.0.weight\"") != std::string::npos);
}

TEST_CASE("all that is missing, unknown or of another shape is in one error", "[io]") {
  auto names = sequential;
  names[3] = "net.2.scale";  // so these are no numbered modules, and their names are none of the net's
  CHECK(complaint(state_dict(net_of(2), names)) ==
        not_this +
            "; no tensor \"layers.0.weight\"; no tensor \"layers.0.bias\"; no tensor \"layers.1.weight\""
            "; no tensor \"layers.1.bias\"; no tensor \"layers.2.weight\"; no tensor \"layers.2.bias\""
            "; unknown tensor \"net.0.bias\"; unknown tensor \"net.0.weight\"; unknown tensor \"net.10.bias\""
            "; unknown tensor \"net.10.weight\"; unknown tensor \"net.2.scale\"; unknown tensor \"net.2.weight\"");
  fm::Rng rng(3);
  const fm::Mlp<float> shallow({.in = 3, .hidden = {4}, .out = 2}, rng),
      deep({.in = 3, .hidden = {3, 3, 2}, .out = 2}, rng);
  CHECK(complaint(state_dict(shallow, {"net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"})) ==
        not_this +
            "; no tensor for \"layers.2.weight\"; no tensor for \"layers.2.bias\""
            "; tensor \"net.0.weight\" should be F32, F64, F16 or BF16 [3,3], is F32 [4,3]"
            "; tensor \"net.0.bias\" should be F32, F64, F16 or BF16 [3], is F32 [4]"
            "; tensor \"net.2.weight\" should be F32, F64, F16 or BF16 [3,3], is F32 [2,4]"
            "; tensor \"net.2.bias\" should be F32, F64, F16 or BF16 [3], is F32 [2]");
  CHECK(complaint(state_dict(
            deep, {"a1.weight", "a1.bias", "a2.weight", "a2.bias", "a3.weight", "a3.bias", "a4.weight", "a4.bias"})) ==
        not_this + "; unknown tensor \"a4.bias\"; unknown tensor \"a4.weight\"");
  fm::Safetensors file = fm::detail::file_of<float>(net_of(2).parameter_blocks(), net_of(2).parameters());
  file.tensors[1].dtype = "I32";
  CHECK(complaint(fm::detail::serialized_header(file) + std::string(file.data.begin(), file.data.end())) ==
        not_this + "; tensor \"layers.0.bias\" should be F32, F64, F16 or BF16 [3], is I32 [3]");
  CHECK(complaint(test::safetensors_bytes("{}")).find(not_this + "; no tensor \"layers.0.weight\"; no tensor") == 0);
}

TEST_CASE("numbers of other widths are converted, and those that are not finite refused", "[io]") {
  const auto source = net_of<double>(2);
  const std::string doubles = state_dict(source, sequential);
  const test::Folder folder;
  test::write(folder / "f", doubles);
  auto net = net_of<float>(1);
  fm::load_state_dict(folder / "f", net);
  CHECK(net.parameters() == source.parameters().cast<float>());

  // every weight 0x3c00: 1 as F16, 0.0078125 as BF16
  fm::Safetensors file = fm::detail::file_of<float>(source.parameter_blocks(), net.parameters());
  file.data.clear();
  for (const char* dtype : {"F16", "BF16"}) {
    file.data.clear();
    for (fm::TensorEntry& tensor : file.tensors) {
      const std::uint64_t count =
          tensor.shape.size() == 2 ? std::uint64_t(tensor.shape[0] * tensor.shape[1]) : std::uint64_t(tensor.shape[0]);
      tensor.dtype = dtype;
      tensor.begin = file.data.size();
      tensor.end = tensor.begin + 2 * count;
      for (std::uint64_t i = 0; i < count; ++i) file.data.insert(file.data.end(), {'\0', '\x3c'});
    }
    test::write_safetensors(folder / "f", file);
    fm::load_state_dict(folder / "f", net);
    CHECK((net.parameters().array() == (std::string(dtype) == "F16" ? 1.0f : 0.0078125f)).all());
  }

  auto broken = net_of<double>(2);
  broken.parameters()(10) = std::numeric_limits<double>::infinity();
  CHECK(complaint(state_dict(broken, sequential)) ==
        "tensor \"net.0.bias\": expected finite numbers, got inf at place 1");
  broken.parameters()(10) = 1e300;  // infinite as float
  CHECK(complaint<float>(state_dict(broken, sequential)) ==
        "tensor \"net.0.bias\": expected finite numbers, got inf at place 1");
  CHECK(complaint<double>(state_dict(broken, sequential)) == "nothing thrown");
}
