// Where a training program's input comes from: images, features of a frozen prefix that runs on
// each batch, or features that are kept. Internal to the trainer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "engine/executable.h"
#include "image/preprocess.h"
#include "train/training_plan.h"

namespace zood::train {

// How many threads prepare photos beside `compute_threads` (0: one for each core) that compute.
int PreparationThreads(int compute_threads);

// One thread at a time.
class BatchSource {
 public:
  // `prefix` is the compiled plan.prefix, null where there is none.
  static absl::StatusOr<std::unique_ptr<BatchSource>> Create(
      const TrainingPlan& plan, std::shared_ptr<const engine::Executable> prefix,
      std::shared_ptr<const dataset::Dataset> dataset, const image::PreprocessSpec& spec,
      const TrainerOptions& options);

  virtual ~BatchSource() = default;

  // Batch `number` >= 0 of the run, a pure function of it: the items are InputPipeline's, whatever
  // the source.
  virtual absl::Status Fill(std::int64_t number, std::span<float> input,
                            std::span<std::int32_t> labels) = 0;

  // See Trainer::pending_features().
  virtual std::int64_t pending_features() const { return 0; }
  virtual absl::Status ComputeFeatures() { return absl::OkStatus(); }

  // Besides the prefix's weights.
  virtual std::uint64_t bytes() const = 0;
};

}  // namespace zood::train
