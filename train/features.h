// The values of a network's frozen prefix for a list of items, computed once each.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "engine/executable.h"
#include "image/preprocess.h"
#include "train/input/input_pipeline.h"

namespace zood::train {

// Features are computed in fixed chunks of as many items as one run of the prefix takes: item i of
// the list always in chunk i / batch, at place i % batch, so that its bits do not depend on when it
// was computed. One thread at a time.
class FeatureCache {
 public:
  // Items that are to be computed, by their indices in dataset->items. Memory: the features of all
  // items, and until they are computed what runs the prefix. ResourceExhausted where there is none;
  // otherwise errors are those of InputPipeline::Create.
  static absl::StatusOr<std::unique_ptr<FeatureCache>> Create(
      std::shared_ptr<const engine::Executable> prefix,
      std::shared_ptr<const dataset::Dataset> dataset, std::vector<std::int32_t> items,
      const image::PreprocessSpec& spec);

  std::int64_t size() const { return static_cast<std::int64_t>(items_.size()); }
  std::int64_t pending() const { return size() - computed_; }
  std::span<const std::int32_t> items() const { return items_; }

  // The next chunk. Its items stay pending after an error, which is that of InputPipeline::Fill.
  absl::Status ComputeChunk();

  // The features of items()[position], which must not be pending.
  std::span<const float> features(std::int64_t position) const {
    return std::span(features_).subspan(static_cast<std::size_t>(position) * feature_size_,
                                        feature_size_);
  }

  std::uint64_t bytes() const;

 private:
  FeatureCache() = default;

  std::vector<std::int32_t> items_;
  std::size_t feature_size_ = 0;
  std::vector<float> features_;  // [items, feature_size]
  std::int64_t computed_ = 0;
  // Both are given back when nothing is pending.
  std::unique_ptr<engine::Execution> execution_;
  std::unique_ptr<InputPipeline> images_;
  std::uint64_t running_bytes_ = 0;
};

}  // namespace zood::train
