// Values as kernels see them: rows of channels somewhere in memory.
#pragma once

#include <cstddef>

#include "base/dtype.h"

namespace zood::engine {

// The channels of each pixel lie beside each other; between one pixel's and the next one's there
// may be a gap. Maps are NHWC; of vectors, each is a pixel.
struct View {
  std::byte* data = nullptr;
  std::size_t pixels = 0;  // batch * height * width
  std::size_t channels = 0;
  std::size_t stride = 0;  // bytes from one pixel to the next
  DType dtype = DType::kFloat32;

  template <typename T>
  T* Row(std::size_t pixel) const {
    return reinterpret_cast<T*>(data + pixel * stride);
  }
};

// `pixels` rows without gaps.
inline View DenseView(float* data, std::size_t pixels, std::size_t channels) {
  return {.data = reinterpret_cast<std::byte*>(data),
          .pixels = pixels,
          .channels = channels,
          .stride = channels * sizeof(float)};
}

// The extents of a feature map, beside its View.
struct MapSize {
  std::size_t batch = 0;
  std::size_t height = 0;
  std::size_t width = 0;
};

}  // namespace zood::engine
