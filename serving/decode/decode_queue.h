// Images that wait to be decoded, the threads that decode them, and the memory that this takes.
//
// What an image costs is for its sender to choose: a JPEG of 106 bytes may take 700 MiB, and a
// request of a few KiB minutes. So the queue is shared by cost, not by arrival: of the most urgent
// requests, the one that has spent the least CPU time is next. Whoever sends one photo waits for
// the images that are being decoded at that moment, however many another client has sent.
//
// Memory is claimed before an image is decoded, and given back after. An image for which others
// have left no room waits until one of them is done.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "serving/memory_budget.h"

namespace zood::serving {

struct DecodeQueueOptions {
  int threads = 1;
  // Of all images that are decoded at the same time. One that is alone is always admitted.
  std::uint64_t max_bytes = std::uint64_t{1} << 30;
  // Not null: what exceeds an eighth of it (256 MiB at most), which is spared for decoding beside
  // full budgets, is claimed from it. Outlives the queue.
  MemoryBudget* memory = nullptr;
};

// Thread-safe.
class DecodeQueue {
 public:
  // What one request has in the queue, and has spent.
  class Request;
  // The memory of one image; given back when it dies.
  class Memory;

  enum class Outcome {
    kDone,
    kNoRoom,  // Claim() gave nothing: the task runs again when there may be room
  };
  using Task = std::function<Outcome()>;  // must not throw

  explicit DecodeQueue(const DecodeQueueOptions& options);
  // Runs what is queued, then joins.
  ~DecodeQueue();
  DecodeQueue(const DecodeQueue&) = delete;
  DecodeQueue& operator=(const DecodeQueue&) = delete;

  // A lower number is more urgent.
  std::shared_ptr<Request> AddRequest(int priority);
  void Post(const std::shared_ptr<Request>& request, Task task);

  // For a task: null when others leave no room now. ResourceExhausted when there is none without
  // the others either. `what` begins that message.
  absl::StatusOr<std::unique_ptr<Memory>> Claim(std::uint64_t bytes, const std::string& what);

  // CPU time of the request's tasks that have ended.
  std::chrono::nanoseconds Spent(const Request& request) const;

 private:
  // Priority, CPU time spent, number.
  using Turn = std::tuple<int, std::chrono::nanoseconds, std::int64_t>;

  void Loop();
  void Enqueue(const std::shared_ptr<Request>& request, Task task)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBack(const Memory& memory);

  const DecodeQueueOptions options_;
  const std::uint64_t spared_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<Turn, std::shared_ptr<Request>> waiting_ ABSL_GUARDED_BY(mutex_);
  // Tasks that wait for memory.
  std::vector<std::pair<std::shared_ptr<Request>, Task>> parked_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t held_ ABSL_GUARDED_BY(mutex_) = 0;         // by images that are decoded
  std::uint64_t spared_held_ ABSL_GUARDED_BY(mutex_) = 0;  // of these, not claimed from memory
  int decoding_ ABSL_GUARDED_BY(mutex_) = 0;               // images that hold memory
  std::int64_t requests_ ABSL_GUARDED_BY(mutex_) = 0;      // so far
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // constant after construction
};

class DecodeQueue::Memory {
 public:
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

 private:
  friend class DecodeQueue;
  Memory(DecodeQueue& queue, std::uint64_t bytes, std::uint64_t spared, MemoryClaim claim)
      : queue_(queue), bytes_(bytes), spared_(spared), claim_(std::move(claim)) {}

  DecodeQueue& queue_;
  const std::uint64_t bytes_;
  const std::uint64_t spared_;
  MemoryClaim claim_;
};

}  // namespace zood::serving
