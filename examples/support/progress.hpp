// SPDX-License-Identifier: MIT
// What a training loop shows while it runs: one redrawn line on a terminal, a line every 10 % elsewhere, on standard
// error, so that standard output holds results only. Keeps the losses for a picture.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(_WIN32)
#include <io.h>
#else
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace support {

class Progress {
 public:
  /// first: steps done before, by a run that this one goes on with.
  Progress(int total_steps, std::string label, int first = 0)
      : total_(std::max(total_steps, 1)), first_(first), done_(first), label_(std::move(label)) {
    bucket_ = (total_ + 499) / 500;
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { finish(); }

  /// Call it at the end of each step; steps count from 0. Costs a look at the clock, and ten times a second a line.
  void update(int step) {
    done_ = step + 1;
    const double now = seconds();
    if (terminal_ ? now < next_draw_ : 10LL * done_ / total_ == tenths_) return;
    next_draw_ = now + 0.1;
    tenths_ = int(10LL * done_ / total_);
    draw(now);
  }

  /// The same, with the loss of the step.
  template <std::floating_point Scalar> void update(int step, Scalar loss) {
    constexpr double decay = 0.98;  // a mean over about 50 steps, weighted so that its start is unbiased
    weighted_ = decay * weighted_ + (1 - decay) * double(loss);
    weight_ = decay * weight_ + (1 - decay);
    sum_ += double(loss);
    if (++summed_ == bucket_ || step + 1 == total_) {
      history_.push_back({float(step + 1), float(sum_ / summed_), float(smoothed_loss())});
      sum_ = summed_ = 0;
    }
    update(step);
  }

  /// For Trainer::run.
  auto observer() {
    return [this](const auto& now) { update(int(now.step), now.loss); };
  }

  /// Prints the last line: steps, time, mean speed, loss. Only the first call counts; the destructor makes it too.
  void finish() {
    if (finished_) return;
    finished_ = true;
    const double time = seconds();
    std::string line = label_ + ": " + (done_ < total_ ? std::to_string(done_) + " of " : "") + std::to_string(total_) +
                       " steps in " + clock(time) + ", " + speed(time);
    if (weight_ > 0) line += ", loss " + number("%.4g", smoothed_loss());
    std::cerr << (terminal_ ? "\r\x1b[K" : "") << line << std::endl;
  }

  /// Mean of the last 50 steps or so.
  double smoothed_loss() const { return weighted_ / weight_; }

  /// At most about 500 columns over the run: step (from 1) and mean loss since the column before.
  Eigen::MatrixXf losses() const { return rows(1); }
  /// The same steps with the smoothed loss.
  Eigen::MatrixXf smoothed_losses() const { return rows(2); }

 private:
  struct Record {
    float values[3];
  };

  Eigen::MatrixXf rows(int which) const {
    Eigen::MatrixXf m(2, Eigen::Index(history_.size()));
    for (Eigen::Index j = 0; j < m.cols(); ++j) {
      m(0, j) = history_[std::size_t(j)].values[0];
      m(1, j) = history_[std::size_t(j)].values[which];
    }
    return m;
  }

  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  static std::string number(const char* format, double value) {
    char buffer[40];
    std::snprintf(buffer, sizeof buffer, format, value);
    return buffer;
  }
  static std::string clock(double time) {
    if (time < 9.95) return number("%.1f s", time);
    if (time < 99.5) return number("%.0f s", time);
    const int minutes = int(std::min(time, 3e8) / 60 + 0.5);
    if (minutes < 60) return std::to_string(minutes) + " min";
    return std::to_string(minutes / 60) + " h " + std::to_string(minutes % 60) + " min";
  }
  std::string speed(double time) const {
    const double rate = time > 0 ? (done_ - first_) / time : 0;
    return number(rate < 100 ? "%.3g steps/s" : "%.0f steps/s", rate);
  }

  void draw(double time) const {
    const double part = std::min(1.0, double(done_) / total_);
    std::string tail = number(" %3.0f %%", std::floor(100 * part));
    if (weight_ > 0) tail += "  loss " + number("%-7.4g", smoothed_loss());
    tail += "  " + speed(time) + "  " + clock(time * (total_ - done_) / (done_ - first_)) + " left";
    if (terminal_) {
      const int cells = std::clamp(terminal_width() - int(label_.size() + tail.size()) - 4, 0, 28);
      std::cerr << '\r' << label_ << "  " << bar(cells, part) << tail << "\x1b[K" << std::flush;
    } else {
      std::cerr << label_ << tail << std::endl;
    }
  }

  static std::string bar(int cells, double part) {
    const char* locale = "";
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
      if (const char* value = std::getenv(name); value && *value && !*locale) locale = value;
    const std::string_view name(locale);
    const bool unicode = name.find("UTF") != name.npos || name.find("utf") != name.npos;
    const int full = int(cells * part);
    std::string text;
    for (int i = 0; i < cells; ++i) text += i < full ? (unicode ? "━" : "#") : (unicode ? "\x1b[2m─\x1b[22m" : ".");
    return text;
  }

  static bool is_terminal() {
#if defined(_WIN32)
    return _isatty(2) != 0;
#else
    const char* kind = std::getenv("TERM");
    return isatty(STDERR_FILENO) != 0 && std::string_view(kind ? kind : "dumb") != "dumb";
#endif
  }
  static int terminal_width() {
#if !defined(_WIN32)
    winsize size{};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
#endif
    return 80;
  }

  int total_, first_, done_, bucket_ = 1, tenths_ = 0, summed_ = 0;
  std::string label_;
  bool terminal_ = is_terminal(), finished_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double next_draw_ = 0.1, weighted_ = 0, weight_ = 0, sum_ = 0;
  std::vector<Record> history_;
};

}
