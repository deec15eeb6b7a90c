// SPDX-License-Identifier: MIT
// Points on their way from t = 0 to 1 as one HTML file that needs nothing else: a slider over t, a button that plays.
// The address may end in #t=0.5, which shows that time.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/file.hpp"
#include "support/svg.hpp"

namespace support {

struct Animation {
  std::string title, caption;
  Range x, y;            ///< what is shown, in data units
  Eigen::MatrixXf data;  ///< 2 x any number: the background
  std::vector<Eigen::MatrixXf>
      states;  ///< 2 x n at equal steps from t = 0 to 1, as an observer of `integrate` collects
};

namespace html {

inline constexpr auto style = R"html(<style>
  body { max-width: 680px; margin: 16px auto; padding: 0 12px; }
  body { font: 16px/1.45 Helvetica, Arial, sans-serif; color: #222; }
  h1 { margin: 0; font-size: 22px; }
  p { margin: 4px 0 10px; }
  canvas { display: block; width: 100%; border: 1px solid #d5d5d5; box-sizing: border-box; }
  div { display: flex; align-items: center; gap: 14px; margin-top: 10px; }
  button { width: 5em; padding: 5px 0; font: inherit; }
  input[type=range] { flex: 1; min-width: 60px; accent-color: #0072b2; }
  output { min-width: 4.2em; font-variant-numeric: tabular-nums; }
</style>
)html";

inline constexpr auto controls = R"html(<div>
  <button id="play">Play</button>
  <input id="slider" type="range" min="0" max="1" step="0.001" value="0" aria-label="time t">
  <output id="shown"></output>
  <label><input id="paths" type="checkbox" checked> paths</label>
</div>
)html";

/// Reads x, y, data and points: coordinates one after the other in thousandths, for a point those of each state in
/// turn.
inline constexpr auto code = R"html('use strict';
const [canvas, play, slider, shown, paths] =
  ['canvas', 'play', 'slider', 'shown', 'paths'].map(id => document.getElementById(id));
const palette = ['#0072b2', '#d55e00', '#009e73', '#e69f00', '#cc79a7'];
const seconds = 5, traces = 150, steps = points[0].length / 2 - 1;
// The colour tells in which fifth of the plane a point starts.
const fifth = p => Math.floor((Math.atan2(p[1], p[0]) / (2 * Math.PI) + 1) * palette.length) % palette.length;
const colour = points.map(fifth);
const pen = canvas.getContext('2d');
let t = 0, playing = false, last = 0;

// [horizontal, vertical] of point p at time t, between two states on the straight line.
function place(p) {
  const k = Math.min(Math.floor(t * steps), steps - 1), part = t * steps - k;
  return [p[2 * k] + part * (p[2 * k + 2] - p[2 * k]), p[2 * k + 1] + part * (p[2 * k + 3] - p[2 * k + 1])];
}

function draw() {
  const width = canvas.clientWidth, height = width * (y[1] - y[0]) / (x[1] - x[0]);
  const sharp = window.devicePixelRatio || 1;
  canvas.width = width * sharp;
  canvas.height = height * sharp;
  canvas.style.height = height + 'px';
  const unit = canvas.width / (x[1] - x[0]);
  const across = v => (v / 1000 - x[0]) * unit, down = v => (y[1] - v / 1000) * unit;
  const dots = (places, radius) => {
    pen.beginPath();
    for (const [a, b] of places) {
      pen.moveTo(across(a), down(b));
      pen.arc(across(a), down(b), radius * sharp, 0, 2 * Math.PI);
    }
    pen.fill();
  };
  pen.fillStyle = '#d3d6da';
  dots(Array.from({length: data.length / 2}, (_, j) => [data[2 * j], data[2 * j + 1]]), 1.6);
  palette.forEach((ink, number) => {
    pen.fillStyle = pen.strokeStyle = ink;
    if (paths.checked) {
      pen.globalAlpha = 0.4;
      pen.lineWidth = sharp;
      pen.beginPath();
      points.slice(0, traces).filter((_, j) => colour[j] === number).forEach(p => {
        pen.moveTo(across(p[0]), down(p[1]));
        for (let k = 1; k < t * steps; ++k) pen.lineTo(across(p[2 * k]), down(p[2 * k + 1]));
        const [a, b] = place(p);
        pen.lineTo(across(a), down(b));
      });
      pen.stroke();
    }
    pen.globalAlpha = 0.85;
    dots(points.filter((_, j) => colour[j] === number).map(place), 2);
    pen.globalAlpha = 1;
  });
}

function show(time) {
  t = Math.min(Math.max(time, 0), 1);
  slider.value = t;
  shown.value = 't = ' + t.toFixed(2);
  draw();
}
function run(on) {
  playing = on;
  play.textContent = on ? 'Pause' : 'Play';
  if (!on) return;
  if (t >= 1) show(0);
  last = performance.now();
  requestAnimationFrame(frame);
}
function frame(now) {
  if (!playing) return;
  show(t + Math.max(now - last, 0) / 1000 / seconds);
  last = now;
  if (t < 1) requestAnimationFrame(frame);
  else run(false);
}
// #t=0.5 in the address; without it it plays once, unless the reader's system asks for no motion.
function start() {
  const asked = /[#&]t=([0-9.]+)/.exec(location.hash);
  run(false);
  show(asked ? Number(asked[1]) || 0 : 0);
  if (!asked && !matchMedia('(prefers-reduced-motion: reduce)').matches) run(true);
}

play.onclick = () => run(!playing);
slider.oninput = () => { run(false); show(Number(slider.value)); };
paths.onchange = window.onresize = draw;
window.onhashchange = start;
start();
)html";

inline std::string range(const Range& r) { return "[" + svg::number(r[0]) + ", " + svg::number(r[1]) + "]"; }
inline std::string thousandths(double value) { return std::to_string(std::lround(1000 * value)); }

}

/// Throws std::invalid_argument if there are fewer than two states or points have not 2 rows, std::runtime_error naming
/// the path if the file cannot be written.
inline void save_animation(const std::filesystem::path& path, const Animation& a) {
  if (a.states.size() < 2 || a.states.front().cols() < 1)
    throw std::invalid_argument("animation: expected at least two states of at least one point");
  bool plane = a.data.rows() == 2;
  for (const Eigen::MatrixXf& state : a.states) plane &= state.rows() == 2 && state.cols() == a.states.front().cols();
  if (!plane) throw std::invalid_argument("animation: expected data and states with 2 rows, states of one size");

  std::string script = "const x = " + html::range(a.x) + ", y = " + html::range(a.y) + ";\nconst data = [";
  for (const float v : a.data.reshaped()) script += html::thousandths(double(v)) + ",";
  script += "];\nconst points = [\n";
  for (Eigen::Index j = 0; j < a.states.front().cols(); ++j) {
    script += "[";
    for (const Eigen::MatrixXf& state : a.states)
      script += html::thousandths(double(state(0, j))) + "," + html::thousandths(double(state(1, j))) + ",";
    script += "],\n";
  }
  script += "];\n";

  const std::string title = svg::escape(a.title), caption = svg::escape(a.caption);
  write_file(
      path,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
          title + "</title>\n" + html::style + "<h1>" + title + "</h1>\n<p>" + caption +
          "</p>\n<noscript><p>The picture needs JavaScript.</p></noscript>\n"
          "<canvas id=\"canvas\" role=\"img\" aria-label=\"points on their way from noise to data\"></canvas>\n" +
          html::controls + "<script>\n" + script + html::code + "</script>\n</html>\n");
}

}
