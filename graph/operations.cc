#include "graph/operations.h"

#include <array>
#include <cstddef>
#include <variant>
#include <vector>

#include "graph/visit.h"

namespace zood::graph {
namespace {

double PerImage(const Shape& shape) {
  double elements = 1;
  for (int axis = 1; axis < shape.rank(); ++axis) elements *= static_cast<double>(shape[axis]);
  return elements;
}

double Area(Size2d kernel) { return static_cast<double>(kernel.height) * kernel.width; }

// What each element of the node's output takes.
double PerElement(const Graph& graph, const Node& node) {
  return std::visit(
      Overloaded{
          [&](const ConvOp& conv) {
            const auto channels = static_cast<double>(graph.node(node.inputs.front()).shape.back());
            return Area(conv.kernel) * channels / conv.groups;
          },
          [&](const FullyConnectedOp&) { return PerImage(graph.node(node.inputs.front()).shape); },
          [](const PoolOp& pool) { return kStepCost * Area(pool.kernel); },
          [](const LrnOp& lrn) { return kStepCost * (2.0 * lrn.radius + 1); },
          [&](const OneOf<EltwiseOp, ConcatOp> auto&) {
            return kStepCost * static_cast<double>(node.inputs.size());
          },
          [](const OneOf<InputOp, BatchNormOp, ScaleOp, ActivationOp, PreluOp, ChannelPadOp,
                         DropoutOp, ReshapeOp, SoftmaxOp> auto&) { return kStepCost; }},
      node.op);
}

// Tells `take` of each node that the logits need, and of what it takes.
template <typename F>
void ForEachNeeded(const Graph& graph, F take) {
  const std::array results = {graph.logits()};
  const std::vector<bool> needed = graph.NodesNeededBy(results);
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (needed[i]) take(node, PerImage(node.shape) * PerElement(graph, node));
  }
}

}  // namespace

double CountOperations(const Graph& graph) {
  double all = 0;
  ForEachNeeded(graph, [&](const Node&, double operations) { all += operations; });
  return all;
}

LargestStep FindLargestStep(const Graph& graph) {
  LargestStep largest;
  ForEachNeeded(graph, [&](const Node& node, double operations) {
    if (operations > largest.operations) largest = {&node, operations};
  });
  return largest;
}

}  // namespace zood::graph
