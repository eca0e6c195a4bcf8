// A slow and obvious second implementation of every operation of graph/op.h, in double precision:
// what the engine's results are compared with. It fuses nothing, plans nothing and shares no code
// with the engine; each operation is its definition, written down.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace zood::reference {

// Row-major (NHWC) elements of the nodes asked for.
using Results = std::map<graph::NodeId, std::vector<double>>;

// Runs `graph` as at inference (dropout is the identity, batch norm uses the moving statistics) on
// `batch` images, [batch, H, W, C]. An intermediate result is freed after its last use.
// Activations that have a kernel() are computed from that formula in double precision; those that
// a user wrote are called, and so are float32.
// InvalidArgument when `weights` or the number of elements in `images` does not fit the graph, or
// when an output is not a node of it.
absl::StatusOr<Results> Evaluate(const graph::Graph& graph, const TensorMap& weights,
                                 std::span<const float> images, int batch,
                                 std::span<const graph::NodeId> outputs);

}  // namespace zood::reference
