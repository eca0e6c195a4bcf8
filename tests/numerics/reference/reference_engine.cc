#include "tests/numerics/reference/reference_engine.h"

#include <utility>

#include "base/status.h"
#include "tests/numerics/reference/reference_ops.h"

namespace zood::reference {
namespace {

// How often each node's result is still to be read: by later nodes, and once by the caller.
std::vector<int> CountUses(const graph::Graph& graph, std::span<const graph::NodeId> outputs,
                           const std::vector<bool>& needed) {
  std::vector<int> uses(graph.nodes().size(), 0);
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (!needed[i]) continue;
    for (graph::NodeId input : graph.nodes()[i].inputs) ++uses[static_cast<std::size_t>(input)];
  }
  for (graph::NodeId output : outputs) ++uses[static_cast<std::size_t>(output)];
  return uses;
}

absl::Status CheckArguments(const graph::Graph& graph, const TensorMap& weights,
                            std::span<const float> images, int batch,
                            std::span<const graph::NodeId> outputs) {
  ZOOD_RETURN_IF_ERROR(graph.CheckWeights(weights));
  if (batch < 1) return InvalidArgument("a batch of {}", batch);
  const std::int64_t expected = graph.input_shape().WithBatch(batch).num_elements();
  if (static_cast<std::int64_t>(images.size()) != expected) {
    return InvalidArgument("{} images have {} elements, found {}", batch, expected, images.size());
  }
  for (graph::NodeId output : outputs) {
    if (output < 0 || static_cast<std::size_t>(output) >= graph.nodes().size()) {
      return InvalidArgument("node {} of {}", output, graph.nodes().size());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Results> Run(const graph::Graph& graph, const TensorMap& weights,
                            std::span<const float> images, int batch,
                            std::span<const graph::NodeId> outputs, const TrainingMode* mode) {
  ZOOD_RETURN_IF_ERROR(CheckArguments(graph, weights, images, batch, outputs));
  const std::vector<bool> needed = graph.NodesNeededBy(outputs);
  std::vector<int> uses = CountUses(graph, outputs, needed);
  std::vector<Array> arrays(graph.nodes().size());
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (!needed[i]) continue;
    const graph::Node& node = graph.nodes()[i];
    const Shape shape = node.shape.WithBatch(batch);
    if (std::holds_alternative<graph::InputOp>(node.op)) {
      arrays[i] = {shape, {images.begin(), images.end()}};
      continue;
    }
    std::vector<const Array*> inputs;
    for (graph::NodeId input : node.inputs) {
      inputs.push_back(&arrays[static_cast<std::size_t>(input)]);
    }
    arrays[i] = Compute(graph, static_cast<graph::NodeId>(i), inputs, weights, shape, mode);
    for (graph::NodeId input : node.inputs) {
      if (--uses[static_cast<std::size_t>(input)] == 0)
        arrays[static_cast<std::size_t>(input)] = {};
    }
  }
  Results results;
  for (graph::NodeId output : outputs) {
    const Array& array = arrays[static_cast<std::size_t>(output)];
    if (!results.contains(output)) results[output] = array.values;
  }
  return results;
}

}  // namespace

absl::StatusOr<Results> Evaluate(const graph::Graph& graph, const TensorMap& weights,
                                 std::span<const float> images, int batch,
                                 std::span<const graph::NodeId> outputs) {
  return Run(graph, weights, images, batch, outputs, nullptr);
}

absl::StatusOr<Results> Evaluate(const graph::Graph& graph, const TensorMap& weights,
                                 std::span<const float> images, int batch,
                                 std::span<const graph::NodeId> outputs, const TrainingMode& mode) {
  if (mode.updated.size() != graph.variables().size()) {
    return InvalidArgument("{} flags for {} variables", mode.updated.size(),
                           graph.variables().size());
  }
  return Run(graph, weights, images, batch, outputs, &mode);
}

}  // namespace zood::reference
