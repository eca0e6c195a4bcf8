// A graph and its weights, compiled to something that computes gradients.
//
// One step of training, in this order:
//   write input()              the images
//   Forward(dropout_seed)      training mode
//   read logits()              the caller computes its loss,
//   write logits_gradient()    and the loss's derivative; for the auxiliary head the same
//   Backward()
//   UpdateMovingStatistics()   at any time between this Forward() and the next
//   read gradient(v), write variable(v)   the optimizer; the next Forward() sees the new values
//
// What is differentiated is what may change and no more: there is no gradient of the values below
// the lowest node with something to learn, and none of a variable that may not change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "engine/executable.h"
#include "graph/graph.h"

namespace zood::engine {

inline constexpr int kMaxTrainingBatch = 1024;

struct TrainingOptions {
  int batch = 1;  // up to kMaxTrainingBatch
  // Which variables may change, by VariableId; one flag for each variable of the graph.
  // A trainable variable that may change gets a gradient. A batch norm one of whose moving
  // statistics may change normalizes with the batch's statistics and moves the moving ones that
  // may change; one whose moving statistics may not change uses them, as at inference.
  std::vector<bool> updated;
  // Instead of every dropout's own; 1 switches dropout off.
  std::optional<float> keep_probability;
  // Instead of every batch norm's own.
  std::optional<float> batch_norm_decay;
  // Compute threads of one step; 0 means one for each core.
  int threads = 0;
  // value() returns what Forward() computed; no memory is used twice within a step, which takes a
  // lot.
  bool keep_values = false;
};

// An estimate, made before anything is allocated, of the bytes that a TrainingProgram will hold:
// variables, gradients, the arena of activations, packed weights. 0 where Create() would refuse
// the options.
std::size_t EstimateTrainingBytes(const graph::Graph& graph, const TrainingOptions& options);

// Owns a copy of the variables, their gradients, and one arena for activations and their gradients,
// planned by lifetime over the forward and the backward pass. Everything is made by Create(); a
// step makes nothing. The same values, seed and number of threads give the same bits.
//
// One thread at a time. Spans stay valid, at the same place, as long as the program.
class TrainingProgram {
 public:
  // InvalidArgument when `weights` does not fit the graph (see Graph::CheckWeights), when
  // `options.updated` is not one flag for each variable, or an option is out of range;
  // ResourceExhausted when there is no memory.
  static absl::StatusOr<std::unique_ptr<TrainingProgram>> Create(
      std::shared_ptr<const graph::Graph> graph, const TensorMap& weights,
      const TrainingOptions& options);

  virtual ~TrainingProgram() = default;

  virtual const graph::Graph& graph() const = 0;
  virtual const TrainingOptions& options() const = 0;

  // [batch, ...] in the shape of the graph's node 0. Still holds what was written after a step.
  virtual std::span<float> input() = 0;

  // The program's own copy of a variable, row-major as in checkpoints. Forward() sees what is
  // written here; write between Backward() and Forward() only.
  virtual std::span<float> variable(graph::VariableId id) = 0;

  // Computes the logits in training mode. Which elements a dropout drops is a function of
  // `dropout_seed`, the node's name and place among nodes of that name, and the element alone,
  // whatever the threads.
  virtual absl::Status Forward(std::uint64_t dropout_seed) = 0;

  // [batch, classes] of the last Forward(). The auxiliary head's: empty where the graph has none.
  virtual std::span<const float> logits() const = 0;
  virtual std::span<const float> aux_logits() const = 0;

  // [batch, ...] of a node, row-major, as the last Forward() left it; ask before Backward(). Empty
  // without `keep_values`, and where the value exists inside a step only.
  virtual std::vector<float> value(graph::NodeId id) const = 0;

  // As long as logits() and aux_logits(): the loss's derivatives, zeros at first. Backward() reads
  // them and leaves them as they are.
  virtual std::span<float> logits_gradient() = 0;
  virtual std::span<float> aux_logits_gradient() = 0;

  // Computes every gradient(). FailedPrecondition unless a Forward() came since the last
  // Backward(): the pass uses up the activations.
  virtual absl::Status Backward() = 0;

  // Of a trainable variable that may change, as long as the variable; empty for every other.
  // Overwritten by each Backward(); the caller may change it. Zeros where the logits do not depend
  // on the variable.
  virtual std::span<float> gradient(graph::VariableId id) = 0;

  // moving = decay * moving + (1 - decay) * batch, for every moving statistic that may change, from
  // the last Forward(). The variance of a feature map is multiplied by n / (n - 1) first, n being
  // the number of elements that it is the variance of, as TensorFlow's fused batch norm does;
  // that of a vector is not. Nothing happens before the first Forward().
  virtual void UpdateMovingStatistics() = 0;

  // Held by this program.
  virtual std::size_t bytes() const = 0;

  // A step on what input(), logits_gradient() and aux_logits_gradient() hold, with the time of
  // each of its parts: for benchmarks. `gflop` is 0 where a part does not compute products.
  virtual absl::StatusOr<std::vector<StepTime>> Profile(std::uint64_t dropout_seed) = 0;
};

}  // namespace zood::engine
