// SPDX-License-Identifier: MIT
// Reads the golden text files: blocks of a line "name rows columns" and rows x columns numbers, in C order.
#pragma once

#include <Eigen/Core>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace test {

/// One golden file. Names are unique in it, and keep their order.
class Golden {
 public:
  explicit Golden(const std::string& file) : file_(FLOWMATCH_GOLDEN_DIR "/" + file) {
    std::ifstream in(file_);
    std::string name;
    Eigen::Index rows = 0, columns = 0;
    while (in >> name >> rows >> columns) {
      Eigen::MatrixXd values(columns, rows);  // C order of (rows, columns) is the memory of columns x rows
      std::string number;                     // not >> double: it may stop at the smallest numbers
      for (Eigen::Index i = 0; i < values.size() && in >> number; ++i) values.data()[i] = std::stod(number);
      if (!in) throw std::runtime_error(file_ + ": block " + name + " ends early");
      names_.push_back(name);
      blocks_[name] = values;
    }
    if (names_.empty()) throw std::runtime_error(file_ + ": cannot read");
  }

  /// A PyTorch tensor (n, dim) as dim x n: one sample per column.
  const Eigen::MatrixXd& columns(const std::string& name) const {
    const auto found = blocks_.find(name);
    if (found == blocks_.end()) throw std::runtime_error(file_ + ": no block " + name);
    return found->second;
  }
  /// All numbers of a block, in C order.
  Eigen::VectorXd flat(const std::string& name) const { return columns(name).reshaped(); }
  double number(const std::string& name) const { return columns(name)(0, 0); }
  /// Names that start with the prefix, without it, in the order of the file.
  std::vector<std::string> names(const std::string& prefix) const {
    std::vector<std::string> found;
    for (const std::string& name : names_)
      if (name.compare(0, prefix.size(), prefix) == 0) found.push_back(name.substr(prefix.size()));
    return found;
  }

 private:
  std::string file_;
  std::vector<std::string> names_;
  std::map<std::string, Eigen::MatrixXd> blocks_;
};

}
