#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "train/input/augmentation_ops.h"

namespace zood::train {
namespace {

// Hue of an RGB pixel that is not gray, in [0, 6): sixths of a turn from red.
float HueOf(const float* rgb, float high, float range) {
  float hue = 0;
  if (rgb[0] == high) {
    hue = (rgb[1] - rgb[2]) / range;
  } else if (rgb[1] == high) {
    hue = (rgb[2] - rgb[0]) / range + 2;
  } else {
    hue = (rgb[0] - rgb[1]) / range + 4;
  }
  return hue < 0 ? hue + 6 : hue;
}

// The pixel of a hue whose channels lie between `low` and `high`.
void FromHue(float hue, float low, float high, float* rgb) {
  const int sixth = std::min(static_cast<int>(hue), 5);
  const float ratio = hue - static_cast<float>(sixth);
  const float rising = low + (high - low) * ratio;
  const float falling = high - (high - low) * ratio;
  const std::array<std::array<float, 3>, 6> pixels = {{{high, rising, low},
                                                       {falling, high, low},
                                                       {low, high, rising},
                                                       {low, falling, high},
                                                       {rising, low, high},
                                                       {high, low, falling}}};
  std::ranges::copy(pixels[static_cast<std::size_t>(sixth)], rgb);
}

template <typename F>
void ForEachPixel(image::FloatImage& image, F f) {
  if (image.channels != 3) return;  // gray has neither hue nor saturation
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) f(image.pixels.data() + i);
}

}  // namespace

void FlipLeftRight(image::FloatImage& image) {
  for (int y = 0; y < image.height; ++y) {
    float* row = image.row(y);
    for (int left = 0, right = image.width - 1; left < right; ++left, --right) {
      std::swap_ranges(row + left * image.channels, row + (left + 1) * image.channels,
                       row + right * image.channels);
    }
  }
}

void AdjustBrightness(image::FloatImage& image, float delta) {
  for (float& x : image.pixels) x += delta;
}

void AdjustContrast(image::FloatImage& image, float factor) {
  const auto channels = static_cast<std::size_t>(image.channels);
  std::vector<double> sums(channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) sums[i % channels] += image.pixels[i];
  const double count = static_cast<double>(image.height) * image.width;
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const auto mean = static_cast<float>(sums[i % channels] / count);
    image.pixels[i] = (image.pixels[i] - mean) * factor + mean;
  }
}

void AdjustSaturation(image::FloatImage& image, float factor) {
  ForEachPixel(image, [factor](float* rgb) {
    const float high = std::max({rgb[0], rgb[1], rgb[2]});
    const float range = high - std::min({rgb[0], rgb[1], rgb[2]});
    if (range == 0) return;
    // What is not positive has no saturation: it becomes gray.
    const float saturation = high > 0 ? range / high : 0;
    const float wanted = std::clamp(saturation * factor, 0.0f, 1.0f);
    FromHue(HueOf(rgb, high, range), high - high * wanted, high, rgb);
  });
}

void AdjustHue(image::FloatImage& image, float delta) {
  ForEachPixel(image, [delta](float* rgb) {
    const float high = std::max({rgb[0], rgb[1], rgb[2]});
    const float low = std::min({rgb[0], rgb[1], rgb[2]});
    if (high == low) return;
    float hue = std::fmod(HueOf(rgb, high, high - low) + delta * 6, 6.0f);
    if (hue < 0) hue += 6;
    FromHue(hue, low, high, rgb);
  });
}

void Clip(image::FloatImage& image, float low, float high) {
  for (float& x : image.pixels) x = std::clamp(x, low, high);
}

void Scale(image::FloatImage& image, float factor) {
  for (float& x : image.pixels) x *= factor;
}

}  // namespace zood::train
