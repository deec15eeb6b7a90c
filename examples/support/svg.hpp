// SPDX-License-Identifier: MIT
// What an SVG file is made of: numbers, colours, text, ticks.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <vector>

namespace support {

/// Okabe and Ito's palette, told apart by the colour-blind too.
namespace colour {
inline constexpr const char *blue = "#0072b2", *vermillion = "#d55e00", *green = "#009e73", *orange = "#e69f00",
                            *sky = "#56b4e9", *purple = "#cc79a7", *grey = "#9aa0a6", *black = "#222";
}

struct Ink {
  std::string colour = colour::blue;
  double size = 1.5;  ///< radius of a point, width of a line, in pixels
  double opacity = 1;
  std::string label = {};  ///< entry in the panel's legend
};

using Range = std::array<double, 2>;
namespace svg {

/// At most two decimals, no trailing zeros, whatever the locale.
inline std::string number(double value) {
  value = std::round(100 * std::clamp(value, -1e6, 1e6)) / 100 + 0.0;  // + 0.0 turns -0 into 0
  char buffer[32];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, 2).ptr);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}
/// Two numbers in as few characters as a path allows: a minus sign separates too.
inline std::string pair(double x, double y) {
  const std::string second = number(y);
  return number(x) + (second[0] == '-' ? "" : " ") + second;
}
inline std::string attribute(const char* name, double value) {
  return std::string(" ") + name + "=\"" + number(value) + "\"";
}
inline std::string stroke(const Ink& ink, double width) {
  return " fill=\"none\" stroke=\"" + ink.colour + "\"" + attribute("stroke-width", width) +
         (ink.opacity < 1 ? attribute("stroke-opacity", ink.opacity) : "");
}
/// Words as XML and HTML have them.
inline std::string escape(const std::string& words) {
  std::string safe;
  for (const char c : words) safe += c == '&' ? "&amp;" : c == '<' ? "&lt;" : std::string(1, c);
  return safe;
}
/// anchor: start, middle or end.
inline std::string text(double x, double y, const std::string& words, const char* anchor, double size,
                        const char* more = "") {
  return "<text" + attribute("x", x) + attribute("y", y) + attribute("font-size", size) + " text-anchor=\"" + anchor +
         "\"" + more + ">" + escape(words) + "</text>\n";
}
/// A tick's value, short.
inline std::string label(double value) {
  char buffer[32];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 6).ptr);
}
/// Round values, about four over the range; on a log axis of some length 1, 2, 5 or whole decades.
inline std::vector<double> ticks(Range range, bool log) {
  std::vector<double> values;
  if (log) {
    const double decades = std::log10(range[1] / range[0]);
    for (double p = std::pow(10, std::floor(std::log10(range[0]))); p <= range[1]; p *= 10)
      for (const double m : {1.0, 2.0, 5.0})
        if ((m == 1 || decades < 2) && m * p >= range[0] && m * p <= range[1]) values.push_back(m * p);
    if (values.size() >= 3) return values;
    values.clear();
  }
  const double rough = (range[1] - range[0]) / (log ? 7 : 4), power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10);
  for (double k = std::ceil(range[0] / step); k * step <= range[1]; ++k) values.push_back(k * step + 0.0);
  return values;
}

}

}
