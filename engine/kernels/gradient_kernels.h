// Loops of the backward pass, and of what training does in the forward pass only. Style, views and
// dispatch as in kernels.h. A gradient is written, never added to, unless its name says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/kernels/kernels.h"
#include "graph/op.h"

namespace zood::engine {

// y = the sum of `inputs`, which are two or more; y may be one of them.
void Add(std::span<const View> inputs, View y);
// y = factor * x.
void Multiply(View x, float factor, View y);

// Whether the derivative of `activation` can be computed from its result, as ActivationGradient()
// does.
bool HasGradientFromResult(const graph::Eltwise& activation);

// dx = the sum of `dy` (one or two maps) times the derivative of `activation`, whose result was y.
void ActivationGradient(const graph::Eltwise& activation, View y, std::span<const View> dy,
                        View dx);
// The same for any activation.
void ActivationGradient(const graph::Activation& activation, View x, View y, View dy, View dx);

// dx = dy where x > 0, slope * dy elsewhere.
void PreluGradient(std::span<const float> slope, View x, View dy, View dx);

// As MaxPool(); `index`, dense and of y's extents, gets the position of each maximum: its row *
// width + column. The first of equal ones, row by row, is taken, as in TensorFlow.
void MaxPoolWithIndex(const graph::PoolOp& op, View x, MapSize x_size, View y, MapSize y_size,
                      std::int32_t* index);
void MaxPoolGradient(const graph::PoolOp& op, const std::int32_t* index, View dy, MapSize y_size,
                     View dx, MapSize x_size);
void AveragePoolGradient(const graph::PoolOp& op, View dy, MapSize y_size, View dx, MapSize x_size);

// Floats of scratch memory that LrnGradient() needs.
std::size_t LrnScratchFloats(std::size_t channels);
void LrnGradient(const graph::LrnOp& op, View x, View dy, float* scratch, View dx);

void SoftmaxGradient(View y, View dy, View dx);

// The gradient of input `which` of a product, or of a maximum: there the first of equal inputs gets
// all of it.
void ProductGradient(std::span<const View> inputs, std::size_t which, View dy, View dx);
void MaximumGradient(std::span<const View> inputs, std::size_t which, View dy, View dx);

// y = x / keep for the elements that `key` keeps (engine/kernels/dropout.h), 0 for the others. The
// gradient is the same function.
void Dropout(View x, std::uint64_t key, float keep, View y);

}  // namespace zood::engine
