#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "image/resize.h"
#include "train/input/augmentation_ops.h"

namespace zood::train {
namespace {

// What each of the new rows (or columns) is made of: weights of old ones.
struct Taps {
  struct Tap {
    int from = 0;
    float weight = 0;
  };
  std::vector<Tap> taps;
  std::vector<std::size_t> ends;  // of each new row's taps

  std::span<const Tap> Of(int to) const {
    const std::size_t begin = to == 0 ? 0 : ends[static_cast<std::size_t>(to - 1)];
    return std::span(taps).subspan(begin, ends[static_cast<std::size_t>(to)] - begin);
  }
};

// Keys' kernel with a = -0.75, as TensorFlow's resize_bicubic tabulates it in steps of 1/1024.
float KeysNear(float x) {
  constexpr float a = -0.75f;
  return ((a + 2) * x - (a + 3)) * x * x + 1;
}
float KeysFar(float x) {
  constexpr float a = -0.75f;
  x += 1;
  return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

void AddBicubic(int to, float scale, int in, Taps& taps) {
  constexpr float kSteps = 1024;
  const float position = static_cast<float>(to) * scale;
  const int first = static_cast<int>(position);
  const float x = std::rint((position - static_cast<float>(first)) * kSteps) / kSteps;
  const std::array<float, 4> weights = {KeysFar(x), KeysNear(x), KeysNear(1 - x), KeysFar(1 - x)};
  for (int i = 0; i < 4; ++i) {
    taps.taps.push_back(
        {std::clamp(first - 1 + i, 0, in - 1), weights[static_cast<std::size_t>(i)]});
  }
}

// Each old pixel counts by the part of it that the new one covers.
void AddArea(int to, float scale, int in, Taps& taps) {
  const float begin = static_cast<float>(to) * scale;
  const float end = static_cast<float>(to + 1) * scale;
  for (int i = static_cast<int>(std::floor(begin)); i < static_cast<int>(std::ceil(end)); ++i) {
    const auto at = static_cast<float>(i);
    const float covered = std::min(at + 1, end) - std::max(at, begin);
    taps.taps.push_back({std::clamp(i, 0, in - 1), covered / scale});
  }
}

Taps MakeTaps(int in, int out, ResizeMethod method) {
  Taps taps;
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  for (int to = 0; to < out; ++to) {
    if (method == ResizeMethod::kBicubic) {
      AddBicubic(to, scale, in, taps);
    } else if (method == ResizeMethod::kArea) {
      AddArea(to, scale, in, taps);
    } else {
      taps.taps.push_back({std::min(static_cast<int>(static_cast<float>(to) * scale), in - 1), 1});
    }
    taps.ends.push_back(taps.taps.size());
  }
  return taps;
}

// Rows first, then columns.
void ResizeByTaps(const image::Image& photo, const image::Window& window, ResizeMethod method,
                  image::FloatImage& result) {
  const Taps rows = MakeTaps(window.height, result.height, method);
  const Taps columns = MakeTaps(window.width, result.width, method);
  const int channels = photo.channels;
  std::vector<float> line(static_cast<std::size_t>(window.width) * channels);
  for (int y = 0; y < result.height; ++y) {
    std::ranges::fill(line, 0.0f);
    for (const Taps::Tap& tap : rows.Of(y)) {
      const std::uint8_t* from =
          photo.row(window.top + tap.from) + static_cast<std::size_t>(window.left) * channels;
      for (std::size_t i = 0; i < line.size(); ++i) {
        line[i] += tap.weight * static_cast<float>(from[i]);
      }
    }
    float* to = result.row(y);
    for (int x = 0; x < result.width; ++x) {
      for (int c = 0; c < channels; ++c) {
        float sum = 0;
        for (const Taps::Tap& tap : columns.Of(x)) {
          sum += tap.weight * line[static_cast<std::size_t>(tap.from * channels + c)];
        }
        *to++ = sum;
      }
    }
  }
}

}  // namespace

image::FloatImage ResizePart(const image::Image& photo, const image::Window& window,
                             image::Size size, ResizeMethod method) {
  image::FloatImage result(size, photo.channels);
  if (method != ResizeMethod::kBilinear) {
    ResizeByTaps(photo, window, method, result);
    return result;
  }
  const image::RowReader read = [&](int y, int first, int count, float* row) {
    const std::uint8_t* from =
        photo.row(window.top + y) + static_cast<std::size_t>(window.left + first) * photo.channels;
    std::copy_n(from, static_cast<std::size_t>(count) * photo.channels, row);
  };
  image::ResizeBilinearWindow(read, {window.height, window.width}, photo.channels, size,
                              image::BilinearGrid::kLegacy, {0, 0, size.height, size.width},
                              result.pixels.data());
  return result;
}

}  // namespace zood::train
