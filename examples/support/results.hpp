// SPDX-License-Identifier: MIT
// Numbers that took long to compute, kept in a file, so that a program that was interrupted goes on where it was.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/file.hpp"

namespace support {

/// Some numbers for each key, a line of text without tabs. The file has a line for the settings, then one for each key.
class Results {
 public:
  /// Throws std::runtime_error if the file holds the numbers of other settings.
  Results(std::filesystem::path path, const std::string& settings) : path_(std::move(path)), text_(settings + '\n') {
    std::ifstream file(path_);
    std::string line;
    if (!std::getline(file, line)) return;
    if (line != settings)
      throw std::runtime_error(path_.string() + " has results of other settings (" + line +
                               "): delete it or name another folder with --out");
    while (std::getline(file, line)) add(line);
  }

  bool has(const std::string& key) const { return numbers_.count(key) > 0; }
  const std::vector<double>& at(const std::string& key) const { return numbers_.at(key); }
  void put(const std::string& key, const std::vector<double>& numbers) {
    std::ostringstream line;
    line << key << '\t';
    for (const double x : numbers) line << x << ' ';
    add(line.str());
    support::write_file(path_, text_);
  }

 private:
  void add(const std::string& line) {
    const std::size_t tab = line.find('\t');
    std::istringstream rest(line.substr(tab + 1));
    std::vector<double>& numbers = numbers_[line.substr(0, tab)];
    for (double x; rest >> x;) numbers.push_back(x);
    text_ += line + '\n';
  }

  std::filesystem::path path_;
  std::string text_;
  std::map<std::string, std::vector<double>> numbers_;
};

}
