// From images to classes: decode, preprocess, compute in a batch, pick the most probable.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "serving/batch_scheduler.h"
#include "serving/catalogue.h"
#include "serving/decode/decode_queue.h"
#include "serving/decode/image_input.h"
#include "serving/memory_budget.h"
#include "serving/model_manager.h"
#include "serving/observer.h"
#include "serving/scores.h"
#include "serving/worker_pool.h"

namespace zood::serving {

struct ClassifyRequest {
  ModelRef model;
  // What they view lives until the request is done. An error stands for an image that could not be
  // read: it is that image's outcome.
  std::vector<absl::StatusOr<dataset::ImageSource>> images;
  int top_k = 5;  // 0: none; more than there are: all
  float threshold = 0;
  std::vector<std::string> end_points;
  bool logits = false;
  // An image that cannot be classified costs the others nothing: ImageResult::error says why.
  // Otherwise the first such image fails the request.
  bool outcome_per_image = false;

  Priority priority = Priority::kInteractive;
  Clock::time_point deadline = Clock::time_point::max();
  // Whether the caller has gone. Quick; may be asked by several threads at once; not asked any
  // more once the request is done. Empty means no.
  std::function<bool()> cancelled;
};

struct ImageResult {
  absl::Status error;               // see ClassifyRequest::outcome_per_image
  std::vector<ClassScore> classes;  // most probable first; equal ones by index
  std::vector<float> logits;        // when asked for
  std::vector<Tensor> end_points;   // as asked for, without a batch extent
  int batch_size = 0;
  PrepareTimes prepare;
  double queue_ms = 0;
  double compute_ms = 0;
};

struct ClassifyResult {
  std::string model;
  std::int64_t version = 0;
  std::string digest;
  std::string labels_digest;
  std::vector<ImageResult> images;
  double total_ms = 0;
  // What request and answer count for in ClassifierOptions::max_bytes_under_way. To be kept as long
  // as a copy of the answer is in memory, in whatever form.
  std::shared_ptr<const void> memory;
};

struct ClassifierOptions {
  int decode_threads = 1;
  int max_images_per_request = 256;
  int max_end_points = 64;
  // A request whose answer would be larger is refused before it is worked on: it could not be sent.
  std::uint64_t max_answer_bytes = 64 << 20;
  // Of all requests together, whether they wait for a model, a decoder or a batch: their images,
  // the networks' inputs and the answers. A request that is alone is always admitted.
  std::uint64_t max_bytes_under_way = std::uint64_t{1} << 30;
  int max_waiting_compilations = 64;  // of end-point programs
  image::DecodeLimits image_limits;
  // Of the images of one request together, beside the limits of each.
  std::uint64_t max_pixels_per_request = std::uint64_t{1} << 30;
  std::chrono::nanoseconds max_decode_time = std::chrono::seconds(60);  // CPU time
  // See DecodeQueueOptions.
  std::uint64_t max_decode_bytes = std::uint64_t{1} << 30;
  MemoryBudget* memory = nullptr;
};

// Thread-safe.
class Classifier {
 public:
  using Done = std::function<void(absl::StatusOr<ClassifyResult>)>;

  // All references outlive the classifier.
  Classifier(ModelManager& manager, Observer& observer, ClassifierOptions options);
  // Every request must be done.
  ~Classifier();

  // Never blocks. Calls `done` exactly once, maybe before it returns, and from a thread that must
  // not be held up. The errors are those that zood/v1/classifier.proto lists.
  void Classify(ClassifyRequest request, Done done);

  // Blocks.
  absl::StatusOr<ClassifyResult> ClassifyAndWait(ClassifyRequest request);

 private:
  class Call;

  absl::Status Check(const ClassifyRequest& request) const;
  // For a request that holds `held` already. Busy() when the others hold too much.
  absl::StatusOr<std::shared_ptr<const void>> Claim(std::uint64_t bytes, std::uint64_t held);

  ModelManager& manager_;
  Observer& observer_;
  const ClassifierOptions options_;
  const std::shared_ptr<MemoryBudget> under_way_;
  std::atomic<int> waiting_compilations_ = 0;
  WorkerPool compilers_;  // of end-point programs
  DecodeQueue decoders_;
};

}  // namespace zood::serving
