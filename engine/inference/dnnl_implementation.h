// Convolutions and fully connected layers by oneDNN's primitives.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "engine/inference/implementation.h"

namespace zood::engine {

// The layout of weights is the best one for the primitive, or one that is held for another batch
// size where the same implementation takes it.
class DnnlImplementation final : public Implementation {
 public:
  absl::Status AddCandidates(const StepRequest& request,
                             std::vector<Candidate>& candidates) const override;
};

}  // namespace zood::engine
