// SPDX-License-Identifier: MIT
// Words with their pronunciations as phonemes, in places of a fixed number, and how wrong a guess is.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <flowmatch/flowmatch.hpp>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace support {

using Phonemes = std::vector<std::string>;

struct Word {
  std::string spelling;
  std::vector<Phonemes> pronunciations;  ///< the first is the one to learn; a guess may be any of them
};

/// The words of one split, those of at most `letters` letters and `places` phonemes.
struct Lexicon {
  static constexpr int letters = 6, places = 7;

  std::vector<std::string> symbols = {""};  ///< what a place holds; 0: nothing, then the phonemes
  std::vector<Word> train, test;
};

/// A CSV "word,phonemes,split" of lower-case words, phonemes separated by blanks, and train or test; and one
/// "word,phonemes" of further pronunciations of some test words. Throws std::runtime_error naming file and line.
inline Lexicon load_lexicon(const std::string& path, const std::string& further) {
  const auto each_line = [](const std::string& file, const std::string& header, const auto& use) {
    std::ifstream lines(file);
    std::string line;
    const auto fail = [&](int number, const std::string& expected) {
      throw std::runtime_error(file + ": line " + std::to_string(number) + ": expected " + expected + ", got \"" +
                               line.substr(0, 40) + "\"");
    };
    if (!std::getline(lines, line) || line != header) fail(1, "\"" + header + "\"");
    for (int number = 2; std::getline(lines, line); ++number) {
      std::istringstream cells(line);
      std::string spelling, phonemes, split, phoneme;
      std::getline(cells, spelling, ',');
      std::getline(cells, phonemes, ',');
      std::getline(cells, split);
      Phonemes parts;
      for (std::istringstream text(phonemes); text >> phoneme;) parts.push_back(phoneme);
      if (spelling.empty() || spelling.find_first_not_of("abcdefghijklmnopqrstuvwxyz") != spelling.npos)
        fail(number, "a word of letters a to z");
      if (parts.empty() || phonemes.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ ") != phonemes.npos)
        fail(number, "phonemes separated by blanks");
      if (!use(spelling, parts, split)) fail(number, "train or test");
    }
  };
  Lexicon lexicon;
  std::set<std::string> phonemes;
  std::map<std::string, std::size_t> number;  // of a test word
  each_line(path, "word,phonemes,split", [&](const std::string& spelling, const Phonemes& parts, const auto& split) {
    if (split != "train" && split != "test") return false;
    if (spelling.size() > Lexicon::letters || parts.size() > Lexicon::places) return true;
    auto& words = split == "train" ? lexicon.train : lexicon.test;
    if (split == "test") number[spelling] = words.size();
    words.push_back({spelling, {parts}});
    phonemes.insert(parts.begin(), parts.end());
    return true;
  });
  each_line(further, "word,phonemes", [&](const std::string& spelling, const Phonemes& parts, const auto&) {
    if (const auto at = number.find(spelling); at != number.end())
      lexicon.test[at->second].pronunciations.push_back(parts);
    return true;
  });
  if (lexicon.train.empty() || lexicon.test.empty())
    throw std::runtime_error(path + ": expected words to train and test");
  lexicon.symbols.insert(lexicon.symbols.end(), phonemes.begin(), phonemes.end());
  return lexicon;
}

/// Letters as columns of zeros and fours (ones would be lost beside a hundred rows of noise), 27 rows a letter, the
/// first of which says that the word has ended.
inline Eigen::MatrixXf spellings(const std::vector<Word>& words) {
  Eigen::MatrixXf c = Eigen::MatrixXf::Zero(27 * Lexicon::letters, Eigen::Index(words.size()));
  for (std::size_t j = 0; j < words.size(); ++j)
    for (std::size_t i = 0; i < Lexicon::letters; ++i) {
      const auto& s = words[j].spelling;
      c(Eigen::Index(27 * i) + (i < s.size() ? s[i] - 'a' + 1 : 0), Eigen::Index(j)) = 4;
    }
  return c;
}

/// The number of the symbol in each place of each word's first pronunciation, places x words.
inline Eigen::MatrixXi pronunciations(const Lexicon& lexicon, const std::vector<Word>& words) {
  Eigen::MatrixXi y = Eigen::MatrixXi::Zero(Lexicon::places, Eigen::Index(words.size()));
  for (std::size_t j = 0; j < words.size(); ++j) {
    const Phonemes& phonemes = words[j].pronunciations.front();
    for (std::size_t i = 0; i < phonemes.size(); ++i)
      y(Eigen::Index(i), Eigen::Index(j)) =
          int(std::lower_bound(lexicon.symbols.begin(), lexicon.symbols.end(), phonemes[i]) - lexicon.symbols.begin());
  }
  return y;
}

/// The phonemes in a column of places.
inline Phonemes read(const Lexicon& lexicon, const Eigen::VectorXi& places) {
  Phonemes phonemes;
  for (const int symbol : places)
    if (symbol > 0) phonemes.push_back(lexicon.symbols[std::size_t(symbol)]);
  return phonemes;
}

/// The least number of insertions, deletions and substitutions that make a into b (Levenshtein 1966).
inline int edit_distance(const Phonemes& a, const Phonemes& b) {
  std::vector<int> distance(b.size() + 1), last;
  for (std::size_t j = 0; j <= b.size(); ++j) distance[j] = int(j);
  for (std::size_t i = 0; i < a.size(); ++i) {
    last = distance;
    distance[0] = int(i) + 1;
    for (std::size_t j = 0; j < b.size(); ++j)
      distance[j + 1] = std::min({last[j + 1] + 1, distance[j] + 1, last[j] + (a[i] != b[j])});
  }
  return distance.back();
}

struct SpellingScore {
  double errors = 0;  ///< phonemes wrong, for each phoneme of the nearest pronunciation
  double right = 0;   ///< share of the words without an error
};

/// Of guesses, a column of places for each test word.
inline SpellingScore score(const Lexicon& lexicon, const Eigen::MatrixXi& guesses) {
  std::size_t errors = 0, phonemes = 0, right = 0;
  for (std::size_t j = 0; j < lexicon.test.size(); ++j) {
    const Phonemes guess = read(lexicon, guesses.col(Eigen::Index(j)));
    std::pair<std::size_t, std::size_t> best(1000, 0);
    for (const Phonemes& truth : lexicon.test[j].pronunciations)
      best = std::min(best, {std::size_t(edit_distance(guess, truth)), truth.size()});
    errors += best.first;
    phonemes += best.second;
    right += best.first == 0;
  }
  return {double(errors) / double(phonemes), double(right) / double(lexicon.test.size())};
}

/// For each word the guess that is nearest to all others: that in most places like them.
inline Eigen::MatrixXi consensus(const std::vector<Eigen::MatrixXi>& guesses) {
  Eigen::MatrixXi best = guesses.front();
  for (Eigen::Index j = 0; j < best.cols(); ++j) {
    Eigen::Index most = -1;
    for (const auto& a : guesses) {
      Eigen::Index alike = 0;
      for (const auto& b : guesses) alike += (a.col(j).array() == b.col(j).array()).count();
      if (alike <= most) continue;
      most = alike;
      best.col(j) = a.col(j);
    }
  }
  return best;
}

/// Share of the words of which one of the guesses is right.
inline double within(const Lexicon& lexicon, const std::vector<Eigen::MatrixXi>& guesses) {
  std::size_t right = 0;
  for (std::size_t j = 0; j < lexicon.test.size(); ++j) {
    const auto& truths = lexicon.test[j].pronunciations;
    right += std::any_of(guesses.begin(), guesses.end(), [&](const Eigen::MatrixXi& guess) {
      return std::count(truths.begin(), truths.end(), read(lexicon, guess.col(Eigen::Index(j)))) > 0;
    });
  }
  return double(right) / double(lexicon.test.size());
}

}
