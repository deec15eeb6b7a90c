// SPDX-License-Identifier: MIT
// A training that can be stopped and gone on with: saved every minute, and when Ctrl-C, or a scheduler by SIGTERM, asks
// the program to end.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include "flowmatch/io/checkpoint.hpp"

namespace support {

/// The signal that asked the program to end, 0: none. A handler may write this and little else.
inline volatile std::sig_atomic_t stop_signal = 0;

/// SIGINT and SIGTERM are noted from here on. A second Ctrl-C ends the program at once, as usual; a second SIGTERM does
/// not, since timeout(1) and schedulers send it to the program and then to its group.
inline void note_signals() {
  for (const int number : {SIGINT, SIGTERM})
    std::signal(number, [](int signal) {
      stop_signal = signal;
      if (signal == SIGINT) std::signal(signal, SIG_DFL);
    });
}

/// Saves a trainer in a file. As its observer: `return saved.after_step();`.
template <class Trainer> class Saved {
 public:
  Saved(const Trainer& trainer, std::filesystem::path file) : trainer_(trainer), file_(std::move(file)) {
    note_signals();
  }

  /// Saves if a minute has passed or the program is asked to end; returns false in this case.
  bool after_step() {
    const auto now = std::chrono::steady_clock::now();
    if (stop_signal == 0 && now - last_ < std::chrono::minutes(1)) return true;
    flowmatch::save(file_.string(), trainer_);
    last_ = now;
    return stop_signal == 0;
  }

  /// After the run: signals end the program again as usual. If one has come, says how to go on and returns what a
  /// program that it ends returns to the shell; else 0.
  int after_run() const {
    for (const int number : {SIGINT, SIGTERM}) std::signal(number, SIG_DFL);
    if (stop_signal == 0) return 0;
    std::fprintf(stderr, "stopped after %ld of %ld steps; the same command with --resume %s goes on\n",
                 long(trainer_.state().report.steps), long(trainer_.options().steps), file_.c_str());
    return 128 + stop_signal;
  }

 private:
  const Trainer& trainer_;
  std::filesystem::path file_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}
