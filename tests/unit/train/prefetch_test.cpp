// SPDX-License-Identifier: MIT
#include "flowmatch/train/prefetch.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <vector>

#include "catch.hpp"
#include "support/message.hpp"

namespace fm = flowmatch;
using test::message_of;
using Numbers = std::vector<float>;

namespace {

struct FillNormal {
  void operator()(fm::Rng& rng, std::uint64_t k, Numbers& item) const {
    item.resize(std::size_t(10 + k % 3));
    fm::fill_normal(rng, std::span<float>(item));
    item.push_back(float(k));
  }
};

std::vector<Numbers> items(std::uint64_t first, int count, bool ahead) {
  fm::Prefetch<Numbers, FillNormal> prefetch({}, fm::Rng(3, 7), ahead, first);
  std::vector<Numbers> all;
  for (int k = 0; k < count; ++k) all.push_back(prefetch.next());
  return all;
}

}

TEST_CASE("Items made ahead are those made when asked for", "[threads]") {
  const auto expected = items(0, 50, false);
  for (int repeat = 0; repeat < 20; ++repeat) REQUIRE(items(0, 50, true) == expected);
  REQUIRE(expected[4].back() == 4);
  REQUIRE(expected[3] != expected[6]);
}

TEST_CASE("A run that goes on at an item gets what the first run would have got", "[threads]") {
  const auto expected = items(0, 20, true);
  for (const bool ahead : {false, true})
    REQUIRE(items(13, 7, ahead) == std::vector<Numbers>(expected.begin() + 13, expected.end()));
}

TEST_CASE("An item stays as it is while the next one is made", "[threads]") {
  std::atomic<int> made = 0;
  const auto make = [&](fm::Rng&, std::uint64_t k, std::uint64_t& item) {
    item = k;
    ++made;
    made.notify_all();
  };
  fm::Prefetch<std::uint64_t, decltype(make)> prefetch(make, fm::Rng(1));
  for (int k = 0; k < 50; ++k) {
    std::uint64_t& item = prefetch.next();
    for (int now = made.load(); now < k + 2; now = made.load()) made.wait(now);
    REQUIRE(item == std::uint64_t(k));
    item = 1000;  // is the caller's
  }
  REQUIRE(made <= 52);  // one ahead, no more
}

TEST_CASE("An exception reaches the caller with its item and again afterwards", "[threads]") {
  for (const bool ahead : {false, true}) {
    const auto make = [](fm::Rng&, std::uint64_t k, int& item) {
      if (k == 2) throw std::runtime_error("item 2");
      item = int(k);
    };
    fm::Prefetch<int, decltype(make)> prefetch(make, fm::Rng(1), ahead);
    REQUIRE(prefetch.next() == 0);
    REQUIRE(prefetch.next() == 1);
    REQUIRE(message_of<std::runtime_error>([&] { prefetch.next(); }) == "item 2");
    REQUIRE(message_of<std::runtime_error>([&] { prefetch.next(); }) == "item 2");
  }
}

TEST_CASE("It can be destroyed at any time", "[threads]") {
  for (int used = 0; used < 4; ++used)
    for (int repeat = 0; repeat < 50; ++repeat) {
      auto alive = std::make_shared<int>(0);
      {
        const auto make = [alive](fm::Rng& rng, std::uint64_t, Numbers& item) {
          item.resize(100);
          fm::fill_normal(rng, std::span<float>(item));
        };
        fm::Prefetch<Numbers, decltype(make)> prefetch(make, fm::Rng(1));
        for (int k = 0; k < used; ++k) prefetch.next();
      }
      REQUIRE(alive.use_count() == 1);
    }
}
