// Images in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace zood::image {

struct Size {
  int height = 0;
  int width = 0;

  friend bool operator==(const Size&, const Size&) = default;
};

// A rectangle inside an image; it never reaches over the edge.
struct Window {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;

  friend bool operator==(const Window&, const Window&) = default;
};

// Rows from top to bottom, pixels from left to right, channels interleaved (HWC), nothing between
// rows. One channel is gray, three are red, green, blue. A value type.
template <typename T>
struct BasicImage {
  int height = 0;
  int width = 0;
  int channels = 0;
  std::vector<T> pixels;

  BasicImage() = default;
  // All pixels zero. The extents must be positive and bounded by the caller.
  BasicImage(Size size, int channel_count)
      : height(size.height),
        width(size.width),
        channels(channel_count),
        pixels(static_cast<std::size_t>(size.height) * size.width * channel_count) {}

  Size size() const { return {height, width}; }
  std::size_t row_length() const { return static_cast<std::size_t>(width) * channels; }
  T* row(int y) { return pixels.data() + y * row_length(); }
  const T* row(int y) const { return pixels.data() + y * row_length(); }
};

// What decoders produce: 8 bits a sample, as every network of the zoo was trained on.
using Image = BasicImage<std::uint8_t>;
using FloatImage = BasicImage<float>;

// An RGB image as gray, by the luma 0.299 R + 0.587 G + 0.114 B, as decoding makes it.
Image ToGray(const Image& rgb);

}  // namespace zood::image
