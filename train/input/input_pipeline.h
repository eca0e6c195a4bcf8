// Batches of a network's input, prepared ahead of the training loop.
//
// The batch of a step is a pure function of (seed, step): whatever the number of threads, whatever
// was asked for before. The epoch's order is a permutation by (seed, epoch), an item's augmentation
// is by (seed, epoch, item).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/shape.h"
#include "dataset/dataset.h"
#include "dataset/decode_item.h"
#include "image/decode.h"
#include "image/preprocess.h"
#include "train/input/augmentation.h"

namespace zood::train {

// DecodeItem, then Augment: OutputShape(spec)'s floats. Errors name the item. Thread-safe.
absl::Status LoadItem(const dataset::Item& item, const image::PreprocessSpec& spec,
                      const Augmentation& augmentation, const AugmentationKey& key,
                      const image::DecodeLimits& limits, std::span<float> out);

struct InputPipelineOptions {
  int batch = 32;
  std::uint64_t seed = 0;
  bool shuffle = true;  // false: every epoch in the order of the indices
  // Threads that prepare photos ahead. 0: none; Fill() does the work.
  int threads = 2;
  int batches_ahead = 2;  // complete batches that may wait, besides the requested one
  image::DecodeLimits decode;
  std::function<void()> on_thread_start;  // called first on each thread: to set its priority
};

// Use by one thread at a time; Cancel() from any.
//
// Position p = step * batch + k of a run is item k of that step's batch, and item p % n of epoch
// p / n, where n is the number of indices: when an epoch ends inside a batch the next one continues
// in it. Batches are always full, every item is used once an epoch, and a batch may be larger than
// the dataset.
class InputPipeline {
 public:
  // `indices` are those of dataset->items to use, as ItemsOf gives them. InvalidArgument where
  // there are none, one is out of range, batch is not positive, or spec or augmentation are
  // unsound; ResourceExhausted when batches alone would take more than 16 GiB.
  static absl::StatusOr<std::unique_ptr<InputPipeline>> Create(
      std::shared_ptr<const dataset::Dataset> dataset, std::vector<std::int32_t> indices,
      const image::PreprocessSpec& spec, const Augmentation& augmentation,
      const InputPipelineOptions& options);

  // Waits for the photos that are being decoded, no more.
  ~InputPipeline();
  InputPipeline(const InputPipeline&) = delete;
  InputPipeline& operator=(const InputPipeline&) = delete;

  // [height, width, channels] of one photo.
  const Shape& shape() const;
  int batch() const;
  std::int64_t size() const;  // items of an epoch
  std::size_t bytes() const;  // what its batches take, not counting the photos being decoded

  // The batch of `step` >= 0: [batch, height, width, channels] floats, labels, and the items'
  // indices in the dataset (`labels` and `items` may be empty). Steps in order come from what was
  // prepared; any other step starts anew. InvalidArgument for wrong sizes, Cancelled after
  // Cancel(), or the error of the first item of the batch that has one; the same again when asked
  // again.
  absl::Status Fill(std::int64_t step, std::span<float> images, std::span<std::int32_t> labels,
                    std::span<std::int32_t> items);

  // The indices in the dataset that Fill(step) uses, without decoding. Thread-safe.
  std::vector<std::int32_t> Order(std::int64_t step) const;

  // Fill() returns soon, now and from now on. Thread-safe.
  void Cancel();

 private:
  class Impl;
  explicit InputPipeline(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The order of epoch `epoch` of `size` items: a permutation of [0, size), a pure function.
std::vector<std::int32_t> EpochOrder(std::uint64_t seed, std::int64_t epoch, std::int32_t size);

}  // namespace zood::train
