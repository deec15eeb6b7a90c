// SPDX-License-Identifier: MIT
// What surrounds the marks of a panel: ranges, frame, ticks, names, legend.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/svg.hpp"

namespace support {

using Points = Eigen::Ref<const Eigen::MatrixXf>;

/// From data units to pixels of a panel.
struct Frame {
  Range x, y;
  bool log;
  double width, height;

  std::array<double, 2> place(double px, double py) const {
    const double v = log ? std::log(py / y[0]) / std::log(y[1] / y[0]) : (py - y[0]) / (y[1] - y[0]);
    return {width * (px - x[0]) / (x[1] - x[0]), height * (1 - v)};
  }
  bool shows(double px, double py) const { return px >= 0 && px <= width && py >= 0 && py <= height; }
};

struct Axes {
  struct Entry {
    Ink ink;
    bool dot;
  };

  std::string title, x_name, y_name;
  bool fixed = false;  ///< the ranges were set
  bool shown = false;  ///< with ticks, and each axis at a scale of its own
  bool log = false;    ///< logarithmic y
  Range x = {1e300, -1e300}, y = {1e300, -1e300};
  double positive = 1e300;  ///< the smallest positive y
  std::vector<Entry> entries;

  /// Widens the ranges to show these points too, unless they were set.
  void include(const Points& points) {
    if (points.rows() != 2) throw std::invalid_argument("figure: expected points with 2 rows");
    for (Eigen::Index j = 0; !fixed && j < points.cols(); ++j) {
      const double px = double(points(0, j)), py = double(points(1, j));
      if (!(std::abs(px) < 1e30 && std::abs(py) < 1e30)) continue;
      x = {std::min(x[0], px), std::max(x[1], px)};
      y = {std::min(y[0], py), std::max(y[1], py)};
      if (py > 0) positive = std::min(positive, py);
    }
  }

  /// The ranges with a little room, on a panel of this size.
  Frame frame(double width, double height) const {
    Frame f{x, y, log, width, height};
    if (!fixed && log) f.y[0] = positive;
    if (!(f.x[0] <= f.x[1])) f.x = {0, 1};
    if (!(f.y[0] <= f.y[1])) f.y = {log ? 0.1 : 0.0, 1};
    const double pad_x = fixed ? 0 : shown ? 0.02 : 0.05;
    const auto widen = [](Range& r, double part) {
      const double by = r[1] > r[0] ? part * (r[1] - r[0]) : 0.5;
      r = {r[0] - by, r[1] + by};
    };
    widen(f.x, pad_x);
    if (log) {
      const double by = fixed ? 1 : std::max(1.05, std::pow(f.y[1] / f.y[0], 0.05));
      f.y = {f.y[0] / by, f.y[1] * by};
    } else {
      widen(f.y, fixed ? 0 : 0.05);
    }
    if (!shown && !log) {  // one scale: widen the range that is short for the shape of the panel
      const double unit = std::max((f.x[1] - f.x[0]) / width, (f.y[1] - f.y[0]) / height);
      widen(f.x, 0.5 * (unit * width / (f.x[1] - f.x[0]) - 1));
      widen(f.y, 0.5 * (unit * height / (f.y[1] - f.y[0]) - 1));
    }
    return f;
  }

  /// What lies under the marks.
  std::string below(const Frame& f) const {
    const double width = f.width, height = f.height;
    std::string s;
    if (!title.empty()) s += svg::text(shown ? 0 : width / 2, -9, title, shown ? "start" : "middle", 14);
    if (shown) {
      std::string lines;
      for (const double v : svg::ticks(f.x, false)) {
        const double at = f.place(v, f.y[0])[0];
        lines += "M" + svg::pair(at, 0) + "v" + svg::number(height);
        s += svg::text(at, height + 16, svg::label(v), "middle", 11);
      }
      for (const double v : svg::ticks(f.y, log)) {
        const double at = f.place(f.x[0], v)[1];
        lines += "M" + svg::pair(0, at) + "h" + svg::number(width);
        s += svg::text(-7, at + 4, svg::label(v), "end", 11);
      }
      s += "<path stroke=\"#ebebeb\" d=\"" + lines + "\"/>\n";
      s += svg::text(width / 2, height + 34, x_name, "middle", 12);
      s += "<g transform=\"translate(-48 " + svg::number(height / 2) + ") rotate(-90)\">" +
           svg::text(0, 0, y_name, "middle", 12) + "</g>\n";
    }
    return s;
  }

  /// What lies over the marks.
  std::string above(const Frame& f) const {
    const double width = f.width, height = f.height;
    std::string s;
    if (shown)
      s += "<path fill=\"none\" stroke=\"#444\" d=\"M0 0v" + svg::number(height) + "h" + svg::number(width) + "\"/>\n";
    else
      s += "<rect" + svg::attribute("width", width) + svg::attribute("height", height) +
           " fill=\"none\" stroke=\"#d5d5d5\"/>\n";
    return s + legend(width);
  }

 private:
  /// In the upper right corner, on a white ground.
  std::string legend(double width) const {
    std::size_t longest = 0;
    for (const Entry& e : entries) longest = std::max(longest, e.ink.label.size());
    const double wide = 34 + 6.6 * double(longest), left = width - wide - 7;
    if (entries.empty()) return "";
    std::string s = "<rect" + svg::attribute("x", left) + svg::attribute("y", 7) + svg::attribute("width", wide) +
                    svg::attribute("height", 8 + 18 * double(entries.size())) +
                    " rx=\"3\" fill=\"#fff\" fill-opacity=\"0.85\"/>\n";
    double middle = 20;
    for (const Entry& e : entries) {
      const Ink solid{e.ink.colour, e.ink.size, std::max(e.ink.opacity, 0.8)};
      s += "<path stroke-linecap=\"round\"" + svg::stroke(solid, e.dot ? 7 : std::max(2.0, e.ink.size)) + " d=\"M" +
           (e.dot ? svg::pair(left + 15, middle) + "h0" : svg::pair(left + 7, middle) + "h16") + "\"/>\n" +
           svg::text(left + 29, middle + 4, e.ink.label, "start", 12);
      middle += 18;
    }
    return s;
  }
};

}
