// Whether a network answers at all, found out before it is published.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace zood::serving {

// Computes what the network answers to one image, slowly, on one thread. `weights` fit the graph.
// InvalidArgument when the answer is not finite; Cancelled soon after `cancelled` says so (between
// two layers; empty: never); ResourceExhausted after `limit`.
absl::Status TrialRun(const std::shared_ptr<const graph::Graph>& graph, const TensorMap& weights,
                      std::chrono::steady_clock::duration limit,
                      const std::function<bool()>& cancelled);

}  // namespace zood::serving
