// The parts of evaluation: adds up how well logits answer, batch by batch. Internal.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "engine/executable.h"
#include "train/evaluation.h"
#include "train/features.h"
#include "train/math/loss.h"

namespace zood::train {

// One thread at a time.
class Scorer {
 public:
  // `loss` null: softmax cross entropy.
  Scorer(const dataset::Dataset& dataset, std::int64_t classes, LossPtr loss);

  // The logits [items, classes] of these items of the dataset. FailedPrecondition, naming the item,
  // where one is not finite; InvalidArgument for a label out of range.
  absl::Status Add(std::span<const float> logits, std::span<const std::int32_t> items);

  Evaluation Finish() &&;

 private:
  absl::Status AddItem(std::span<const float> row, const dataset::Item& item);

  const dataset::Dataset& dataset_;
  const std::int64_t classes_;
  LossPtr loss_;
  Evaluation sum_;  // counts and sums so far
  std::int64_t top1_ = 0;
  std::int64_t top5_ = 0;
};

// `options.max_items` heeded; InvalidArgument for an empty split.
absl::StatusOr<std::vector<std::int32_t>> ItemsToEvaluate(const dataset::Dataset& dataset,
                                                          dataset::Split split,
                                                          const EvaluationOptions& options);

// Evaluates the rest of a network (`executable`) on features of its frozen prefix, computing those
// that are pending. Errors and options.progress as in Evaluate().
absl::StatusOr<Evaluation> EvaluateFeatures(
    const std::shared_ptr<const engine::Executable>& executable, FeatureCache& features,
    const dataset::Dataset& dataset, const EvaluationOptions& options);

}  // namespace zood::train
