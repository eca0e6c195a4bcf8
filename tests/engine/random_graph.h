// Random networks: every operation, odd shapes, shared inputs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/net.h"

namespace zood::testing {

struct RandomGraph {
  graph::Graph graph;
  std::vector<std::string> end_points;  // some of its nodes, to be delivered beside the logits
};

// The same seed gives the same graph everywhere.
absl::StatusOr<RandomGraph> MakeRandomGraph(std::uint64_t seed);

// x / (1 + |x|): an activation that zood does not have and no engine has a kernel for.
graph::ActivationPtr Softsign();

}  // namespace zood::testing
