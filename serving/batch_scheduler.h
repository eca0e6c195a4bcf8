// Joins images that wait for the same program into batches, and shares the processor between
// programs.
//
// A fixed number of lanes (threads) compute, one batch each at a time. A lane that is free takes
// what is waiting: nobody waits for a batch to fill while the processor idles. Batches come about
// because images arrive while a lane computes. One exception: when further images of a program are
// known to be on their way (places are reserved, decoders work), a lane waits for them up to
// `max_wait`.
//
// Which program is next: interactive images go before background ones; among the programs
// that have such images, the one that has used the least computing time lately (start-time fair
// queueing: a program that was idle gets no credit for it). A slow network among fast ones gets its
// share of time, not of turns.
//
// How many images: the largest compiled batch size that is waiting. Partly filled batches
// would compute padding: on a processor the time grows with the batch, so 5 images take less time
// as 4 and 1 than as 8.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace zood::serving {

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::duration duration);

// ResourceExhausted that passes by itself, when what waits now has been answered. IsBusy() tells it
// from what does not (a model that does not fit in memory).
absl::Status Busy(const std::string& message);
bool IsBusy(const absl::Status& status);

// From the first stage on: images are decoded, too, in this order.
enum class Priority {
  kInteractive,
  // Evaluations: only when nothing interactive waits, in short batches. They take at most half of a
  // queue's places.
  kBackground,
};

// What a program computed. Valid until the same lane runs the next batch.
struct BatchOutput {
  std::span<const float> logits;                   // [batch, classes]
  std::vector<std::span<const float>> end_points;  // each [batch, ...]
};

struct BatchRecord {
  int batch_size = 0;
  Clock::time_point started;
  double compute_ms = 0;
};

// One image on its way through a batch.
class BatchTask {
 public:
  virtual ~BatchTask() = default;

  // [height, width, channels].
  virtual std::span<const float> input() const = 0;

  // OK while somebody waits for the answer; otherwise why nobody does. Asked just before the
  // computation, under the scheduler's lock: must be quick and call nothing of this file.
  virtual absl::Status StillWanted() const = 0;

  // Called once, on a lane: the answer is row `index` of `output`. Must be quick.
  virtual void Finish(const absl::StatusOr<BatchOutput>& output, int index,
                      const BatchRecord& record) = 0;
};

// What computes batches: an executable, with the state of an execution for every lane.
class BatchProgram {
 public:
  virtual ~BatchProgram() = default;
  // Sorted, from 1 up.
  virtual std::span<const int> batch_sizes() const = 0;
  // As many tasks as one of batch_sizes(). Different lanes run at the same time.
  virtual absl::StatusOr<BatchOutput> Run(int lane,
                                          std::span<const std::unique_ptr<BatchTask>> tasks) = 0;
};

struct QueueStatistics {
  std::int64_t waiting = 0;  // reserved and waiting
  std::int64_t images = 0;   // computed, or being computed
  std::int64_t batches = 0;
};

struct BatchQueueOptions {
  std::string name;    // for messages: "resnet_v1_50 version 3"
  int capacity = 256;  // images admitted and not yet begun
  std::chrono::microseconds max_wait{2000};
  // Counts together what several queues of one scheduler do, also those that are gone. May be null.
  // Read it by BatchQueue::sum() only.
  std::shared_ptr<QueueStatistics> sum;
};

class BatchQueue;

// Thread-safe.
class BatchScheduler {
 public:
  explicit BatchScheduler(int lanes);
  // All queues must be gone.
  ~BatchScheduler();
  BatchScheduler(const BatchScheduler&) = delete;
  BatchScheduler& operator=(const BatchScheduler&) = delete;

  int lanes() const { return static_cast<int>(threads_.size()); }

 private:
  friend class BatchQueue;

  using Tasks = std::vector<std::unique_ptr<BatchTask>>;

  // What a lane does next.
  struct Work {
    BatchQueue* queue = nullptr;
    Tasks batch;    // one of the compiled sizes, or empty
    Tasks dropped;  // nobody waits for them any more
  };

  void Loop(int lane);
  // The queue whose turn it is, or null and the time at which to look again.
  BatchQueue* Pick(Clock::time_point now, Clock::time_point& look_again)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Computes and answers; gives the seconds it took.
  static double Run(int lane, const Work& work);

  Mutex mutex_;
  CondVar changed_;
  std::vector<BatchQueue*> queues_ ABSL_GUARDED_BY(mutex_);
  double virtual_time_ ABSL_GUARDED_BY(mutex_) = 0;  // seconds; of the queue picked last
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // constant after construction
};

// The images that wait for one program. Thread-safe.
//
// Order of calls for each image: Reserve, then Push or Release.
class BatchQueue {
 public:
  // `scheduler` and `program` outlive the queue.
  BatchQueue(BatchScheduler& scheduler, BatchProgram& program, BatchQueueOptions options);
  // No image may wait or be computed any more.
  ~BatchQueue();
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  // Takes places for `images` that will be pushed later. Busy(), with nothing taken, when the queue
  // has no room for all of them.
  absl::Status Reserve(int images, Priority priority = Priority::kInteractive);
  // Gives back places of images that will not come.
  void Release(int images);
  // Fills a reserved place.
  void Push(std::unique_ptr<BatchTask> task, Priority priority);

  using Statistics = QueueStatistics;
  Statistics statistics() const;
  // Of all queues that share BatchQueueOptions::sum.
  Statistics sum() const;

 private:
  friend class BatchScheduler;

  struct Waiting {
    std::unique_ptr<BatchTask> task;
    Clock::time_point since;
  };
  static constexpr int kPriorities = 2;

  // All below under scheduler_.mutex_.
  std::size_t ready() const { return waiting_[0].size() + waiting_[1].size(); }
  int MaxBatch() const;
  BatchScheduler::Work Take();
  void Sum(std::int64_t waiting, std::int64_t images);

  BatchScheduler& scheduler_;
  BatchProgram& program_;
  const BatchQueueOptions options_;

  std::deque<Waiting> waiting_[kPriorities];
  int coming_ = 0;           // reserved, not yet pushed
  double virtual_time_ = 0;  // seconds of computing time; see the top of this file
  double seconds_per_image_ = 0;
  std::int64_t images_ = 0;
  std::int64_t batches_ = 0;
};

}  // namespace zood::serving
