// A version of a model, loaded: compiled, warmed up, immutable.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/tensor.h"
#include "engine/executable.h"
#include "graph/graph.h"
#include "graph/output.h"
#include "image/preprocess.h"
#include "serving/batch_scheduler.h"
#include "serving/memory_budget.h"

namespace zood::serving {

struct ServableOptions {
  std::vector<int> batch_sizes = {1, 2, 4, 8};
  int threads_per_lane = 0;  // 0: the cores, divided by the lanes
  int queue_capacity = 256;
  std::chrono::microseconds max_wait{2000};
  // Compiled forms that deliver end points are kept, this many for each version: the last used.
  int max_end_point_programs = 4;
};

// What a version is made of. The weights may lie in mapped files.
struct ServableParts {
  std::string model;
  std::int64_t version = 0;
  std::string digest;
  std::shared_ptr<const graph::Graph> graph;
  graph::OutputKind output_kind = graph::OutputKind::kLogits;
  TensorMap weights;
  image::PreprocessSpec preprocess;
  std::vector<std::string> labels;  // as many as classes, or none
};

// An executable with its queue and the state of an execution for each lane. Thread-safe.
class Program final : public BatchProgram {
 public:
  static absl::StatusOr<std::unique_ptr<Program>> Create(
      std::shared_ptr<const engine::Executable> executable, BatchScheduler& scheduler,
      BatchQueueOptions queue_options, MemoryClaim claim);

  const engine::Executable& executable() const { return *executable_; }
  BatchQueue& queue() { return *queue_; }

  // Computes zeros once in every batch size and lane, so that the first requests find memory and
  // caches as the later ones do. InvalidArgument when a result is not finite. Not for a program
  // that serves already.
  absl::Status WarmUp();
  // Batches of this size that were computed, WarmUp()'s among them.
  std::int64_t runs(int batch) const;

  // BatchProgram:
  std::span<const int> batch_sizes() const override { return executable_->options().batch_sizes; }
  absl::StatusOr<BatchOutput> Run(int lane,
                                  std::span<const std::unique_ptr<BatchTask>> tasks) override;

 private:
  Program(std::shared_ptr<const engine::Executable> executable,
          std::vector<std::unique_ptr<engine::Execution>> executions, MemoryClaim claim)
      : claim_(std::move(claim)),
        executable_(std::move(executable)),
        executions_(std::move(executions)),
        runs_(executable_->options().batch_sizes.size()) {}

  std::size_t IndexOf(int batch) const;
  absl::StatusOr<BatchOutput> Compute(int lane, int batch);

  MemoryClaim claim_;
  const std::shared_ptr<const engine::Executable> executable_;
  const std::vector<std::unique_ptr<engine::Execution>> executions_;  // by lane
  std::vector<std::atomic<std::int64_t>> runs_;                       // by index of the batch size
  std::unique_ptr<BatchQueue> queue_;
};

// Thread-safe.
class Servable {
 public:
  // Claims memory, compiles and warms up. Takes seconds for a large network. ResourceExhausted
  // when the memory is not there; InvalidArgument when the parts do not fit each other.
  // `scheduler` and `budget` outlive the servable.
  static absl::StatusOr<std::unique_ptr<Servable>> Create(ServableParts parts,
                                                          const ServableOptions& options,
                                                          BatchScheduler& scheduler,
                                                          MemoryBudget& budget);
  ~Servable();

  const std::string& model() const { return parts_.model; }
  std::int64_t version() const { return parts_.version; }
  const std::string& digest() const { return parts_.digest; }
  const graph::Graph& graph() const { return *parts_.graph; }
  // What the numbers are that the network answers.
  graph::OutputKind output_kind() const { return parts_.output_kind; }
  const image::PreprocessSpec& preprocess() const { return parts_.preprocess; }
  std::int64_t num_classes() const { return graph().node(graph().logits()).shape.back(); }
  // The index in decimal where there are no labels.
  std::string Label(std::int64_t index) const;
  const std::vector<std::string>& labels() const { return parts_.labels; }
  const std::string& labels_digest() const { return labels_digest_; }
  std::size_t longest_label() const { return longest_label_; }  // bytes

  // The program for these end points, in this order; null when it has yet to be compiled. The one
  // without end points is always there.
  std::shared_ptr<Program> FindProgram(const std::vector<std::string>& end_points);
  // Compiles it if need be, which may take a second. NotFound for an unknown end point.
  absl::StatusOr<std::shared_ptr<Program>> ProgramFor(const std::vector<std::string>& end_points);

  std::uint64_t memory_bytes() const { return memory_bytes_; }
  // Of all programs together, also of those that were dropped since.
  BatchQueue::Statistics statistics() const { return program_->queue().sum(); }

 private:
  Servable(ServableParts parts, ServableOptions options, BatchScheduler& scheduler,
           MemoryBudget& budget);

  absl::StatusOr<std::unique_ptr<Program>> Compile(const std::vector<std::string>& end_points);

  // Constant after construction.
  const ServableParts parts_;
  const ServableOptions options_;
  BatchScheduler& scheduler_;
  MemoryBudget& budget_;
  const std::shared_ptr<QueueStatistics> statistics_ = std::make_shared<QueueStatistics>();
  std::shared_ptr<Program> program_;
  std::uint64_t memory_bytes_ = 0;
  std::size_t longest_label_ = 0;
  std::string labels_digest_;

  Mutex compiling_;  // one compilation at a time; taken before mutex_
  Mutex mutex_;
  struct Variant {
    std::vector<std::string> end_points;
    std::shared_ptr<Program> program;
  };
  std::vector<Variant> variants_ ABSL_GUARDED_BY(mutex_);  // last used first
};

}  // namespace zood::serving
