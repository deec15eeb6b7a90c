// SPDX-License-Identifier: MIT
// Rules about the repository itself: the one-way street of the include lines, and one version everywhere.
#include <algorithm>
#include <filesystem>
#include <flowmatch/version.hpp>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"

namespace {

using Names = std::set<std::string>;

std::string room_of(const std::string& header) { return header.substr(0, header.find('/')); }

/// What a text includes between the given marks, as written: `<` for <...>, `"` for "...".
std::vector<std::string> included(const std::string& text, char mark) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::erase_if(line, [](char c) { return c == ' ' || c == '\t'; });
    const std::string start = std::string("#include") + mark;
    if (!line.starts_with(start)) continue;
    found.push_back(line.substr(start.size(), line.find(mark == '<' ? '>' : '"', start.size()) - start.size()));
  }
  return found;
}

/// The flowmatch headers among them, as "core/types.hpp".
std::vector<std::string> included_headers(const std::string& text) {
  std::vector<std::string> found;
  for (const char mark : {'<', '"'})
    for (const std::string& name : included(text, mark))
      if (name.starts_with("flowmatch/")) found.push_back(name.substr(10));
  return found;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A row of the table in docs/design.md: what a folder may include, beside itself and version.hpp.
struct Room {
  std::string name;
  Names rights;
};

/// The rows, | `folder` | what is in it | folder, folder, ... |, in order.
std::vector<Room> street_of(const std::string& document) {
  std::vector<Room> street;
  const std::regex row("\\| `(\\w+)` \\| [^|]* \\|([^|]*)\\|"), name("\\w+");
  std::istringstream lines(document);
  for (std::string line; std::getline(lines, line);) {
    std::smatch cells;
    if (!std::regex_match(line, cells, row)) continue;
    Room room{cells[1], {}};
    const std::string rights = cells[2];
    if (rights == " all above ")
      for (const Room& above : street) room.rights.insert(above.name);
    else
      for (std::sregex_iterator i(rights.begin(), rights.end(), name); i != std::sregex_iterator(); ++i)
        room.rights.insert(i->str());
    street.push_back(room);
  }
  return street;
}

/// Whether a header may include another. The umbrella may include every folder.
bool allowed(const std::vector<Room>& street, const std::string& header, const std::string& other) {
  const auto known = [&](const Room& room) { return room.name == room_of(other); };
  if (other == "version.hpp") return true;
  if (header == "flowmatch.hpp") return std::any_of(street.begin(), street.end(), known);
  for (const Room& room : street)
    if (room.name == room_of(header)) return room.name == room_of(other) || room.rights.count(room_of(other)) > 0;
  return false;  // a new folder needs its place in the street
}

const std::filesystem::path root = FLOWMATCH_SOURCE_DIR;

}

TEST_CASE("headers include each other along the one-way street of docs/design.md only") {
  const auto folder = root / "include" / "flowmatch";
  const auto street = street_of(read(root / "docs" / "design.md"));
  int lines = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".hpp") continue;
    const std::string header = std::filesystem::relative(entry.path(), folder).generic_string();
    const std::string text = read(entry.path());
    CAPTURE(header);
    for (const std::string& name : included(text, '"')) CHECK(name.starts_with("flowmatch/"));  // none escapes the rule
    for (const std::string& other : included_headers(text)) {
      CAPTURE(other);
      CHECK(allowed(street, header, other));
      ++lines;
    }
  }
  CHECK(lines > 0);
}

TEST_CASE("each folder has a place in the street, and may include only what stands above it") {
  Names folders, above;
  for (const auto& entry : std::filesystem::directory_iterator(root / "include" / "flowmatch"))
    if (entry.is_directory()) folders.insert(entry.path().filename().string());
  for (const Room& room : street_of(read(root / "docs" / "design.md"))) {
    CAPTURE(room.name);
    for (const std::string& other : room.rights) {
      CAPTURE(other);
      CHECK(above.count(other) == 1);
    }
    above.insert(room.name);
  }
  CHECK(above == folders);
}

TEST_CASE("the rule of the one-way street can be broken") {
  CHECK(included_headers(
            "#include <flowmatch/core/types.hpp>\n  # include \"flowmatch/format/npy.hpp\"\n#include <a>\n") ==
        std::vector<std::string>{"core/types.hpp", "format/npy.hpp"});
  const auto street = street_of(read(root / "docs" / "design.md"));
  CHECK(allowed(street, "train/loss.hpp", "field/mlp.hpp"));
  CHECK(allowed(street, "core/types.hpp", "version.hpp"));
  CHECK(allowed(street, "flowmatch.hpp", "sample/sample.hpp"));
  CHECK(allowed(street, "compiled/all.hpp", "io/checkpoint.hpp"));
  CHECK_FALSE(allowed(street, "metric/wasserstein.hpp", "coupling/coupling.hpp"));
  CHECK_FALSE(allowed(street, "ode/stepper.hpp", "field/mlp.hpp"));
  CHECK_FALSE(allowed(street, "path/path.hpp", "ode/stepper.hpp"));
  CHECK_FALSE(allowed(street, "train/trainer.hpp", "io/checkpoint.hpp"));
  CHECK_FALSE(allowed(street, "train/loss.hpp", "ode/integrate.hpp"));
  CHECK_FALSE(allowed(street, "format/npy.hpp", "field/mlp.hpp"));
  CHECK_FALSE(allowed(street, "core/check.hpp", "kernel/vectors.hpp"));
  CHECK_FALSE(allowed(street, "new_folder/x.hpp", "core/types.hpp"));
  CHECK_FALSE(allowed(street, "field/mlp.hpp", "flowmatch.hpp"));
}

TEST_CASE("the umbrella includes every header but those that are slow to compile or need more than Eigen") {
  const std::set<std::filesystem::path> left_out = {"frechet.hpp", "whitening.hpp"};
  const auto folder = root / "include" / "flowmatch";
  std::set<std::string> reached, todo = {"flowmatch.hpp"};
  while (!todo.empty()) {
    const std::string header = *todo.begin();
    todo.erase(todo.begin());
    if (!reached.insert(header).second) continue;
    for (const std::string& other : included_headers(read(folder / header))) todo.insert(other);
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".hpp" || left_out.count(entry.path().filename()) > 0) continue;
    const std::string header = std::filesystem::relative(entry.path(), folder).generic_string();
    CAPTURE(header);
    CHECK(reached.count(header) == 1);
  }
}

TEST_CASE("exceptions are thrown and caught in core/error.hpp only, so that -fno-exceptions works") {
  const auto folder = root / "include" / "flowmatch";
  const std::regex keyword("\\b(throw|try|catch|typeid|dynamic_cast)\\b"), text("\"[^\"]*\"");
  CHECK(std::regex_search("  } catch (...) {", keyword));
  CHECK_FALSE(std::regex_search("std::exception_ptr caught(const F& f)", keyword));
  int found = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".hpp") continue;
    const std::string header = std::filesystem::relative(entry.path(), folder).generic_string();
    std::istringstream lines(read(entry.path()));
    for (std::string line; std::getline(lines, line);) {
      line = std::regex_replace(line, text, "");
      if (!std::regex_search(line.substr(0, line.find("//")), keyword)) continue;
      CAPTURE(line);
      CHECK(header == "core/error.hpp");
      ++found;
    }
  }
  CHECK(found > 0);
}

TEST_CASE("version.hpp is the newest version of the changelog, and that of the packages") {
  const std::string version = std::to_string(FLOWMATCH_VERSION_MAJOR) + "." + std::to_string(FLOWMATCH_VERSION_MINOR) +
                              "." + std::to_string(FLOWMATCH_VERSION_PATCH);
  const std::string changelog = read(root / "docs" / "changelog.md");
  std::istringstream lines(changelog);
  std::string newest, line;
  while (newest.empty() && std::getline(lines, line)) {  // "## 1.2.3" or "## [1.2.3]", then what one likes
    const auto start = line.find_first_of("0123456789");
    const std::string before = line.substr(0, std::min(start, line.size()));
    if (before == "## " || before == "## [")
      newest = line.substr(start, line.find_first_not_of("0123456789.", start) - start);
  }
  CHECK(newest == version);
  CHECK(read(root / "docs/packaging/vcpkg/flowmatch/vcpkg.json").find("\"version\": \"" + version + '"') !=
        newest.npos);
  CHECK(read(root / "docs/packaging/README.md").find("flowmatch/" + version) != newest.npos);
}

TEST_CASE("names of tests hold nothing that splits or joins a list of CMake") {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "tests" / "unit")) {
    if (!entry.is_regular_file()) continue;
    std::istringstream lines(read(entry.path()));
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("TEST_CASE(") && !line.starts_with("TEMPLATE_TEST_CASE(")) continue;
      const auto start = line.find('"') + 1;
      const auto name = line.substr(start, line.find('"', start) - start);
      INFO(entry.path() << ": " << name);
      CHECK(name.find_first_of("[];") == name.npos);
    }
  }
}

TEST_CASE("examples/minimal.cpp is the program that the README shows") {
  const std::string readme = read(root / "README.md"), program = read(root / "examples" / "minimal.cpp");
  const auto begin = readme.find("```cpp\n#include"), end = readme.find("```", begin + 7);
  const auto code = program.find("#include");  // above it stand the licence and the description only
  REQUIRE(begin != std::string::npos);
  REQUIRE(end != std::string::npos);
  REQUIRE(code != std::string::npos);
  CHECK(readme.substr(begin + 7, end - begin - 7) == program.substr(code));
}
