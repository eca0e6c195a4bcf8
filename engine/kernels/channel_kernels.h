// Loops over the rows of a map that keep something for each channel: batch norm, scale, sums of
// gradients. Style and dispatch as in kernels.h.
//
// Sums over rows are made in double precision from float sums of a few rows at a time, in an order
// that does not depend on the number of threads.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <span>

#include "engine/kernels/kernels.h"
#include "graph/function.h"

namespace zood::engine {

// Floats of scratch memory that the functions below need for maps of `channels`.
std::size_t ChannelScratchFloats(std::size_t channels);

// An activation that a map passes through: y = z inside (low, high), low or high outside; or, with
// a slope, slope * z where z <= low = 0.
struct Gate {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
  float slope = 0;

  // For activations of this form.
  static std::optional<Gate> Of(const graph::Eltwise& activation);
};

// z = (x - mean) * scale + shift by channel, then `gate`: batch norm with mean and deviation from
// anywhere, and the affine map of Scale. Each array has as many elements as there are channels.
struct ChannelAffine {
  const float* mean = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  Gate gate;
};

// Mean and biased variance of each channel.
void Moments(View x, float* scratch, float* mean, float* variance);

// y = gate(z(x)).
void Normalize(View x, const ChannelAffine& affine, View y);

// With g = the derivative by z, where y's is the sum of `dy` (one or two maps):
// sum_g = sum of g, sum_gx = sum of g * (x - mean), by channel, in double precision.
void NormalizeSums(View x, std::span<const View> dy, const ChannelAffine& affine, float* scratch,
                   double* sum_g, double* sum_gx);

// dx = scale * (g - a - (x - mean) * b).
void NormalizeGradient(View x, std::span<const View> dy, const ChannelAffine& affine,
                       const float* a, const float* b, View dx);

// The sum of each channel.
void SumRows(View x, float* scratch, float* sum);

// The sum by channel of dy * x where x <= 0: the gradient of PReLU's slope.
void SumNegativeProducts(View x, View dy, float* scratch, float* sum);

}  // namespace zood::engine
