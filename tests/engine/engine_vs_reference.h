// Runs a graph through the engine and through the reference engine, and compares.
#pragma once

#include <string>
#include <vector>

#include "base/tensor.h"
#include "graph/graph.h"

namespace zood::testing {

// What is allowed: |engine - reference| <= bound x the scale of the reference.
enum class ScaleOfError {
  kRange,              // max - min of the tensor
  kStandardDeviation,  // of each image's own values: for logits
};

struct Comparison {
  std::vector<int> batches = {1, 3, 8};
  std::vector<int> compiled_batches = {1, 4, 8};
  std::vector<std::string> end_points;  // compared beside the logits, by their range
  ScaleOfError logits_scale = ScaleOfError::kRange;
  double bound = 2e-5;
  int distinct_images = 3;  // larger batches repeat these; each costs the reference its time
};

// Adds a GoogleTest failure for each result that differs, naming node, place and distance. The
// variables and images are the generator's (tests/support/oracle_fill.h); a run of every batch size
// is followed by one of the first again, so that what a run leaves behind would be seen.
void ExpectEngineAgrees(const graph::Graph& graph, const Comparison& comparison);

}  // namespace zood::testing
