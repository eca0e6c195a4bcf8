#include "engine/kernels/channel_kernels.h"

#include <algorithm>

#include "engine/kernels/kernel_loops.h"

namespace zood::engine {
namespace {

// Rows are summed in at most this many parts, whatever the threads.
constexpr std::size_t kMaxParts = 32;
// Rows whose sum is made in float.
constexpr std::size_t kFloatRows = 32;

struct Parts {
  std::size_t count = 0;
  std::size_t rows = 0;  // of each but the last
};

Parts Divide(std::size_t rows) {
  const std::size_t each = std::max(kFloatRows, (rows + kMaxParts - 1) / kMaxParts);
  return {.count = (rows + each - 1) / each, .rows = each};
}

// Two sums for each channel: doubles, then the floats of the rows at hand.
struct Partial {
  double *first, *second;
  float *float_first, *float_second;
};

constexpr std::size_t kPartialFloats = 6;  // for each channel

Partial PartialAt(float* scratch, std::size_t part, std::size_t channels) {
  auto* const doubles = reinterpret_cast<double*>(scratch + part * kPartialFloats * channels);
  auto* const floats = reinterpret_cast<float*>(doubles + 2 * channels);
  return {doubles, doubles + channels, floats, floats + channels};
}

ZOOD_MULTIVERSION void AddToDoubles(const float* from, double* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] += static_cast<double>(from[i]);
}

// Calls add(row, count, partial) for up to kFloatRows rows at a time; adds up what it leaves.
template <typename Add>
void SumOverRows(std::size_t rows, std::size_t channels, float* scratch, const Add& add,
                 double* first, double* second) {
  const Parts parts = Divide(rows);
  ForEach(parts.count, rows * channels, [&](std::size_t part) {
    const Partial partial = PartialAt(scratch, part, channels);
    std::fill_n(partial.first, 2 * channels, 0.0);
    const std::size_t end = std::min((part + 1) * parts.rows, rows);
    for (std::size_t row = part * parts.rows; row < end; row += kFloatRows) {
      std::fill_n(partial.float_first, 2 * channels, 0.0f);
      add(row, std::min(kFloatRows, end - row), partial);
      AddToDoubles(partial.float_first, partial.first, 2 * channels);
    }
  });
  for (std::size_t c = 0; c < channels; ++c) {
    double sums[2] = {0, 0};
    for (std::size_t part = 0; part < parts.count; ++part) {
      const Partial partial = PartialAt(scratch, part, channels);
      sums[0] += partial.first[c];
      sums[1] += partial.second[c];
    }
    first[c] = sums[0];
    if (second != nullptr) second[c] = sums[1];
  }
}

// Where totals may be left: behind the partial sums.
double* TotalsIn(float* scratch, std::size_t channels) {
  return reinterpret_cast<double*>(scratch + kMaxParts * kPartialFloats * channels);
}

ZOOD_MULTIVERSION void MomentRows(const float* x, std::size_t stride, std::size_t rows,
                                  const float* origin, float* __restrict sums,
                                  float* __restrict squares, std::size_t n) {
  for (std::size_t row = 0; row < rows; ++row, x += stride) {
    for (std::size_t i = 0; i < n; ++i) {
      const float d = x[i] - origin[i];
      sums[i] += d;
      squares[i] += d * d;
    }
  }
}

ZOOD_MULTIVERSION void AddRows(const float* x, std::size_t stride, std::size_t rows,
                               float* __restrict sums, std::size_t n) {
  for (std::size_t row = 0; row < rows; ++row, x += stride) {
    for (std::size_t i = 0; i < n; ++i) sums[i] += x[i];
  }
}

ZOOD_MULTIVERSION void AddNegativeProducts(const float* x, const float* dy, float* __restrict sums,
                                           std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) sums[i] += x[i] > 0 ? 0.0f : x[i] * dy[i];
}

ZOOD_MULTIVERSION void NormalizeRow(const float* x, const ChannelAffine& affine, float* y,
                                    std::size_t n) {
  const auto [mean, scale, shift, gate] = affine;
  const auto [low, high, slope] = gate;
  for (std::size_t i = 0; i < n; ++i) {
    const float z = (x[i] - mean[i]) * scale[i] + shift[i];
    const float raised = z > low ? z : low;
    y[i] = raised < high ? raised : high;
  }
}

ZOOD_MULTIVERSION void NormalizeLeakyRow(const float* x, const ChannelAffine& affine, float* y,
                                         std::size_t n) {
  const auto [mean, scale, shift, gate] = affine;
  for (std::size_t i = 0; i < n; ++i) {
    const float z = (x[i] - mean[i]) * scale[i] + shift[i];
    y[i] = z > 0 ? z : gate.slope * z;
  }
}

// The derivative by z of one element.
[[gnu::always_inline]] inline float Gated(float centered, float scale, float shift,
                                          const Gate& gate, float dy) {
  const float z = centered * scale + shift;
  return z > gate.low && z < gate.high ? dy : gate.slope * dy;
}

template <bool kTwo>
[[gnu::always_inline]] inline void SumsLoop(const float* x, const float* dy, const float* more,
                                            const ChannelAffine& affine, float* __restrict sum_g,
                                            float* __restrict sum_gx, std::size_t n) {
  const auto [mean, scale, shift, gate] = affine;
  for (std::size_t i = 0; i < n; ++i) {
    const float centered = x[i] - mean[i];
    const float g = Gated(centered, scale[i], shift[i], gate, kTwo ? dy[i] + more[i] : dy[i]);
    sum_g[i] += g;
    sum_gx[i] += g * centered;
  }
}

ZOOD_MULTIVERSION void SumsRow(const float* x, const float* dy, const ChannelAffine& affine,
                               float* __restrict sum_g, float* __restrict sum_gx, std::size_t n) {
  SumsLoop<false>(x, dy, nullptr, affine, sum_g, sum_gx, n);
}

ZOOD_MULTIVERSION void SumsRowOfTwo(const float* x, const float* dy, const float* more,
                                    const ChannelAffine& affine, float* sum_g, float* sum_gx,
                                    std::size_t n) {
  SumsLoop<true>(x, dy, more, affine, sum_g, sum_gx, n);
}

template <bool kTwo>
[[gnu::always_inline]] inline void GradientLoop(const float* x, const float* dy, const float* more,
                                                const ChannelAffine& affine, const float* a,
                                                const float* b, float* dx, std::size_t n) {
  const auto [mean, scale, shift, gate] = affine;
  for (std::size_t i = 0; i < n; ++i) {
    const float centered = x[i] - mean[i];
    const float g = Gated(centered, scale[i], shift[i], gate, kTwo ? dy[i] + more[i] : dy[i]);
    dx[i] = scale[i] * (g - a[i] - centered * b[i]);
  }
}

ZOOD_MULTIVERSION void GradientRow(const float* x, const float* dy, const ChannelAffine& affine,
                                   const float* a, const float* b, float* dx, std::size_t n) {
  GradientLoop<false>(x, dy, nullptr, affine, a, b, dx, n);
}

ZOOD_MULTIVERSION void GradientRowOfTwo(const float* x, const float* dy, const float* more,
                                        const ChannelAffine& affine, const float* a, const float* b,
                                        float* dx, std::size_t n) {
  GradientLoop<true>(x, dy, more, affine, a, b, dx, n);
}

}  // namespace

std::size_t ChannelScratchFloats(std::size_t channels) {
  return (kMaxParts * kPartialFloats + 4) * channels;
}

std::optional<Gate> Gate::Of(const graph::Eltwise& activation) {
  if (activation.kind == graph::Eltwise::Kind::kRelu) {
    return Gate{.low = 0, .slope = activation.alpha};
  }
  if (activation.kind == graph::Eltwise::Kind::kClip && activation.alpha < activation.beta) {
    return Gate{.low = activation.alpha, .high = activation.beta};
  }
  return std::nullopt;
}

void Moments(View x, float* scratch, float* mean, float* variance) {
  // Distances from the first row, which lies within a few deviations of the mean: no cancellation.
  const float* const first_row = x.Row<float>(0);
  double* const sums = TotalsIn(scratch, x.channels);
  double* const squares = sums + x.channels;
  SumOverRows(
      x.pixels, x.channels, scratch,
      [&](std::size_t row, std::size_t rows, const Partial& partial) {
        MomentRows(x.Row<float>(row), x.stride / sizeof(float), rows, first_row,
                   partial.float_first, partial.float_second, x.channels);
      },
      sums, squares);
  const auto count = static_cast<double>(x.pixels);
  for (std::size_t c = 0; c < x.channels; ++c) {
    const double distance = sums[c] / count;
    mean[c] = static_cast<float>(static_cast<double>(first_row[c]) + distance);
    variance[c] = static_cast<float>(std::max(squares[c] / count - distance * distance, 0.0));
  }
}

void Normalize(View x, const ChannelAffine& affine, View y) {
  const auto row = affine.gate.slope == 0 ? NormalizeRow : NormalizeLeakyRow;
  ForPixels(x.pixels, x.channels,
            [&](std::size_t at) { row(x.Row<float>(at), affine, y.Row<float>(at), x.channels); });
}

void NormalizeSums(View x, std::span<const View> dy, const ChannelAffine& affine, float* scratch,
                   double* sum_g, double* sum_gx) {
  SumOverRows(
      x.pixels, x.channels, scratch,
      [&](std::size_t first, std::size_t rows, const Partial& partial) {
        for (std::size_t row = first; row < first + rows; ++row) {
          const float* const in = x.Row<float>(row);
          const float* const one = dy[0].Row<float>(row);
          if (dy.size() == 1) {
            SumsRow(in, one, affine, partial.float_first, partial.float_second, x.channels);
          } else {
            SumsRowOfTwo(in, one, dy[1].Row<float>(row), affine, partial.float_first,
                         partial.float_second, x.channels);
          }
        }
      },
      sum_g, sum_gx);
}

void NormalizeGradient(View x, std::span<const View> dy, const ChannelAffine& affine,
                       const float* a, const float* b, View dx) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    const float* const in = x.Row<float>(at);
    const float* const one = dy[0].Row<float>(at);
    float* const to = dx.Row<float>(at);
    if (dy.size() == 1) {
      GradientRow(in, one, affine, a, b, to, x.channels);
    } else {
      GradientRowOfTwo(in, one, dy[1].Row<float>(at), affine, a, b, to, x.channels);
    }
  });
}

void SumRows(View x, float* scratch, float* sum) {
  double* const totals = TotalsIn(scratch, x.channels);
  SumOverRows(
      x.pixels, x.channels, scratch,
      [&](std::size_t row, std::size_t rows, const Partial& partial) {
        AddRows(x.Row<float>(row), x.stride / sizeof(float), rows, partial.float_first, x.channels);
      },
      totals, nullptr);
  std::transform(totals, totals + x.channels, sum,
                 [](double total) { return static_cast<float>(total); });
}

void SumNegativeProducts(View x, View dy, float* scratch, float* sum) {
  double* const totals = TotalsIn(scratch, x.channels);
  SumOverRows(
      x.pixels, x.channels, scratch,
      [&](std::size_t first, std::size_t rows, const Partial& partial) {
        for (std::size_t row = first; row < first + rows; ++row) {
          AddNegativeProducts(x.Row<float>(row), dy.Row<float>(row), partial.float_first,
                              x.channels);
        }
      },
      totals, nullptr);
  std::transform(totals, totals + x.channels, sum,
                 [](double total) { return static_cast<float>(total); });
}

}  // namespace zood::engine
