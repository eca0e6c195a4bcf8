#include <algorithm>
#include <cmath>
#include <optional>

#include "train/input/augmentation_ops.h"

namespace zood::train {
namespace {

int Width(int height, double aspect) { return static_cast<int>(std::lrint(height * aspect)); }

// A part of the photo of this aspect, its area in range; nothing when there is none.
std::optional<image::Window> Draw(image::Size photo, double aspect, const InceptionTrain& options,
                                  Random& random) {
  const double pixels = static_cast<double>(photo.height) * photo.width;
  const double min_area = options.min_area * pixels;
  const double max_area = options.max_area * pixels;
  int height = static_cast<int>(std::lrint(std::sqrt(min_area / aspect)));
  int max_height = static_cast<int>(std::lrint(std::sqrt(max_area / aspect)));
  if (Width(max_height, aspect) > photo.width) {
    max_height = static_cast<int>((photo.width + 0.5 - 1e-7) / aspect);
    if (Width(max_height, aspect) > photo.width) --max_height;
  }
  max_height = std::min(max_height, photo.height);
  height = std::min(height, max_height);
  if (height < max_height) height += random.Below(max_height - height + 1);

  // Rounding may have gone past the requested areas.
  const auto area = [&] { return static_cast<double>(height) * Width(height, aspect); };
  if (area() < min_area) ++height;
  if (area() > max_area) --height;
  const int width = Width(height, aspect);
  if (area() < min_area || area() > max_area || height < 1 || width < 1 || height > photo.height ||
      width > photo.width) {
    return std::nullopt;
  }
  // TensorFlow never draws the last place that fits.
  const int top = height < photo.height ? random.Below(photo.height - height) : 0;
  const int left = width < photo.width ? random.Below(photo.width - width) : 0;
  return image::Window{top, left, height, width};
}

}  // namespace

image::Window SampleDistortedBox(image::Size photo, const InceptionTrain& options, Random& random) {
  constexpr int kAttempts = 100;
  const double pixels = static_cast<double>(photo.height) * photo.width;
  for (int i = 0; i < kAttempts; ++i) {
    const double aspect = random.Uniform(options.min_aspect, options.max_aspect);
    const std::optional<image::Window> window = Draw(photo, aspect, options, random);
    if (!window) continue;
    const double area = static_cast<double>(window->height) * window->width;
    if (area >= options.min_covered * pixels) return *window;
  }
  return {0, 0, photo.height, photo.width};
}

}  // namespace zood::train
