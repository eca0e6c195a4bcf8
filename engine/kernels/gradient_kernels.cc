#include "engine/kernels/gradient_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/kernels/dropout.h"
#include "engine/kernels/kernel_loops.h"

namespace zood::engine {
namespace {

using graph::Eltwise;

// Row loops over `n` neighboring floats.

ZOOD_MULTIVERSION void AddRow(const float* a, const float* b, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

ZOOD_MULTIVERSION void AddInto(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

ZOOD_MULTIVERSION void MultiplyInto(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] *= x[i];
}

ZOOD_MULTIVERSION void ScaleRow(const float* x, float factor, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = factor * x[i];
}

ZOOD_MULTIVERSION void AddQuotientInto(const float* x, float divisor, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i] / divisor;
}

ZOOD_MULTIVERSION void ReluGradientRow(const float* y, float slope, float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = y[i] > 0 ? dx[i] : slope * dx[i];
}

ZOOD_MULTIVERSION void ReluGradientOfSumRow(const float* y, const float* a, const float* b,
                                            float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = y[i] > 0 ? a[i] + b[i] : 0.0f;
}

ZOOD_MULTIVERSION void ClipGradientRow(const float* y, float low, float high, float* dx,
                                       std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = y[i] > low && y[i] < high ? dx[i] : 0.0f;
}

ZOOD_MULTIVERSION void EluGradientRow(const float* y, float alpha, float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = y[i] > 0 ? dx[i] : (y[i] + alpha) * dx[i];
}

ZOOD_MULTIVERSION void TanhGradientRow(const float* y, float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] *= 1.0f - y[i] * y[i];
}

ZOOD_MULTIVERSION void LogisticGradientRow(const float* y, float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] *= y[i] * (1.0f - y[i]);
}

ZOOD_MULTIVERSION void PreluGradientRow(const float* x, const float* slope, const float* dy,
                                        float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = x[i] > 0 ? dy[i] : slope[i] * dy[i];
}

ZOOD_MULTIVERSION void TakeGreater(const float* x, std::int32_t position, float* y,
                                   std::int32_t* index, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    index[i] = x[i] > y[i] ? position : index[i];
    y[i] = x[i] > y[i] ? x[i] : y[i];
  }
}

ZOOD_MULTIVERSION void AddWhereIndexIs(const std::int32_t* index, std::int32_t position,
                                       const float* dy, float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] += index[i] == position ? dy[i] : 0.0f;
}

ZOOD_MULTIVERSION void KeepWhereBelow(const float* a, const float* b, float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = a[i] < b[i] ? dx[i] : 0.0f;
}

ZOOD_MULTIVERSION void KeepWhereNotBelow(const float* a, const float* b, float* dx, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = a[i] >= b[i] ? dx[i] : 0.0f;
}

ZOOD_MULTIVERSION void SoftmaxGradientRow(const float* y, const float* dy, float mean, float* dx,
                                          std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - mean);
}

ZOOD_MULTIVERSION void DropoutRow(const float* x, std::uint64_t key, std::uint64_t first,
                                  std::uint64_t threshold, float scale, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = DropoutKeeps(key, first + i, threshold) ? x[i] * scale : 0.0f;
  }
}

void ActivationGradientRow(const Eltwise& activation, const float* y, float* dx, std::size_t n) {
  const auto [kind, a, b] = activation;
  switch (kind) {
    case Eltwise::Kind::kRelu:
      ReluGradientRow(y, a, dx, n);
      break;
    case Eltwise::Kind::kClip:
      ClipGradientRow(y, a, b, dx, n);
      break;
    case Eltwise::Kind::kElu:
      EluGradientRow(y, a, dx, n);
      break;
    case Eltwise::Kind::kTanh:
      TanhGradientRow(y, dx, n);
      break;
    case Eltwise::Kind::kLogistic:
      LogisticGradientRow(y, dx, n);
      break;
    case Eltwise::Kind::kLinear:
      ScaleRow(dx, a, dx, n);
      break;
  }
}

// The output positions, begin to end, whose windows cover `position`, along one axis.
struct Covering {
  std::size_t begin = 0;
  std::size_t end = 0;
};

Covering WindowsOver(std::size_t position, int stride, int kernel, int before, std::size_t count) {
  const auto at = static_cast<std::ptrdiff_t>(position) + before;
  const std::ptrdiff_t first = at < kernel ? 0 : (at - kernel) / stride + 1;
  const std::ptrdiff_t last = std::min(at / stride, static_cast<std::ptrdiff_t>(count) - 1);
  return {.begin = static_cast<std::size_t>(first),
          .end = static_cast<std::size_t>(std::max(last + 1, first))};
}

// Calls gather(to, pixel, out_row, out_column, out_pixel) for each pixel of dx and each window over
// it, `to` being the pixel's row of dx, zeros at first.
template <typename Gather>
void GatherFromWindows(const graph::PoolOp& op, MapSize y_size, View dx, MapSize x_size,
                       const Gather& gather) {
  ForPixels(dx.pixels, dx.channels * 4, [&](std::size_t at) {
    const std::size_t pixel = at % (x_size.height * x_size.width);
    const std::size_t image = at / (x_size.height * x_size.width);
    float* const to = dx.Row<float>(at);
    std::fill_n(to, dx.channels, 0.0f);
    const Covering rows = WindowsOver(pixel / x_size.width, op.stride.height, op.kernel.height,
                                      op.padding.top, y_size.height);
    const Covering columns = WindowsOver(pixel % x_size.width, op.stride.width, op.kernel.width,
                                         op.padding.left, y_size.width);
    for (std::size_t row = rows.begin; row < rows.end; ++row) {
      for (std::size_t column = columns.begin; column < columns.end; ++column) {
        gather(to, pixel, row, column, (image * y_size.height + row) * y_size.width + column);
      }
    }
  });
}

// x^-beta, without the general power where roots do.
float NegativePower(float x, float beta) {
  if (beta == 0.75f) {
    const float root = std::sqrt(x);
    return 1 / (root * std::sqrt(root));
  }
  return beta == 0.5f ? 1 / std::sqrt(x) : std::pow(x, -beta);
}

}  // namespace

void Add(std::span<const View> inputs, View y) {
  ForPixels(y.pixels, y.channels, [&](std::size_t at) {
    float* const to = y.Row<float>(at);
    AddRow(inputs[0].Row<float>(at), inputs[1].Row<float>(at), to, y.channels);
    for (const View& more : inputs.subspan(2)) {
      AddInto(more.Row<float>(at), to, y.channels);
    }
  });
}

void Multiply(View x, float factor, View y) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    ScaleRow(x.Row<float>(at), factor, y.Row<float>(at), x.channels);
  });
}

bool HasGradientFromResult(const Eltwise& activation) {
  switch (activation.kind) {
    case Eltwise::Kind::kRelu:
    case Eltwise::Kind::kElu:
      return activation.alpha >= 0;
    case Eltwise::Kind::kClip:
      return activation.alpha < activation.beta;
    case Eltwise::Kind::kTanh:
    case Eltwise::Kind::kLogistic:
    case Eltwise::Kind::kLinear:
      return true;
  }
  return false;
}

void ActivationGradient(const Eltwise& activation, View y, std::span<const View> dy, View dx) {
  const bool relu_of_sum =
      dy.size() == 2 && activation.kind == Eltwise::Kind::kRelu && activation.alpha == 0;
  ForPixels(y.pixels, y.channels, [&](std::size_t at) {
    const float* const result = y.Row<float>(at);
    const float* const one = dy[0].Row<float>(at);
    float* const to = dx.Row<float>(at);
    if (relu_of_sum) {
      ReluGradientOfSumRow(result, one, dy[1].Row<float>(at), to, y.channels);
      return;
    }
    if (dy.size() == 2) {
      AddRow(one, dy[1].Row<float>(at), to, y.channels);
    } else if (to != one) {
      std::memcpy(to, one, y.channels * sizeof(float));
    }
    ActivationGradientRow(activation, result, to, y.channels);
  });
}

void ActivationGradient(const graph::Activation& activation, View x, View y, View dy, View dx) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    activation.Backward({x.Row<float>(at), x.channels}, {y.Row<float>(at), y.channels},
                        {dy.Row<float>(at), dy.channels}, {dx.Row<float>(at), dx.channels});
  });
}

void PreluGradient(std::span<const float> slope, View x, View dy, View dx) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    PreluGradientRow(x.Row<float>(at), slope.data(), dy.Row<float>(at), dx.Row<float>(at),
                     x.channels);
  });
}

void MaxPoolWithIndex(const graph::PoolOp& op, View x, MapSize x_size, View y, MapSize y_size,
                      std::int32_t* index) {
  const auto pixel = [&](std::size_t at, std::size_t image, const Window& rows,
                         const Window& columns) {
    float* const to = y.Row<float>(at);
    std::int32_t* const chosen = index + at * y.channels;
    bool first = true;
    for (std::size_t row = rows.begin; row < rows.end; ++row) {
      for (std::size_t column = columns.begin; column < columns.end; ++column) {
        const std::size_t position = row * x_size.width + column;
        const float* const from = x.Row<float>(image * x_size.height * x_size.width + position);
        if (first) {
          std::memcpy(to, from, y.channels * sizeof(float));
          std::fill_n(chosen, y.channels, static_cast<std::int32_t>(position));
          first = false;
        } else {
          TakeGreater(from, static_cast<std::int32_t>(position), to, chosen, y.channels);
        }
      }
    }
  };
  Pool(op, x_size, y_size, y.channels, pixel);
}

void MaxPoolGradient(const graph::PoolOp& op, const std::int32_t* index, View dy, MapSize y_size,
                     View dx, MapSize x_size) {
  GatherFromWindows(op, y_size, dx, x_size,
                    [&](float* to, std::size_t pixel, std::size_t, std::size_t, std::size_t out) {
                      AddWhereIndexIs(index + out * dy.channels, static_cast<std::int32_t>(pixel),
                                      dy.Row<float>(out), to, dy.channels);
                    });
}

void AveragePoolGradient(const graph::PoolOp& op, View dy, MapSize y_size, View dx,
                         MapSize x_size) {
  GatherFromWindows(
      op, y_size, dx, x_size,
      [&](float* to, std::size_t, std::size_t row, std::size_t column, std::size_t out) {
        AddQuotientInto(
            dy.Row<float>(out),
            DivisorOf(op, RowsAt(op, row, x_size.height), ColumnsAt(op, column, x_size.width)), to,
            dy.channels);
      });
}

// Rows of scratch memory, one for each part of the pixels.
constexpr std::size_t kLrnParts = 64;

std::size_t LrnScratchFloats(std::size_t channels) { return kLrnParts * 2 * channels; }

void LrnGradient(const graph::LrnOp& op, View x, View dy, float* scratch, View dx) {
  // With s = bias + alpha * sum of squares: dx[i] = dy[i] * s[i]^-beta
  //   - 2 * alpha * beta * x[i] * sum over the window of dy[k] * x[k] * s[k]^(-beta - 1).
  const auto radius = static_cast<std::size_t>(op.radius);
  const auto window_sum = [&](const auto& term, std::size_t c) {
    float sum = 0;
    const std::size_t begin = c > radius ? c - radius : 0;
    const std::size_t end = std::min(c + radius + 1, x.channels);
    for (std::size_t k = begin; k < end; ++k) sum += term(k);
    return sum;
  };
  ForEach(kLrnParts, x.pixels * x.channels * (2 * radius + 1), [&](std::size_t part) {
    float* const terms = scratch + part * 2 * x.channels;
    for (std::size_t at = part; at < x.pixels; at += kLrnParts) {
      const float* const in = x.Row<float>(at);
      const float* const out = dy.Row<float>(at);
      float* const to = dx.Row<float>(at);
      float* const powers = terms + x.channels;
      for (std::size_t c = 0; c < x.channels; ++c) {
        const float s =
            op.bias + op.alpha * window_sum([in](std::size_t k) { return in[k] * in[k]; }, c);
        powers[c] = NegativePower(s, op.beta);
        terms[c] = out[c] * in[c] * powers[c] / s;
      }
      for (std::size_t c = 0; c < x.channels; ++c) {
        const float sum = window_sum([terms](std::size_t k) { return terms[k]; }, c);
        to[c] = out[c] * powers[c] - 2 * op.alpha * op.beta * in[c] * sum;
      }
    }
  });
}

void SoftmaxGradient(View y, View dy, View dx) {
  ForPixels(y.pixels, y.channels, [&](std::size_t at) {
    const float* const result = y.Row<float>(at);
    const float* const out = dy.Row<float>(at);
    double mean = 0;
    for (std::size_t c = 0; c < y.channels; ++c) mean += static_cast<double>(result[c]) * out[c];
    SoftmaxGradientRow(result, out, static_cast<float>(mean), dx.Row<float>(at), y.channels);
  });
}

void ProductGradient(std::span<const View> inputs, std::size_t which, View dy, View dx) {
  ForPixels(dx.pixels, dx.channels, [&](std::size_t at) {
    float* const to = dx.Row<float>(at);
    std::memmove(to, dy.Row<float>(at), dx.channels * sizeof(float));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (i != which) MultiplyInto(inputs[i].Row<float>(at), to, dx.channels);
    }
  });
}

void MaximumGradient(std::span<const View> inputs, std::size_t which, View dy, View dx) {
  ForPixels(dx.pixels, dx.channels, [&](std::size_t at) {
    float* const to = dx.Row<float>(at);
    std::memmove(to, dy.Row<float>(at), dx.channels * sizeof(float));
    const float* const own = inputs[which].Row<float>(at);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (i == which) continue;
      const float* const other = inputs[i].Row<float>(at);
      if (i < which) {
        KeepWhereBelow(other, own, to, dx.channels);
      } else {
        KeepWhereNotBelow(own, other, to, dx.channels);
      }
    }
  });
}

void Dropout(View x, std::uint64_t key, float keep, View y) {
  const std::uint64_t threshold = DropoutThreshold(keep);
  ForPixels(x.pixels, x.channels * 4, [&](std::size_t at) {
    DropoutRow(x.Row<float>(at), key, at * x.channels, threshold, 1 / keep, y.Row<float>(at),
               x.channels);
  });
}

}  // namespace zood::engine
