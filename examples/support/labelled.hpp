// SPDX-License-Identifier: MIT
// Pictures with a class each, from two .npy files that lie side by side.
#pragma once

#include <algorithm>
#include <filesystem>
#include <flowmatch/flowmatch.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/data.hpp"

namespace support {

struct Labelled {
  Eigen::MatrixXf train, held_out;  ///< one picture a column, pixels from 0 to 1
  std::vector<flowmatch::Index> train_labels, held_out_labels;
  flowmatch::Index classes;
};

/// Reads NAME_x.npy, pixels from 0 up, and NAME_y.npy, classes 0, 1, ...; shuffles, and holds out a part. An empty
/// file: the bundled digits. Throws std::runtime_error naming the file if the pictures are not square or a pixel is
/// negative or not finite, a class is no whole number, or one has less than 20 pictures.
inline Labelled load_labelled(const std::filesystem::path& file, flowmatch::Rng& rng, double held_out = 0.2) {
  namespace fm = flowmatch;
  const std::string x_file = file.empty() ? data_file("digits_x.npy").string() : file.string();
  const auto require = [](bool holds, const std::string& where, const std::string& expected) {
    if (!holds) throw std::runtime_error(where + ": expected " + expected);
  };
  require(x_file.ends_with("_x.npy"), x_file, "a name that ends in _x.npy");
  const std::string y_file = x_file.substr(0, x_file.size() - 6) + "_y.npy";
  Eigen::MatrixXf x = fm::load_npy(x_file);
  const Eigen::MatrixXf y = fm::load_npy(y_file);
  const auto side = fm::Index(std::lround(std::sqrt(double(x.rows()))));
  require(side > 1 && side * side == x.rows(), x_file,
          "square pictures, found " + std::to_string(x.rows()) + " pixels");
  require(x.cols() > 0 && x.allFinite() && x.minCoeff() >= 0 && x.maxCoeff() > 0, x_file, "finite pixels from 0 up");
  require(y.rows() == 1 && y.cols() == x.cols(), y_file, std::to_string(x.cols()) + " classes, one for each picture");
  require(y.allFinite() && y.minCoeff() >= 0 && y.maxCoeff() < 1000 && y == y.array().round().matrix(), y_file,
          "whole numbers from 0 up, below 1000");
  x /= x.maxCoeff();

  Labelled data;
  data.classes = fm::Index(y.maxCoeff()) + 1;
  std::vector<fm::Index> count(std::size_t(data.classes));
  for (const float label : y.reshaped()) ++count[std::size_t(label)];
  require(*std::min_element(count.begin(), count.end()) >= 20, y_file, "at least 20 pictures of each class");
  fm::Epoch shuffle(x.cols());
  const std::span<const fm::Index> order = shuffle.draw(rng, x.cols());
  const auto training = std::size_t((1 - held_out) * double(order.size()));
  fm::take_columns(x, order.first(training), data.train);
  fm::take_columns(x, order.subspan(training), data.held_out);
  for (std::size_t j = 0; j < order.size(); ++j)
    (j < training ? data.train_labels : data.held_out_labels).push_back(fm::Index(y(0, order[j])));
  return data;
}

/// Labels as the condition row of a net with classes.
inline Eigen::MatrixXf as_condition(const std::vector<flowmatch::Index>& labels) {
  Eigen::MatrixXf c(1, flowmatch::Index(labels.size()));
  for (flowmatch::Index j = 0; j < c.cols(); ++j) c(0, j) = float(labels[std::size_t(j)]);
  return c;
}

/// The columns of x that have this label.
inline Eigen::MatrixXf of_class(const Eigen::MatrixXf& x, const std::vector<flowmatch::Index>& labels,
                                flowmatch::Index label) {
  std::vector<flowmatch::Index> chosen;
  for (std::size_t j = 0; j < labels.size(); ++j)
    if (labels[j] == label) chosen.push_back(flowmatch::Index(j));
  Eigen::MatrixXf columns;
  flowmatch::take_columns(x, std::span<const flowmatch::Index>(chosen), columns);
  return columns;
}

}
