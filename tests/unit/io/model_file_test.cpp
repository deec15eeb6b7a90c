// SPDX-License-Identifier: MIT
#include "flowmatch/io/model_file.hpp"

#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include "catch.hpp"
#include "support/files.hpp"
#include "support/message.hpp"
#include "support/safetensors.hpp"

namespace fm = flowmatch;
using test::Folder, test::read, test::write;

namespace {

template <class Scalar> fm::VelocityMlp<Scalar> make(const fm::VelocityMlpOptions& options) {
  fm::Rng rng(21);
  fm::VelocityMlp<Scalar> net(options, rng);
  auto p = net.parameters();
  p += fm::Vector<Scalar>::LinSpaced(p.size(), Scalar(-0.1), Scalar(0.1));  // also the zeros and ones of the start
  return net;
}

const fm::VelocityMlpOptions small = {.dim = 2, .hidden = {3}};

/// A saved small net as its parts, to be damaged.
template <class Scalar = float> fm::Safetensors saved(const fm::VelocityMlpOptions& options = small) {
  const Folder folder;
  fm::save(folder / "net", make<Scalar>(options));
  return fm::read_safetensors(folder / "net");
}

/// What loading such a file says, without "flowmatch: path: ". Any exception but std::runtime_error fails the test.
template <class Scalar = float> std::string complaint(const fm::Safetensors& file) {
  const Folder folder;
  const std::string path = folder / "net.safetensors", start = "flowmatch: " + path + ": ";
  test::write_safetensors(path, file);
  const std::string message = test::message_of<std::runtime_error>([&] { fm::load_velocity_mlp<Scalar>(path); });
  return message.starts_with(start) ? message.substr(start.size()) : message;
}

std::string& metadata(fm::Safetensors& file, const std::string& key) {
  for (auto& [k, value] : file.metadata)
    if (k == key) return value;
  FAIL("no metadata " << key);
  return file.metadata[0].second;
}

std::string complaint_with(const std::string& key, const std::string& value) {
  fm::Safetensors file = saved();
  metadata(file, key) = value;
  return complaint(file);
}

/// The file with its arrays in another order, the data moved along.
fm::Safetensors reordered(const fm::Safetensors& file, const std::vector<std::size_t>& order) {
  fm::Safetensors other;
  other.metadata = {file.metadata.rbegin(), file.metadata.rend()};
  for (const std::size_t i : order) {
    fm::TensorEntry tensor = file.tensors.at(i);
    const auto begin = file.data.begin() + std::ptrdiff_t(tensor.begin),
               end = file.data.begin() + std::ptrdiff_t(tensor.end);
    tensor.begin = other.data.size();
    other.data.insert(other.data.end(), begin, end);
    tensor.end = other.data.size();
    other.tensors.push_back(tensor);
  }
  return other;
}

const std::string wrong_tensors = "expected the tensors that the metadata describe";

}

TEMPLATE_TEST_CASE("a saved net comes back bit for bit, whatever its architecture", "[io]", float, double) {
  const std::vector<fm::VelocityMlpOptions> all = {
      {.dim = 2, .hidden = {64, 64, 64}},
      {.dim = 3, .hidden = {}},
      {.dim = 1, .condition_dim = 4, .hidden = {5, 7}, .activation = fm::Activation::gelu, .time_frequencies = 3},
      {.dim = 2, .hidden = {6, 6, 6}, .activation = fm::Activation::tanh, .residual = true},
      {.dim = 2,
       .condition_dim = 1,
       .hidden = {4},
       .activation = fm::Activation::relu,
       .residual = true,
       .time_frequencies = 8,
       .zero_output = true},
      {.dim = 2, .hidden = {3, 2}, .activation = fm::Activation::selu, .zero_output = true},
      {.dim = 2, .hidden = {3, 2}, .activation = fm::Activation::softplus}};
  for (const auto& options : all) {
    const Folder folder;
    const auto net = make<TestType>(options);
    fm::save(folder / "net", net);
    CHECK(folder.files() == 1);  // the part written beside is renamed
    const auto back = fm::load_velocity_mlp<TestType>(folder / "net");
    CHECK(back.options() == net.options());
    CHECK(back.parameters() == net.parameters());
    fm::Matrix<TestType> x = fm::Matrix<TestType>::Random(options.dim, 5), v(options.dim, 5), w(options.dim, 5);
    const fm::Matrix<TestType> c = fm::Matrix<TestType>::Random(options.condition_dim, 5);
    const fm::RowVector<TestType> t = fm::RowVector<TestType>::LinSpaced(5, 0, 1);
    net(x, t, c, v);
    back(x, t, c, w);
    CHECK(v == w);
    fm::save(folder / "again", back);
    CHECK(read(folder / "again") == read(folder / "net"));
  }
}

TEMPLATE_TEST_CASE("the file has the documented names, shapes and metadata", "[io]", float, double) {
  const Folder folder;
  const auto net = make<TestType>({.dim = 2, .condition_dim = 1, .hidden = {4, 4}, .residual = true});
  fm::save(folder / "net", net);
  const fm::Safetensors file = fm::read_safetensors(folder / "net");
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"kind", "velocity_mlp"}, {"dim", "2"},      {"condition_dim", "1"},    {"hidden", "4,4"},
      {"activation", "silu"},   {"residual", "1"}, {"time_frequencies", "0"}, {"zero_output", "0"}};
  CHECK(file.metadata == expected);
  const std::vector<std::string> names = {"layers.0.weight", "layers.0.bias", "norms.1.weight",  "norms.1.bias",
                                          "layers.1.weight", "layers.1.bias", "layers.2.weight", "layers.2.bias"};
  const std::vector<std::vector<fm::Index>> shapes = {{4, 4}, {4}, {4}, {4}, {4, 4}, {4}, {2, 4}, {2}};
  REQUIRE(file.tensors.size() == 8);
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(file.tensors[i].name == names[i]);
    CHECK(file.tensors[i].shape == shapes[i]);
    CHECK(file.tensors[i].dtype == (sizeof(TestType) == 4 ? "F32" : "F64"));
  }
  REQUIRE(file.data.size() == std::size_t(net.parameters().size()) * sizeof(TestType));
  CHECK(std::memcmp(file.data.data(), net.parameters().data(), file.data.size()) == 0);
}

TEMPLATE_TEST_CASE("the order of tensors and metadata in a file is free", "[io]", float, double) {
  const Folder folder;
  const fm::VelocityMlpOptions options = {.dim = 2, .hidden = {4, 4}, .residual = true};
  const fm::Safetensors file = saved<TestType>(options);
  REQUIRE(file.tensors.size() == 8);
  for (const std::vector<std::size_t>& order :
       {std::vector<std::size_t>{7, 6, 5, 4, 3, 2, 1, 0}, {1, 0, 5, 4, 7, 6, 3, 2}, {4, 0, 7, 1, 6, 2, 5, 3}}) {
    fm::write_safetensors(folder / "net", reordered(file, order));
    const auto net = fm::load_velocity_mlp<TestType>(folder / "net");
    CHECK(net.parameters() == make<TestType>(options).parameters());
    CHECK(net.options() == options);
  }
}

TEST_CASE("a file whose tensors are not those of its net is refused, and every fault is listed", "[io]") {
  const fm::Safetensors file = saved();  // layers.0.weight, layers.0.bias, layers.1.weight, layers.1.bias
  CHECK(complaint(reordered(file, {0, 1, 2})) == wrong_tensors + "; no tensor \"layers.1.bias\"");
  CHECK(complaint(reordered(file, {1, 3})) ==
        wrong_tensors + "; no tensor \"layers.0.weight\"; no tensor \"layers.1.weight\"");
  fm::Safetensors other = file;
  other.tensors.push_back({.name = "more", .dtype = "U8", .shape = {1}, .begin = 80, .end = 81});
  other.data.push_back('x');
  CHECK(other.data.size() == 81);
  CHECK(complaint(other) == wrong_tensors + "; unknown tensor \"more\"");
  other = file;
  other.tensors[1].name = "layers.0.bia";
  CHECK(complaint(other) == wrong_tensors + "; no tensor \"layers.0.bias\"; unknown tensor \"layers.0.bia\"");
  other = file;
  std::swap(other.tensors[0].shape[0], other.tensors[0].shape[1]);
  other.tensors[0].shape = {9};
  CHECK(complaint(other) == wrong_tensors + "; tensor \"layers.0.weight\" should be F32 [3,3], is F32 [9]");
  other = file;
  other.tensors[2].shape = {3, 2};
  CHECK(complaint(other) == wrong_tensors + "; tensor \"layers.1.weight\" should be F32 [2,3], is F32 [3,2]");
  other = file;
  other.tensors[3].dtype = "I32";
  CHECK(complaint(other) == wrong_tensors + "; tensor \"layers.1.bias\" should be F32 [2], is I32 [2]");
  other = file;
  other.tensors[1].name = "x";
  other.tensors[2].shape = {6};
  other.tensors[3].shape = {1, 2};
  CHECK(complaint(other) == wrong_tensors +
                                "; no tensor \"layers.0.bias\"; unknown tensor \"x\""
                                "; tensor \"layers.1.weight\" should be F32 [2,3], is F32 [6]"
                                "; tensor \"layers.1.bias\" should be F32 [2], is F32 [1,2]");
  other = file;
  other.tensors.clear();
  other.data.clear();
  CHECK(complaint(other).find(wrong_tensors + "; no tensor \"layers.0.weight\"; no tensor \"layers.0.bias\"") == 0);
}

TEST_CASE("a file of doubles does not load as floats, nor floats as doubles", "[io]") {
  CHECK(complaint<float>(saved<double>())
            .find(wrong_tensors + "; tensor \"layers.0.weight\" should be F32 [3,3], is F64 [3,3]") == 0);
  CHECK(complaint<double>(saved<float>())
            .find(wrong_tensors + "; tensor \"layers.0.weight\" should be F64 [3,3], is F32 [3,3]") == 0);
}

TEST_CASE("metadata that does not describe a net is refused, each with its fault", "[io]") {
  CHECK(complaint_with("kind", "autoencoder") == "expected \"velocity_mlp\" as metadata \"kind\", got \"autoencoder\"");
  const auto numbers = [](const std::string& key, const std::string& value) {
    return "expected up to 10000 whole numbers below 10^7 in metadata \"" + key + "\", got \"" + value + "\"";
  };
  for (const char* value : {"two", "-1", "2.0", " 2", "2 ", "12345678", "99999999999999999999", "2,", ",2", "0x2"})
    CHECK(complaint_with("dim", value) == numbers("dim", value));
  for (const char* value : {"3,,3", ",", "3;3", "3,-3", "3, 3"})
    CHECK(complaint_with("hidden", value) == numbers("hidden", value));
  CHECK(complaint_with("dim", "") == "expected one number in metadata \"dim\"");
  CHECK(complaint_with("dim", "2,2") == "expected one number in metadata \"dim\"");
  CHECK(complaint_with("residual", "2") == "expected 0 or 1 in metadata \"residual\", got 2");
  CHECK(complaint_with("zero_output", "true") == numbers("zero_output", "true"));
  CHECK(complaint_with("dim", "0") == "flowmatch: VelocityMlp: expected options.dim >= 1, got 0");
  CHECK(complaint_with("hidden", "0") == "flowmatch: Mlp: expected every width in options.hidden >= 1, got 0");
  CHECK(complaint_with("activation", "sigmoid").find("sigmoid") != std::string::npos);
  CHECK(complaint_with("dim", "3").find(wrong_tensors + "; tensor \"layers.0.weight\" should be F32 [3,4], is") == 0);
  CHECK(complaint_with("hidden", "3,3").find(wrong_tensors + "; no tensor \"layers.2.weight\"") == 0);

  fm::Safetensors file = saved({.dim = 2, .hidden = {3, 3}});
  metadata(file, "residual") = "1";
  CHECK(complaint(file) == wrong_tensors + "; no tensor \"norms.1.weight\"; no tensor \"norms.1.bias\"");
  metadata(file, "hidden") = "3,2";
  CHECK(complaint(file) == "flowmatch: Mlp: expected equal widths in options.hidden for a residual net, got 3 and 2");
  metadata(file, "hidden") = "";
  CHECK(complaint(file) ==
        "flowmatch: Mlp: expected at least one width in options.hidden for a residual net, got none");
  file = saved();
  file.metadata.emplace_back("author", "me");
  CHECK(complaint(file) == "unknown metadata \"author\"");
  for (std::size_t i = 0; i < 8; ++i) {
    file = saved();
    const std::string key = file.metadata[i].first;
    file.metadata.erase(file.metadata.begin() + std::ptrdiff_t(i));
    CHECK(complaint(file) == "expected \"" + key + "\" in the metadata, found none");
  }
  file = saved();
  file.metadata.clear();
  CHECK(complaint(file) == "expected \"kind\" in the metadata, found none");
}

TEST_CASE("sizes that metadata claims and the file does not hold take no memory", "[io]") {
  // 10^14 weights each: to make such a net would fail with std::bad_alloc, which complaint does not catch
  CHECK(complaint_with("hidden", "9999999,9999999")
            .find(wrong_tensors + "; no tensor \"layers.2.weight\"; no tensor \"layers.2.bias\"") == 0);
  CHECK(complaint_with("dim", "9999999").find(wrong_tensors) == 0);
  CHECK(complaint_with("condition_dim", "9999999").find(wrong_tensors) == 0);
  CHECK(complaint_with("time_frequencies", "9999999").find(wrong_tensors) == 0);
  std::string many = "9999999";
  for (int i = 1; i < 10001; ++i) many += ",9999999";
  CHECK(complaint_with("hidden", many).find("expected up to 10000 whole numbers below 10^7 in metadata") == 0);
  many.resize(many.size() - 8);
  CHECK(complaint_with("hidden", many).find(wrong_tensors) == 0);
}

TEMPLATE_TEST_CASE("weights that are not finite are refused", "[io]", float, double) {
  for (const TestType value : {std::numeric_limits<TestType>::quiet_NaN(), std::numeric_limits<TestType>::infinity()}) {
    fm::Safetensors file = saved<TestType>();
    std::memcpy(file.data.data() + 10 * sizeof(TestType), &value, sizeof value);
    CHECK(complaint<TestType>(file) ==
          fm::detail::concat({"tensor \"layers.0.bias\": expected finite numbers, got ", value, " at place 1"}));
  }
}

TEST_CASE("a net that could not be read again is not saved, and the old file stays", "[io]") {
  const Folder folder;
  const std::string path = folder / "net";
  fm::VelocityMlp<float> net = make<float>(small);
  fm::save(path, net);
  const std::string before = read(path);
  net.parameters()(2) = std::numeric_limits<float>::quiet_NaN();
  CHECK(test::message_of<std::invalid_argument>([&] { fm::save(path, net); }) ==
        "flowmatch: save: expected finite numbers in net.parameters(), got nan in row 2, column 0");
  fm::Rng rng(1);
  const fm::VelocityMlp<float> deep({.dim = 1, .hidden = std::vector<fm::Index>(10001, 1)}, rng);
  CHECK(test::message_of<std::runtime_error>([&] {
          fm::save(path, deep);
        }).find("flowmatch: " + path + ": expected up to 10000 whole numbers below 10^7 in metadata \"hidden\"") == 0);
  const fm::ConditionalVelocityMlp<float> wide(
      {.dim = 1, .classes = 10'000'000, .embedding_dim = 1, .vector_dim = 0, .hidden = {1}}, rng);
  CHECK(test::message_of<std::runtime_error>([&] {
          fm::save(path, wide);
        }).find("flowmatch: " + path + ": expected up to 10000 whole numbers below 10^7 in metadata \"classes\"") == 0);
  CHECK(read(path) == before);
  CHECK(folder.files() == 1);
}

TEMPLATE_TEST_CASE("every truncation of a net's file is refused", "[io]", float, double) {
  const Folder folder;
  const std::string path = folder / "net";
  fm::save(path, make<TestType>(small));
  const std::string whole = read(path);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write(path, whole.substr(0, n));
    CAPTURE(n);
    CHECK_THROWS_AS(fm::load_velocity_mlp<TestType>(path), std::runtime_error);
  }
  write(path, whole);
  CHECK_NOTHROW(fm::load_velocity_mlp<TestType>(path));
}

TEST_CASE("any one byte of a net's header may be any other: the file is refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "net";
  fm::save(path, make<float>(small));
  const std::string whole = read(path);
  int refused = 0, tried = 0;
  for (std::size_t i = 0; i < whole.size() - 80; ++i)  // 20 floats of data
    for (const char c : {'\0', '"', ',', '9', 'x'}) {
      std::string damaged = whole;
      if (whole[i] == c) continue;
      damaged[i] = c;
      write(path, damaged);
      ++tried;
      try {
        fm::load_velocity_mlp<float>(path);
      } catch (const std::runtime_error&) {
        ++refused;
      }
    }
  CHECK(refused == tried);  // each of its bytes has one meaning
}

TEST_CASE("a failed save leaves the old net, a failed load leaves the net that one has", "[io]") {
  const Folder folder;
  const std::string path = folder / "net", nowhere = folder / "no/folder/net";
  auto net = make<float>(small);
  fm::save(path, net);
  const std::string old = read(path);
  const auto saving = [&](const std::string& to) {
    try {
      fm::save(to, make<float>({.dim = 2, .hidden = {5}}));
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  CHECK(saving(nowhere) == "flowmatch: " + nowhere + ": cannot be written: No such file or directory");
  std::filesystem::create_directory(path + ".part");
  CHECK(saving(path) == "flowmatch: " + path + ": cannot be written: Is a directory");
  CHECK(read(path) == old);
  std::filesystem::remove(path + ".part");

  write(path, old.substr(0, old.size() - 1));
  const fm::Vector<float> before = net.parameters();
  CHECK_THROWS_AS(net = fm::load_velocity_mlp<float>(path), std::runtime_error);
  CHECK(net.parameters() == before);
  CHECK(saving(path) == "nothing thrown");
  CHECK(fm::load_velocity_mlp<float>(path).options().hidden == std::vector<fm::Index>{5});
}

TEMPLATE_TEST_CASE("a saved conditional net comes back bit for bit, under the documented names", "[io]", float,
                   double) {
  using Scalar = TestType;
  fm::Rng rng(22);
  for (const fm::Index vector_dim : {0, 3})
    for (const bool residual : {false, true}) {
      const Folder folder;
      const fm::ConditionalVelocityMlp<Scalar> net({.dim = 2,
                                                    .classes = 5,
                                                    .embedding_dim = 4,
                                                    .vector_dim = vector_dim,
                                                    .hidden = {6, 6},
                                                    .activation = fm::Activation::gelu,
                                                    .residual = residual,
                                                    .time_frequencies = 2},
                                                   rng);
      fm::save(folder / "net", net);
      const auto back = fm::load_conditional_velocity_mlp<Scalar>(folder / "net");
      CHECK(back.options() == net.options());
      CHECK(back.parameters() == net.parameters());
      const fm::Safetensors file = fm::read_safetensors(folder / "net");
      const std::size_t at = residual ? 8 : 6;  // layers, and their norms
      REQUIRE(file.tensors.size() == at + (vector_dim > 0 ? 2 : 1));
      CHECK(file.tensors[at].name == "condition_embedding.weight");
      CHECK(file.tensors[at].shape == std::vector<fm::Index>{6, 4});
      if (vector_dim > 0) CHECK(file.tensors[at + 1].name == "condition_null");
      if (vector_dim > 0) CHECK(file.tensors[at + 1].shape == std::vector<fm::Index>{3});
    }
}

TEST_CASE("a file of another kind, or of a conditional net that does not add up, is refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "net", start = "flowmatch: " + path + ": ";
  fm::Rng rng(23);
  fm::save(path, fm::ConditionalVelocityMlp<float>({.dim = 2, .classes = 2, .embedding_dim = 3, .vector_dim = 1}, rng));
  const fm::Safetensors file = fm::read_safetensors(path);
  const auto message = [&](const std::string& key, const std::string& value) {
    fm::Safetensors other = file;
    metadata(other, key) = value;
    fm::write_safetensors(path, other);
    try {
      fm::load_conditional_velocity_mlp(path);
    } catch (const std::runtime_error& error) {
      const std::string text = error.what();
      CHECK(text.find(start) == 0);
      return text.substr(start.size());
    }
    return std::string("nothing thrown");
  };
  CHECK(message("classes", "2") == "nothing thrown");
  CHECK(message("kind", "velocity_mlp").find("expected \"conditional_velocity_mlp\" as metadata \"kind\"") == 0);
  CHECK(message("classes", "3").find(wrong_tensors) == 0);
  CHECK(message("classes", "0") == "flowmatch: ConditionalVelocityMlp: expected options.classes in [1, 2^24], got 0");
  CHECK(message("embedding_dim", "4").find(wrong_tensors) == 0);
  CHECK(message("embedding_dim", "5") == "flowmatch: ConditionalVelocityMlp: expected options.vector_dim >= 0, got -1");
  CHECK(message("embedding_dim", "0") ==
        "flowmatch: ConditionalVelocityMlp: expected options.embedding_dim >= 1, got 0");
  CHECK(message("condition_dim", "9").find(wrong_tensors) == 0);
  fm::write_safetensors(path, file);
  CHECK_THROWS_AS(fm::load_velocity_mlp(path), std::runtime_error);
}
