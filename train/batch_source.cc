#include "train/batch_source.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "train/features.h"
#include "train/input/input_pipeline.h"

namespace zood::train {
namespace {

class ImageBatches final : public BatchSource {
 public:
  explicit ImageBatches(std::unique_ptr<InputPipeline> images) : images_(std::move(images)) {}

  absl::Status Fill(std::int64_t number, std::span<float> input,
                    std::span<std::int32_t> labels) override {
    return images_->Fill(number, input, labels, {});
  }
  std::uint64_t bytes() const override { return images_->bytes(); }

 private:
  std::unique_ptr<InputPipeline> images_;
};

class PrefixBatches final : public BatchSource {
 public:
  PrefixBatches(std::unique_ptr<InputPipeline> images,
                std::shared_ptr<const engine::Executable> prefix,
                std::unique_ptr<engine::Execution> execution)
      : images_(std::move(images)), prefix_(std::move(prefix)), execution_(std::move(execution)) {}

  absl::Status Fill(std::int64_t number, std::span<float> input,
                    std::span<std::int32_t> labels) override {
    const int batch = images_->batch();
    ZOOD_RETURN_IF_ERROR(images_->Fill(number, execution_->input(batch), labels, {}));
    ZOOD_RETURN_IF_ERROR(execution_->Run(batch));
    std::ranges::copy(execution_->logits(), input.begin());
    return absl::OkStatus();
  }
  std::uint64_t bytes() const override { return images_->bytes() + prefix_->execution_bytes(); }

 private:
  std::unique_ptr<InputPipeline> images_;
  std::shared_ptr<const engine::Executable> prefix_;
  std::unique_ptr<engine::Execution> execution_;
};

class FeatureBatches final : public BatchSource {
 public:
  FeatureBatches(std::unique_ptr<FeatureCache> cache,
                 std::shared_ptr<const dataset::Dataset> dataset, const TrainerOptions& options)
      : cache_(std::move(cache)),
        dataset_(std::move(dataset)),
        batch_(options.batch_size),
        seed_(options.seed) {}

  absl::Status Fill(std::int64_t number, std::span<float> input,
                    std::span<std::int32_t> labels) override {
    while (cache_->pending() > 0) ZOOD_RETURN_IF_ERROR(cache_->ComputeChunk());
    float* to = input.data();
    for (std::int64_t k = 0; k < batch_; ++k) {
      const std::int64_t place = number * batch_ + k;  // as InputPipeline counts
      FollowEpoch(place / cache_->size());
      const std::int32_t position = order_[static_cast<std::size_t>(place % cache_->size())];
      to = std::ranges::copy(cache_->features(position), to).out;
      const std::int32_t item = cache_->items()[static_cast<std::size_t>(position)];
      labels[static_cast<std::size_t>(k)] = dataset_->items[static_cast<std::size_t>(item)].label;
    }
    return absl::OkStatus();
  }

  std::int64_t pending_features() const override { return cache_->pending(); }
  absl::Status ComputeFeatures() override { return cache_->ComputeChunk(); }
  std::uint64_t bytes() const override { return cache_->bytes(); }

 private:
  void FollowEpoch(std::int64_t epoch) {
    if (std::exchange(epoch_, epoch) == epoch) return;
    order_ = EpochOrder(seed_, epoch, static_cast<std::int32_t>(cache_->size()));
  }

  std::unique_ptr<FeatureCache> cache_;
  std::shared_ptr<const dataset::Dataset> dataset_;
  const std::int64_t batch_;
  const std::uint64_t seed_;
  std::int64_t epoch_ = -1;
  std::vector<std::int32_t> order_;  // of that epoch
};

}  // namespace

int PreparationThreads(int compute_threads) {
  if (compute_threads == 1) return 1;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp((compute_threads > 0 ? compute_threads : cores) / 2, 2, 16);
}

absl::StatusOr<std::unique_ptr<BatchSource>> BatchSource::Create(
    const TrainingPlan& plan, std::shared_ptr<const engine::Executable> prefix,
    std::shared_ptr<const dataset::Dataset> dataset, const image::PreprocessSpec& spec,
    const TrainerOptions& options) {
  std::vector<std::int32_t> items = dataset::ItemsOf(*dataset, dataset::Split::kTrain);
  if (plan.keep_features) {
    ZOOD_ASSIGN_OR_RETURN(auto cache,
                          FeatureCache::Create(prefix, dataset, std::move(items), spec));
    return std::make_unique<FeatureBatches>(std::move(cache), std::move(dataset), options);
  }
  ZOOD_ASSIGN_OR_RETURN(
      auto images,
      InputPipeline::Create(std::move(dataset), std::move(items), spec, options.augmentation,
                            {.batch = options.batch_size,
                             .seed = options.seed,
                             .threads = PreparationThreads(options.threads)}));
  if (!prefix) return std::make_unique<ImageBatches>(std::move(images));
  ZOOD_ASSIGN_OR_RETURN(auto execution, engine::Execution::Create(prefix));
  return std::make_unique<PrefixBatches>(std::move(images), std::move(prefix),
                                         std::move(execution));
}

}  // namespace zood::train
