// How much a network computes.
#pragma once

#include "graph/graph.h"

namespace zood::graph {

// What a step costs that is not a multiplication of weights: a comparison of a pooling, a function
// of an element. Its loop reads memory for each, where a product's reuses what it has read.
inline constexpr double kStepCost = 50;

// Multiplications with an addition, and kStepCost for each other step of one element, for one
// image: what the logits need, as the operations are defined. A number of any size: shapes may
// multiply to more than integers hold.
double CountOperations(const Graph& graph);

// The node of those that takes most of them, and how many.
struct LargestStep {
  const Node* node = nullptr;
  double operations = 0;
};
LargestStep FindLargestStep(const Graph& graph);

}  // namespace zood::graph
