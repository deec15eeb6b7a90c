// SPDX-License-Identifier: MIT
// Texts of the repository, for the tests that hold documents and code together.
#pragma once

#include <cctype>
#include <fstream>
#include <sstream>
#include <string>

#include "catch.hpp"

namespace test {

/// A file of the repository, by its name from the top.
inline std::string read_source(const std::string& name) {
  std::ifstream in(std::string(FLOWMATCH_SOURCE_DIR) + "/" + name);
  REQUIRE(in);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Without blanks, so that line breaks do not matter.
inline std::string squeezed(const std::string& text) {
  std::string kept;
  for (char c : text)
    if (!std::isspace(static_cast<unsigned char>(c))) kept += c;
  return kept;
}

}
