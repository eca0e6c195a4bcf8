// Everything but convolutions and fully connected layers, by the engine's own loops.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "engine/inference/implementation.h"

namespace zood::engine {

class LoopImplementation final : public Implementation {
 public:
  absl::Status AddCandidates(const StepRequest& request,
                             std::vector<Candidate>& candidates) const override;
};

// The loops that finish a step whose kernel does not: y = activations(the sum of `inputs`), which
// may be one.
BoundStep SumAndActivate(std::vector<View> inputs, std::vector<graph::Eltwise> activations, View y);

}  // namespace zood::engine
