// SPDX-License-Identifier: MIT
// Does a model draw or does it copy? Distances of samples to their nearest training samples (eq. 25 in docs/math.md).
#pragma once

#include <cmath>
#include <limits>

#include "flowmatch/metric/samples.hpp"

namespace flowmatch {
inline namespace FLOWMATCH_ABI {

/// For each sample its distances d1 <= d2 to the two nearest training samples, and the column of the nearest (the first
/// of equals).
struct NearestSamples {
  RowVector<double> distance, second_distance;
  std::vector<Index> column;

  /// d1 / d2 in [0, 1]. A copy, d1 = 0, has ratio 0, even of a training sample that is there twice (d2 = 0).
  RowVector<double> ratio() const {
    RowVector<double> r(distance.size());
    for (Index j = 0; j < r.size(); ++j) r(j) = distance(j) == 0 ? 0 : distance(j) / second_distance(j);
    return r;
  }
};

namespace detail {

template <Real Scalar>
NearestSamples nearest_samples(const char* where, const Matrix<Scalar>& x, MatrixIn<Scalar> train) {
  check_sets(where, x, "train", train, 1, 2);
  const auto p = x.template cast<double>().eval(), q = train.template cast<double>().eval();
  NearestSamples nearest = {RowVector<double>(p.cols()), RowVector<double>(p.cols()),
                            std::vector<Index>(std::size_t(p.cols()))};
  for (Index j = 0; j < p.cols(); ++j) {
    double first = std::numeric_limits<double>::infinity(), second = first;
    for (Index i = 0; i < q.cols(); ++i) {
      const double squared = (q.col(i) - p.col(j)).squaredNorm();
      if (squared < first) {
        second = first;
        first = squared;
        nearest.column[std::size_t(j)] = i;
      } else if (squared < second) {
        second = squared;
      }
    }
    nearest.distance(j) = std::sqrt(first);
    nearest.second_distance(j) = std::sqrt(second);
  }
  return nearest;
}

}

/// The two nearest columns of train (dim x N, N >= 2) of each column of x (dim x n, n >= 1), by Euclidean distance in
/// the units of the data; look at train.col(column[j]) beside x.col(j). Throws std::invalid_argument if the rows
/// differ, a set is too small or not finite. O(n N dim), in double.
template <Real Scalar> NearestSamples nearest_samples(const Matrix<Scalar>& x, MatrixIn<Scalar> train) {
  return detail::nearest_samples("nearest_samples", x, train);
}

/// The median over the samples x of the distance to the nearest training sample. Its floor is the same for held-out
/// data in place of x: clearly less than that means copies, equal means new samples, more means samples off the data.
/// Throws and costs as nearest_samples.
template <Real Scalar> double median_nearest_distance(const Matrix<Scalar>& x, MatrixIn<Scalar> train) {
  const RowVector<double> distance = detail::nearest_samples("median_nearest_distance", x, train).distance;
  return detail::median(std::vector<double>(distance.data(), distance.data() + distance.size()));
}

/// The share of the samples x that are taken for copies: those with d1 / d2 < threshold, much closer to one training
/// sample than to any other (the criterion of Yoon et al. 2023, with their 1/3). Its floor is the same for held-out
/// data in place of x: about threshold^dim where training samples are dense (there d1^dim is uniform below d2^dim), dim
/// that of the data's manifold, so that in few dimensions a new sample often looks like a copy. A training sample that
/// is there more than once hides its near copies. Throws std::invalid_argument unless 0 < threshold <= 1, and throws
/// and costs as nearest_samples.
template <Real Scalar>
double memorized_fraction(const Matrix<Scalar>& x, MatrixIn<Scalar> train, double threshold = 1. / 3) {
  if (!(threshold > 0 && threshold <= 1))
    detail::fail("memorized_fraction", {"expected threshold in (0, 1], got ", threshold});
  return double((detail::nearest_samples("memorized_fraction", x, train).ratio().array() < threshold).count()) /
         double(x.cols());
}

}
}
