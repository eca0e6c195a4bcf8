// Pillow's algorithm (src/libImaging/Resample.c), restated: every intermediate type and rounding
// matters, because the pixels must come out the same.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "image/resize.h"

namespace zood::image {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // two bits of headroom for negative lobes
constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);

double Sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double Weight(ResampleFilter filter, double x) {
  switch (filter) {
    case ResampleFilter::kBox:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case ResampleFilter::kBilinear:
      return std::max(0.0, 1.0 - std::abs(x));
    case ResampleFilter::kBicubic: {
      constexpr double a = -0.5;
      x = std::abs(x);
      if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
      if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
      return 0.0;
    }
    case ResampleFilter::kLanczos:
      return -3.0 <= x && x < 3.0 ? Sinc(x) * Sinc(x / 3) : 0.0;
  }
  return 0.0;
}

double Support(ResampleFilter filter) {
  switch (filter) {
    case ResampleFilter::kBox:
      return 0.5;
    case ResampleFilter::kBilinear:
      return 1.0;
    case ResampleFilter::kBicubic:
      return 2.0;
    case ResampleFilter::kLanczos:
      return 3.0;
  }
  return 0.0;
}

// One result pixel of an axis is the sum of `count` source pixels from `first` on, times weights.
struct Tap {
  int first = 0;
  int count = 0;
  std::size_t weights = 0;  // index of the first weight
};

struct Taps {
  std::vector<Tap> taps;
  std::vector<std::int32_t> weights;  // fixed point
};

// The taps of the positions [first, first + count) of an axis. An axis that keeps its length is
// copied, as Pillow skips that pass.
Taps TapsOf(int in, int out, ResampleFilter filter, int first, int count) {
  Taps result;
  if (in == out) {
    result.weights = {1 << kPrecisionBits};
    for (int i = 0; i < count; ++i) result.taps.push_back({.first = first + i, .count = 1});
    return result;
  }
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = Support(filter) * filter_scale;
  const double inverse = 1.0 / filter_scale;
  std::vector<double> weights;
  for (int i = first; i < first + count; ++i) {
    const double center = (i + 0.5) * scale;
    const int low = std::max(0, static_cast<int>(center - support + 0.5));
    const int high = std::min(in, static_cast<int>(center + support + 0.5));
    weights.clear();
    double sum = 0.0;
    for (int x = 0; x < high - low; ++x) {
      weights.push_back(Weight(filter, (x + low - center + 0.5) * inverse));
      sum += weights.back();
    }
    result.taps.push_back({low, high - low, result.weights.size()});
    for (double weight : weights) {
      if (sum != 0.0) weight /= sum;
      const double fixed = weight * (1 << kPrecisionBits);
      result.weights.push_back(static_cast<std::int32_t>(weight < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return result;
}

std::uint8_t Round(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

template <int kChannels>
void ResampleRow(const std::uint8_t* row, const Taps& columns, std::uint8_t* result) {
  for (const Tap& tap : columns.taps) {
    std::int32_t sums[kChannels];
    std::fill_n(sums, kChannels, kHalf);
    const std::int32_t* weights = columns.weights.data() + tap.weights;
    const std::uint8_t* pixel = row + static_cast<std::size_t>(tap.first) * kChannels;
    for (int i = 0; i < tap.count; ++i, pixel += kChannels) {
      for (int c = 0; c < kChannels; ++c) sums[c] += pixel[c] * weights[i];
    }
    for (int c = 0; c < kChannels; ++c) *result++ = Round(sums[c]);
  }
}

// Sums `length` values of the rows under one tap.
void ResampleColumn(const std::uint8_t* rows, std::size_t length, const Tap& tap,
                    const std::int32_t* weights, std::vector<std::int32_t>& sums,
                    std::uint8_t* result) {
  std::fill(sums.begin(), sums.end(), kHalf);
  for (int i = 0; i < tap.count; ++i, rows += length) {
    const std::int32_t weight = weights[i];
    for (std::size_t x = 0; x < length; ++x) sums[x] += rows[x] * weight;
  }
  for (std::size_t x = 0; x < length; ++x) result[x] = Round(sums[x]);
}

}  // namespace

Size ResampleIntermediate(Size in, Size out, ResampleFilter filter, const Window& window) {
  const Taps first = TapsOf(in.height, out.height, filter, window.top, 1);
  const Taps last = TapsOf(in.height, out.height, filter, window.top + window.height - 1, 1);
  const Tap& end = last.taps.front();
  return {end.first + end.count - first.taps.front().first, window.width};
}

void ResampleWindow(const std::uint8_t* pixels, std::size_t stride, Size in, int channels, Size out,
                    ResampleFilter filter, const Window& window, std::uint8_t* result) {
  const Taps columns = TapsOf(in.width, out.width, filter, window.left, window.width);
  const Taps rows = TapsOf(in.height, out.height, filter, window.top, window.height);
  const std::size_t length = static_cast<std::size_t>(window.width) * channels;

  // Only the source rows that the window needs pass the horizontal filter.
  const int first_row = rows.taps.front().first;
  const int row_count = rows.taps.back().first + rows.taps.back().count - first_row;
  std::vector<std::uint8_t> narrowed(length * row_count);
  for (int y = 0; y < row_count; ++y) {
    const std::uint8_t* row = pixels + (first_row + y) * stride;
    std::uint8_t* to = narrowed.data() + y * length;
    channels == 3 ? ResampleRow<3>(row, columns, to) : ResampleRow<1>(row, columns, to);
  }

  std::vector<std::int32_t> sums(length);
  for (const Tap& tap : rows.taps) {
    ResampleColumn(narrowed.data() + (tap.first - first_row) * length, length, tap,
                   rows.weights.data() + tap.weights, sums, result);
    result += length;
  }
}

Image Resample(const Image& in, Size out, ResampleFilter filter) {
  Image result(out, in.channels);
  ResampleWindow(in.pixels.data(), in.row_length(), in.size(), in.channels, out, filter,
                 {0, 0, out.height, out.width}, result.pixels.data());
  return result;
}

}  // namespace zood::image
