// SPDX-License-Identifier: MIT
#include "flowmatch/random/draw.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "support/allocations.hpp"

namespace fm = flowmatch;
using Catch::Matchers::Message;
using fm::Index;

namespace {

/// Column j holds (j, -j), so that a column tells its number.
template <class Scalar> fm::Matrix<Scalar> numbered_columns(Index n) {
  fm::Matrix<Scalar> data(2, n);
  for (Index j = 0; j < n; ++j) data.col(j) << Scalar(j), Scalar(-j);
  return data;
}

bool is_permutation_of_samples(std::vector<Index> pass, Index samples) {
  std::sort(pass.begin(), pass.end());
  for (Index i = 0; i < Index(pass.size()); ++i)
    if (pass[std::size_t(i)] != i) return false;
  return Index(pass.size()) == samples;
}

}

TEMPLATE_TEST_CASE("Drawn columns are those of one fill of indices, whatever their number", "[draw]", float, double) {
  const fm::Matrix<TestType> data = numbered_columns<TestType>(37);
  for (const Index n : {0, 1, 2, 63, 64, 65, 127, 128, 129, 300}) {
    fm::Rng rng(4, 2), same = rng;
    rng.position = same.position = 5;
    std::vector<Index> indices(std::size_t(n), -1);
    fm::fill_below(rng, 37, indices);
    fm::Matrix<TestType> x = fm::Matrix<TestType>::Constant(2, n, 99);
    fm::draw_columns(same, data, x);
    for (Index j = 0; j < n; ++j) REQUIRE(x.col(j) == data.col(indices[std::size_t(j)]));
    if (n > 0) REQUIRE(same == rng);
  }
}

TEST_CASE("Columns are drawn from blocks of a matrix too", "[draw]") {
  fm::Rng rng(1);
  const fm::Matrix<float> data = numbered_columns<float>(10);
  fm::Matrix<float> x(2, 200);
  fm::draw_columns(rng, data.middleCols(3, 2), x);
  REQUIRE(x.row(0).minCoeff() == 3);
  REQUIRE(x.row(0).maxCoeff() == 4);
}

TEST_CASE("Columns cannot be drawn from nothing or into another dimension", "[draw]") {
  fm::Rng rng(1);
  fm::Matrix<float> x(2, 4);
  REQUIRE_THROWS_MATCHES(fm::draw_columns(rng, fm::Matrix<float>(3, 5), x), std::invalid_argument,
                         Message("flowmatch: draw_columns: expected 3 rows in x, got 2"));
  REQUIRE_THROWS_MATCHES(fm::draw_columns(rng, fm::Matrix<float>(2, 0), x), std::invalid_argument,
                         Message("flowmatch: draw_columns: expected data.cols() >= 1, got 0"));
}

TEMPLATE_TEST_CASE("Columns are taken by their numbers", "[draw]", float, double) {
  const fm::Matrix<TestType> data = numbered_columns<TestType>(6);
  fm::Matrix<TestType> x;
  const std::vector<Index> indices{5, 0, 0, 3};
  fm::take_columns(data, indices, x);
  REQUIRE(x.rows() == 2);
  REQUIRE(x.cols() == 4);
  for (Index j = 0; j < 4; ++j) REQUIRE(x(0, j) == TestType(indices[std::size_t(j)]));
  fm::take_columns(data, {}, x);
  REQUIRE(x.cols() == 0);
  fm::take_columns(data.leftCols(3), std::vector<Index>{2}, x);
  REQUIRE(x(1, 0) == -2);
}

TEST_CASE("Taking a column that does not exist names it", "[draw]") {
  const fm::Matrix<float> data = numbered_columns<float>(6);
  fm::Matrix<float> x;
  REQUIRE_THROWS_MATCHES(fm::take_columns(data, std::vector<Index>{1, 6}, x), std::invalid_argument,
                         Message("flowmatch: take_columns: expected indices in [0, 6), got 6 at position 1"));
  REQUIRE_THROWS_MATCHES(fm::take_columns(data, std::vector<Index>{-1}, x), std::invalid_argument,
                         Message("flowmatch: take_columns: expected indices in [0, 6), got -1 at position 0"));
}

TEST_CASE("Every pass of an epoch holds each sample once, in batches of constant size", "[draw]") {
  for (const Index samples : {1, 2, 7, 64, 100})
    for (const Index n : {1, 3, 32, 250}) {  // some batches are longer than a pass
      CAPTURE(samples, n);
      fm::Rng rng(3);
      fm::Epoch epoch(samples);
      std::vector<Index> drawn;
      while (Index(drawn.size()) < 5 * samples) {
        const auto batch = epoch.draw(rng, n);
        REQUIRE(Index(batch.size()) == n);
        drawn.insert(drawn.end(), batch.begin(), batch.end());
      }
      for (Index pass = 0; pass < 5; ++pass)
        REQUIRE(
            is_permutation_of_samples({drawn.begin() + pass * samples, drawn.begin() + (pass + 1) * samples}, samples));
    }
}

TEST_CASE("A pass depends only on the random numbers at its start", "[draw]") {
  fm::Rng rng(6);
  fm::Epoch epoch(50), fresh(50);
  const auto first = epoch.draw(rng, 50);
  const std::vector<Index> first_pass(first.begin(), first.end());
  fm::Rng later = rng;
  const auto second = epoch.draw(rng, 50);
  const std::vector<Index> second_pass(second.begin(), second.end());
  REQUIRE(second_pass != first_pass);
  const auto resumed = fresh.draw(later, 50);
  REQUIRE(std::vector<Index>(resumed.begin(), resumed.end()) == second_pass);
  REQUIRE(later == rng);
}

TEST_CASE("An epoch goes on from the position of another as that one does", "[draw]") {
  fm::Rng rng(6), other(1);
  fm::Epoch epoch(7);
  const auto next = [](fm::Epoch& e, fm::Rng& r, Index n) {
    const auto indices = e.draw(r, n);
    return std::vector<Index>(indices.begin(), indices.end());
  };
  for (Index n = 1; n < 40; ++n) {
    fm::Epoch later(7);
    next(later, other, 1 + n % 5);  // wherever it was
    next(epoch, rng, n);
    later.seek(epoch.position());
    REQUIRE(later.position() == epoch.position());
    fm::Epoch copy = epoch;
    fm::Rng a = rng, b = rng;
    REQUIRE(next(later, a, 20) == next(copy, b, 20));
    REQUIRE(a == b);
  }
  REQUIRE_THROWS_MATCHES(epoch.seek({rng, -1}), std::invalid_argument,
                         Message("flowmatch: Epoch::seek: expected drawn >= 0, got -1"));
  REQUIRE_THROWS_MATCHES(epoch.seek({rng, 8}), std::invalid_argument,
                         Message("flowmatch: Epoch::seek: expected samples >= 8, got 7"));
}

TEST_CASE("Draws and batches of constant size do not allocate", "[draw]") {
  fm::Rng rng(7);
  fm::Epoch epoch(20);
  const fm::Matrix<float> data = numbered_columns<float>(20);
  fm::Matrix<float> drawn(2, 300), taken(2, 20);
  REQUIRE(test::allocations_in([&] {
            for (int repeat = 0; repeat < 10; ++repeat) {
              fm::draw_columns(rng, data, drawn);
              for (Index n = 1; n <= 20; ++n) epoch.draw(rng, n);
              fm::take_columns(data, epoch.draw(rng, 20), taken);
            }
          }) == 0);
  if (test::counts_allocations) REQUIRE(test::allocations_in([&] { epoch.draw(rng, 21); }) > 0);
}

TEST_CASE("Each sample is equally likely at each place of a pass", "[draw]") {
  const Index samples = 5, passes = 20000;
  fm::Rng rng(8);
  fm::Epoch epoch(samples);
  std::vector<double> count(std::size_t(samples * samples));
  for (Index pass = 0; pass < passes; ++pass) {
    const auto order = epoch.draw(rng, samples);
    for (Index place = 0; place < samples; ++place) ++count[std::size_t(place * samples + order[std::size_t(place)])];
  }
  const double p = 1.0 / double(samples), sigma = std::sqrt(double(passes) * p * (1 - p));
  for (const double c : count) REQUIRE(std::abs(c - double(passes) * p) < 5 * sigma);
}

TEST_CASE("An epoch needs samples and a batch needs indices", "[draw]") {
  fm::Rng rng(1);
  REQUIRE_THROWS_MATCHES(fm::Epoch(0), std::invalid_argument,
                         Message("flowmatch: Epoch: expected samples >= 1, got 0"));
  fm::Epoch epoch(3);
  REQUIRE_THROWS_MATCHES(epoch.draw(rng, 0), std::invalid_argument,
                         Message("flowmatch: Epoch::draw: expected n >= 1, got 0"));
}
