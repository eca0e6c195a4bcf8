// The reference engine's backward pass: each operation's derivative, written down, in double
// precision. Itself checked by central differences.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "tests/numerics/reference/reference_engine.h"
#include "tests/numerics/reference/reference_ops.h"

namespace zood::reference {

// The derivative of a loss by each output, from the outputs.
using LossGradient = std::function<Results(const Results&)>;

// Row-major elements of each trainable variable that `outputs` depend on: the derivative of the
// loss by it. Arguments as for Evaluate().
using Gradients = std::map<graph::VariableId, std::vector<double>>;
absl::StatusOr<Gradients> Differentiate(const graph::Graph& graph, const TensorMap& weights,
                                        std::span<const float> images, int batch,
                                        std::span<const graph::NodeId> outputs,
                                        const TrainingMode& mode, const LossGradient& loss);

// What one node passes back: `inputs` has the derivative by each of its inputs.
struct NodeGradients {
  std::vector<std::vector<double>> inputs;
  Gradients variables;
};
NodeGradients ComputeGradients(const graph::Graph& graph, graph::NodeId id,
                               const std::vector<const Array*>& inputs, const Array& y,
                               const std::vector<double>& dy, const TensorMap& weights,
                               const TrainingMode& mode);

}  // namespace zood::reference
