// From a graph to the steps that compute it: what is not needed is dropped, what can be computed
// inside its neighbor is fused into it.
//
// - Batch norm and scale after a convolution or fully connected layer are folded into its weights.
// - An activation after one becomes its post-operation, and so does a residual sum: the step adds
//   its result to the other summand.
// - A depthwise convolution of few channels with a pointwise one after it becomes one dense
//   convolution (Inception v2's first layer).
// - A convolution whose kernel covers the whole map is a fully connected layer.
// - Dropout and reshape are names for their input.
//
// Lowering depends on neither the weights nor the batch size.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace zood::engine {

using graph::NodeId;

// Where a step finds its weights, and what is folded into them.
struct WeightsRef {
  NodeId node = -1;                 // the ConvOp or FullyConnectedOp
  std::optional<NodeId> pointwise;  // a 1x1 ConvOp merged into a depthwise `node`
  std::vector<NodeId> affine;       // BatchNormOp and ScaleOp nodes, in order
  float scale = 1;                  // of everything: a residual branch's coefficient

  // Equal for equal effective weights.
  std::string Key() const;
};

// One unit of work. `output` is a node whose value exists in memory. `inputs` and `residual` may be
// other names for such values, in another shape: see LoweredGraph::value_of.
struct Step {
  NodeId node = -1;  // whose operation this is; fused neighbors aside
  std::vector<NodeId> inputs;
  NodeId output = -1;

  // For convolutions and fully connected layers.
  std::optional<WeightsRef> weights;
  bool fully_connected = false;
  std::optional<NodeId> residual;  // added before `activations`; not among `inputs`

  // For batch norm or scale that could not be folded: the nodes, in order.
  std::vector<NodeId> affine;

  // Applied last, in order.
  std::vector<graph::Eltwise> activations;
};

struct LoweredGraph {
  std::vector<Step> steps;  // in an order that computes inputs first
  // For every node: the node whose memory its value is (itself, or the input of a reshape), or -1
  // where its value is never made.
  std::vector<NodeId> value_of;
  // The nodes whose values are results: logits first, then the end points.
  std::vector<NodeId> results;
};

LoweredGraph Lower(const graph::Graph& graph, std::span<const NodeId> results);

// What a step is called in messages and profiles: "Conv + Add + Activation".
std::string Describe(const graph::Graph& graph, const Step& step);

}  // namespace zood::engine
