// SPDX-License-Identifier: MIT
// Tables of numbers as text: a line of names, then one line of numbers for each sample. Numbers are read and written by
// <charconv> (libstdc++ 11, libc++ 20): in no locale, exactly rounded, and written with the fewest digits that read
// back as the same bits.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "flowmatch/format/file.hpp"
#include "flowmatch/format/sorted.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// Numbers with a name for each feature. One row of `values` is one column of the file, one sample one line.
template <Real Scalar = float> struct Table {
  std::vector<std::string> columns;  // one name for each row of `values`; or none, for a file without names
  Matrix<Scalar> values;             // dim x n
};
template <class Scalar> Table(std::vector<std::string>, Matrix<Scalar>) -> Table<Scalar>;

struct CsvOptions {
  bool header = true;  // the first line holds names
};

namespace detail {

/// Cuts the first line off the text, and its end (LF or CRLF) off the line.
inline std::string_view next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

/// Cuts the first cell off the line, and the blanks off its ends.
inline std::string_view next_cell(std::string_view& line, char separator) {
  const std::size_t end = std::min(line.find(separator), line.size());
  std::string_view cell = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  cell.remove_prefix(std::min(cell.find_first_not_of(" \t"), cell.size()));
  return cell.substr(0, cell.find_last_not_of(" \t") + 1);
}

/// What std::from_chars says of a cell as a whole: errc() if it is a number, invalid_argument if it is none. Takes a
/// leading plus too.
template <Real Scalar> std::errc parse_number(std::string_view cell, Scalar& value) {
  if (cell.starts_with('+') && !cell.starts_with("+-")) cell.remove_prefix(1);
  const char* last = cell.data() + cell.size();
  const auto [end, error] = std::from_chars(cell.data(), last, value);
  return end == last ? error : std::errc::invalid_argument;
}
inline bool is_number(std::string_view cell) {
  double unused;
  return parse_number(cell, unused) != std::errc::invalid_argument;
}

/// Whether a cell that is a whole number in digits is exactly the value that was read from it.
template <Real Scalar> bool is_exact(std::string_view cell, Scalar value) {
  cell.remove_prefix(std::min(cell.find_first_not_of("+-0"), cell.size()));
  if (cell.size() <= std::numeric_limits<Scalar>::digits10 || cell.find_first_not_of("0123456789") != cell.npos)
    return true;
  char text[std::numeric_limits<Scalar>::max_exponent10 + 2];
  const char* end = std::to_chars(text, std::end(text), std::abs(value), std::chars_format::fixed, 0).ptr;
  return cell == std::string_view(text, std::size_t(end - text));
}

/// A piece of a file for a message: not long, and without control characters.
inline std::string excerpt(std::string_view text) {
  std::string shown(text.substr(0, 40));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  return concat({"\"", shown, text.size() > 40 ? "...\"" : "\""});
}

/// The first name that cannot stand in a header, and why. No reason: they all can.
struct NameFault {
  std::size_t column = 0;
  std::string reason;
};
inline NameFault find_name_fault(const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) return {i, "expected a name, got none"};
    for (const char c : names[i])
      if (static_cast<unsigned char>(c) < 0x20)
        return {i, "expected a name without control characters, got " + excerpt(names[i])};
  }
  const auto [one, other] = find_repeated(sorted_by(std::identity(), names));
  if (one != other)
    return {other, concat({"expected names that differ, got ", excerpt(names[other]), " as in column ", one + 1})};
  return {};
}

/// The separator of a file, by its first line: a comma if there is one outside quotes, else a semicolon, else a tab.
inline char find_separator(std::string_view line) {
  for (const char separator : {',', ';', '\t'}) {
    bool quoted = false;
    for (const char c : line) {
      quoted ^= c == '"';
      if (c == separator && !quoted) return separator;
    }
  }
  return ',';
}

/// Goes through the text of a file: names() if it has them, then numbers(). A template as a whole, so that it is
/// compiled where a table is read, not wherever this header is included.
template <Real Scalar> class CsvReader {
 public:
  explicit CsvReader(const std::string& path) : path_(path), text_(read_file(path)), rest_(text_) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);  // the byte order mark of UTF-8
    rest_ = rest_.substr(0, rest_.find_last_not_of(" \r\n") + 1);
    if (rest_.empty()) fail_file(path_, {"expected a table, got an empty file"});
    std::string_view text = rest_;
    const std::string_view first = next_line(text);
    separator_ = find_separator(first);
    columns_ = count_cells(first);
  }
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;

  std::vector<std::string> names() {
    std::vector<std::string> names;
    bool numbers = true;
    std::string_view line = next_line(rest_);
    for (bool more = true; more;) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      const bool quoted = line.starts_with('"');
      if (quoted) {
        names.push_back(quoted_name(line, names.size()));
        more = !line.empty();
        line.remove_prefix(more);
      } else {
        more = line.find(separator_) != line.npos;
        names.emplace_back(next_cell(line, separator_));
        if (names.back().find('"') != std::string::npos)
          fail(names.size() - 1,
               {"expected quotes around the whole name and \"\" within, got ", excerpt(names.back())});
      }
      numbers = numbers && !quoted && is_number(names.back());
    }
    if (numbers) fail_file(path_, {"line 1: expected names, got numbers only; is this a file for {.header = false}?"});
    const NameFault fault = find_name_fault(names);
    if (!fault.reason.empty()) fail(fault.column, {fault.reason});
    line_ = 2;
    columns_ = names.size();
    return names_ = names;
  }

  Matrix<Scalar> numbers() {
    // The shape before the numbers, so that memory is taken once, and only for cells that are there.
    Matrix<Scalar> values(Index(columns_), check_lines());
    Scalar* value = values.data();
    for (; !rest_.empty(); ++line_) {
      std::string_view line = next_line(rest_);
      for (std::size_t column = 0; column < columns_; ++column, ++value) {
        const std::string_view cell = next_cell(line, separator_);
        const std::errc error = parse_number(cell, *value);
        if (error == std::errc() && is_finite(*value) && is_exact(cell, *value)) continue;
        if (cell.empty()) fail(column, {"expected a number, got an empty cell"});
        if (error == std::errc() && is_finite(*value))
          fail(column, {"expected whole numbers that ", sizeof(Scalar) == 4 ? "float" : "double",
                        " holds exactly (to 2^", std::numeric_limits<Scalar>::digits, "), got ", excerpt(cell)});
        fail(column, {"expected a ", error == std::errc() ? "finite " : "", "number",
                      error != std::errc::result_out_of_range ? ""
                      : sizeof(Scalar) == 4                   ? " in the range of float"
                                                              : " in the range of double",
                      ", got ", excerpt(cell)});
      }
    }
    return values;
  }

 private:
  std::size_t count_cells(std::string_view line) const {
    return 1 + std::size_t(std::count(line.begin(), line.end(), separator_));
  }
  /// How many lines are left, all of them with the right number of cells.
  Index check_lines() {
    const std::size_t first = line_;
    for (std::string_view text = rest_; !text.empty(); ++line_) {
      const std::size_t cells = count_cells(next_line(text));
      if (cells != columns_)
        fail(std::min(cells, columns_), {"expected ", columns_, " cells separated by ",
                                         separator_ == ','   ? "commas"
                                         : separator_ == ';' ? "semicolons"
                                                             : "tabs",
                                         ", got ", cells});
    }
    const Index lines = Index(line_ - first);
    line_ = first;
    return lines;
  }

  /// The name in quotes that the line begins with; cuts it off, and the blanks behind.
  std::string quoted_name(std::string_view& line, std::size_t column) const {
    std::string name;
    const std::string_view whole = line;
    for (line.remove_prefix(1);; line.remove_prefix(1)) {
      const bool quote = line.starts_with('"');
      if (quote) line.remove_prefix(1);
      if (quote && !line.starts_with('"')) break;
      if (line.empty()) fail(column, {"expected a closing quote in this line, got ", excerpt(whole)});
      name += line[0];
    }
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (!line.empty() && line[0] != separator_) fail(column, {"expected a separator after ", excerpt(name)});
    return name;
  }

  /// `column` counts from 0, lines and columns in messages from 1.
  [[noreturn]] void fail(std::size_t column, Pieces what) const {
    fail_file(path_, {"line ", line_, ", column ", column + 1,
                      column < names_.size() ? " " + excerpt(names_[column]) : std::string(), ": ", concat(what)});
  }

  const std::string& path_;
  const std::string text_;
  std::string_view rest_;  // of text_
  char separator_ = ',';
  std::size_t line_ = 1, columns_ = 0;
  std::vector<std::string> names_;
};

/// In quotes where a reader would take it for something else without.
inline std::string csv_name(const std::string& name) {
  if (name.find_first_of(",;\"") == name.npos && name.front() != ' ' && name.back() != ' ' &&
      !name.starts_with("\xEF\xBB\xBF") && !is_number(name))
    return name;
  std::string quoted = "\"";
  for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

}

/// Reads a table of numbers: a line of names, then one line for each sample, which becomes a column of `values`.
///   Separator: a comma, if the first line has one outside quotes, else a semicolon, else a tab.
///   Names: all different, none empty; in quotes ("" for a quote) they may hold separators.
///   Numbers: 1, -0.5, +1e-3; a decimal point in every locale; without quotes. Blanks around them do not count.
///   Lines: end with LF or CRLF. A byte order mark at the start and blank lines at the end are passed over.
/// A whole number that Scalar does not hold exactly, such as an identifier above 2^24 in float, is an error too, since
/// it would change silently.
/// A file without names is read with {.header = false}, and never guessed: a first line of numbers only (not in quotes)
/// is an error otherwise. Throws std::runtime_error that names file, line, column, expected and found, for anything
/// else: a line of another length, a cell that is empty, text, NaN, infinite or beyond the range of Scalar (too large,
/// or so small that it would become 0). Takes memory for the text and the numbers.
template <Real Scalar = float> Table<Scalar> load_csv(const std::string& path, const CsvOptions& options = {}) {
  detail::CsvReader<Scalar> file(path);
  Table<Scalar> table;
  if (options.header) table.columns = file.names();
  table.values = file.numbers();
  return table;
}

/// Writes a table as load_csv reads it: commas, LF, names in quotes where needed, each number with the fewest digits
/// that give back equal bits. Without names the file has no line of names ({.header = false} reads it). The file
/// appears whole or not at all. Throws std::invalid_argument if a value is not finite, if there are no rows in
/// `values`, not as many names as rows, or neither names nor samples, if a name is empty, there twice, or has control
/// characters; and std::runtime_error with path and reason if the file cannot be written. An old file then stays as it
/// was.
template <Real Scalar> void save_csv(const std::string& path, const Table<Scalar>& table) {
  constexpr const char* where = "save_csv";
  const Matrix<Scalar>& values = table.values;
  const Index names = Index(table.columns.size());
  detail::check_at_least(where, "rows of table.values", values.rows(), 1);
  if (names > 0) detail::check_size(where, "table.columns", names, values.rows());
  if (names == 0) detail::check_at_least(where, "columns of table.values, without names,", double(values.cols()), 1);
  const detail::NameFault fault = detail::find_name_fault(table.columns);
  if (!fault.reason.empty()) detail::fail(where, {"column ", fault.column + 1, ": ", fault.reason});
  detail::check_finite(where, "table.values", values);

  detail::NewFile file(path);
  std::string line;
  for (const std::string& name : table.columns) line += (line.empty() ? "" : ",") + detail::csv_name(name);
  if (names > 0) line += '\n';
  for (Index j = 0; j < values.cols(); ++j) {
    for (Index i = 0; i < values.rows(); ++i) {
      char number[32];  // the longest takes 24
      line.append(number, std::to_chars(number, number + sizeof number, values(i, j)).ptr);
      line += i + 1 < values.rows() ? ',' : '\n';
    }
    file.write(line.data(), line.size());
    line.clear();
  }
  file.write(line.data(), line.size());
  file.finish();
}

}
}
