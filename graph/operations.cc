#include "graph/operations.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <variant>
#include <vector>

namespace zood::graph {
namespace {

double PerImage(const Shape& shape) {
  double elements = 1;
  for (int axis = 1; axis < shape.rank(); ++axis) elements *= static_cast<double>(shape[axis]);
  return elements;
}

double Area(Size2d kernel) { return static_cast<double>(kernel.height) * kernel.width; }

// The steps that each element of the node's output takes.
double PerElement(const Graph& graph, const Node& node) {
  if (const auto* conv = std::get_if<ConvOp>(&node.op)) {
    const auto channels = static_cast<double>(graph.node(node.inputs.front()).shape.back());
    return Area(conv->kernel) * channels / conv->groups;
  }
  if (std::holds_alternative<FullyConnectedOp>(node.op)) {
    return PerImage(graph.node(node.inputs.front()).shape);
  }
  if (const auto* pool = std::get_if<PoolOp>(&node.op)) return Area(pool->kernel);
  if (const auto* lrn = std::get_if<LrnOp>(&node.op)) return 2.0 * lrn->radius + 1;
  return static_cast<double>(std::max<std::size_t>(node.inputs.size(), 1));
}

}  // namespace

double CountOperations(const Graph& graph) {
  const std::array results = {graph.logits()};
  const std::vector<bool> needed = graph.NodesNeededBy(results);
  double operations = 0;
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (needed[i]) operations += PerImage(node.shape) * PerElement(graph, node);
  }
  return operations;
}

}  // namespace zood::graph
