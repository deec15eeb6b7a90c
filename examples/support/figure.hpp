// SPDX-License-Identifier: MIT
// Figures as small SVG files: panels with points, arrows, curves and fields in data units. Points are the columns of a
// 2 x n matrix. A panel without axes() keeps both axes at one scale and shows only its marks in a thin frame.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "support/axes.hpp"
#include "support/file.hpp"
#include "support/svg.hpp"

namespace support {

/// nx x ny points spread over the middle of the cells of a grid.
inline Eigen::MatrixXf grid(Range x, Range y, int nx, int ny) {
  Eigen::MatrixXf points(2, nx * ny);
  for (int j = 0; j < nx * ny; ++j) {
    points(0, j) = float(x[0] + (x[1] - x[0]) * (j % nx + 0.5) / nx);
    points(1, j) = float(y[0] + (y[1] - y[0]) * (j / nx + 0.5) / ny);
  }
  return points;
}

class Panel {
 public:
  Panel& title(const std::string& text) {
    axes_.title = text;
    return *this;
  }
  /// Shows these ranges (one of them widened where both axes keep one scale); otherwise all marks decide.
  Panel& range(Range x, Range y) {
    axes_.fixed = true;
    axes_.x = x;
    axes_.y = y;
    return *this;
  }
  /// Ticks, names of the axes, and each axis at a scale of its own.
  Panel& axes(const std::string& x, const std::string& y) {
    axes_.shown = true;
    axes_.x_name = x;
    axes_.y_name = y;
    return *this;
  }
  /// Logarithmic y; leaves out what is not positive.
  Panel& log_y() {
    axes_.log = true;
    return *this;
  }

  Panel& scatter(const Points& points, const Ink& ink = {}) {
    axes_.include(points);
    return add(ink, true, [=, p = Eigen::MatrixXf(points)](const Frame& frame) {
      // A path of length zero with round ends is a dot in half the characters of a circle.
      std::string s = "<g stroke-linecap=\"round\"" + svg::stroke(ink, 2 * ink.size) + ">\n";
      for (Eigen::Index j = 0; j < p.cols(); ++j)
        if (const auto [x, y] = frame.place(p(0, j), p(1, j)); frame.shows(x, y))
          s += "<path d=\"M" + svg::pair(x, y) + "h0\"/>\n";
      return s + "</g>\n";
    });
  }

  /// Arrows from each start along its direction, times scale in data units; by default the longest arrow is as long as
  /// the starts are apart.
  Panel& arrows(const Points& starts, const Points& directions, const Ink& ink = {.size = 1}, double scale = 0) {
    axes_.include(starts);
    if (scale <= 0 && starts.cols() > 1) {
      const Eigen::Vector2f extent = starts.rowwise().maxCoeff() - starts.rowwise().minCoeff();
      const double apart = std::sqrt(double(extent.prod()) / double(starts.cols()));
      scale = 1.1 * apart / std::max(1e-12, double(directions.colwise().norm().maxCoeff()));
    }
    return add(ink, false, [=, p = Eigen::MatrixXf(starts), d = Eigen::MatrixXf(directions)](const Frame& frame) {
      std::string shafts, heads;
      for (Eigen::Index j = 0; j < p.cols(); ++j) {
        const auto [x, y] = frame.place(p(0, j), p(1, j));
        const auto [tip_x, tip_y] = frame.place(p(0, j) + scale * double(d(0, j)), p(1, j) + scale * double(d(1, j)));
        const double length = std::hypot(tip_x - x, tip_y - y);
        if (!frame.shows(x, y) || !(length > 0.2)) continue;
        const double head = std::min(2.2 + 2.6 * ink.size, 0.6 * length);
        const double ux = (tip_x - x) / length * head, uy = (tip_y - y) / length * head;
        shafts += "M" + svg::pair(x, y) + "L" + svg::pair(tip_x - ux, tip_y - uy);
        heads += "M" + svg::pair(tip_x, tip_y) + "l" + svg::pair(-ux - 0.42 * uy, -uy + 0.42 * ux) + "l" +
                 svg::pair(0.84 * uy, -0.84 * ux) + "z";
      }
      return "<path" + svg::stroke(ink, ink.size) + " d=\"" + shafts + "\"/>\n<path fill=\"" + ink.colour + "\"" +
             svg::attribute("fill-opacity", ink.opacity) + " d=\"" + heads + "\"/>\n";
    });
  }

  Panel& polyline(const Points& points, const Ink& ink = {}) { return lines({Eigen::MatrixXf(points)}, ink); }

  /// One line for each column through all states, as an observer of `integrate` collects them.
  Panel& trajectories(const std::vector<Eigen::MatrixXf>& states, const Ink& ink = {.size = 0.8}) {
    std::vector<Eigen::MatrixXf> all(states.empty() ? 0 : std::size_t(states.front().cols()),
                                     Eigen::MatrixXf(2, Eigen::Index(states.size())));
    for (std::size_t k = 0; k < states.size(); ++k)
      for (std::size_t j = 0; j < all.size(); ++j)
        all[j].col(Eigen::Index(k)) = states[k].col(Eigen::Index(j)).head<2>();
    return lines(std::move(all), ink);
  }

  /// values(i, j) fills the cell in row i from below and column j of the range, from white (0 or less) to the ink's
  /// colour (the largest value).
  Panel& heatmap(const Points& values, Range x, Range y, const Ink& ink = {}) {
    Eigen::MatrixXf corners(2, 2);
    corners << float(x[0]), float(x[1]), float(y[0]), float(y[1]);
    axes_.include(corners);
    return add(ink, true, [=, v = Eigen::MatrixXf(values)](const Frame& frame) {
      constexpr int levels = 24;
      std::array<std::string, levels + 1> cells;
      const float most = std::max(v.maxCoeff(), 1e-30f);
      for (Eigen::Index i = 0; i < v.rows(); ++i)
        for (Eigen::Index j = 0; j < v.cols(); ++j) {
          const auto edge = [](Range r, Eigen::Index k, Eigen::Index n) {
            return r[0] + (r[1] - r[0]) * double(k) / double(n);
          };
          const auto [left, top] = frame.place(edge(x, j, v.cols()), edge(y, i + 1, v.rows()));
          const auto [right, bottom] = frame.place(edge(x, j + 1, v.cols()), edge(y, i, v.rows()));
          cells[std::size_t(std::lround(levels * std::clamp(v(i, j) / most, 0.f, 1.f)))] +=
              "M" + svg::pair(left, top) + "H" + svg::number(right) + "V" + svg::number(bottom) + "H" +
              svg::number(left) + "z";
        }
      std::string s = "<g shape-rendering=\"crispEdges\" fill=\"" + ink.colour + "\">\n";
      for (std::size_t k = 1; k <= levels; ++k)
        if (!cells[k].empty())
          s += "<path" + svg::attribute("fill-opacity", ink.opacity * double(k) / levels) + " d=\"" + cells[k] +
               "\"/>\n";
      return s + "</g>\n";
    });
  }

  /// Words centred at a place in data units.
  Panel& text(double x, double y, const std::string& words) {
    marks_.push_back([=](const Frame& frame) {
      const auto [px, py] = frame.place(x, y);
      return svg::text(px, py + 4, words, "middle", 12);
    });
    return *this;
  }

 private:
  friend class Figure;
  using Mark = std::function<std::string(const Frame&)>;

  Panel& add(const Ink& ink, bool dot, Mark mark) {
    marks_.push_back(std::move(mark));
    if (!ink.label.empty()) axes_.entries.push_back({ink, dot});
    return *this;
  }

  Panel& lines(std::vector<Eigen::MatrixXf> all, const Ink& ink) {
    for (const Eigen::MatrixXf& points : all) axes_.include(points);
    return add(ink, false, [ink, all = std::move(all)](const Frame& frame) {
      std::string s = "<g stroke-linejoin=\"round\" stroke-linecap=\"round\"" + svg::stroke(ink, ink.size) + ">\n";
      for (const Eigen::MatrixXf& p : all) {
        std::string d;
        double last_x = 0, last_y = 0;
        for (Eigen::Index j = 0; j < p.cols(); ++j) {
          const auto [x, y] = frame.place(double(p(0, j)), double(p(1, j)));
          if (!(std::abs(x) < 1e5 && std::abs(y) < 1e5)) continue;  // also what is not a number
          if (!d.empty() && j + 1 < p.cols() && std::hypot(x - last_x, y - last_y) < 0.7) continue;
          d += (d.empty() ? "M" : "L") + svg::pair(x, y);
          last_x = x, last_y = y;
        }
        s += "<path d=\"" + d + "\"/>\n";
      }
      return s + "</g>\n";
    });
  }

  /// The panel with the upper left corner of its frame at (left, top).
  std::string render(double left, double top, double width, double height) const {
    const Frame frame = axes_.frame(width, height);
    std::string s = "<g transform=\"translate(" + svg::pair(left, top) + ")\">\n" + axes_.below(frame) + "<svg" +
                    svg::attribute("width", width) + svg::attribute("height", height) + " overflow=\"hidden\">\n";
    for (const Mark& mark : marks_) s += mark(frame);
    return s + "</svg>\n" + axes_.above(frame) + "</g>\n";
  }

  Axes axes_;
  std::vector<Mark> marks_;
};

class Figure {
 public:
  /// columns x rows panels, each frame width x height pixels.
  Figure(int columns, int rows, double width = 300, double height = 300)
      : columns_(columns), rows_(rows), width_(width), height_(height), panels_(std::size_t(columns * rows)) {}

  /// The panel in this column and row, from 0 at the upper left.
  Panel& operator()(int column = 0, int row = 0) { return panels_.at(std::size_t(row * columns_ + column)); }

  /// Throws std::runtime_error naming the path if the file cannot be written.
  void save(const std::filesystem::path& path) const {
    std::vector<double> lefts, tops;  // of the frames
    double right = 0, below = 0;
    for (int column = 0; column < columns_; ++column) {
      bool axes = false;
      for (int row = 0; row < rows_; ++row) axes |= panels_[std::size_t(row * columns_ + column)].axes_.shown;
      lefts.push_back(right + (axes ? 66 : 10));
      right = lefts.back() + width_ + (axes ? 16 : 10);
    }
    for (int row = 0; row < rows_; ++row) {
      const auto panel = panels_.begin() + row * columns_;
      const auto axes = [](const Panel& p) { return p.axes_.shown; };
      const auto title = [](const Panel& p) { return !p.axes_.title.empty(); };
      tops.push_back(below + (std::any_of(panel, panel + columns_, title) ? 30 : 10));
      below = tops.back() + height_ + (std::any_of(panel, panel + columns_, axes) ? 44 : 10);
    }
    std::string body;
    for (std::size_t i = 0; i < panels_.size(); ++i)
      body += panels_[i].render(lefts[i % lefts.size()], tops[i / lefts.size()], width_, height_);
    const std::string x = svg::number(right), y = svg::number(below);
    write_file(path, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + x + "\" height=\"" + y +
                         "\" viewBox=\"0 0 " + x + " " + y + "\" font-family=\"Helvetica, Arial, sans-serif\">\n" +
                         "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<g fill=\"#222\">\n" + body +
                         "</g>\n</svg>\n");
  }

 private:
  int columns_, rows_;
  double width_, height_;
  std::vector<Panel> panels_;
};

}
