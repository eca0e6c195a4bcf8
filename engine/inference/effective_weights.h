// The weights that a lowered step computes with: variables with everything foldable folded in.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "engine/inference/lowering.h"
#include "graph/graph.h"

namespace zood::engine {

// y = scale * x + shift by channel.
struct Affine {
  std::vector<double> scale;
  std::vector<double> shift;
};

// The composition of BatchNormOp and ScaleOp nodes (in order) over `channels` channels:
// scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale.
Affine ComposeAffine(const graph::Graph& graph, const std::vector<NodeId>& nodes,
                     const TensorMap& weights, std::size_t channels);

// What a convolution or fully connected step computes with. Folding is done in double precision and
// rounded once.
struct EffectiveWeights {
  // [height, width, in / groups, out], row-major; the store's own memory where nothing was folded.
  Tensor weights;
  // [out]; empty when there are none.
  std::vector<float> biases;
};

// The form of a step's effective weights, which does not depend on their values.
struct WeightsForm {
  Shape shape;  // as EffectiveWeights::weights
  int groups = 1;
  bool has_biases = false;
};
WeightsForm FormOf(const graph::Graph& graph, const WeightsRef& ref);

// `weights` must have passed Graph::CheckWeights.
EffectiveWeights Fold(const graph::Graph& graph, const WeightsRef& ref, const TensorMap& weights);

}  // namespace zood::engine
