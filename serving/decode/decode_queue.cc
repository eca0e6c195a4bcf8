#include "serving/decode/decode_queue.h"

#include <ctime>

#include <algorithm>

#include "base/status.h"
#include "serving/worker_pool.h"

namespace zood::serving {
namespace {

constexpr std::uint64_t kMostSpared = std::uint64_t{256} << 20;

// So that a busy machine makes nobody's images dearer.
std::chrono::nanoseconds ThreadTime() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

// All but the constants under the queue's lock.
class DecodeQueue::Request {
 public:
  Request(int urgency, std::int64_t index) : priority(urgency), number(index) {}
  Turn turn() const { return {priority, spent, number}; }

  const int priority;
  const std::int64_t number;
  std::chrono::nanoseconds spent{0};
  std::deque<Task> tasks;
};

DecodeQueue::DecodeQueue(const DecodeQueueOptions& options)
    : options_(options),
      spared_(options.memory == nullptr ? options.max_bytes
                                        : std::min(kMostSpared, options.memory->total() / 8)) {
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Loop(); });
}

DecodeQueue::~DecodeQueue() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

std::shared_ptr<DecodeQueue::Request> DecodeQueue::AddRequest(int priority) {
  MutexLock lock(mutex_);
  return std::make_shared<Request>(priority, requests_++);
}

void DecodeQueue::Post(const std::shared_ptr<Request>& request, Task task) {
  MutexLock lock(mutex_);
  Enqueue(request, std::move(task));
}

void DecodeQueue::Enqueue(const std::shared_ptr<Request>& request, Task task) {
  request->tasks.push_back(std::move(task));
  waiting_.emplace(request->turn(), request);
  // Under the lock: whoever waits for the task's end may destroy the queue right after it.
  changed_.NotifyOne();
}

void DecodeQueue::Loop() {
  DescribeThread("zood-decoder", 0);
  while (true) {
    std::shared_ptr<Request> request;
    Task task;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !(stopping_ && parked_.empty())) changed_.Wait(mutex_);
      if (waiting_.empty()) return;
      request = waiting_.begin()->second;
      task = std::move(request->tasks.front());
      request->tasks.pop_front();
      if (request->tasks.empty()) waiting_.erase(waiting_.begin());
    }
    const std::chrono::nanoseconds begun = ThreadTime();
    const Outcome outcome = task();
    // What has not run yet keeps its place; what it refers to goes without the lock.
    if (outcome == Outcome::kDone) task = nullptr;
    const std::chrono::nanoseconds spent =
        std::max(ThreadTime() - begun, std::chrono::nanoseconds(1));
    MutexLock lock(mutex_);
    waiting_.erase(request->turn());
    request->spent += spent;
    if (!request->tasks.empty()) waiting_.emplace(request->turn(), request);
    if (outcome == Outcome::kDone) continue;
    if (decoding_ > 0) {
      parked_.emplace_back(request, std::move(task));  // GiveBack() looks at it
    } else {
      Enqueue(request, std::move(task));
    }
  }
}

absl::StatusOr<std::unique_ptr<DecodeQueue::Memory>> DecodeQueue::Claim(std::uint64_t bytes,
                                                                        const std::string& what) {
  MutexLock lock(mutex_);
  const bool alone = decoding_ == 0;
  if (!alone && (held_ > options_.max_bytes || bytes > options_.max_bytes - held_)) return nullptr;
  const std::uint64_t spared = std::min(bytes, spared_ - spared_held_);
  MemoryClaim claim;
  if (options_.memory != nullptr && bytes > spared) {
    auto claimed = options_.memory->Claim(bytes - spared, what, ClaimLife::kPassing);
    if (!claimed.ok() && alone) return claimed.status();
    if (!claimed.ok()) return nullptr;
    claim = *std::move(claimed);
  }
  held_ += bytes;
  spared_held_ += spared;
  ++decoding_;
  return std::unique_ptr<Memory>(new Memory(*this, bytes, spared, std::move(claim)));
}

DecodeQueue::Memory::~Memory() {
  claim_ = MemoryClaim();  // first: whoever waits for room tries at once
  queue_.GiveBack(*this);
}

void DecodeQueue::GiveBack(const Memory& memory) {
  MutexLock lock(mutex_);
  held_ -= memory.bytes_;
  spared_held_ -= memory.spared_;
  --decoding_;
  for (auto& [request, task] : std::exchange(parked_, {})) Enqueue(request, std::move(task));
  if (stopping_) changed_.NotifyAll();
}

std::chrono::nanoseconds DecodeQueue::Spent(const Request& request) const {
  MutexLock lock(mutex_);
  return request.spent;
}

}  // namespace zood::serving
