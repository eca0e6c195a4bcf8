// What the engine's own loops are made of; see kernels.h.
#pragma once

#include <algorithm>
#include <cstddef>

#include "engine/kernels/view.h"
#include "graph/op.h"

// One body, compiled for AVX-512, AVX2 and the baseline; the loader picks. Sanitizers start too
// late for the picking. Tests define ZOOD_KERNEL_TARGET to run one of them whatever the processor
// has.
#if defined(ZOOD_KERNEL_TARGET)
#define ZOOD_MULTIVERSION __attribute__((target(ZOOD_KERNEL_TARGET)))
#elif defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ZOOD_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ZOOD_MULTIVERSION
#endif

namespace zood::engine {

// Too little work for a team: waking it costs more.
inline constexpr std::size_t kSerialElements = 4096;

// Calls `work(i)` for each i below `count`, on all threads where `elements`, of all calls together,
// are enough for that to pay.
template <typename Work>
void ForEach(std::size_t count, std::size_t elements, const Work& work) {
  const auto end = static_cast<std::ptrdiff_t>(count);
#pragma omp parallel for schedule(static) if (elements > kSerialElements)
  for (std::ptrdiff_t i = 0; i < end; ++i) work(static_cast<std::size_t>(i));
}

// Calls `work(pixel)` for each pixel, on all threads where that pays.
template <typename Work>
void ForPixels(std::size_t pixels, std::size_t channels, const Work& work) {
  ForEach(pixels, pixels * channels, work);
}

// The part of a pooling window that lies inside the map, along one axis.
struct Window {
  std::size_t begin = 0;
  std::size_t end = 0;
  int padded = 0;  // extent with padding counted, Caffe's divisor
};

inline Window WindowAt(std::size_t position, int stride, int kernel, int before, int counted_after,
                       std::size_t extent) {
  const auto size = static_cast<std::ptrdiff_t>(extent);
  const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(position) * stride - before;
  const std::ptrdiff_t stop = start + kernel;
  return {.begin = static_cast<std::size_t>(std::max<std::ptrdiff_t>(start, 0)),
          .end = static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(stop, 0, size)),
          .padded = static_cast<int>(std::min(stop, size + counted_after) - start)};
}

inline Window RowsAt(const graph::PoolOp& op, std::size_t row, std::size_t height) {
  return WindowAt(row, op.stride.height, op.kernel.height, op.padding.top, op.counted_bottom,
                  height);
}
inline Window ColumnsAt(const graph::PoolOp& op, std::size_t column, std::size_t width) {
  return WindowAt(column, op.stride.width, op.kernel.width, op.padding.left, op.counted_right,
                  width);
}

// What an average over `rows` and `columns` is divided by.
inline float DivisorOf(const graph::PoolOp& op, const Window& rows, const Window& columns) {
  if (op.divisor == graph::PoolOp::Divisor::kPadded) {
    return static_cast<float>(rows.padded * columns.padded);
  }
  return static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
}

// Calls pixel(at, image, rows, columns) for each pixel of a pooling's output and its window.
template <typename Pixel>
void Pool(const graph::PoolOp& op, MapSize x_size, MapSize y_size, std::size_t channels,
          const Pixel& pixel) {
  ForPixels(y_size.batch * y_size.height * y_size.width, channels * 4, [&](std::size_t at) {
    const std::size_t column = at % y_size.width;
    const std::size_t row = at / y_size.width % y_size.height;
    const std::size_t image = at / y_size.width / y_size.height;
    const Window rows = RowsAt(op, row, x_size.height);
    const Window columns = ColumnsAt(op, column, x_size.width);
    pixel(at, image, rows, columns);
  });
}

}  // namespace zood::engine
