#include "train/features.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/status.h"
#include "train/batch_source.h"

namespace zood::train {

absl::StatusOr<std::unique_ptr<FeatureCache>> FeatureCache::Create(
    std::shared_ptr<const engine::Executable> prefix,
    std::shared_ptr<const dataset::Dataset> dataset, std::vector<std::int32_t> items,
    const image::PreprocessSpec& spec) {
  auto cache = std::unique_ptr<FeatureCache>(new FeatureCache());
  const graph::Graph& graph = prefix->graph();
  cache->feature_size_ =
      static_cast<std::size_t>(graph.node(graph.logits()).shape.WithBatch(1).num_elements());
  cache->items_ = std::move(items);
  const std::size_t count = cache->items_.size() * cache->feature_size_;
  try {
    cache->features_.resize(count);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory for the features of {} items, {} bytes",
                             cache->items_.size(), count * sizeof(float));
  }
  const InputPipelineOptions options = {.batch = prefix->max_batch(),
                                        .shuffle = false,
                                        .threads = PreparationThreads(prefix->options().threads)};
  ZOOD_ASSIGN_OR_RETURN(cache->images_, InputPipeline::Create(std::move(dataset), cache->items_,
                                                              spec, NoAugmentation(), options));
  ZOOD_ASSIGN_OR_RETURN(cache->execution_, engine::Execution::Create(prefix));
  cache->running_bytes_ = prefix->execution_bytes() + cache->images_->bytes();
  return cache;
}

absl::Status FeatureCache::ComputeChunk() {
  if (pending() == 0) return absl::OkStatus();
  const int batch = images_->batch();
  // Without shuffling, batch c of the pipeline is chunk c; where the items end, it begins again.
  ZOOD_RETURN_IF_ERROR(images_->Fill(computed_ / batch, execution_->input(batch), {}, {}));
  ZOOD_RETURN_IF_ERROR(execution_->Run(batch));
  const std::int64_t count = std::min<std::int64_t>(batch, pending());
  std::ranges::copy(execution_->logits().first(static_cast<std::size_t>(count) * feature_size_),
                    features_.begin() + static_cast<std::ptrdiff_t>(computed_) *
                                            static_cast<std::ptrdiff_t>(feature_size_));
  computed_ += count;
  if (pending() == 0) {
    images_.reset();
    execution_.reset();
    running_bytes_ = 0;
  }
  return absl::OkStatus();
}

std::uint64_t FeatureCache::bytes() const {
  return features_.size() * sizeof(float) + running_bytes_;
}

}  // namespace zood::train
