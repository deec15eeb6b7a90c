// SPDX-License-Identifier: MIT
#include "flowmatch/format/safetensors.hpp"

#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>

#include "catch.hpp"
#include "support/files.hpp"
#include "support/message.hpp"
#include "support/safetensors.hpp"

namespace fm = flowmatch;
using test::Folder, test::read, test::write, test::message_of;

namespace {

/// What reading these bytes says, without "flowmatch: path: ". Any exception but std::runtime_error fails the test.
std::string complaint(const std::string& bytes) {
  const Folder folder;
  const std::string path = folder / "file.safetensors", start = "flowmatch: " + path + ": ";
  write(path, bytes);
  const std::string message = message_of<std::runtime_error>([&] { fm::read_safetensors(path); });
  return message.starts_with(start) ? message.substr(start.size()) : message;
}

/// A file of two arrays and a metadata entry.
fm::Safetensors example() {
  fm::Safetensors file;
  file.metadata = {{"made by", "a \"test\" \\ of ours"}, {"empty", ""}};
  file.tensors = {{.name = "a", .dtype = "F32", .shape = {2, 3}, .begin = 0, .end = 24},
                  {.name = "scalar", .dtype = "U8", .shape = {}, .begin = 24, .end = 25},
                  {.name = "none", .dtype = "F64", .shape = {0, 7}, .begin = 25, .end = 25}};
  for (int i = 0; i < 25; ++i) file.data.push_back(char(i * 11));
  return file;
}

const std::string a_u8_2 = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";

}

TEST_CASE("a safetensors file comes back as it was written", "[io]") {
  const Folder folder;
  const std::string path = folder / "file.safetensors";
  const fm::Safetensors file = example();
  fm::write_safetensors(path, file);
  CHECK(folder.files() == 1);  // nothing is left beside it
  const fm::Safetensors back = fm::read_safetensors(path);
  CHECK(back.metadata == file.metadata);
  CHECK(back.data == file.data);
  REQUIRE(back.tensors.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(back.tensors[i].name == file.tensors[i].name);
    CHECK(back.tensors[i].dtype == file.tensors[i].dtype);
    CHECK(back.tensors[i].shape == file.tensors[i].shape);
    CHECK(back.tensors[i].begin == file.tensors[i].begin);
    CHECK(back.tensors[i].end == file.tensors[i].end);
  }
}

TEST_CASE("a safetensors file has the documented bytes, checksum and all", "[io]") {
  const Folder folder;
  fm::Safetensors file;
  file.metadata = {{"k", "v"}};
  file.tensors = {{.name = "a", .dtype = "U8", .shape = {2}, .begin = 0, .end = 2}};
  file.data = {'x', 'y'};
  fm::write_safetensors(folder / "f", file);
  // python3 -c 'import zlib; print("%08x" % zlib.crc32(b"flowmatch.format_version\x001\0k\0v\0a\0U8\x002\0xy"))'
  std::string header =
      R"({"__metadata__":{"flowmatch.checksum":"56e2851a","flowmatch.format_version":"1","k":"v"},)" + a_u8_2 + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data are aligned
  CHECK(read(folder / "f") == test::safetensors_bytes(header, "xy"));
}

TEST_CASE("the checksum does not depend on the order of a file, but on all that is in it", "[io]") {
  fm::Safetensors file = example();
  const auto sum = [](const fm::Safetensors& f) { return fm::detail::checksum(f.metadata, f.tensors, f.data); };
  const std::string before = sum(file);
  std::swap(file.tensors[0], file.tensors[2]);
  std::swap(file.metadata[0], file.metadata[1]);
  CHECK(sum(file) == before);
  const auto changed = [&](const auto& change) {
    fm::Safetensors other = file;
    change(other);
    return sum(other) != before;
  };
  CHECK(changed([](auto& f) { f.metadata[0].first += "x"; }));
  CHECK(changed([](auto& f) { f.metadata[0].second += "x"; }));
  CHECK(changed([](auto& f) { f.metadata.pop_back(); }));
  CHECK(changed([](auto& f) { f.tensors[0].name += "x"; }));
  CHECK(changed([](auto& f) { f.tensors[0].dtype = "I64"; }));
  CHECK(changed([](auto& f) { f.tensors[0].shape = {7, 0}; }));
  CHECK(changed([](auto& f) { f.data[24] = 'x'; }));
}

TEST_CASE("a key of ours in the metadata makes the others compulsory, and they must be right", "[io]") {
  const Folder folder;
  fm::write_safetensors(folder / "f", example());
  const std::string whole = read(folder / "f");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bytes = whole;
    REQUIRE(from.size() == to.size());
    REQUIRE(bytes.find(from) != bytes.npos);
    return complaint(bytes.replace(bytes.find(from), from.size(), to));
  };
  CHECK(with("flowmatch.checksum", "flowmatch.Checksum") ==
        "expected \"flowmatch.checksum\" in the metadata beside \"flowmatch.Checksum\", found none");
  CHECK(with("flowmatch.checksum", "Flowmatch.checksum") ==
        "expected \"flowmatch.checksum\" in the metadata beside \"flowmatch.format_version\", found none");
  CHECK(with("flowmatch.format_version", "flowmatch_format_version") ==
        "expected \"flowmatch.format_version\" in the metadata beside \"flowmatch.checksum\", found none");
  CHECK(with("version\":\"1\"", "version\":\"2\"") ==
        "expected format version 1, got \"2\": was the file written by a newer flowmatch?");
  CHECK(with("\"empty\"", "\"other\"").find("expected checksum ") == 0);
  CHECK(with("made by", "made in").find(": the file is damaged, or another program changed it and kept the metadata") !=
        std::string::npos);
  // as of a writer of ours that puts a key there which this reader does not know
  fm::Safetensors file;
  file.metadata = {{"flowmatch.format_version", "1"}, {"flowmatch.other", "x"}};
  file.metadata.emplace_back("flowmatch.checksum", fm::detail::checksum(file.metadata, {}, {}));
  CHECK(complaint(test::safetensors_bytes(fm::detail::header_text(file.metadata, {}))) ==
        "unknown metadata \"flowmatch.other\"");
}

TEST_CASE("files that other programs write are read: blanks, order of fields, escapes, no metadata", "[io]") {
  const Folder folder;
  const std::string path = folder / "f";
  write(path,
        test::safetensors_bytes(
            "{\n\t\"a/\\\"b\\\\\\n\" : { \"data_offsets\":[ 0 , 2 ] ,\r\n \"shape\" : [ 1,2 ],\"dtype\":\"U8\" } } ",
            "xy"));
  fm::Safetensors file = fm::read_safetensors(path);
  REQUIRE(file.tensors.size() == 1);
  CHECK(file.tensors[0].name == "a/\"b\\\n");
  CHECK(file.tensors[0].shape == std::vector<fm::Index>{1, 2});
  CHECK(file.metadata.empty());
  write(path, test::safetensors_bytes("{}"));
  CHECK(fm::read_safetensors(path).tensors.empty());
  write(path, test::safetensors_bytes(
                  R"({"\u0061\u00e9\u20AC\ud83d\ude00\u001f":{"dtype":"F32","shape":[5,0,9],"data_offsets":[0,0]}})"));
  file = fm::read_safetensors(path);
  CHECK(file.tensors.at(0).name == "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\x1f");
  CHECK(file.tensors[0].shape == std::vector<fm::Index>{5, 0, 9});
  const std::string b_first = R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)";
  write(path, test::safetensors_bytes("{" + b_first + a_u8_2 + "}", "xyz"));  // the order of tensors is free
  file = fm::read_safetensors(path);
  CHECK(file.tensor("b").begin == 2);
  CHECK(message_of<std::runtime_error>([&] { file.tensor("c"); }) ==
        "flowmatch: " + path + ": expected a tensor \"c\", found none");
  write(path, test::safetensors_bytes(R"({"__metadata__":{}})"));
  CHECK(fm::read_safetensors(path).metadata.empty());
  write(path, test::safetensors_bytes("{" + a_u8_2 + R"(,"__metadata__":{"k":"v"}})", "xy"));  // metadata last
  CHECK(fm::read_safetensors(path).metadata.size() == 1);
}

TEST_CASE("every truncation of a safetensors file and every byte more is refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "f";
  fm::write_safetensors(path, example());
  const std::string whole = read(path);
  REQUIRE(whole.size() > 200);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK(complaint(whole.substr(0, n)) != "nothing thrown");
  }
  CHECK(complaint(whole + '\0') == "expected 25 bytes of data for the tensors, got 26");
  CHECK(complaint(whole) == "nothing thrown");
}

TEST_CASE("every flip of a single bit in a safetensors file is refused", "[io]") {
  const Folder folder;
  fm::write_safetensors(folder / "f", example());
  std::string bytes = read(folder / "f");
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] = char(bytes[bit / 8] ^ 1 << bit % 8);
    CAPTURE(bit);
    CHECK(complaint(bytes) != "nothing thrown");
    bytes[bit / 8] = char(bytes[bit / 8] ^ 1 << bit % 8);
  }
  CHECK(complaint(bytes) == "nothing thrown");
}

TEST_CASE("any one byte of a file may be any other: it is refused", "[io]") {
  const Folder folder;
  fm::write_safetensors(folder / "f", example());
  const std::string whole = read(folder / "f");
  const std::size_t data = whole.size() - example().data.size();
  for (std::size_t i = 0; i < whole.size(); ++i)
    for (const char c : {'\0', '"', '{', '9', ' ', '\n', '\xff'}) {
      std::string damaged = whole;
      damaged[i] = c;
      // Blanks before the data mean the same, whichever they are.
      const bool blank = i < data && c == '\n' && whole.find_first_not_of(' ', i) == data;
      CAPTURE(i, int(c));
      CHECK((damaged == whole || blank) == (complaint(damaged) == "nothing thrown"));
    }
}

TEST_CASE("a file that is missing or a folder is an error that names path and reason", "[io]") {
  const Folder folder;
  const std::string missing = folder / "missing", directory = folder.path.string();
  const auto reading = [](const std::string& path) {
    return message_of<std::runtime_error>([&] { fm::read_safetensors(path); });
  };
  CHECK(reading(missing) == "flowmatch: " + missing + ": cannot be opened: No such file or directory");
  CHECK(reading(directory) == "flowmatch: " + directory + ": expected a regular file");
  CHECK(reading("") == "flowmatch: : cannot be opened: No such file or directory");
}

TEST_CASE("a write that fails names path and reason and leaves the old file", "[io]") {
  const Folder folder;
  const std::string path = folder / "file";
  fm::write_safetensors(path, example());
  const std::string old = read(path);
  fm::Safetensors larger = example();
  larger.tensors.push_back({.name = "b", .dtype = "U8", .shape = {100000}, .begin = 25, .end = 100025});
  larger.data.resize(100025);
  const auto writing = [](const std::string& to, const fm::Safetensors& file) {
    return message_of<std::runtime_error>([&] { fm::write_safetensors(to, file); });
  };

  SECTION("no such folder") {
    const std::string to = folder / "no/such/folder";
    CHECK(writing(to, larger) == "flowmatch: " + to + ": cannot be written: No such file or directory");
  }
  SECTION("a file where a folder should be") {
    const std::string to = path + "/below";
    CHECK(writing(to, larger) == "flowmatch: " + to + ": cannot be written: Not a directory");
  }
  SECTION("a folder at the place") {
    std::filesystem::create_directory(folder / "place");
    const std::string to = folder / "place";
    CHECK(writing(to, larger) == "flowmatch: " + to + ": cannot be written: Is a directory");
    CHECK(folder.files() == 2);  // the part written beside is gone
  }
  SECTION("a folder at the place beside") {
    std::filesystem::create_directory(path + ".part");
    CHECK(writing(path, larger) == "flowmatch: " + path + ": cannot be written: Is a directory");
  }
  SECTION("a full disk, here a limit on the size of files") {
    rlimit limit{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    const rlimit before = limit;
    auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
    limit.rlim_cur = 5000;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    const std::string message = writing(path, larger);
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(message == "flowmatch: " + path + ": cannot be written: File too large");
    CHECK(folder.files() == 1);
  }
  CHECK(read(path) == old);
}

TEST_CASE("what could not be read again is not written", "[io]") {
  const Folder folder;
  const auto refusal = [&](const auto& change) {
    fm::Safetensors file = example();
    change(file);
    const std::string message = message_of<std::invalid_argument>([&] { fm::write_safetensors(folder / "f", file); });
    CHECK(folder.files() == 0);
    const std::string start = "flowmatch: write_safetensors: expected ";
    return message.starts_with(start) ? message.substr(start.size()) : message;
  };
  CHECK(refusal([](auto& f) { f.tensors[0].name = "\xff"; }) == "UTF-8 without NUL as name of a tensor, got \"\xff\"");
  CHECK(refusal([](auto& f) {
          f.metadata[0].first = std::string(1, '\0');
        }).find("UTF-8 without NUL as metadata key") == 0);
  CHECK(refusal([](auto& f) { f.metadata[0].second = "\xed\xa0\x80"; }).find("UTF-8 without NUL as metadata value") ==
        0);
  CHECK(refusal([](auto& f) { f.metadata[0].first = "empty"; }) == "each metadata key once, got \"empty\" twice");
  CHECK(refusal([](auto& f) { f.tensors[1].name = "a"; }) == "each name of a tensor once, got \"a\" twice");
  CHECK(refusal([](auto& f) { f.tensors[1].name = "__metadata__"; }) == "another name for a tensor than __metadata__");
  CHECK(refusal([](auto& f) { f.metadata[0].first = "flowmatch.mine"; }) ==
        "no metadata of the user that starts with flowmatch., got \"flowmatch.mine\"");
  const auto layout = [&](const auto& change) {
    fm::Safetensors file = example();
    change(file);
    return message_of<std::invalid_argument>([&] { fm::write_safetensors(folder / "f", file); });
  };
  const std::string where = "flowmatch: write_safetensors: ";
  CHECK(layout([](auto& f) { f.data.pop_back(); }) ==
        where + "tensor \"scalar\": expected its bytes within the 24 of data, got data_offsets [24, 25)");
  CHECK(layout([](auto& f) { f.tensors[0].shape[0] = -2; }) ==
        where + "tensor \"a\": expected a shape of less than 2^64 bytes, got F32 [-2,3]");
}

TEST_CASE("names and metadata of any characters but NUL come back", "[io]") {
  const Folder folder;
  fm::Safetensors file = example();
  file.tensors[0].name = "a\nb\t\x01\x7f\"\\/\xC3\xA9\xF0\x9F\x98\x80";
  file.metadata[0] = {"\x1f key", "two\r\nlines"};
  fm::write_safetensors(folder / "f", file);
  const fm::Safetensors back = fm::read_safetensors(folder / "f");
  CHECK(back.tensors[0].name == file.tensors[0].name);
  CHECK(back.metadata == file.metadata);
}

TEST_CASE("writing replaces an older file whole", "[io]") {
  const Folder folder;
  write(folder / "f", std::string(10000, 'x'));
  write(folder / "f.part", "left by a crash");
  fm::write_safetensors(folder / "f", example());
  CHECK(folder.files() == 1);
  CHECK(fm::read_safetensors(folder / "f").data == example().data);
}
