// The steps of a training golden with every gradient in double precision, on the tests' reference
// engine: what tells TensorFlow's rounding from our mistakes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "tests/training/training_golden.h"

namespace zood::testing {

struct ExactTraining {
  // Of the total loss at the first step, by the variable's name.
  std::map<std::string, std::vector<double>> gradients;
  // The moving statistics after the first step.
  std::map<std::string, std::vector<double>> first_moving;
  // Every variable after the last step.
  std::map<std::string, std::vector<double>> after;
};

// Variables are float32 between steps, as everywhere. Slow.
absl::StatusOr<ExactTraining> TrainExactly(const graph::Graph& graph, const TrainingGolden& golden);

}  // namespace zood::testing
