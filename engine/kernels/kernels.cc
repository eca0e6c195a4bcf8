#include "engine/kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/kernels/kernel_loops.h"

namespace zood::engine {
namespace {

using graph::Eltwise;
using graph::EltwiseOp;

// Row loops. Each handles `n` neighboring floats, which the compiler turns into vectors.

ZOOD_MULTIVERSION void AddInto(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

ZOOD_MULTIVERSION void MultiplyInto(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] *= x[i];
}

ZOOD_MULTIVERSION void ScaleRow(const float* x, float factor, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = factor * x[i];
}

ZOOD_MULTIVERSION void MaxInto(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i] > y[i] ? x[i] : y[i];
}

ZOOD_MULTIVERSION void DivideBy(float divisor, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] /= divisor;
}

ZOOD_MULTIVERSION void ScaleShiftRow(const float* x, const float* scale, const float* shift,
                                     float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i] * scale[i] + shift[i];
}

ZOOD_MULTIVERSION void PreluRow(const float* x, const float* slope, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = x[i] > 0 ? x[i] : slope[i] * x[i];
}

ZOOD_MULTIVERSION void AddScaledInto(const float* x, float factor, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

ZOOD_MULTIVERSION void ReluRow(float slope, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = y[i] > 0 ? y[i] : slope * y[i];
}

ZOOD_MULTIVERSION void ClipRow(float low, float high, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float raised = y[i] > low ? y[i] : low;
    y[i] = raised < high ? raised : high;
  }
}

void ActivateRow(const Eltwise& eltwise, float* y, std::size_t n) {
  const auto [kind, a, b] = eltwise;
  switch (kind) {
    case Eltwise::Kind::kRelu:
      ReluRow(a, y, n);
      break;
    case Eltwise::Kind::kClip:
      ClipRow(a, b, y, n);
      break;
    case Eltwise::Kind::kElu:
      for (std::size_t i = 0; i < n; ++i) y[i] = y[i] > 0 ? y[i] : a * std::expm1(y[i]);
      break;
    case Eltwise::Kind::kTanh:
      for (std::size_t i = 0; i < n; ++i) y[i] = std::tanh(y[i]);
      break;
    case Eltwise::Kind::kLogistic:
      for (std::size_t i = 0; i < n; ++i) y[i] = 1.0f / (1.0f + std::exp(-y[i]));
      break;
    case Eltwise::Kind::kLinear:
      for (std::size_t i = 0; i < n; ++i) y[i] = a * y[i] + b;
      break;
  }
}

void ActivateRow(std::span<const Eltwise> activations, float* y, std::size_t n) {
  for (const Eltwise& eltwise : activations) ActivateRow(eltwise, y, n);
}

}  // namespace

void MaxPool(const graph::PoolOp& op, View x, MapSize x_size, View y, MapSize y_size) {
  Pool(op, x_size, y_size, x.channels,
       [&](std::size_t at, std::size_t image, const Window& rows, const Window& columns) {
         float* to = y.Row<float>(at);
         bool first = true;
         for (std::size_t row = rows.begin; row < rows.end; ++row) {
           const std::size_t line = (image * x_size.height + row) * x_size.width;
           for (std::size_t column = columns.begin; column < columns.end; ++column) {
             const float* from = x.Row<float>(line + column);
             if (first) {
               std::memcpy(to, from, x.channels * sizeof(float));
               first = false;
             } else {
               MaxInto(from, to, x.channels);
             }
           }
         }
       });
}

void AveragePool(const graph::PoolOp& op, View x, MapSize x_size, View y, MapSize y_size) {
  Pool(op, x_size, y_size, x.channels,
       [&](std::size_t at, std::size_t image, const Window& rows, const Window& columns) {
         float* to = y.Row<float>(at);
         std::fill_n(to, x.channels, 0.0f);
         for (std::size_t row = rows.begin; row < rows.end; ++row) {
           const std::size_t line = (image * x_size.height + row) * x_size.width;
           for (std::size_t column = columns.begin; column < columns.end; ++column) {
             AddInto(x.Row<float>(line + column), to, x.channels);
           }
         }
         DivideBy(DivisorOf(op, rows, columns), to, x.channels);
       });
}

void ScaleShift(View x, std::span<const float> scale, std::span<const float> shift,
                std::span<const Eltwise> activations, View y) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    float* to = y.Row<float>(at);
    ScaleShiftRow(x.Row<float>(at), scale.data(), shift.data(), to, x.channels);
    ActivateRow(activations, to, x.channels);
  });
}

void Lrn(const graph::LrnOp& op, View x, View y) {
  const auto radius = static_cast<std::size_t>(op.radius);
  ForPixels(x.pixels, x.channels * (2 * radius + 1), [&](std::size_t at) {
    const float* from = x.Row<float>(at);
    float* to = y.Row<float>(at);
    for (std::size_t c = 0; c < x.channels; ++c) {
      const std::size_t begin = c > radius ? c - radius : 0;
      const std::size_t end = std::min(c + radius + 1, x.channels);
      float sum = 0;
      for (std::size_t k = begin; k < end; ++k) sum += from[k] * from[k];
      to[c] = from[c] / std::pow(op.bias + op.alpha * sum, op.beta);
    }
  });
}

void Prelu(std::span<const float> slope, View x, View y) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    PreluRow(x.Row<float>(at), slope.data(), y.Row<float>(at), x.channels);
  });
}

void Softmax(View x, View y) {
  ForPixels(x.pixels, x.channels * 16, [&](std::size_t at) {
    const float* from = x.Row<float>(at);
    float* to = y.Row<float>(at);
    const float largest = *std::max_element(from, from + x.channels);
    double sum = 0;
    for (std::size_t c = 0; c < x.channels; ++c) {
      to[c] = std::exp(from[c] - largest);
      sum += to[c];
    }
    ScaleRow(to, static_cast<float>(1 / sum), to, x.channels);
  });
}

void Copy(View x, View y) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    std::memcpy(y.Row<float>(at), x.Row<float>(at), x.channels * sizeof(float));
  });
}

void PadChannels(View x, std::ptrdiff_t before, View y) {
  const std::size_t skipped = before < 0 ? static_cast<std::size_t>(-before) : 0;
  const std::size_t zeros = before > 0 ? static_cast<std::size_t>(before) : 0;
  const std::size_t kept = std::min(x.channels - skipped, y.channels - zeros);
  ForPixels(y.pixels, y.channels, [&](std::size_t at) {
    float* to = y.Row<float>(at);
    std::fill_n(to, zeros, 0.0f);
    std::memcpy(to + zeros, x.Row<float>(at) + skipped, kept * sizeof(float));
    std::fill(to + zeros + kept, to + y.channels, 0.0f);
  });
}

void Combine(const EltwiseOp& op, std::span<const View> inputs,
             std::span<const Eltwise> activations, View y) {
  ForPixels(y.pixels, y.channels, [&](std::size_t at) {
    float* to = y.Row<float>(at);
    const float first = op.kind == EltwiseOp::Kind::kSum ? op.coefficients[0] : 1.0f;
    ScaleRow(inputs[0].Row<float>(at), first, to, y.channels);
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      const float* from = inputs[i].Row<float>(at);
      switch (op.kind) {
        case EltwiseOp::Kind::kSum:
          AddScaledInto(from, op.coefficients[i], to, y.channels);
          break;
        case EltwiseOp::Kind::kProduct:
          MultiplyInto(from, to, y.channels);
          break;
        case EltwiseOp::Kind::kMax:
          MaxInto(from, to, y.channels);
          break;
      }
    }
    ActivateRow(activations, to, y.channels);
  });
}

void Activate(std::span<const Eltwise> activations, View x, View y) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    float* to = y.Row<float>(at);
    std::memmove(to, x.Row<float>(at), x.channels * sizeof(float));
    ActivateRow(activations, to, x.channels);
  });
}

void Activate(const graph::Activation& activation, View x, View y) {
  ForPixels(x.pixels, x.channels, [&](std::size_t at) {
    activation.Forward({x.Row<float>(at), x.channels}, {y.Row<float>(at), y.channels});
  });
}

}  // namespace zood::engine
