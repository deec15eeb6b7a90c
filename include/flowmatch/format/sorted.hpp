// SPDX-License-Identifier: MIT
// The entries of a list in order, by one function for all of io: std::sort would be compiled anew for each kind of
// entry, in every program that saves a net.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "flowmatch/core/types.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {
namespace detail {

/// What an entry is sorted by: two numbers, then a name, then its place in the list.
struct SortKey {
  std::uint64_t first = 0, second = 0;
  std::string_view name = {};
  std::size_t place = 0;

  friend bool operator<(const SortKey& a, const SortKey& b) {
    if (a.first != b.first) return a.first < b.first;
    if (a.second != b.second) return a.second < b.second;
    const int order = a.name.compare(b.name);
    return order != 0 ? order < 0 : a.place < b.place;
  }
};

/// By heaps, which are the shortest of the algorithms that take n log n steps.
inline void sort(std::vector<SortKey>& keys) {
  std::make_heap(keys.begin(), keys.end());
  std::sort_heap(keys.begin(), keys.end());
}

/// The entries in the order of their names, which are their member or std::identity.
template <class Name, class Entry> std::vector<SortKey> sorted_by(Name name, const std::vector<Entry>& entries) {
  std::vector<SortKey> keys(entries.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i].name = std::invoke(name, entries[i]);
    keys[i].place = i;
  }
  sort(keys);
  return keys;
}

/// The two places of a name that is there twice; equal if there is none.
inline std::pair<std::size_t, std::size_t> find_repeated(const std::vector<SortKey>& sorted) {
  for (std::size_t k = 1; k < sorted.size(); ++k)
    if (sorted[k].name == sorted[k - 1].name) return {sorted[k - 1].place, sorted[k].place};
  return {};
}

}
}
}
