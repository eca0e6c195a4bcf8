// What can compute a step: implementations offer candidates, one is chosen and made a kernel.
//
// A program is written in this order:
//   Lower()          steps as large as any implementation can take them
//   AddCandidates()  what each implementation can do of a step, nothing made yet
//   choose           one candidate for each step
//   finish fusion    what the candidate leaves of the step becomes a step of its own
//   plan memory      by what the candidates write and need
//   make, bind       kernels with their weights, then calls with their memory
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "engine/executable.h"
#include "engine/inference/lowering.h"
#include "engine/inference/packed_weights.h"
#include "engine/tape/tape.h"
#include "graph/graph.h"

namespace zood::engine {

// The request to an implementation. All of it outlives the candidates.
struct StepRequest {
  const graph::Graph& graph;
  const Step& step;
  int batch = 1;
  Precision precision = Precision::kFloat32;
  const PackedWeights& packed;  // forms to share where that costs nothing
};

// What a kernel computes on.
struct Operands {
  std::vector<View> inputs;
  View output;  // holds the residual summand where the kernel adds to it
  std::byte* scratch = nullptr;
};
using Kernel = std::function<BoundStep(const Operands&)>;

// What one implementation can do of a step.
struct Candidate {
  std::string implementation;      // "brg:avx2", "zood"
  DType reads = DType::kFloat32;   // of every input, in rows
  DType writes = DType::kFloat32;  // of the output, in rows
  bool writes_strided = false;     // the output may have gaps between its rows
  bool adds_residual = false;      // it adds what it computes to what the output holds
  std::size_t activations = 0;     // how many of the step's, from the first, it computes
  std::size_t scratch_bytes = 0;   // memory that it needs while it runs
  // Packs the weights that it needs, or takes them from `packed`. Called once at most.
  std::function<absl::StatusOr<Kernel>(const TensorMap& weights, PackedWeights& packed)> make;
};

class Implementation {
 public:
  virtual ~Implementation() = default;
  // Adds what it offers for the step, best first; nothing where the step is not for it. Internal
  // where it should have been able to.
  virtual absl::Status AddCandidates(const StepRequest& request,
                                     std::vector<Candidate>& candidates) const = 0;
};

// In the order of preference; each lives as long as the process.
using Implementations = std::vector<const Implementation*>;
const Implementations& StandardImplementations();

}  // namespace zood::engine
