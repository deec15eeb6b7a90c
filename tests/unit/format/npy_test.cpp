// SPDX-License-Identifier: MIT
#include "flowmatch/format/npy.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/files.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using fm::Index;

namespace {

// In the working directory and with a name of its own, since tests run side by side.
const std::string path = "npy_test_" + std::to_string(std::random_device{}()) + ".npy";

struct RemoveAtExit {
  ~RemoveAtExit() { std::remove(path.c_str()); }
} remove_at_exit;

void write(const std::string& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  REQUIRE(std::fclose(file) == 0);
}

/// The bytes of a file, with the header as it is given.
std::string npy(const std::string& header, const std::string& data, int major = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += {char(major), 0};
  for (int k = 0; k < (major == 1 ? 2 : 4); ++k) bytes += char(header.size() >> (8 * k) & 255);
  return bytes + header + data;
}
std::string dict(const std::string& descr, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + shape +
         ", }  \n";
}

/// The bytes of a number as dtype descr, written here without the help of the reader.
std::string number(const std::string& descr, double value) {
  std::uint64_t bits = 0;
  if (descr[1] == 'f' && descr[2] == '4')
    bits = std::bit_cast<std::uint32_t>(float(value));
  else if (descr[1] == 'f')
    bits = std::bit_cast<std::uint64_t>(value);
  else
    bits = std::uint64_t(std::int64_t(value));
  std::string bytes;
  for (int k = 0; k < descr[2] - '0'; ++k) bytes += char(bits >> (8 * k) & 255);
  if (descr[0] == '>') std::reverse(bytes.begin(), bytes.end());
  return bytes;
}

template <class Scalar = float> void require_error(const std::string& bytes, const std::string& message) {
  write(bytes);
  CAPTURE(message);
  REQUIRE_THROWS_MATCHES(fm::load_npy<Scalar>(path), std::runtime_error,
                         Message("flowmatch: " + path + ": " + message));
}

/// Element e, in C order, of an array that make_npy.py has written.
double golden(Index e, bool is_unsigned, bool is_float) {
  const double value = double(37 * e % 101 - (is_unsigned ? 0 : 50));
  return is_float ? value / 8 : value;
}

}

TEMPLATE_TEST_CASE("Arrays of every dtype, byte order, memory order and version are read", "[npy]", float, double) {
  for (const std::string descr : {"|u1", "|i1", "<i4", ">i4", "<i8", ">i8", "<f4", ">f4", "<f8", ">f8"})
    for (const bool fortran : {false, true})
      for (const int major : {1, 2, 3}) {
        CAPTURE(descr, fortran, major);
        const auto value = [&](Index sample, Index feature) {
          const double v = double(10 * sample + feature) + (descr[1] == 'f' ? 0.125 : 0);
          return descr[1] == 'u' ? v + 200 : -v;
        };
        std::string data;
        for (Index e = 0; e < 6; ++e)
          data += fortran ? number(descr, value(e % 3, e / 3)) : number(descr, value(e / 2, e % 2));
        write(npy(dict(descr, "(3, 2)", fortran), data, major));
        const auto x = fm::load_npy<TestType>(path);
        REQUIRE(x.rows() == 2);
        REQUIRE(x.cols() == 3);
        for (Index j = 0; j < 3; ++j)
          for (Index i = 0; i < 2; ++i) REQUIRE(x(i, j) == TestType(value(j, i)));
      }
}

TEST_CASE("The first axis counts the samples, whatever the number of axes", "[npy]") {
  std::string data;
  for (int e = 0; e < 24; ++e) data += number("<i4", e);
  const auto load = [&](const std::string& shape, bool fortran = false) {
    write(npy(dict("<i4", shape, fortran), data));
    return fm::load_npy<double>(path);
  };
  const Eigen::VectorXd all = Eigen::VectorXd::LinSpaced(24, 0, 23);
  REQUIRE(load("(24,)") == all.transpose());
  REQUIRE(load("(24,)", true) == all.transpose());
  REQUIRE(load("(1, 24)") == all);
  REQUIRE(load("(4, 6)") == all.reshaped(6, 4));
  REQUIRE(load("(4, 3, 2)") == all.reshaped(6, 4));
  REQUIRE(load("(4, 1, 3, 1, 2)") == all.reshaped(6, 4));
  const fm::Matrix<double> x = load("(2, 3, 4)", true);  // element (s, a, b) of the array is number s + 2 a + 6 b
  for (Index s = 0; s < 2; ++s)
    for (Index a = 0; a < 3; ++a)
      for (Index b = 0; b < 4; ++b) REQUIRE(x(4 * a + b, s) == double(s + 2 * a + 6 * b));
}

TEST_CASE("Arrays longer than the read buffer are read whole", "[npy]") {
  std::string data;
  for (int e = 0; e < 30000; ++e) data += number(">i4", e);
  write(npy(dict(">i4", "(10000, 3)"), data));
  REQUIRE(fm::load_npy<double>(path).reshaped() == Eigen::VectorXd::LinSpaced(30000, 0, 29999));
}

TEST_CASE("Empty arrays have their shape", "[npy]") {
  write(npy(dict("<f4", "(0, 3)"), ""));
  REQUIRE(fm::load_npy(path).rows() == 3);
  REQUIRE(fm::load_npy(path).cols() == 0);
  write(npy(dict("<f4", "(5, 0)", true), ""));
  REQUIRE(fm::load_npy(path).rows() == 0);
  REQUIRE(fm::load_npy(path).cols() == 5);
  write(npy(dict("<f4", "(0,)"), ""));
  REQUIRE(fm::load_npy(path).rows() == 1);
}

TEST_CASE("Headers may differ in order, quotes, spaces and the last comma", "[npy]") {
  const std::string data = number("<f4", 1.5) + number("<f4", -2);
  for (const std::string header : {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n",
                                   "{'shape': (2, 1), 'fortran_order': False, 'descr': '<f4'}\n",
                                   "{\"descr\":\"<f4\",\"fortran_order\":True,\"shape\":(2,1,)}\n",
                                   "  { 'descr' : '<f4' , 'fortran_order' : True , 'shape' : ( 2 , 1 ) , }   \n"}) {
    CAPTURE(header);
    write(npy(header, data));
    REQUIRE(fm::load_npy(path) == Eigen::RowVector2f(1.5f, -2));
  }
}

TEST_CASE("Files written by NumPy are read", "[npy]") {
  struct File {
    const char* name;
    Index features, samples;
    bool is_unsigned, is_float;
  };
  for (const File& f :
       {File{"u1_images", 15, 4, true, false}, File{"i1", 3, 7, false, false}, File{"i4", 2, 6, false, false},
        File{"i4_big_endian", 2, 6, false, false}, File{"i8_flat", 1, 9, false, false},
        File{"i8_big_endian", 4, 2, false, false}, File{"f4", 3, 5, false, true},
        File{"f4_big_endian", 3, 5, false, true}, File{"f4_fortran", 3, 5, false, true},
        File{"f8_fortran_images", 16, 3, false, true}, File{"f8", 2, 4, false, true},
        File{"f8_big_endian", 2, 4, false, true}, File{"f8_version_2", 2, 4, false, true},
        File{"f8_version_3", 2, 4, false, true}, File{"f4_no_samples", 3, 0, false, true}}) {
    CAPTURE(f.name);
    const auto x = fm::load_npy(std::string(FLOWMATCH_GOLDEN_DIR "/npy/") + f.name + ".npy");
    REQUIRE(x.rows() == f.features);
    REQUIRE(x.cols() == f.samples);
    for (Index e = 0; e < x.size(); ++e) REQUIRE(double(x(e)) == golden(e, f.is_unsigned, f.is_float));
  }
}

TEST_CASE("Float values are rounded to the nearest, and infinite and NaN values pass", "[npy]") {
  const double inf = std::numeric_limits<double>::infinity();
  write(npy(dict("<f8", "(5,)"), number("<f8", 0.1) + number("<f8", 1e300) + number("<f8", -inf) +
                                     number("<f8", std::numeric_limits<double>::quiet_NaN()) + number("<f8", 1e-46)));
  const auto x = fm::load_npy(path);
  REQUIRE(x(0) == 0.1f);
  REQUIRE(x(1) == std::numeric_limits<float>::infinity());
  REQUIRE(x(2) == -std::numeric_limits<float>::infinity());
  REQUIRE_FALSE(fm::is_finite(x(3)));
  REQUIRE(x(4) == 0);
  REQUIRE(fm::load_npy<double>(path)(0) == 0.1);
  REQUIRE(fm::load_npy<double>(path)(4) == 1e-46);
}

TEST_CASE("Integers that the scalar cannot hold are an error, not another number", "[npy]") {
  const auto file = [](const std::string& descr, std::int64_t value) {
    std::string last;
    for (int k = 0; k < descr[2] - '0'; ++k) last += char(std::uint64_t(value) >> (8 * k) & 255);
    return npy(dict(descr, "(2, 2)"), number(descr, 1) + number(descr, 2) + number(descr, 3) + last);
  };
  for (const std::int64_t sign : {1, -1}) {
    write(file("<i4", sign * 16777216));
    REQUIRE(fm::load_npy(path)(1, 1) == float(sign) * 0x1p24f);
    write(file("<i8", sign * 9007199254740992));
    REQUIRE(fm::load_npy<double>(path)(1, 1) == double(sign) * 0x1p53);
  }
  require_error(file("<i4", 16777217), "expected integers of size up to 2^24, found 16777217 in feature 1 of sample 1");
  require_error(file("<i4", -16777217),
                "expected integers of size up to 2^24, found -16777217 in feature 1 of sample 1");
  require_error(file("<i8", 16777217), "expected integers of size up to 2^24, found 16777217 in feature 1 of sample 1");
  require_error<double>(file("<i8", 9007199254740993),
                        "expected integers of size up to 2^53, found 9007199254740993 in feature 1 of sample 1");
  require_error<double>(file("<i8", std::numeric_limits<std::int64_t>::min()),
                        "expected integers of size up to 2^53, found -9223372036854775808 in feature 1 of sample 1");
  write(file("<i4", std::numeric_limits<std::int32_t>::min()));
  REQUIRE(fm::load_npy<double>(path)(1, 1) == -0x1p31);
}

TEST_CASE("A file that is not there, or is a directory, is named", "[npy]") {
  REQUIRE_THROWS_MATCHES(fm::load_npy("no_such_file.npy"), std::runtime_error,
                         Message("flowmatch: no_such_file.npy: cannot be opened: No such file or directory"));
  REQUIRE_THROWS_MATCHES(fm::load_npy("."), std::runtime_error, Message("flowmatch: .: expected a regular file"));
}

TEST_CASE("Damaged files are refused with what was expected and found", "[npy]") {
  const std::string good = npy(dict("<f4", "(2,)"), "12345678");
  require_error("", "expected 8 bytes of magic and version, found 0");
  require_error("\x93NUM", "expected 8 bytes of magic and version, found 4");
  require_error("\x93NUMPZ" + good.substr(6), "expected a .npy file, found other first bytes");
  require_error("PK\x03\x04 and so on", "expected a .npy file, found other first bytes");
  require_error(npy("", "", 4), "expected version 1.0, 2.0 or 3.0, found 4.0");
  require_error(good.substr(0, 7) + "\x01" + good.substr(8), "expected version 1.0, 2.0 or 3.0, found 1.1");
  require_error(good.substr(0, 9), "expected 2 bytes of header length, found 1");
  require_error(npy("", "", 2).substr(0, 11), "expected 4 bytes of header length, found 3");
  require_error(good.substr(0, 8) + "\xff\xff", "expected a header up to byte 65545, found a file of 10 bytes");
  require_error(npy("", "", 2).substr(0, 8) + "\xff\xff\xff\xff{",
                "expected a header up to byte 4294967307, found a file of 13 bytes");
  require_error(good.substr(0, good.size() - 1), "expected 8 bytes of data for the shape in the header, found 7");
  require_error(good + "9", "expected 8 bytes of data for the shape in the header, found 9");

  const auto header = [](const std::string& text, const std::string& message) {
    require_error(npy(text, "12345678"), message);
  };
  const std::string keys = "expected the keys descr, fortran_order and shape";
  header("", "expected '{' at byte 0 of the header, found ''");
  header("[1, 2]\n", "expected '{' at byte 0 of the header, found '[1, 2]\n'");
  header("{}\n", keys + " in the header, found the end without descr");
  header("{'descr': '<f4', 'shape': (2,)}\n", keys + " in the header, found the end without fortran_order");
  header("{'descr': '<f4', 'fortran_order': False}\n", keys + " in the header, found the end without shape");
  header("{'descr': '<f4', 'descr': '<f4'}\n", keys + " once each in the header, found 'descr'");
  header("{'shape': (2,), 'shape': (2,)}\n", keys + " once each in the header, found 'shape'");
  header("{'colour': 'red'}\n", keys + " once each in the header, found 'colour'");
  header("{descr: '<f4'}\n", "expected a quoted string at byte 1 of the header, found 'descr: '<f4''");
  header("{'descr': '<f4}\n", "expected a closing quote at byte 11 of the header, found '<f4}\n'");
  header("{'descr' '<f4'}\n", "expected ':' at byte 9 of the header, found ''<f4'}\n'");
  header("{'descr': '<f4' 'shape'}\n", "expected '}' at byte 16 of the header, found ''shape'}\n'");
  header("{'descr': [('a', '<f4')]}\n", "expected a quoted string at byte 10 of the header, found '[('a', '<f4''");
  header("{'fortran_order': 0}\n", "expected True or False at byte 18 of the header, found '0}\n'");
  header("{'shape': 2}\n", "expected '(' at byte 10 of the header, found '2}\n'");
  header("{'shape': (2)}\n", "expected ',' after the only length at byte 12 of the header, found ')}\n'");
  header("{'shape': (,)}\n", "expected a length at byte 11 of the header, found ',)}\n'");
  header("{'shape': (-2,)}\n", "expected a length at byte 11 of the header, found '-2,)}\n'");
  header("{'shape': (2.0,)}\n", "expected ',' after the only length at byte 12 of the header, found '.0,)}\n'");
  header("{'shape': (2, 1 1)}\n", "expected ')' at byte 16 of the header, found '1)}\n'");
  header("{'shape': (9223372036854775808,)}\n",
         "expected a length below 2^63 at byte 29 of the header, found '8,)}\n'");
  header("{'shape': (99999999999999999999999,)}\n",
         "expected a length below 2^63 at byte 29 of the header, found '99999,)}\n'");
  header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", "expected '}' at byte 54 of the header, found ''");
  header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
         "expected only spaces and a newline at byte 55 of the header, found ''");
  header(dict("<f4", "(2,)") + "x\n", "expected only spaces and a newline at byte 57 of the header, found '  \nx\n'");
  header(dict("<f4", "(2,)") + "\n", "expected only spaces and a newline at byte 57 of the header, found '  \n\n'");

  std::string axes = "(";
  for (int k = 0; k < 65; ++k) axes += "1,";
  header("{'shape': " + axes + ")}\n", "expected at most 64 axes at byte 140 of the header, found ',)}\n'");
}

TEST_CASE("Arrays of other dtypes and shapes beyond memory are refused", "[npy]") {
  for (const std::string descr : {"|b1", "<i2", "<u4", "<f2", "<c8", "|S3", "|O", "f4", "=f4", "<F4", "", "<f44"})
    require_error(npy(dict(descr, "(2,)"), "12345678"),
                  "expected dtype |u1, |i1, i4, i8, f4 or f8 with < or >, found '" + descr + "'");
  require_error(npy(dict("<f4", "()"), "1234"), "expected an array with at least one axis, found a single number");
  const std::string beyond = "expected a shape that fits into memory, found axis ";
  require_error(npy(dict("|u1", "(9223372036854775807,)"), "1"), beyond + "0 of length 9223372036854775807");
  require_error(npy(dict("|u1", "(4294967296, 4294967296)"), ""), beyond + "1 of length 4294967296");
  require_error(npy(dict("|u1", "(2, 4294967296, 4294967296)"), ""), beyond + "2 of length 4294967296");
  require_error(npy(dict("|u1", "(0, 4294967296, 4294967296)"), ""), beyond + "2 of length 4294967296");
  // A product that is small only modulo 2^64, and a shape that memory could hold but the file does not.
  require_error(npy(dict("|u1", "(9, 2049638230412172402)"), "12"), beyond + "1 of length 2049638230412172402");
  require_error(npy(dict("<f8", "(1000000000, 1000000)"), "12345678"),
                "expected 8000000000000000 bytes of data for the shape in the header, found 8");
}

TEST_CASE("Every truncation of a file is refused", "[npy]") {
  for (const int major : {1, 2}) {
    const std::string good = npy(dict(">f8", "(3, 1)"), std::string(24, 'x'), major);
    write(good);
    REQUIRE_NOTHROW(fm::load_npy(path));
    for (std::size_t size = 0; size < good.size(); ++size) {
      write(good.substr(0, size));
      REQUIRE_THROWS_AS(fm::load_npy(path), std::runtime_error);
    }
  }
}

TEST_CASE("No change of a byte in the header makes the reader do anything but read or refuse", "[npy]") {
  const std::string good = npy(dict("<f4", "(2, 1)"), "12345678");
  for (std::size_t at = 0; at < good.size() - 8; ++at)
    for (int value = 0; value < 256; value += 5) {
      std::string damaged = good;
      damaged[at] = char(value);
      write(damaged);
      Index read = 0;
      try {
        read = fm::load_npy(path).size();
      } catch (const std::runtime_error& error) {
        REQUIRE(std::string(error.what()).rfind("flowmatch: " + path + ": expected ", 0) == 0);
      }
      REQUIRE(read <= 8);
    }
}

TEST_CASE("save_npy writes the bytes that NumPy writes", "[npy]") {
  const test::Folder folder;
  const auto expect_same = [&](const std::string& name, const auto& x) {
    fm::save_npy(folder / name, x);
    CHECK(folder.files() == 1);
    CHECK(test::read(folder / name) == test::read(FLOWMATCH_GOLDEN_DIR "/npy/" + name));
    std::filesystem::remove(folder / name);
  };
  fm::Matrix<float> f4(3, 5);
  for (Index e = 0; e < f4.size(); ++e) f4(e) = float(golden(e, false, true));
  fm::Matrix<double> f8(2, 4);
  for (Index e = 0; e < f8.size(); ++e) f8(e) = golden(e, false, true);
  expect_same("f4.npy", f4);
  expect_same("f8.npy", f8);
  expect_same("f4_no_samples.npy", fm::Matrix<float>(3, 0));
}

TEMPLATE_TEST_CASE("A matrix comes back from a file with equal bits", "[npy]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const test::Folder folder;
  const auto comes_back = [&](const auto& x) {
    fm::save_npy(folder / "x.npy", x);
    const fm::Matrix<TestType> before = x, after = fm::load_npy<TestType>(folder / "x.npy");
    return after.rows() == before.rows() && after.cols() == before.cols() &&
           (before.size() == 0 ||  // data() may be null then
            std::memcmp(after.data(), before.data(), std::size_t(before.size()) * sizeof(TestType)) == 0);
  };
  fm::Matrix<TestType> x = fm::Matrix<TestType>::Random(7, 1000);
  x.col(3) << Limits::denorm_min(), -TestType(0), Limits::max(), Limits::infinity(), Limits::quiet_NaN(), Limits::min(),
      TestType(1) / 3;
  CHECK(comes_back(x));
  CHECK(comes_back(fm::Matrix<TestType>(0, 5)));
  CHECK(comes_back(fm::Matrix<TestType>(5, 0)));
  CHECK(comes_back(x.middleRows(2, 3)));  // columns that do not follow each other in memory
  CHECK(comes_back(x.transpose()));       // samples that are not contiguous
  CHECK(comes_back(2 * x.leftCols(2)));
  CHECK(comes_back(fm::RowVector<TestType>(x.row(1))));
  CHECK(comes_back(fm::Vector<TestType>(x.col(1))));
  for (const Index n : {9, 10, 99999, 100000}) CHECK(comes_back(fm::Matrix<TestType>::Ones(1, n)));  // header lengths
}

TEST_CASE("A failed save_npy names path and reason and leaves the old file", "[npy]") {
  const test::Folder folder;
  const std::string file = folder / "x.npy", nowhere = folder / "no/x.npy";
  const Eigen::MatrixXf x = Eigen::MatrixXf::Ones(2, 3), y = Eigen::MatrixXf::Zero(4, 5);
  fm::save_npy(file, x);
  const auto saving = [&](const std::string& to) {
    return test::message_of<std::runtime_error>([&] { fm::save_npy(to, y); });
  };
  CHECK(saving(nowhere) == "flowmatch: " + nowhere + ": cannot be written: No such file or directory");
  std::filesystem::create_directory(file + ".part");
  CHECK(saving(file) == "flowmatch: " + file + ": cannot be written: Is a directory");
  CHECK(fm::load_npy(file) == x);
}
