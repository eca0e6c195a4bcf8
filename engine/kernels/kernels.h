// The engine's own loops, for what oneDNN has no primitive, or none that writes with a stride.
//
// All compute on views of float32 (view.h). Each kernel is compiled for several instruction sets
// and chosen at run time; each runs on the calling OpenMP team's threads.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/kernels/view.h"
#include "graph/op.h"

namespace zood::engine {

void MaxPool(const graph::PoolOp& op, View x, MapSize x_size, View y, MapSize y_size);
void AveragePool(const graph::PoolOp& op, View x, MapSize x_size, View y, MapSize y_size);

// y = activations(scale * x + shift) by channel.
void ScaleShift(View x, std::span<const float> scale, std::span<const float> shift,
                std::span<const graph::Eltwise> activations, View y);

void Lrn(const graph::LrnOp& op, View x, View y);
void Prelu(std::span<const float> slope, View x, View y);
void Softmax(View x, View y);
void Copy(View x, View y);
// Zero channels before and after those of x, as y has more channels than x; or, where `before` is
// negative or y has less, the channels of x from -before on.
void PadChannels(View x, std::ptrdiff_t before, View y);
void Combine(const graph::EltwiseOp& op, std::span<const View> inputs,
             std::span<const graph::Eltwise> activations, View y);
// y = f(x) for the graph's own activations, and for custom functions.
void Activate(std::span<const graph::Eltwise> activations, View x, View y);
void Activate(const graph::Activation& activation, View x, View y);

}  // namespace zood::engine
