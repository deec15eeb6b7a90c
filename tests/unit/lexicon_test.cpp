// SPDX-License-Identifier: MIT
// The words of the example `spell_to_sound`.
#include "../../examples/support/lexicon.hpp"

#include <filesystem>

#include "catch.hpp"

using Catch::Matchers::WithinAbs;

namespace {

std::string write(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::temp_directory_path() / ("flowmatch_" + name);
  std::ofstream(path) << text;
  return path.string();
}

const std::string further = write("variants.csv", "word,phonemes\nbowing,B AW IH NG\n");

std::string error_of(const std::string& text) {
  const std::string path = write("lexicon.csv", text);
  try {
    support::load_lexicon(path, further);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

}

TEST_CASE("the edit distance counts insertions, deletions and substitutions", "[examples]") {
  CHECK(support::edit_distance({}, {}) == 0);
  CHECK(support::edit_distance({"A", "B"}, {}) == 2);
  CHECK(support::edit_distance({"K", "AE", "T"}, {"K", "AA", "T"}) == 1);
  CHECK(support::edit_distance({"S", "T", "AA", "P"}, {"T", "AA", "P", "S"}) == 2);
}

TEST_CASE("a word is right if it is any of its pronunciations", "[examples]") {
  const auto lexicon = support::load_lexicon(
      write("lexicon.csv", "word,phonemes,split\ngolf,G AA L F,train\nbowing,B OW IH NG,test\nbaw,B AW IH NG,train\n"),
      further);
  REQUIRE(lexicon.test.size() == 1);
  Eigen::MatrixXi guess = support::pronunciations(lexicon, {{"bowing", {{"B", "AW", "IH", "NG"}}}});
  CHECK(support::score(lexicon, guess).right == 1);
  CHECK(support::within(lexicon, {guess}) == 1);
  guess(3, 0) = 0;  // NG is missing
  CHECK(support::score(lexicon, guess).right == 0);
  CHECK_THAT(support::score(lexicon, guess).errors, WithinAbs(0.25, 1e-12));
}

TEST_CASE("the consensus is the guess that is most like the others", "[examples]") {
  Eigen::MatrixXi a(2, 1), b(2, 1), c(2, 1);
  a << 1, 2;
  b << 1, 3;
  c << 4, 3;
  CHECK(support::consensus({a, b, c}) == b);
}

TEST_CASE("a lexicon that is wrong names file, line and what was expected", "[examples]") {
  const auto says = [](const std::string& text, const std::string& part) {
    return error_of(text).find(part) != std::string::npos;
  };
  CHECK(says("word,split\n", "flowmatch_lexicon.csv: line 1"));
  CHECK(says("word,phonemes,split\ngolf,G AA L F,train\nGolf,G,test\n", "line 3: expected a word"));
  CHECK(says("word,phonemes,split\ngolf,,train\n", "line 2: expected phonemes"));
  CHECK(says("word,phonemes,split\ngolf,G,perhaps\n", "line 2: expected train or test"));
  CHECK(says("word,phonemes,split\n", "expected words to train and test"));
}
