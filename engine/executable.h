// A graph and its weights, compiled to something that runs.
//
// Three types, in the order they are used:
//   Graph + weights --Compile--> Executable  immutable, shared by all threads of a loaded version
//   Executable --------------->  Execution   the state of one run at a time: an arena and its views
//   Execution::Run               computes one batch; allocates, creates and reorders nothing
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/shape.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace zood::engine {

// What values and weights are computed in. Only kFloat32 is implemented.
enum class Precision {
  kFloat32,      // exact: products and sums of float32
  kFastFloat32,  // float32 by algorithms that round more
  kBfloat16,
  kInt8,
};

struct CompileOptions {
  // Sorted, without repetition, each at least 1. A run of n images uses the smallest that holds n.
  std::vector<int> batch_sizes = {1};
  // Intermediate results to deliver beside the logits, by their names in the graph.
  std::vector<std::string> end_points;
  // Compute threads of one run; 0 means one for each core.
  int threads = 0;
  Precision precision = Precision::kFloat32;
};

// The profile of one step; see Execution::Profile().
struct StepTime {
  std::string name;            // of the node
  std::string operation;       // "Conv + Relu"
  std::string implementation;  // "brg:avx2", "copy"
  double milliseconds = 0;     // fastest of the repetitions
  double gflop = 0;
};

// Immutable and thread-safe after Compile().
class Executable {
 public:
  // InvalidArgument when `weights` does not fit the graph (see Graph::CheckWeights), when a batch
  // size is not sound, or when an end point does not exist; Unimplemented for a precision other
  // than float32. `share_with`, if given, must have been compiled from the same graph and weights.
  static absl::StatusOr<std::shared_ptr<const Executable>> Compile(
      std::shared_ptr<const graph::Graph> graph, const TensorMap& weights,
      const CompileOptions& options, const Executable* share_with = nullptr);

  virtual ~Executable() = default;

  virtual const graph::Graph& graph() const = 0;
  virtual const CompileOptions& options() const = 0;
  int max_batch() const { return options().batch_sizes.back(); }

  // Bytes that this executable keeps for its weights, shared ones included.
  virtual std::size_t weight_bytes() const = 0;
  // Bytes that each Execution adds.
  virtual std::size_t execution_bytes() const = 0;
};

// An estimate, made before anything is allocated, of what Compile() will hold, and each Execution.
// It plans the arena as Compile() does.
struct MemoryEstimate {
  std::size_t weight_bytes = 0;
  std::size_t execution_bytes = 0;
};
MemoryEstimate EstimateMemory(const graph::Graph& graph, const CompileOptions& options);

// One run at a time; make one Execution for each thread that runs. Keeps its Executable alive.
class Execution {
 public:
  static absl::StatusOr<std::unique_ptr<Execution>> Create(
      std::shared_ptr<const Executable> executable);

  virtual ~Execution() = default;

  // Where the caller writes its images before Run(): [batch, height, width, channels], for a run of
  // `batch` images (1 to max_batch). The memory is overwritten by the run.
  virtual std::span<float> input(int batch) = 0;

  // Computes. The results of the run before are gone.
  absl::Status Run(int batch) { return Run(batch, {}); }
  // The same, but Cancelled, with no results, once `stop`, called before each step, returns true.
  // May be empty.
  virtual absl::Status Run(int batch, const std::function<bool()>& stop) = 0;

  // [batch, classes], of the last run.
  virtual std::span<const float> logits() const = 0;
  // Row-major, NHWC, of the last run; `index` counts CompileOptions::end_points.
  virtual std::span<const float> end_point(std::size_t index) const = 0;

  // Runs `repetitions` times and returns the time of each step, for a batch of `batch`.
  virtual absl::StatusOr<std::vector<StepTime>> Profile(int batch, int repetitions) = 0;
};

}  // namespace zood::engine
