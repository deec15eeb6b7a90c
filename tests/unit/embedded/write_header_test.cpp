// SPDX-License-Identifier: MIT
// Nets as C++ headers. That they compile and answer with the same bits is the test consumer.static_net.
#include <cstdlib>
#include <flowmatch/embedded/write_header.hpp>
#include <limits>

#include "catch.hpp"
#include "support/files.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;

namespace {

/// The literals between the braces of name_parameters.
std::vector<double> parameters_in(const std::string& text) {
  std::vector<double> numbers;
  const std::string start = "_parameters = {";
  REQUIRE(text.find(start) != text.npos);
  for (std::size_t at = text.find(start) + start.size(); text[at] != '}';) {
    if (text[at] == '/') at = text.find('\n', at);
    if (text[at] == '-' || text[at] == '0') {
      const char* begin = text.c_str() + at;
      char* end = nullptr;
      numbers.push_back(std::strtod(begin, &end));
      at += std::size_t(end - begin);
    } else {
      ++at;
    }
  }
  return numbers;
}

}

TEMPLATE_TEST_CASE("a header holds every weight exactly, and says which is which", "[io]", float, double) {
  fm::Rng rng(1);
  fm::VelocityMlp<TestType> net({.dim = 2, .condition_dim = 1, .hidden = {5, 5}, .residual = true}, rng);
  net.parameters().head(4) << std::numeric_limits<TestType>::denorm_min(), -std::numeric_limits<TestType>::max(),
      TestType(-0.0), TestType(0.1);
  const test::Folder folder;
  fm::write_header(folder / "policy.hpp", net, "policy");
  const std::string text = test::read(folder / "policy.hpp");
  const std::vector<double> numbers = parameters_in(text);
  REQUIRE(fm::Index(numbers.size()) == net.parameters().size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    CHECK(numbers[i] == double(net.parameters()(fm::Index(i))));
    CHECK(std::signbit(numbers[i]) == std::signbit(net.parameters()(fm::Index(i))));
  }
  for (const fm::ParameterBlock& block : net.parameter_blocks())
    CHECK(text.find("// " + block.name + " [") != text.npos);
  CHECK(text.find(".hidden = {5, 5}, .activation = flowmatch::Activation::silu, .residual = true") != text.npos);
  CHECK(folder.files() == 1);
}

TEST_CASE("the name of a net in a header is one that a variable may have", "[io]") {
  fm::Rng rng(1);
  const fm::VelocityMlp net({.dim = 1, .hidden = {2}}, rng);
  const test::Folder folder;
  for (const char* name : {"policy", "a", "net_2", "Policy_"})
    CHECK_NOTHROW(fm::write_header(folder / "a.hpp", net, name));
  for (const char* name :
       {"", "2net", "my net", "a-b", "a;int b", "_a", "a__b", "class", "xor_eq", "co_await", "n\xc3\xa4"})
    CHECK(test::message_of<std::invalid_argument>([&] { fm::write_header(folder / "b.hpp", net, name); }) ==
          "flowmatch: write_header: expected a name that a variable may have, got \"" + std::string(name) + '"');
  CHECK(folder.files() == 1);
}

TEST_CASE("a header that cannot be written leaves the old file as it was", "[io]") {
  fm::Rng rng(1);
  fm::VelocityMlp net({.dim = 1, .hidden = {2}}, rng);
  const test::Folder folder;
  fm::write_header(folder / "a.hpp", net, "a");
  const std::string before = test::read(folder / "a.hpp");
  net.parameters()(3) = std::numeric_limits<float>::quiet_NaN();
  CHECK(test::message_of<std::invalid_argument>([&] { fm::write_header(folder / "a.hpp", net, "a"); }) ==
        "flowmatch: write_header: expected finite numbers in net.parameters(), got nan in row 3, column 0");
  const fm::VelocityMlp deep({.dim = 1, .hidden = std::vector<fm::Index>(17, 1)}, rng);
  CHECK(test::message_of<std::invalid_argument>([&] { fm::write_header(folder / "a.hpp", deep, "a"); }) ==
        "flowmatch: write_header: expected at most 16 hidden layers, got 17");
  CHECK(test::read(folder / "a.hpp") == before);
  net.parameters()(3) = 0;
  CHECK(test::message_of<std::runtime_error>([&] { fm::write_header(folder / "no/a.hpp", net, "a"); }) ==
        "flowmatch: " + (folder / "no/a.hpp") + ": cannot be written: No such file or directory");
}
