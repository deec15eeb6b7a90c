// SPDX-License-Identifier: MIT
// Any bytes are a table of finite numbers, with a header or without, or a std::runtime_error.
#include <stdexcept>

#include "flowmatch/format/csv.hpp"
#include "memory_file.hpp"

namespace fm = flowmatch;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  for (const bool header : {true, false}) {
    try {
      const fm::Table<double> table = fm::load_csv<double>(fuzz::memory_file(bytes, size), {.header = header});
      fuzz::expect(std::size_t(table.values.size()) <= size);
      fuzz::expect(fm::find_non_finite(table.values)[0] < 0);
      fuzz::expect(table.columns.size() == (header ? std::size_t(table.values.rows()) : 0));
    } catch (const std::runtime_error&) {}
  }
  return 0;
}
