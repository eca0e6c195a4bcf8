// A step of a training golden with every gradient in double precision, on the tests' reference
// engine: distinguishes TensorFlow's rounding from mistakes of the engine.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"
#include "tests/numerics/reference/reference_engine.h"
#include "tests/numerics/training/training_golden.h"
#include "train/math/optimizer_state.h"

namespace zood::testing {

struct ExactStep {
  // Of the total loss, by the variable's name.
  std::map<std::string, std::vector<double>> gradients;
  // Every variable, moving statistics too, as the step leaves it.
  TensorMap after;
};

// Step number `step` from `weights`, which are float32, with the derivatives' sides decided by
// `decisions`. `optimizer` is as it is before the step, and takes it. Slow.
absl::StatusOr<ExactStep> TakeExactStep(const graph::Graph& graph, const TrainingGolden& golden,
                                        std::size_t step, const TensorMap& weights,
                                        train::OptimizerState& optimizer,
                                        reference::Decisions& decisions);

}  // namespace zood::testing
