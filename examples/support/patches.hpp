// SPDX-License-Identifier: MIT
// A colour picture as many small ones: cut it into square patches, and put patches together again.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <flowmatch/flowmatch.hpp>
#include <stdexcept>
#include <string>

#include "support/contact_sheet.hpp"

namespace support {

/// Pixels from 0 to 1, row by row, channels together: 3 width height numbers.
struct Picture {
  int width, height;
  Eigen::VectorXf pixels;

  Picture(int w, int h) : width(w), height(h), pixels(Eigen::VectorXf::Zero(3 * w * h)) {}
  auto row(int x, int y, int count) { return pixels.segment(3 * (y * width + x), 3 * count); }
  auto row(int x, int y, int count) const { return pixels.segment(3 * (y * width + x), 3 * count); }
};

/// An array (height, width, 3) of bytes, at half the size: each pixel is the mean of four. Throws std::runtime_error
/// naming the file if it is no such array with an even number of rows and at least 2 columns (an odd last one is left
/// out).
inline Picture load_half_size(const std::string& file) {
  const Eigen::MatrixXf full = flowmatch::load_npy(file);  // a row of the picture is a column here
  if (full.rows() % 3 != 0 || full.rows() < 6 || full.cols() < 2 || full.cols() % 2 != 0)
    throw std::runtime_error(file + ": expected a picture of shape (even height, width, 3), found " +
                             std::to_string(full.cols()) + " rows of " + std::to_string(full.rows()) + " numbers");
  if (!(full.minCoeff() >= 0 && full.maxCoeff() <= 255))
    throw std::runtime_error(file + ": expected numbers from 0 to 255");
  Picture half(int(full.rows() / 6), int(full.cols() / 2));
  for (int y = 0; y < half.height; ++y)
    for (int x = 0; x < half.width; ++x)
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j) half.row(x, y, 1) += full.col(2 * y + i).segment(6 * x + 3 * j, 3) / (4 * 255);
  return half;
}

/// Upper left corners of patches, 2 x n: x above y.
using Places = Eigen::Matrix2Xi;

/// The patches side x side at these places, one a column.
inline Eigen::MatrixXf cut(const Picture& picture, const Places& places, int side) {
  Eigen::MatrixXf patches(3 * side * side, places.cols());
  for (Eigen::Index j = 0; j < places.cols(); ++j)
    for (int i = 0; i < side; ++i)
      patches.col(j).segment(3 * side * i, 3 * side) = picture.row(places(0, j), places(1, j) + i, side);
  return patches;
}

/// A picture of this size from patches; where several lie, their mean, clipped to 0 .. 1. Black where none is.
inline Picture assemble(const Eigen::MatrixXf& patches, const Places& places, int side, int width, int height) {
  Picture sum(width, height), count(width, height);
  for (Eigen::Index j = 0; j < places.cols(); ++j)
    for (int i = 0; i < side; ++i) {
      sum.row(places(0, j), places(1, j) + i, side) += patches.col(j).segment(3 * side * i, 3 * side);
      count.row(places(0, j), places(1, j) + i, side).array() += 1;
    }
  sum.pixels = sum.pixels.cwiseQuotient(count.pixels.cwiseMax(1)).cwiseMax(0).cwiseMin(1);
  return sum;
}

/// Peak signal-to-noise ratio in dB of pixels from 0 to 1.
template <class A, class B> double psnr(const Eigen::MatrixBase<A>& x, const Eigen::MatrixBase<B>& y) {
  return -10 * std::log10(double((x - y).squaredNorm()) / double(x.size()));
}

}
