// Resizing, exact to the last bit with the two libraries that published networks were trained with.
// All functions are pure and thread-safe. Extents must be positive, windows inside `out`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "image/image.h"

namespace zood::image {

// Where TensorFlow's bilinear resize samples row i of `out` rows (columns alike), in float32:
enum class BilinearGrid {
  kLegacy,        // i * (in / out): TensorFlow 1's default, no half-pixel offset
  kAlignCorners,  // i * ((in - 1) / (out - 1)); as kLegacy where out is 1
  kHalfPixel,     // (i + 0.5) * (in / out) - 0.5
};

// Pillow's antialiased filters: the support grows with the reduction.
enum class ResampleFilter { kBox, kBilinear, kBicubic, kLanczos };

// Writes the columns [first, first + count) of source row `y` as floats, channels interleaved.
using RowReader = std::function<void(int y, int first, int count, float* row)>;

// TensorFlow's resize_bilinear without antialiasing, each operation rounded once to float32:
//   top = tl + (tr - tl) * fx, bottom = bl + (br - bl) * fx, out = top + (bottom - top) * fy
FloatImage ResizeBilinear(const FloatImage& in, Size out, BilinearGrid grid);

// The same for a window of the result: costs what the window costs, whatever the size of `out`.
// `result` takes window.height * window.width * channels floats.
void ResizeBilinearWindow(const RowReader& read_row, Size in, int channels, Size out,
                          BilinearGrid grid, const Window& window, float* result);

// Pillow's Image.resize for 8-bit images: a horizontal pass, then a vertical one, coefficients in
// fixed point with 22 fractional bits, each pass rounded to 8 bits.
Image Resample(const Image& in, Size out, ResampleFilter filter);

// What the horizontal pass makes for a window of the result: the source rows that the window needs,
// as wide as the window. With a wide result from a high source it is larger than either.
Size ResampleIntermediate(Size in, Size out, ResampleFilter filter, const Window& window);

// The same for a window of the result, from rows that lie `stride` bytes apart. Takes memory for
// ResampleIntermediate().
void ResampleWindow(const std::uint8_t* pixels, std::size_t stride, Size in, int channels, Size out,
                    ResampleFilter filter, const Window& window, std::uint8_t* result);

}  // namespace zood::image
