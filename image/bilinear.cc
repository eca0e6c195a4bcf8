#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "image/resize.h"

namespace zood::image {
namespace {

// The two neighbors of one sampling position and the weight of the second.
struct Sample {
  int low = 0;
  int high = 0;
  float weight = 0;
};

// The sampling positions [first, first + count) of an axis.
std::vector<Sample> SamplesOf(int in, int out, BilinearGrid grid, int first, int count) {
  const bool align = grid == BilinearGrid::kAlignCorners && out > 1;
  const float scale = align ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                            : static_cast<float>(in) / static_cast<float>(out);
  std::vector<Sample> samples(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const auto index = static_cast<float>(first + i);
    const float position =
        grid == BilinearGrid::kHalfPixel ? (index + 0.5f) * scale - 0.5f : index * scale;
    const float floor = std::floor(position);
    samples[static_cast<std::size_t>(i)] = {
        .low = std::clamp(static_cast<int>(floor), 0, in - 1),
        .high = std::clamp(static_cast<int>(std::ceil(position)), 0, in - 1),
        .weight = position - floor,
    };
  }
  return samples;
}

// Interpolates one source row at `columns`, whose indices count from the first value of `row`.
template <int kChannels>
void InterpolateRow(const float* row, const std::vector<Sample>& columns, float* result) {
  for (const Sample& column : columns) {
    const float* left = row + column.low * kChannels;
    const float* right = row + column.high * kChannels;
    for (int c = 0; c < kChannels; ++c) {
      result[c] = left[c] + (right[c] - left[c]) * column.weight;
    }
    result += kChannels;
  }
}

void InterpolateRow(const float* row, int channels, const std::vector<Sample>& columns,
                    float* result) {
  if (channels == 3) return InterpolateRow<3>(row, columns, result);
  if (channels == 1) return InterpolateRow<1>(row, columns, result);
  for (const Sample& column : columns) {
    for (int c = 0; c < channels; ++c) {
      const float left = row[column.low * channels + c];
      *result++ = left + (row[column.high * channels + c] - left) * column.weight;
    }
  }
}

// The horizontally interpolated source rows that neighboring result rows share: two at a time.
class RowCache {
 public:
  RowCache(const RowReader& read_row, std::vector<Sample> columns, int channels)
      : read_row_(read_row), columns_(std::move(columns)), channels_(channels) {
    // Positions grow from left to right, so that the ends bound the columns that are read.
    first_column_ = columns_.front().low;
    column_count_ = columns_.back().high - first_column_ + 1;
    for (Sample& column : columns_) {
      column.low -= first_column_;
      column.high -= first_column_;
    }
    source_.resize(static_cast<std::size_t>(column_count_) * channels_);
    for (auto& row : rows_) row.resize(columns_.size() * channels_);
  }

  // Rows `low` and `high`; both stay valid until the next call.
  std::pair<const float*, const float*> Get(int low, int high) {
    const int low_slot = Find(low, high);
    const int high_slot = Find(high, low);
    return {rows_[low_slot].data(), rows_[high_slot].data()};
  }

 private:
  // The slot that holds row `y`, which is computed unless it is there; the slot of `keep` is safe.
  int Find(int y, int keep) {
    for (int slot = 0; slot < 2; ++slot) {
      if (held_[slot] == y) return slot;
    }
    const int slot = held_[0] == keep ? 1 : 0;
    read_row_(y, first_column_, column_count_, source_.data());
    InterpolateRow(source_.data(), channels_, columns_, rows_[slot].data());
    held_[slot] = y;
    return slot;
  }

  const RowReader& read_row_;
  std::vector<Sample> columns_;
  const int channels_;
  int first_column_ = 0;
  int column_count_ = 0;
  std::vector<float> source_;
  std::array<std::vector<float>, 2> rows_;
  std::array<int, 2> held_ = {-1, -1};
};

}  // namespace

void ResizeBilinearWindow(const RowReader& read_row, Size in, int channels, Size out,
                          BilinearGrid grid, const Window& window, float* result) {
  const std::vector<Sample> rows =
      SamplesOf(in.height, out.height, grid, window.top, window.height);
  RowCache cache(read_row, SamplesOf(in.width, out.width, grid, window.left, window.width),
                 channels);
  const std::size_t length = static_cast<std::size_t>(window.width) * channels;
  for (const Sample& row : rows) {
    const auto [top, bottom] = cache.Get(row.low, row.high);
    for (std::size_t i = 0; i < length; ++i) {
      result[i] = top[i] + (bottom[i] - top[i]) * row.weight;
    }
    result += length;
  }
}

FloatImage ResizeBilinear(const FloatImage& in, Size out, BilinearGrid grid) {
  FloatImage result(out, in.channels);
  const RowReader read_row = [&in](int y, int first, int count, float* row) {
    std::copy_n(in.row(y) + static_cast<std::size_t>(first) * in.channels,
                static_cast<std::size_t>(count) * in.channels, row);
  };
  ResizeBilinearWindow(read_row, in.size(), in.channels, out, grid, {0, 0, out.height, out.width},
                       result.pixels.data());
  return result;
}

}  // namespace zood::image
