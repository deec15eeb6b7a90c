// SPDX-License-Identifier: MIT
// The command line that all examples share.
#pragma once

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <system_error>

namespace support {

struct Options {
  int steps = 5000;
  std::uint64_t seed = 42;
  int threads = 1;
  std::filesystem::path out = "out";
  std::filesystem::path file = {};  ///< set to a name by an example that writes one table: --out may then name it
};

/// A whole number from low to high, for CLI::Option::check.
inline CLI::Validator whole(long long low, long long high) {
  const std::string range = std::to_string(low) + " to " + std::to_string(high);
  const auto check = [=](const std::string& text) -> std::string {
    char* end = nullptr;
    errno = 0;
    const long long value = std::strtoll(text.c_str(), &end, 10);
    const bool number = !text.empty() && *end == '\0' && errno == 0;
    return number && value >= low && value <= high ? "" : "expected a whole number from " + range + ", got " + text;
  };
  return CLI::Validator(check, "");
}

/// A seed: digits alone (the parser itself would take -1 for 2^64 - 1).
inline std::string check_seed(const std::string& text) {
  errno = 0;
  std::strtoull(text.c_str(), nullptr, 10);
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  return digits && errno == 0 ? "" : "expected a whole number from 0 to 2^64 - 1, got " + text;
}

/// The flag --quick of the examples that end with claims.
inline auto quick_flag(bool& quick) {
  return [&quick](CLI::App& app) {
    app.add_flag("--quick", quick, "a run of seconds that checks only that the figures move the right way");
  };
}

/// Reads the common options; `own` may add those of one example to the CLI::App. Creates the folder `out`. Leaves the
/// program with code 0 after --help, and with another code and a message if something is wrong.
inline Options parse(int argc, const char* const* argv, const std::string& description, Options options = {},
                     const std::function<void(CLI::App&)>& own = {}) {
  constexpr int most = 1'000'000'000;
  CLI::App app(description);
  app.add_option("--steps", options.steps, "training steps")->check(whole(1, most))->capture_default_str();
  app.add_option("--seed", options.seed, "seed of all random numbers")->check(check_seed, "")->capture_default_str();
  app.add_option("--threads", options.threads, "threads for training; the result is the same for any number")
      ->check(whole(1, 1024))
      ->capture_default_str();
  std::string out = options.out.string();
  app.add_option("--out", out,
                 options.file.empty()
                     ? "folder for pictures and models, made if missing"
                     : "folder for all files, made if missing, or the file of the samples (" +
                           options.file.extension().string() + "), whose folder is taken for the others")
      ->capture_default_str();
  if (own) own(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  options.out = out;
  if (!options.file.empty() && options.out.extension() == options.file.extension()) {
    options.file = options.out;
    options.out = options.out.has_parent_path() ? options.out.parent_path() : ".";
  } else if (!options.file.empty()) {
    options.file = options.out / options.file;
  }
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error || !std::filesystem::is_directory(options.out)) {
    std::cerr << "--out: cannot make the folder " << out << (error ? ": " + error.message() : "") << '\n';
    std::exit(EXIT_FAILURE);
  }
  return options;
}

}
