// SPDX-License-Identifier: MIT
// The documents agree: with their translations, and with the files that they link to; and the code of docs/files.md
// runs. (What the others show is run by readme_test.cpp, conditions_test.cpp and the tests consumer.readme and
// consumer.tutorial.)
#include <cctype>
#include <filesystem>
#include <flowmatch/flowmatch.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/files.hpp"

namespace fm = flowmatch;

namespace {

const std::filesystem::path root = FLOWMATCH_SOURCE_DIR;

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  INFO(file);
  REQUIRE(in);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What a translation must leave as it is.
struct Skeleton {
  std::vector<std::string> code;   // blocks between fences, with their language
  std::vector<std::string> calls;  // code in the last cell of the rows of tables
  std::string headings;            // the number of hashes of each
  std::vector<std::string> text;   // all lines that are not in a block
};

Skeleton skeleton_of(const std::filesystem::path& file) {
  Skeleton s;
  bool in_code = false;
  for (const std::string& line : lines_of(file)) {
    const bool fence = line.starts_with("```");
    if (fence && !in_code) s.code.emplace_back();
    if (fence || in_code) s.code.back() += line + "\n";
    if (fence) in_code = !in_code;
    if (fence || in_code) continue;
    s.text.push_back(line);
    if (line.starts_with("#")) s.headings += std::to_string(line.find(' '));
    if (!line.starts_with("| ")) continue;
    const std::string cell = line.substr(line.rfind(" | "));
    for (std::size_t begin = cell.find('`'); begin != cell.npos; begin = cell.find('`', begin)) {
      const std::size_t end = cell.find('`', begin + 1);
      REQUIRE(end != cell.npos);
      s.calls.push_back(cell.substr(begin + 1, end - begin - 1));
      begin = end + 1;
    }
  }
  CHECK_FALSE(in_code);
  return s;
}

}

TEST_CASE("a translated document has the headings, the code and the calls of the original, in the same order") {
  const auto name = GENERATE(std::string("README.md"), std::string("docs/tutorial.md"));
  INFO(name);
  const Skeleton original = skeleton_of(root / name);
  const Skeleton translated = skeleton_of(root / "docs/zh" / std::filesystem::path(name).filename());
  CHECK(original.code.size() >= 8);
  CHECK(translated.headings == original.headings);
  CHECK(translated.code.size() == original.code.size());
  for (std::size_t i = 0; i < std::min(original.code.size(), translated.code.size()); ++i)
    CHECK(translated.code[i] == original.code[i]);
  CHECK(translated.calls.size() == original.calls.size());
  for (std::size_t i = 0; i < std::min(original.calls.size(), translated.calls.size()); ++i)
    CHECK(translated.calls[i] == original.calls[i]);
}

TEST_CASE("the equations of docs/math.md are numbered in order, and the numbers that headers name exist") {
  int last = 0;
  for (const std::string& line : lines_of(root / "docs" / "math.md"))
    if (const std::size_t tag = line.find("\\tag{"); tag != line.npos) {
      const int number = std::stoi(line.substr(tag + 5));
      CHECK(number == last + 1);
      last = number;
    }
  int named = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "include")) {
    if (entry.path().extension() != ".hpp") continue;
    for (const std::string& line : lines_of(entry.path()))
      if (const std::size_t eq = line.find("eq. "); eq != line.npos && std::isdigit(line[eq + 4]) != 0) {
        INFO(entry.path() << ": " << line);
        CHECK(std::stoi(line.substr(eq + 4)) <= last);
        ++named;
      }
  }
  CHECK(last > 60);
  CHECK(named > 40);
}

TEST_CASE("the method is read in a dozen files of at most 1,450 lines, the same in both languages") {
  std::vector<std::string> files[2];
  std::size_t count = 0;
  for (const bool translated : {false, true}) {
    const auto page = root / "docs" / (translated ? "zh" : "") / "read_the_method.md";
    for (const std::string& line : skeleton_of(page).text) {
      const std::size_t point = line.find(". [");  // 12. [sample/sample.hpp](...): ...
      if (point == line.npos || point > 2) continue;
      const std::string file = line.substr(point + 3, line.find(']') - point - 3);
      files[translated].push_back(file);
      INFO(file);
      CHECK(line.find("include/flowmatch/" + file + ")") != line.npos);
      if (!translated) count += lines_of(root / "include/flowmatch" / file).size();
    }
  }
  CHECK(files[0].size() == 12);
  CHECK(files[0] == files[1]);
  INFO(count);
  CHECK(count > 1000);
  CHECK(count <= 1450);
}

TEST_CASE("each law of docs/design.md has the test that it names") {
  int laws = 0;
  for (const std::string& line : lines_of(root / "docs" / "design.md")) {
    const std::size_t file = line.find(" | `"), name = line.find(".cpp` | ");
    if (file == line.npos || name == line.npos) continue;
    INFO(line);
    const std::string test = line.substr(name + 8, line.size() - name - 10);
    bool found = false;
    for (const std::string& text : lines_of(root / "tests/unit" / (line.substr(file + 4, name - file - 4) + ".cpp")))
      found = found || text.find("TEST_CASE(\"" + test + '"') != text.npos;
    CHECK(found);
    ++laws;
  }
  CHECK(laws >= 20);
}

TEST_CASE("a link from a document to a file of the project leads to one") {
  int links = 0;
  for (const char* folder : {".", "docs", "docs/zh", "docs/examples", "docs/packaging", "examples/data"})
    for (const auto& entry : std::filesystem::directory_iterator(root / folder)) {
      if (entry.path().extension() != ".md") continue;
      for (const std::string& line : skeleton_of(entry.path()).text)
        for (std::size_t begin = line.find("]("); begin != line.npos; begin = line.find("](", begin + 1)) {
          const std::string link = line.substr(begin + 2, line.find_first_of(")#", begin) - begin - 2);
          if (link.empty() || link.find("://") != link.npos) continue;
          INFO(entry.path() << ": " << link);
          CHECK(std::filesystem::exists(entry.path().parent_path() / link));
          ++links;
        }
    }
  CHECK(links >= 20);
}

namespace {

/// Without blanks, so that line breaks do not matter.
std::string squeezed(std::string text) {
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  return text;
}

/// A folder to write in, the current one as long as this lives.
struct WorkingFolder {
  test::Folder folder;
  std::filesystem::path before = std::filesystem::current_path();
  WorkingFolder() { std::filesystem::current_path(folder.path); }
  ~WorkingFolder() { std::filesystem::current_path(before); }
};

}

TEST_CASE("the code about files does what it says") {
  const WorkingFolder here;
  fm::Rng start(42);
  const Eigen::MatrixXf data = fm::toy::two_moons(start, 500);
  {
    fm::Rng rng(3);
    fm::ConditionalVelocityMlp net({.dim = 2, .classes = 2, .hidden = {8}}, rng);
    const fm::Normalizer normalizer(data);
    const auto of_conditions = fm::Normalizer<float>::identity(1);
    fm::FlowModel model(net, normalizer, of_conditions, fm::description(fm::CosinePath{}));
    fm::save("model.safetensors", model);
    auto back = fm::load_flow_model<fm::ConditionalVelocityMlp<float>>("model.safetensors");
    CHECK(back.path == "cosine");
    CHECK(back.net.parameters() == net.parameters());
  }
  Eigen::VectorXf whole;
  for (const bool undisturbed :
       {true, false}) {  // the second run finds the file of the first, and goes on from step 60
    fm::Rng init(7), rng(1);
    fm::VelocityMlp net({.dim = 2, .hidden = {8}}, init);
    fm::Trainer trainer(net, {.steps = 60, .cosine = true});
    if (std::filesystem::exists("training.safetensors")) fm::resume("training.safetensors", trainer);
    const auto report = trainer.run(data, rng, [&](const fm::TrainingStep& now) {
      if ((now.step + 1) % 20 == 0) fm::save("training.safetensors", trainer);
    });
    CHECK(report.steps == 60);
    if (undisturbed) whole = net.parameters();
    CHECK(net.parameters() == whole);
  }
  {
    fm::Rng rng(3);
    fm::VelocityMlp net({.dim = 2, .hidden = {8}}, rng);
    fm::Trainer trainer(net, {.steps = 5});
    fm::CoupledBatches batches(data, fm::OptimalTransport{}, fm::Rng(42, 1), {.ahead = true});
    trainer.run(batches, rng);
    CHECK(trainer.state().report.steps == 5);
    fm::save("torch.safetensors", fm::VelocityMlp({.dim = 2, .hidden = {64, 64}}, rng));
    fm::VelocityMlp imported({.dim = 2, .hidden = {64, 64}}, rng);
    fm::load_state_dict("torch.safetensors", imported);
    CHECK(imported.parameters() == fm::load_velocity_mlp("torch.safetensors").parameters());
  }
}

TEST_CASE("the code about files is what the document shows") {
  std::string here;
  for (const std::string& line : lines_of(root / "tests/unit/docs_test.cpp")) here += line;
  int blocks = 0;
  for (std::string block : skeleton_of(root / "docs/files.md").code) {
    if (!block.starts_with("```cpp\n")) continue;
    block = block.substr(7, block.rfind("```") - 7);
    INFO(block);
    CHECK(squeezed(here).find(squeezed(block)) != std::string::npos);
    ++blocks;
  }
  CHECK(blocks == 4);
}
