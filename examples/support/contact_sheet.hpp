// SPDX-License-Identifier: MIT
// Many small pictures in one PNG, in groups side by side: generated on the left, real on the right.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/file.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace support {

/// Pixels row by row, channels together, white when made.
struct Image {
  int width, height, channels;
  std::vector<unsigned char> bytes =
      std::vector<unsigned char>(std::size_t(width) * std::size_t(height) * std::size_t(channels), 255);
  unsigned char& at(int x, int y, int channel) {
    return bytes[(std::size_t(y) * std::size_t(width) + std::size_t(x)) * std::size_t(channels) + std::size_t(channel)];
  }
};

/// Throws std::runtime_error naming the path if the file cannot be written.
inline void save_png(const std::filesystem::path& path, const Image& image) {
  std::string png;
  const auto append = [](void* out, void* data, int size) {
    static_cast<std::string*>(out)->append(static_cast<const char*>(data), std::size_t(size));
  };
  if (!stbi_write_png_to_func(append, &png, image.width, image.height, image.channels, image.bytes.data(), 0))
    throw std::runtime_error("cannot encode " + path.string());
  write_file(path, png);
}

struct ContactSheet {
  int width = 8, height = 8;  ///< of one picture, in its own pixels
  int channels = 1;           ///< 1: grey, 3: RGB
  int columns = 8;            ///< pictures beside each other in a group
  int scale = 4;              ///< each pixel becomes a square of this side
  int margin = 4;             ///< white between pictures and around the sheet
  int gap = 24;               ///< white between groups
  double low = 0, high = 1;   ///< these values become black and white, what lies beyond is clipped; swap to invert
};

/// One picture per column, its pixels row by row, channels together. Throws std::invalid_argument if a group does not
/// have width * height * channels rows, std::runtime_error if the file cannot be written.
inline void save_contact_sheet(const std::filesystem::path& path, const std::vector<Eigen::MatrixXf>& groups,
                               const ContactSheet& sheet) {
  const int cell_x = sheet.width * sheet.scale + sheet.margin, cell_y = sheet.height * sheet.scale + sheet.margin;
  const int group_x = sheet.columns * cell_x - sheet.margin + sheet.gap;
  int rows = 0;
  if (groups.empty()) throw std::invalid_argument("contact sheet: expected at least one group");
  for (const auto& group : groups) {
    if (group.rows() != sheet.width * sheet.height * sheet.channels)
      throw std::invalid_argument("contact sheet: expected " +
                                  std::to_string(sheet.width * sheet.height * sheet.channels) + " rows, got " +
                                  std::to_string(group.rows()));
    rows = std::max(rows, (int(group.cols()) + sheet.columns - 1) / sheet.columns);
  }
  Image image{int(groups.size()) * group_x - sheet.gap + 2 * sheet.margin, rows * cell_y + sheet.margin,
              sheet.channels};
  const auto grey = [&](float value) {
    return static_cast<unsigned char>(
        std::lround(255 * std::clamp((double(value) - sheet.low) / (sheet.high - sheet.low), 0.0, 1.0)));
  };
  for (int g = 0; g < int(groups.size()); ++g) {
    const Eigen::MatrixXf& group = groups[std::size_t(g)];
    for (int j = 0; j < int(group.cols()); ++j) {
      const int left = sheet.margin + g * group_x + j % sheet.columns * cell_x;
      const int top = sheet.margin + j / sheet.columns * cell_y;
      for (int y = 0; y < sheet.height * sheet.scale; ++y)
        for (int x = 0; x < sheet.width * sheet.scale; ++x)
          for (int c = 0; c < sheet.channels; ++c) {
            const int pixel = (y / sheet.scale * sheet.width + x / sheet.scale) * sheet.channels + c;
            image.at(left + x, top + y, c) = grey(group(pixel, j));
          }
    }
  }
  save_png(path, image);
}

}
