// How much a network computes.
#pragma once

#include "graph/graph.h"

namespace zood::graph {

// Multiplications with an addition, comparisons or other steps of one element, for one image: what
// the logits need, as the operations are defined. A number of any size: shapes may multiply to more
// than integers hold.
double CountOperations(const Graph& graph);

}  // namespace zood::graph
