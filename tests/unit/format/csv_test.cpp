// SPDX-License-Identifier: MIT
#include "flowmatch/format/csv.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "flowmatch/random/random.hpp"
#include "support/files.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using fm::Index;
using test::Folder, test::read, test::write;

namespace {

template <class Scalar = double> fm::Table<Scalar> load(const std::string& text, fm::CsvOptions options = {}) {
  const Folder folder;
  write(folder / "t.csv", text);
  return fm::load_csv<Scalar>(folder / "t.csv", options);
}

/// What reading this text says, without "flowmatch: path: ".
template <class Scalar = double> std::string complaint(const std::string& text, fm::CsvOptions options = {}) {
  const Folder folder;
  const std::string path = folder / "t.csv", start = "flowmatch: " + path + ": ";
  write(path, text);
  const std::string message = test::message_of<std::runtime_error>([&] { fm::load_csv<Scalar>(path, options); });
  return message.starts_with(start) ? message.substr(start.size()) : message;
}

template <class Scalar> bool same_bits(const fm::Matrix<Scalar>& a, const fm::Matrix<Scalar>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), std::size_t(a.size()) * sizeof(Scalar)) == 0;
}

using Names = std::vector<std::string>;
const Eigen::MatrixXd two_by_three = (Eigen::MatrixXd(2, 3) << 1, -3, 5, 2.5, 0.04, -6e7).finished();
const std::string lines = "1,2.5\n-3,.04\n5.,-6e7\n";

}

TEST_CASE("a line of a file is a column of the matrix, and the names are its rows", "[io]") {
  const auto table = load("a,b\n" + lines);
  CHECK(table.columns == Names{"a", "b"});
  CHECK(table.values == two_by_three);
  CHECK(load<float>("a,b\n" + lines).values == two_by_three.cast<float>());
  CHECK(load("one\n1\n2\n").values == Eigen::RowVector2d(1, 2));
  CHECK(load("a,b,c\n").values.rows() == 3);
  CHECK(load("a,b,c\n").values.cols() == 0);
}

TEST_CASE("what editors and other programs leave in a file does not change the table", "[io]") {
  for (const std::string text : {"a,b\n1,2.5\n-3,.04\n5.,-6e7",            // no end of the last line
                                 "a,b\r\n1,2.5\r\n-3,.04\r\n5.,-6e7\r\n",  // CRLF
                                 "a,b\n1,2.5\r\n-3,.04\n5.,-6e7\r\n",      // both
                                 "\xEF\xBB\xBF"
                                 "a,b\n1,2.5\n-3,.04\n5.,-6e7\n",  // a byte order mark
                                 "\xEF\xBB\xBF\"a\",\"b\"\r\n1,2.5\r\n-3,.04\r\n5.,-6e7\r\n\r\n",
                                 "a,b\n1,2.5\n-3,.04\n5.,-6e7\n\n  \n\r\n",         // blank lines at the end
                                 " a , b\t\n 1,2.5\n-3 ,\t.04  \n5.,-6e7\n",        // blanks
                                 "\"a\" , \"b\" \n1,2.5\n-3,.04\n5.,-6e7\n",        // quotes
                                 "a,b\n+1,+2.5e0\n-3,4E-2\n5e+00,-60000000.000\n",  // other spellings
                                 "a;b\n1;2.5\n-3;.04\n5.;-6e7\n",                   // other separators
                                 "a\tb\n1\t2.5\n-3\t .04\n5.\t-6e7\n"}) {
    CAPTURE(text);
    const auto table = load(text);
    CHECK(table.columns == Names{"a", "b"});
    CHECK(table.values == two_by_three);
  }
}

TEST_CASE("names in quotes may hold anything but control characters", "[io]") {
  CHECK(load("\"a,b\",\"say \"\"x\"\"\",\" c;d \",\"1\",e f,\xC3\xA9\n1,2,3,4,5,6\n").columns ==
        Names{"a,b", "say \"x\"", " c;d ", "1", "e f", "\xC3\xA9"});
  CHECK(load("\"a,b\";c\n1;2\n").columns == Names{"a,b", "c"});  // the comma in quotes is no separator
  CHECK(load("\"1\",\"2\"\n3,4\n").values == Eigen::Vector2d(3, 4));
  CHECK(load("1,b\n3,4\n").columns == Names{"1", "b"});
}

TEST_CASE("a file without names is read when it is asked for, and never guessed", "[io]") {
  const auto table = load(lines, {.header = false});
  CHECK(table.columns.empty());
  CHECK(table.values == two_by_three);
  const std::string guess = "line 1: expected names, got numbers only; is this a file for {.header = false}?";
  CHECK(complaint(lines) == guess);
  CHECK(complaint("0;1;2\n5;6;7\n") == guess);  // what some programs write as names
  CHECK(complaint("1\n2\n") == guess);
  CHECK(complaint("nan,1e999\n2,3\n") == guess);
  CHECK(complaint("a,b\n1,2\n", {.header = false}) == "line 1, column 1: expected a number, got \"a\"");
  CHECK(complaint("1,2\n3,4,5\n", {.header = false}) ==
        "line 2, column 3: expected 2 cells separated by commas, got 3");
}

TEST_CASE("untidy files are refused with line, column and name of the first fault", "[io]") {
  const auto number = [](const std::string& place, const std::string& cell) {
    return place + ": expected a number, got " + cell;
  };
  SECTION("nothing") {
    for (const std::string text : {"", "\n", "\r\n \n", "\xEF\xBB\xBF", "\xEF\xBB\xBF\n"})
      CHECK(complaint(text) == "expected a table, got an empty file");
  }
  SECTION("missing cells") {
    const std::string empty = "an empty cell";
    CHECK(complaint("a,b\n1,\n") == number("line 2, column 2 \"b\"", empty));
    CHECK(complaint("a,b\n1,2\n,2\n") == number("line 3, column 1 \"a\"", empty));
    CHECK(complaint("a,b,c\n1, ,2\n") == number("line 2, column 2 \"b\"", empty));
    CHECK(complaint("a,b\n1,2\n,\n") == number("line 3, column 1 \"a\"", empty));  // a blank line of a spreadsheet
    CHECK(complaint("a\n1\n\n2\n") == number("line 3, column 1 \"a\"", empty));
    CHECK(complaint("a\tb\n1\t\n") == number("line 2, column 2 \"b\"", empty));
  }
  SECTION("whole numbers that would change") {
    const auto exact = [](const std::string& scalar, const std::string& limit, const std::string& cell) {
      return "line 2, column 1 \"a\": expected whole numbers that " + scalar + " holds exactly (to 2^" + limit +
             "), got \"" + cell + "\"";
    };
    for (const std::string cell : {"16777217", "-16777217", "+0016777217", "1700000001", "123456789012345678901"})
      CHECK(complaint<float>("a\n" + cell + "\n") == exact("float", "24", cell));
    for (const std::string cell : {"16777216", "16777218", "-16777216", "000000016777216", "0000000000000", "1e9",
                                   "16777217.0", "1700000000.5"})  // a decimal point asks for rounding
      CHECK(complaint<float>("a\n" + cell + "\n") == "nothing thrown");
    const Folder folder;
    write(folder / "t.csv", "a\n9007199254740993\n");
    CHECK(test::message_of<std::runtime_error>([&] { fm::load_csv<double>(folder / "t.csv"); }) ==
          "flowmatch: " + (folder / "t.csv") + ": " + exact("double", "53", "9007199254740993"));
    write(folder / "t.csv", "a\n9007199254740992\n1700000001\n");
    CHECK(fm::load_csv<double>(folder / "t.csv").values(0, 1) == 1700000001);
  }
  SECTION("text") {
    for (const std::string cell : {"x", "NA", "null", "-", "+", "+-1", "--1", "1 2", "1.2.3", "1e", "1e+", "0x10",
                                   "1_0", "1f", "12%", "$5", "#N/A",
                                   "\xE2\x88\x92"
                                   "5",
                                   "TRUE"})
      CHECK(complaint("a,b\n1,2\n1," + cell + "\n") == number("line 3, column 2 \"b\"", "\"" + cell + "\""));
    CHECK(complaint("a,b\n1,\"2\"\n") == number("line 2, column 2 \"b\"", "\"\"2\"\""));
    CHECK(complaint("a,b\n# 1,2\n") == number("line 2, column 1 \"a\"", "\"# 1\""));
    CHECK(complaint("a\n1\x01\n") == number("line 2, column 1 \"a\"", "\"1?\""));
    CHECK(complaint("a\n" + std::string(1000, 'x')) ==
          number("line 2, column 1 \"a\"", "\"" + std::string(40, 'x') + "...\""));
    CHECK(complaint(std::string("a,b\n1,2\0\n", 9)) == number("line 2, column 2 \"b\"", "\"2?\""));
  }
  SECTION("numbers that are not finite, or out of range") {
    for (const std::string cell : {"nan", "NaN", "-nan", "inf", "-Infinity"})
      CHECK(complaint("a,b\n1," + cell + "\n") ==
            "line 2, column 2 \"b\": expected a finite number, got \"" + cell + "\"");
    for (const std::string cell : {"1e309", "-1e400", "1e-400"})
      CHECK(complaint("a,b\n1," + cell + "\n") ==
            "line 2, column 2 \"b\": expected a number in the range of double, got \"" + cell + "\"");
    for (const std::string cell : {"1e39", "-3.5e38", "1e-50"}) {
      CHECK(complaint<float>("a,b\n1," + cell + "\n") ==
            "line 2, column 2 \"b\": expected a number in the range of float, got \"" + cell + "\"");
      CHECK(complaint("a,b\n1," + cell + "\n") == "nothing thrown");
    }
    CHECK(complaint<float>("a,b\n1,0e-999\n") == "nothing thrown");
  }
  SECTION("lines of another length") {
    CHECK(complaint("a,b,c\n1,2,3\n4,5\n") == "line 3, column 3 \"c\": expected 3 cells separated by commas, got 2");
    CHECK(complaint("a,b,c\n1,2,3,\n") == "line 2, column 4: expected 3 cells separated by commas, got 4");
    CHECK(complaint("a,b\n1,2\n\n3,4\n") == "line 3, column 2 \"b\": expected 2 cells separated by commas, got 1");
    CHECK(complaint("a\n1,2\n") == "line 2, column 2: expected 1 cells separated by commas, got 2");
    CHECK(complaint("a,b\n1,2\n3,4") == "nothing thrown");
  }
  SECTION("another separator") {
    CHECK(complaint("a,b\n1;2\n") == "line 2, column 2 \"b\": expected 2 cells separated by commas, got 1");
    CHECK(complaint("a;b\n1,2\n") == "line 2, column 2 \"b\": expected 2 cells separated by semicolons, got 1");
    CHECK(complaint("a\tb\n1 2\n") == "line 2, column 2 \"b\": expected 2 cells separated by tabs, got 1");
    CHECK(complaint("a b\n1 2\n") == number("line 2, column 1 \"a b\"", "\"1 2\""));
    CHECK(complaint("a|b\n1|2\n") == number("line 2, column 1 \"a|b\"", "\"1|2\""));
    CHECK(complaint("a;b\n1,5;2,5\n") == number("line 2, column 1 \"a\"", "\"1,5\""));  // a decimal comma
    CHECK(complaint("a,b\n1,5,2,5\n") == "line 2, column 3: expected 2 cells separated by commas, got 4");
    CHECK(complaint("a\n1,5\n") == "line 2, column 2: expected 1 cells separated by commas, got 2");
  }
  SECTION("names") {
    CHECK(complaint("a,b,a\n1,2,3\n") == "line 1, column 3: expected names that differ, got \"a\" as in column 1");
    CHECK(complaint("b,a,\"a\", a\n1,2,3,4\n") ==
          "line 1, column 3: expected names that differ, got \"a\" as in column 2");
    CHECK(complaint("a,,c\n1,2,3\n") == "line 1, column 2: expected a name, got none");
    CHECK(complaint("a,b,\n1,2,3\n") == "line 1, column 3: expected a name, got none");
    CHECK(complaint("\"\",b\n1,2\n") == "line 1, column 1: expected a name, got none");  // row numbers of R
    CHECK(complaint("\na,b\n1,2\n") == "line 1, column 1: expected a name, got none");
    CHECK(complaint("a,\"b\n1,2\n") == "line 1, column 2: expected a closing quote in this line, got \"\"b\"");
    CHECK(complaint("a,\"b\"\"\n1,2\n") == "line 1, column 2: expected a closing quote in this line, got \"\"b\"\"\"");
    CHECK(complaint("\"a\"b,c\n1,2\n") == "line 1, column 1: expected a separator after \"a\"");
    CHECK(complaint("a\"b\",c\n1,2\n") ==
          "line 1, column 1: expected quotes around the whole name and \"\" within, got \"a\"b\"\"");
    CHECK(complaint("a,b\tc\n1,2\n") == "line 1, column 2: expected a name without control characters, got \"b?c\"");
    CHECK(complaint("a,b\r1,2\r") ==  // lines that end with CR alone
          "line 1, column 2: expected a name without control characters, got \"b?1\"");
    CHECK(complaint(std::string("\xFF\xFE"
                                "a\0,\0b\0\n\0"
                                "1\0,\0"
                                "2\0\n\0",
                                18)) ==  // UTF-16
          "line 1, column 1: expected a name without control characters, got \"\xFF\xFE"
          "a?\"");
  }
}

TEMPLATE_TEST_CASE("a table comes back with equal bits, at every scale", "[io]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  using Bits = std::conditional_t<sizeof(TestType) == 4, std::uint32_t, std::uint64_t>;
  const Folder folder;
  const fm::Rng rng(7);
  // Any finite pattern of bits: every scale, denormals too, with all digits of the mantissa.
  fm::Table<TestType> table{{"x", "y", "z"}, fm::Matrix<TestType>(3, 5000)};
  std::uint64_t block = 0;
  for (Index k = 0; k < table.values.size();) {
    const auto words = rng.block(block++);
    const TestType value = std::bit_cast<TestType>(Bits(std::uint64_t(words[0]) << 32 | words[1]));
    if (fm::is_finite(value)) table.values(k++) = value;
  }
  int column = 0;
  for (const TestType value : {Limits::denorm_min(), Limits::min(), Limits::max(), Limits::epsilon(), TestType(0),
                               TestType(0.1), TestType(1) / 3, TestType(16777216), TestType(5e-324), TestType(1e23)})
    table.values.col(column++) << value, -value, std::nextafter(value, TestType(0));
  for (int exponent = sizeof(TestType) == 4 ? -45 : -323; exponent <= Limits::max_exponent10; ++exponent)
    table.values(0, column++) = TestType(std::pow(10.0L, exponent));
  fm::save_csv(folder / "t.csv", table);
  CHECK(folder.files() == 1);
  const auto back = fm::load_csv<TestType>(folder / "t.csv");
  CHECK(back.columns == table.columns);
  CHECK(same_bits(back.values, table.values));

  table.columns.clear();
  fm::save_csv(folder / "t.csv", table);
  CHECK(same_bits(fm::load_csv<TestType>(folder / "t.csv", {.header = false}).values, table.values));
}

TEST_CASE("a float is written with its own digits, and reads as the nearest double of them", "[io]") {
  const Folder folder;
  fm::save_csv(folder / "t.csv", fm::Table{{"x"}, fm::Matrix<float>{{0.1f, 1e-40f, 3e38f}}});
  CHECK(read(folder / "t.csv") == "x\n0.1\n1e-40\n3e+38\n");
  CHECK(fm::load_csv<double>(folder / "t.csv").values == Eigen::RowVector3d(0.1, 1e-40, 3e38));
}

TEST_CASE("every name that a table may have comes back, in quotes where a reader needs them", "[io]") {
  const Folder folder;
  const Names names = {
      "plain", "a b", "x_1", "# c", "|",    "1",   "+1", "-2.5e3", "1e999",    "nan",       "a,b",
      "a;b",   ",",   ";",   "\"",  "\"\"", " a ", " b", "c ",     "\xC3\xA9", "say \"x\"", "\xEF\xBB\xBFmark"};
  fm::Table<double> table{names, fm::Matrix<double>::Random(Index(names.size()), 3)};
  fm::save_csv(folder / "t.csv", table);
  CHECK(fm::load_csv<double>(folder / "t.csv").columns == names);
  CHECK(same_bits(fm::load_csv<double>(folder / "t.csv").values, table.values));
  for (const std::string& name : names) {  // alone, which the choice of the separator must survive
    CAPTURE(name);
    fm::save_csv(folder / "t.csv", fm::Table<double>{{name}, table.values.row(0)});
    const auto back = fm::load_csv<double>(folder / "t.csv");
    CHECK(back.columns == Names{name});
    CHECK(same_bits(back.values, fm::Matrix<double>(table.values.row(0))));
  }
  table = {{"plain", "two words", "1", "a,b"}, fm::Matrix<double>::Zero(4, 1)};
  fm::save_csv(folder / "t.csv", table);
  CHECK(read(folder / "t.csv") == "plain,two words,\"1\",\"a,b\"\n0,0,0,0\n");
  table.values.resize(4, 0);
  fm::save_csv(folder / "t.csv", table);
  CHECK(fm::load_csv<double>(folder / "t.csv").columns == table.columns);
  CHECK(fm::load_csv<double>(folder / "t.csv").values.rows() == 4);
}

TEST_CASE("a table that would not come back is refused and the old file stays", "[io]") {
  const Folder folder;
  const std::string path = folder / "t.csv";
  const fm::Table<float> good{{"x", "y"}, fm::Matrix<float>::Ones(2, 2)};
  fm::save_csv(path, good);
  const std::string old = read(path);
  const auto saving = [&](const Names& names, const fm::Matrix<float>& values) {
    const std::string message = test::message_of<std::invalid_argument>([&] {
      fm::save_csv(path, fm::Table{names, values});
    });
    CHECK(read(path) == old);
    CHECK(folder.files() == 1);
    return message;
  };
  const fm::Matrix<float> x = good.values, none;
  const std::string start = "flowmatch: save_csv: ";
  fm::Matrix<float> bad = x;
  bad(1, 0) = std::numeric_limits<float>::infinity();
  CHECK(saving({"x", "y"}, bad) == start + "expected finite numbers in table.values, got inf in row 1, column 0");
  CHECK(saving({"x", "y", "z"}, x) == start + "expected 2 entries in table.columns, got 3");
  CHECK(saving({"x"}, x) == start + "expected 2 entries in table.columns, got 1");
  CHECK(saving({}, none) == start + "expected rows of table.values >= 1, got 0");
  CHECK(saving({}, fm::Matrix<float>(2, 0)) == start + "expected columns of table.values, without names, >= 1, got 0");
  CHECK(saving({"x", "x"}, x) == start + "column 2: expected names that differ, got \"x\" as in column 1");
  CHECK(saving({"x", ""}, x) == start + "column 2: expected a name, got none");
  CHECK(saving({"x\ny", "z"}, x) == start + "column 1: expected a name without control characters, got \"x?y\"");
}

TEST_CASE("a table that cannot be read or written is an error that names the file and leaves the old one", "[io]") {
  const Folder folder;
  const std::string path = folder / "t.csv";
  CHECK(test::message_of<std::runtime_error>([&] { fm::load_csv(path); }) ==
        "flowmatch: " + path + ": cannot be opened: No such file or directory");
  const fm::Table<float> table{{"x", "y"}, fm::Matrix<float>::Ones(2, 2)};
  fm::save_csv(path, table);
  const std::string old = read(path);
  std::filesystem::create_directory(path + ".part");
  CHECK(test::message_of<std::runtime_error>([&] {
          fm::save_csv(path, fm::Table<float>{{"z"}, fm::Matrix<float>::Zero(1, 9)});
        }) == "flowmatch: " + path + ": cannot be written: Is a directory");
  CHECK(read(path) == old);
  CHECK(old == "x,y\n1,1\n1,1\n");
}

TEST_CASE("a file of many columns and many short lines takes no memory for cells that are not there", "[io]") {
  std::string text = "c0";
  for (int i = 1; i < 100000; ++i) text += ",c" + std::to_string(i);
  text += std::string(100000, '\n') + "1";  // 10^10 cells, if the lines were whole
  CHECK(complaint(text) == "line 2, column 2 \"c1\": expected 100000 cells separated by commas, got 1");
}

TEST_CASE("any one byte may be any other: the file is read with its shape or refused", "[io]") {
  const Folder folder;
  const std::string path = folder / "t.csv", whole = "\"a\"\"1\",b;2\r\n1,-2.5e-3\r\n3,4\n";
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (int value = 0; value < 256; ++value) {
      std::string damaged = whole;
      damaged[at] = char(value);
      write(path, damaged);
      try {
        const auto table = fm::load_csv(path);
        REQUIRE(table.columns.size() == std::size_t(table.values.rows()));
        REQUIRE(table.values.rows() <= 2);
        REQUIRE(table.values.cols() <= 2);
        REQUIRE(fm::find_non_finite(table.values)[0] == -1);
      } catch (const std::runtime_error& error) {
        REQUIRE(std::string(error.what()).starts_with("flowmatch: " + path + ": "));
        ++refused;
      }
    }
  CHECK(refused > 256 * 12);  // most bytes of the numbers and separators
}

TEST_CASE("a file that is cut is refused, or is a table of its whole lines", "[io]") {
  const std::string whole = "a,b\r\n1,2\r\n3,4\r\n";
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    CAPTURE(size);
    const bool inside = size == 0 || size == 2 || size == 6 || size == 7 || size == 11 || size == 12;
    CHECK((complaint(whole.substr(0, size)) != "nothing thrown") == inside);
  }
}
