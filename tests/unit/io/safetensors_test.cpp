// SPDX-License-Identifier: MIT
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <flowmatch/io/safetensors.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "catch.hpp"

namespace fm = flowmatch;

namespace {

/// A folder of its own for one test case, gone afterwards.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "flowmatch_safetensors_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::size_t files() const {
    return std::size_t(std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator()));
  }
};

void write(const std::string& path, const std::string& bytes) {
  std::filesystem::remove(path);  // some file systems flush a file that is cut and written again: slow
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}
std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

std::string length_bytes(std::uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}
std::string with_header(const std::string& header, const std::string& data = "") {
  return length_bytes(header.size()) + header + data;
}

/// What reading these bytes says, without "flowmatch: path: ". Any exception but std::runtime_error fails the test.
std::string complaint(const std::string& bytes) {
  const Folder folder;
  const std::string path = folder / "file.safetensors", start = "flowmatch: " + path + ": ";
  write(path, bytes);
  try {
    fm::read_safetensors(path);
  } catch (const std::runtime_error& error) {
    const std::string message = error.what();
    REQUIRE(message.compare(0, start.size(), start) == 0);
    return message.substr(start.size());
  }
  return "nothing thrown";
}

template <class Error, class F> std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing thrown";
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

TEST_CASE("a safetensors file has the documented bytes", "[io]") {
  const Folder folder;
  fm::Safetensors file;
  file.metadata = {{"k", "v"}};
  file.tensors = {{.name = "a", .dtype = "U8", .shape = {2}, .begin = 0, .end = 2}};
  file.data = {'x', 'y'};
  fm::write_safetensors(folder / "f", file);
  std::string header = R"({"__metadata__":{"k":"v"},)" + a_u8_2 + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the data are aligned
  CHECK(read(folder / "f") == with_header(header, "xy"));
}

TEST_CASE("files that other programs write are read: blanks, order of fields, escapes, no metadata", "[io]") {
  const Folder folder;
  const std::string path = folder / "f";
  write(path,
        with_header(
            " {\n\t\"a/\\\"b\\\\\\n\" : { \"data_offsets\":[ 0 , 2 ] ,\r\n \"shape\" : [ 1,2 ],\"dtype\":\"U8\" } } ",
            "xy"));
  fm::Safetensors file = fm::read_safetensors(path);
  REQUIRE(file.tensors.size() == 1);
  CHECK(file.tensors[0].name == "a/\"b\\\n");
  CHECK(file.tensors[0].shape == std::vector<fm::Index>{1, 2});
  CHECK(file.metadata.empty());
  write(path, with_header("{}"));
  CHECK(fm::read_safetensors(path).tensors.empty());
  write(path, with_header(R"({"__metadata__":{}})"));
  CHECK(fm::read_safetensors(path).metadata.empty());
  write(path, with_header("{" + a_u8_2 + R"(,"__metadata__":{"k":"v"}})", "xy"));  // metadata last
  CHECK(fm::read_safetensors(path).metadata.size() == 1);
}

TEST_CASE("damaged safetensors files are refused with their fault", "[io]") {
  const auto header_fault = [](const std::string& header, const std::string& fault, const std::string& data = "") {
    CAPTURE(header);
    CHECK(complaint(with_header(header, data)) == fault);
  };
  const auto at = [](int byte, const std::string& fault) {
    return "byte " + std::to_string(byte) + " of the safetensors header: " + fault;
  };
  const auto tensor = [](const std::string& fields) { return "{\"a\":{" + fields + "}}"; };

  SECTION("the frame") {
    CHECK(complaint("") == "expected a safetensors file, got 0 bytes");
    CHECK(complaint("\x10\0\0\0\0\0\0") == "expected a safetensors file, got 1 bytes");
    CHECK(complaint(std::string(7, '\0')) == "expected a safetensors file, got 7 bytes");
    CHECK(complaint(length_bytes(0)) == at(0, "expected {"));
    CHECK(complaint(length_bytes(0) + "{}") == at(0, "expected {"));
    CHECK(complaint(length_bytes(3) + "{}") == "expected a header of 3 bytes, but 2 are left");
    CHECK(complaint(length_bytes(std::uint64_t(1) << 63) + "{}") ==
          "expected a header of 9223372036854775808 bytes, but 2 are left");
    CHECK(complaint(length_bytes(~std::uint64_t(0)) + "{}") ==
          "expected a header of 18446744073709551615 bytes, but 2 are left");
    CHECK(complaint(std::string(64, '\xff')) == "expected a header of 18446744073709551615 bytes, but 56 are left");
  }
  SECTION("the grammar") {
    header_fault("junk", at(0, "expected {"));
    header_fault("[]", at(0, "expected {"));
    header_fault("{", at(1, "expected \""));
    header_fault("{,}", at(1, "expected \""));
    header_fault("{}x", at(2, "expected nothing after the header's last }"));
    header_fault("{}" + std::string(1, '\0'), at(2, "expected nothing after the header's last }"));
    header_fault("{" + a_u8_2, at(int(a_u8_2.size()) + 1, "expected ,"), "xy");
    header_fault("{" + a_u8_2 + ",}", at(int(a_u8_2.size()) + 2, "expected \""), "xy");
    header_fault("{" + a_u8_2 + a_u8_2 + "}", at(int(a_u8_2.size()) + 1, "expected ,"), "xy");
    header_fault(R"({"a"})", at(4, "expected :"));
    header_fault(R"({"a)", at(3, "a string does not end"));
    header_fault("{\"a\n\":{}}", at(4, "a control character in a string"));
    header_fault(R"({"\u0061":{}})", at(4, "an escape in a string that this reader does not take"));
    header_fault(R"({"\)", at(3, "an escape in a string that this reader does not take"));
    header_fault(R"({"a":1})", at(5, "expected {"));
    header_fault(R"({"a":null})", at(5, "expected {"));
  }
  SECTION("metadata") {
    header_fault(R"({"__metadata__":{"k":"v","k":"w"}})", at(29, "key \"k\" appears twice in __metadata__"));
    header_fault(R"({"__metadata__":{},"__metadata__":{}})", at(34, "__metadata__ appears twice"));
    header_fault(R"({"__metadata__":{"k":1}})", at(21, "expected \""));
    header_fault(R"({"__metadata__":"k"})", at(16, "expected {"));
  }
  SECTION("the fields of a tensor") {
    header_fault("{" + a_u8_2 + "," + a_u8_2 + "}", at(int(a_u8_2.size()) + 6, "tensor \"a\" appears twice"), "xy");
    header_fault(tensor(R"("dtype":"U8","dtype":"U8")"),
                 at(27, "unexpected or repeated field \"dtype\" of tensor \"a\""));
    header_fault(tensor(R"("shape":[],"shape":[])"), at(25, "unexpected or repeated field \"shape\" of tensor \"a\""));
    header_fault(tensor(R"("data_offsets":[0,0],"data_offsets":[0,0])"),
                 at(42, "unexpected or repeated field \"data_offsets\" of tensor \"a\""));
    header_fault(tensor(R"("strides":[1])"), at(16, "unexpected or repeated field \"strides\" of tensor \"a\""));
    header_fault(tensor(""), at(7, "tensor \"a\" lacks dtype, shape or data_offsets"));
    header_fault(tensor(R"("shape":[],"data_offsets":[0,1])"),
                 at(38, "tensor \"a\" lacks dtype, shape or data_offsets"), "x");
    header_fault(tensor(R"("dtype":"U8","data_offsets":[0,1])"),
                 at(40, "tensor \"a\" lacks dtype, shape or data_offsets"), "x");
    header_fault(tensor(R"("dtype":"U8","shape":[1])"), at(31, "tensor \"a\" lacks dtype, shape or data_offsets"), "x");
    header_fault(tensor(R"("data_offsets":[0])"), at(24, "expected two data_offsets of \"a\", got 1"));
    header_fault(tensor(R"("data_offsets":[0,1,2])"), at(28, "expected two data_offsets of \"a\", got 3"));
    header_fault(tensor(R"("dtype":8)"), at(14, "expected \""));
  }
  SECTION("numbers") {
    header_fault(tensor(R"("shape":[-1])"), at(15, "expected a whole number"));
    header_fault(tensor(R"("shape":[1.5])"), at(16, "expected ,"));
    header_fault(tensor(R"("shape":[1e9])"), at(16, "expected ,"));
    header_fault(tensor(R"("shape":[01])"), at(17, "expected a whole number"));
    header_fault(tensor(R"("shape":[1,])"), at(17, "expected a whole number"));
    header_fault(tensor(R"("shape":[99999999999999999999])"), at(33, "a number is too large"));
    header_fault(tensor(R"("shape":[4611686018427387904])"), at(33, "a number is too large"));  // 2^62
    // 2^64 + 2 is 2 in 64 bits: must not pass for it
    header_fault(tensor(R"("dtype":"U8","shape":[2],"data_offsets":[0,18446744073709551618])"),
                 at(68, "a number is too large"), "xy");
  }
  SECTION("dtypes, shapes and offsets") {
    const auto placed = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
      return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" + offsets + "]}}";
    };
    header_fault(placed("F33", "1", "0,4"), "tensor \"a\" has unknown dtype \"F33\"", "1234");
    header_fault(placed("f32", "1", "0,4"), "tensor \"a\" has unknown dtype \"f32\"", "1234");
    header_fault(placed("", "1", "0,4"), "tensor \"a\" has unknown dtype \"\"", "1234");
    header_fault(placed("F32", "2", "0,4"), "the shape of tensor \"a\" is larger than the file", "1234");
    header_fault(placed("F64", "1000000000,1000000000,1000000000", "0,4"),
                 "the shape of tensor \"a\" is larger than the file", "1234");
    header_fault(placed("F32", "1", "0,3"), "expected tensor \"a\" at bytes [0, 4), got [0, 3)", "1234");
    header_fault(placed("F32", "0", "0,4"), "expected tensor \"a\" at bytes [0, 0), got [0, 4)", "1234");
    header_fault(placed("U8", "2", "0,3"), "expected tensor \"a\" at bytes [0, 2), got [0, 3)", "123");
    header_fault(placed("U8", "2", "0,9"), "expected tensor \"a\" at bytes [0, 2), got [0, 9)",
                 "12");  // beyond the end
    header_fault(placed("U8", "2", "2,0"), "expected tensor \"a\" at bytes [0, 2), got [2, 0)", "12");  // swapped
    header_fault(placed("U8", "2", "1,3"), "expected tensor \"a\" at bytes [0, 2), got [1, 3)",
                 "123");                                                                               // a hole before
    header_fault(placed("U8", "2", "0,2"), "expected 2 bytes of data, got 3", "123");                  // one byte extra
    header_fault(placed("U8", "2", "0,2"), "the shape of tensor \"a\" is larger than the file", "1");  // one missing
    header_fault(placed("U8", "2", "0,2"), "the shape of tensor \"a\" is larger than the file");
    header_fault("{}", "expected 0 bytes of data, got 1", "1");
    const auto second = [](const std::string& offsets) {
      return "{" + a_u8_2 + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[)" + offsets + "]}}";
    };
    header_fault(second("3,5"), "expected tensor \"b\" at bytes [2, 4), got [3, 5)", "12345");  // a hole
    header_fault(second("1,3"), "expected tensor \"b\" at bytes [2, 4), got [1, 3)", "123");    // an overlap
    header_fault(second("0,2"), "expected tensor \"b\" at bytes [2, 4), got [0, 2)", "12");     // the same bytes
    header_fault(second("2,4"), "expected 4 bytes of data, got 3", "123");
  }
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
  CHECK(complaint(whole + '\0') == "expected 25 bytes of data, got 26");
  CHECK(complaint(whole) == "nothing thrown");
}

TEST_CASE("any one byte of a header may be any other: the file is read or refused, never worse", "[io]") {
  const Folder folder;
  const std::string path = folder / "f";
  fm::write_safetensors(path, example());
  const std::string whole = read(path);
  int refused = 0;
  for (std::size_t i = 0; i < whole.size() - 25; i += 1)
    for (const char c : {'\0', '"', '{', '9', '\xff'}) {
      std::string damaged = whole;
      damaged[i] = c;
      write(path, damaged);
      try {
        fm::read_safetensors(path);
      } catch (const std::runtime_error&) {
        ++refused;
      }
    }
  CHECK(refused > 500);  // all but changes inside names, metadata and the blanks at the end
}

TEST_CASE("a file that is missing or a folder is an error that names path and reason", "[io]") {
  const Folder folder;
  const std::string missing = folder / "missing", directory = folder.path.string();
  const auto reading = [](const std::string& path) {
    return message_of<std::runtime_error>([&] { fm::read_safetensors(path); });
  };
  CHECK(reading(missing) == "flowmatch: " + missing + ": cannot be opened: No such file or directory");
  CHECK(reading(directory) == "flowmatch: " + directory + ": cannot be read: Is a directory");
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

TEST_CASE("a name that JSON would have to escape as a code is refused", "[io]") {
  const Folder folder;
  fm::Safetensors file = example();
  file.tensors[0].name = "a\nb";
  CHECK(message_of<std::invalid_argument>([&] { fm::write_safetensors(folder / "f", file); }) ==
        "flowmatch: write_safetensors: expected no control character in \"a\nb\"");
  CHECK(folder.files() == 0);
}

TEST_CASE("writing replaces an older file whole", "[io]") {
  const Folder folder;
  write(folder / "f", std::string(10000, 'x'));
  write(folder / "f.part", "left by a crash");
  fm::write_safetensors(folder / "f", example());
  CHECK(folder.files() == 1);
  CHECK(fm::read_safetensors(folder / "f").data == example().data);
}
