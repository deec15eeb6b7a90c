// SPDX-License-Identifier: MIT
// Files that are no safetensors files, each with its name and the message that it must give.
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "flowmatch/format/safetensors.hpp"
#include "support/files.hpp"
#include "support/message.hpp"
#include "support/safetensors.hpp"

namespace fm = flowmatch;
using test::safetensors_bytes;

namespace {

struct Broken {
  std::string name, bytes, message;
};

std::string at(int byte, const std::string& fault) {
  return "safetensors header, byte " + std::to_string(byte) + ": " + fault;
}
/// A header of one tensor with these fields, from byte 6 on.
std::string tensor(const std::string& fields) { return "{\"a\":{" + fields + "}}"; }
std::string placed(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return tensor("\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" + offsets + "]");
}
/// Bytes 0 and 1 for tensor a, these for tensor b.
std::string second(const std::string& offsets) {
  return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[)" +
         offsets + "]}}";
}
std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string reading(const std::string& path, const fm::SafetensorsLimits& limits = {}) {
  const std::string start = "flowmatch: " + path + ": ";
  const std::string message = test::message_of<std::runtime_error>([&] { fm::read_safetensors(path, limits); });
  return message.starts_with(start) ? message.substr(start.size()) : message;
}

std::vector<Broken> frames() {
  const auto claims = [](std::uint64_t length) { return safetensors_bytes(length, "{}"); };
  return {
      {"empty file", "", "expected a safetensors file, got 0 bytes"},
      {"one byte", "\x10", "expected a safetensors file, got 1 bytes"},
      {"seven bytes", std::string(7, '\0'), "expected a safetensors file, got 7 bytes"},
      {"header length 0, nothing else", claims(0).substr(0, 8), at(0, "expected '{', got the end")},
      {"header length 1", claims(1), at(1, "expected '\"', got the end")},
      {"header length of the rest and one", claims(3), "expected a header of 3 bytes, but 2 are left"},
      {"header length of the file", claims(10), "expected a header of 10 bytes, but 2 are left"},
      {"header length of the file and one", claims(11), "expected a header of 11 bytes, but 2 are left"},
      {"header length 2^31", claims(1ull << 31), "expected a header of up to 100000000 bytes, got 2147483648"},
      {"header length 2^63", claims(1ull << 63), "expected a header of up to 100000000 bytes, got 9223372036854775808"},
      {"header length 2^64 - 1", claims(~0ull), "expected a header of up to 100000000 bytes, got 18446744073709551615"},
      {"header length 2^64 - 8", claims(~0ull - 7),
       "expected a header of up to 100000000 bytes, got 18446744073709551608"},
      {"header length in the other byte order", std::string("\0\0\0\0\0\0\0\x02{}", 10),
       "expected a header of up to 100000000 bytes, got 144115188075855872"},
  };
}

std::vector<Broken> grammar() {
  const auto header = [](const std::string& name, const std::string& text, const std::string& message) {
    return Broken{name, safetensors_bytes(text), message};
  };
  return {
      header("a word", "junk", at(0, "expected '{', got 'j'")),
      header("a list", "[]", at(0, "expected '{', got '['")),
      header("a blank before", " {}", at(0, "expected '{', got ' '")),
      header("a byte order mark before", "\xEF\xBB\xBF{}", at(0, "expected '{', got a byte of value 239")),
      header("only a brace", "{", at(1, "expected '\"', got the end")),
      header("only a comma inside", "{,}", at(1, "expected '\"', got ','")),
      header("a letter behind", "{}x", at(2, "expected only blanks after the last '}', got 'x'")),
      header("a second object behind", "{}{}", at(2, "expected only blanks after the last '}', got '{'")),
      header("NUL behind", std::string("{}\0", 3),
             at(2, "expected only blanks after the last '}', got a byte of value 0")),
      header("a comment", "{/**/}", at(1, "expected '\"', got '/'")),
      header("no colon", R"({"a"})", at(4, "expected ':', got '}'")),
      header("a comma too many", tensor("\"shape\":[],"), at(17, "expected '\"', got '}'")),
      header("no comma", tensor("\"shape\":[]\"dtype\""), at(16, "expected ',', got '\"'")),
      header("a name without end", R"({"a)", at(3, "expected the closing quote of a string, got the end")),
      header("a name in single quotes", "{'a':{}}", at(1, "expected '\"', got '''")),
      header("a tensor that is a number", R"({"a":1})", at(5, "expected '{', got '1'")),
      header("a tensor that is null", R"({"a":null})", at(5, "expected '{', got 'n'")),
      header("a tensor that is a list", R"({"a":["U8",[1],[0,1]]})", at(5, "expected '{', got '['")),
      header("a million lists in each other", "{\"a\":" + std::string(1000000, '['), at(5, "expected '{', got '['")),
      header("a million objects in each other", repeated("{\"a\":", 1000000),
             at(6, "tensor \"a\": expected dtype, shape and data_offsets once each, got \"a\"")),
  };
}

std::vector<Broken> strings() {
  const auto named = [](const std::string& name, const std::string& text, const std::string& message) {
    return Broken{name, safetensors_bytes("{\"" + text + "\":{}}"), message};
  };
  return {
      named("a byte that no UTF-8 has", "\xff", at(2, "expected UTF-8, got a byte of value 255")),
      named("UTF-8 cut off", "\xe2\x82", at(2, "expected UTF-8, got a byte of value 226")),
      named("UTF-8 that begins in the middle", "\x82", at(2, "expected UTF-8, got a byte of value 130")),
      named("UTF-8 longer than needed", "\xc0\xaf", at(2, "expected UTF-8, got a byte of value 192")),
      named("UTF-8 of three bytes for a slash", "\xe0\x80\xaf", at(2, "expected UTF-8, got a byte of value 224")),
      named("a surrogate in UTF-8", "\xed\xa0\x80", at(2, "expected UTF-8, got a byte of value 237")),
      named("UTF-8 beyond U+10FFFF", "\xf4\x90\x80\x80", at(2, "expected UTF-8, got a byte of value 244")),
      named("a surrogate alone, escaped", "\\ud83d", at(2, "expected a pair of surrogates, got one alone")),
      named("a low surrogate first", "x\\ude00\\ud83d", at(3, "expected a pair of surrogates, got one alone")),
      named("a high surrogate before a letter", "xy\\ud83d\\u0061",
            at(4, "expected a pair of surrogates, got one alone")),
      named("NUL escaped in a name", "\\u0000", at(2, "expected a string without NUL")),
      named("NUL in a name", std::string(1, '\0'), at(2, "expected control characters in a string as escapes")),
      named("a line break in a name", "a\n", at(3, "expected control characters in a string as escapes")),
      named("an unknown escape", "\\x41", at(2, "expected an escape that JSON has")),
      named("an escape without its digits", "\\u00g1", at(2, "expected four digits after \\u")),
      {"an escape cut off", safetensors_bytes(R"({"a\)"), at(3, "expected an escape that JSON has")},
  };
}

std::vector<Broken> metadata() {
  const auto entry = [](const std::string& name, const std::string& value, const std::string& message) {
    return Broken{name, safetensors_bytes("{\"__metadata__\":" + value + "}"), message};
  };
  return {
      entry("a key of the metadata twice", R"({"k":"v","l":"","k":"w"})",
            at(32, "expected key \"k\" of __metadata__ once, got it at byte 17 too")),
      entry("metadata twice", R"({},"__metadata__":{})", at(19, "expected __metadata__ once, got it again")),
      entry("metadata with a number", R"({"k":1})", at(21, "expected '\"', got '1'")),
      entry("metadata with null", R"({"k":null})", at(21, "expected '\"', got 'n'")),
      entry("metadata with an object", R"({"k":{}})", at(21, "expected '\"', got '{'")),
      entry("metadata that is a string", R"("k")", at(16, "expected '{', got '\"'")),
      entry("metadata that is null", "null", at(16, "expected '{', got 'n'")),
  };
}

std::vector<Broken> fields() {
  const auto with = [](const std::string& name, const std::string& text, const std::string& message) {
    return Broken{name, safetensors_bytes(tensor(text), "x"), message};
  };
  const std::string once = "tensor \"a\": expected dtype, shape and data_offsets once each, got ";
  const std::string a = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  return {
      {"a tensor twice", safetensors_bytes("{" + a + "," + a + "}", "xy"),
       at(53, "expected tensor \"a\" once, got it at byte 1 too")},
      {"a tensor twice, once with escapes", safetensors_bytes("{" + a + ",\"\\u0061\"" + a.substr(3) + "}", "xy"),
       at(53, "expected tensor \"a\" once, got it at byte 1 too")},
      with("a dtype twice", R"("dtype":"U8","dtype":"U8")", at(19, once + "\"dtype\" again")),
      with("a shape twice", R"("shape":[],"shape":[])", at(17, once + "\"shape\" again")),
      with("data_offsets twice", R"("data_offsets":[0,0],"data_offsets":[0,0])",
           at(27, once + "\"data_offsets\" again")),
      with("a field of another format", R"("strides":[1])", at(6, once + "\"strides\"")),
      with("no fields", "", at(7, "tensor \"a\": expected a field dtype before this end, got '}'")),
      with("no dtype", R"("shape":[],"data_offsets":[0,1])",
           at(38, "tensor \"a\": expected a field dtype before this end, got '}'")),
      with("no shape", R"("dtype":"U8","data_offsets":[0,1])",
           at(40, "tensor \"a\": expected a field shape before this end, got '}'")),
      with("no data_offsets", R"("dtype":"U8","shape":[1])",
           at(31, "tensor \"a\": expected a field data_offsets before this end, got '}'")),
      with("one offset", R"("data_offsets":[0])", at(21, "tensor \"a\": expected two data_offsets, got 1")),
      with("no offset", R"("data_offsets":[])", at(21, "tensor \"a\": expected two data_offsets, got 0")),
      with("three offsets", R"("data_offsets":[0,1,2])",
           at(26, "tensor \"a\": expected a list of up to 2 numbers, got more, got '2'")),
      with("a dtype that is a number", R"("dtype":8)", at(14, "expected '\"', got '8'")),
      with("a shape that is a number", R"("shape":8)", at(14, "expected '[', got '8'")),
      with("a negative length", R"("shape":[-1])", at(15, "expected a whole number, got '-'")),
      with("a length with a plus", R"("shape":[+1])", at(15, "expected a whole number, got '+'")),
      with("a length with a point", R"("shape":[1.5])", at(16, "expected ',', got '.'")),
      with("a length with an exponent", R"("shape":[1e3])", at(16, "expected ',', got 'e'")),
      with("a length with a leading zero", R"("shape":[01])", at(15, "expected a number without leading zeros")),
      with("a length in quotes", R"("shape":["1"])", at(15, "expected a whole number, got '\"'")),
      with("a comma behind the last length", R"("shape":[1,])", at(17, "expected a whole number, got ']'")),
      with("a length of 2^63", R"("shape":[9223372036854775808])", at(15, "expected a number below 2^63")),
      with("an offset of 2^64 + 2, which is 2 in 64 bits",
           R"("dtype":"U8","shape":[2],"data_offsets":[0,18446744073709551618])",
           at(49, "expected a number below 2^63")),
      with("a length of 1000 digits", "\"shape\":[ " + std::string(1000, '9') + "]",
           at(16, "expected a number below 2^63")),
      with("a thousand dimensions", "\"shape\":[" + repeated("1,", 999) + "1]",
           at(143, "tensor \"a\": expected a list of up to 64 numbers, got more, got '1'")),
  };
}

std::vector<Broken> layouts() {
  const auto file = [](const std::string& name, const std::string& header, const std::string& data,
                       const std::string& message) {
    return Broken{name, safetensors_bytes(header, data), message};
  };
  const std::string a = "tensor \"a\": expected ", b = "tensor \"b\": expected ",
                    wide = "a shape of less than 2^64 bytes, got ";
  return {
      file("an unknown dtype", placed("F33", "1", "0,4"), "1234", a + "a dtype such as F32, got \"F33\""),
      file("a dtype in small letters", placed("f32", "1", "0,4"), "1234", a + "a dtype such as F32, got \"f32\""),
      file("an empty dtype", placed("", "1", "0,4"), "1234", a + "a dtype such as F32, got \"\""),
      file("a dtype with a blank", placed("F32 ", "1", "0,4"), "1234", a + "a dtype such as F32, got \"F32 \""),
      file("lengths whose product overflows", placed("U8", "4294967296,4294967296", "0,0"), "",
           a + wide + "U8 [4294967296,4294967296]"),
      file("bytes whose product overflows", placed("F64", "4611686018427387904", "0,0"), "",
           a + wide + "F64 [4611686018427387904]"),
      file("an overflow before a zero", placed("F32", "9223372036854775807,9223372036854775807,0", "0,0"), "",
           a + wide + "F32 [9223372036854775807,9223372036854775807,0]"),
      file("a shape larger than its bytes", placed("F32", "2", "0,4"), "1234",
           a + "8 bytes for F32 [2], got data_offsets [0, 4)"),
      file("a shape smaller than its bytes", placed("U8", "2", "0,3"), "123",
           a + "2 bytes for U8 [2], got data_offsets [0, 3)"),
      file("a length of zero with bytes", placed("F32", "0", "0,4"), "1234",
           a + "0 bytes for F32 [0], got data_offsets [0, 4)"),
      file("a scalar without bytes", placed("F32", "", "0,0"), "", a + "4 bytes for F32 [], got data_offsets [0, 0)"),
      file("a part of a number", placed("F32", "1", "0,3"), "123", a + "4 bytes for F32 [1], got data_offsets [0, 3)"),
      file("offsets in the wrong order", placed("U8", "2", "2,0"), "12", a + "data_offsets in their order, got [2, 0)"),
      file("bytes behind the end", placed("U8", "9", "0,9"), "12",
           a + "its bytes within the 2 of data, got data_offsets [0, 9)"),
      file("no data at all", placed("U8", "2", "0,2"), "",
           a + "its bytes within the 0 of data, got data_offsets [0, 2)"),
      file("the last byte missing", second("2,4"), "123",
           b + "its bytes within the 3 of data, got data_offsets [2, 4)"),
      file("a gap before the first", placed("U8", "2", "1,3"), "123",
           a + "its bytes from 0 on, got data_offsets [1, 3), behind a gap"),
      file("a gap between", second("3,5"), "12345", b + "its bytes from 2 on, got data_offsets [3, 5), behind a gap"),
      file("an overlap", second("1,3"), "123", b + "its bytes from 2 on, got data_offsets [1, 3), an overlap"),
      file("the same bytes", second("0,2"), "12", b + "its bytes from 2 on, got data_offsets [0, 2), an overlap"),
      file("one byte more", placed("U8", "2", "0,2"), "123", "expected 2 bytes of data for the tensors, got 3"),
      file("a byte without tensors", "{}", "1", "expected 0 bytes of data for the tensors, got 1"),
  };
}

}

TEST_CASE("every broken safetensors file gives its own message", "[io]") {
  const test::Folder folder;
  const std::string path = folder / "broken.safetensors";
  std::set<std::string> names, messages;
  std::size_t files = 0;
  for (const auto& table : {frames(), grammar(), strings(), metadata(), fields(), layouts()})
    for (const Broken& broken : table) {
      CAPTURE(broken.name);
      test::write(path, broken.bytes);
      CHECK(reading(path) == broken.message);
      names.insert(broken.name);
      messages.insert(broken.message);
      ++files;
    }
  CHECK(files >= 100);
  CHECK(names.size() == files);
  CHECK(messages.size() >= files - 8);  // the same where the fault is the same: the end, a field of the wrong type
}

TEST_CASE("folders and pipes are no safetensors files, links to one are", "[io]") {
  const test::Folder folder;
  const std::string pipe = folder / "pipe", link = folder / "link", file = folder / "file", dangling = folder / "none";
  CHECK(reading(folder.path.string()) == "expected a regular file");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(reading(pipe) == "expected a regular file");  // and nobody waits for a writer
  CHECK(reading("/dev/null") == "expected a regular file");
  test::write(file, safetensors_bytes("{}"));
  std::filesystem::create_symlink(file, link);
  CHECK(reading(link) == "nothing thrown");
  std::filesystem::create_symlink(folder / "nowhere", dangling);
  CHECK(reading(dangling) == "cannot be opened: No such file or directory");
}

TEST_CASE("limits are options", "[io]") {
  const test::Folder folder;
  const std::string path = folder / "file", header = placed("U8", "1,1,4", "0,4");
  test::write(path, safetensors_bytes(header, "1234"));
  CHECK(reading(path, {.header = header.size(), .data = 4, .rank = 3}) == "nothing thrown");
  CHECK(reading(path, {.header = header.size() - 1}) ==
        fm::detail::concat({"expected a header of up to ", header.size() - 1, " bytes, got ", header.size()}));
  CHECK(reading(path, {.data = 3}) == "expected up to 3 bytes of data, got 4");
  CHECK(reading(path, {.rank = 2}).find("expected a list of up to 2 numbers, got more") != std::string::npos);
  CHECK(reading(path, {.rank = 0}).find("expected a list of up to 0 numbers, got more") != std::string::npos);
}

TEST_CASE("a huge header is refused before it is read, and one of many overlapping tensors soon", "[io]") {
  using Clock = std::chrono::steady_clock;
  const test::Folder folder;
  const std::string path = folder / "file";
  // What ten million entries take. The file has no blocks on the disk.
  test::write(path, safetensors_bytes(600'000'000, ""));
  std::filesystem::resize_file(path, 600'000'008);
  const auto start = Clock::now();
  CHECK(reading(path) == "expected a header of up to 100000000 bytes, got 600000000");
  CHECK(Clock::now() - start < std::chrono::milliseconds(50));

  std::string header = "{";
  for (int i = 0; i < 20000; ++i)
    header += (i > 0 ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[9],"data_offsets":[0,9]})";
  test::write(path, safetensors_bytes(header + "}", "123456789"));
  const std::string message = reading(path);
  CHECK(message.find("expected its bytes from 9 on, got data_offsets [0, 9), an overlap") != std::string::npos);
}
