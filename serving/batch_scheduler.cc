#include "serving/batch_scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "base/status.h"
#include "serving/worker_pool.h"

namespace zood::serving {
namespace {

// A background batch is kept about this short, because an interactive image may come right after it
// has begun.
constexpr double kBackgroundSeconds = 0.05;

constexpr const char* kBusy = "zood.serving.Busy";  // names a payload of a status

}  // namespace

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

absl::Status Busy(const std::string& message) {
  absl::Status status = absl::ResourceExhaustedError(message);
  status.SetPayload(kBusy, absl::Cord());
  return status;
}

bool IsBusy(const absl::Status& status) { return status.GetPayload(kBusy).has_value(); }

BatchScheduler::BatchScheduler(int lanes) {
  for (int i = 0; i < lanes; ++i) {
    threads_.emplace_back([this, i] { Loop(i); });
  }
}

BatchScheduler::~BatchScheduler() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

BatchQueue* BatchScheduler::Pick(Clock::time_point now, Clock::time_point& look_again) {
  BatchQueue* best = nullptr;
  bool best_is_interactive = false;
  for (BatchQueue* queue : queues_) {
    if (queue->ready() == 0) continue;
    const auto& interactive = queue->waiting_[static_cast<int>(Priority::kInteractive)];
    const auto& background = queue->waiting_[static_cast<int>(Priority::kBackground)];
    const bool is_interactive = !interactive.empty();
    const Clock::time_point until =
        (is_interactive ? interactive : background).front().since + queue->options_.max_wait;
    const bool full =
        queue->ready() >= static_cast<std::size_t>(queue->program_.batch_sizes().back());
    if (!full && queue->coming_ > 0 && now < until) {
      look_again = std::min(look_again, until);
      continue;
    }
    const bool better =
        best == nullptr || is_interactive > best_is_interactive ||
        (is_interactive == best_is_interactive && queue->virtual_time_ < best->virtual_time_);
    if (better) {
      best = queue;
      best_is_interactive = is_interactive;
    }
  }
  return best;
}

void BatchScheduler::Loop(int lane) {
  DescribeThread("zood-lane-" + std::to_string(lane), 0);
  mutex_.Lock();
  while (true) {
    Clock::time_point look_again = Clock::time_point::max();
    BatchQueue* queue = Pick(Clock::now(), look_again);
    if (queue == nullptr) {
      if (stopping_) break;
      if (look_again == Clock::time_point::max()) {
        changed_.Wait(mutex_);
      } else {
        changed_.WaitUntil(mutex_, look_again);
      }
      continue;
    }
    virtual_time_ = std::max(virtual_time_, queue->virtual_time_);
    Work work = queue->Take();
    mutex_.Unlock();
    const double seconds = Run(lane, work);
    mutex_.Lock();
    if (!work.batch.empty()) {
      queue->virtual_time_ += seconds;
      queue->seconds_per_image_ = seconds / static_cast<double>(work.batch.size());
    }
    mutex_.Unlock();
    // Only now, and without the lock: a task may be the last that keeps its queue alive.
    work = {};
    mutex_.Lock();
  }
  mutex_.Unlock();
}

double BatchScheduler::Run(int lane, const Work& work) {
  for (const std::unique_ptr<BatchTask>& task : work.dropped) {
    task->Finish(task->StillWanted(), 0, {});
  }
  if (work.batch.empty()) return 0;
  BatchRecord record{.batch_size = static_cast<int>(work.batch.size()), .started = Clock::now()};
  const absl::StatusOr<BatchOutput> output = work.queue->program_.Run(lane, work.batch);
  const Clock::duration elapsed = Clock::now() - record.started;
  record.compute_ms = Milliseconds(elapsed);
  int index = 0;
  for (const std::unique_ptr<BatchTask>& task : work.batch) task->Finish(output, index++, record);
  return std::chrono::duration<double>(elapsed).count();
}

BatchQueue::BatchQueue(BatchScheduler& scheduler, BatchProgram& program, BatchQueueOptions options)
    : scheduler_(scheduler), program_(program), options_(std::move(options)) {
  MutexLock lock(scheduler_.mutex_);
  scheduler_.queues_.push_back(this);
}

BatchQueue::~BatchQueue() {
  MutexLock lock(scheduler_.mutex_);
  std::erase(scheduler_.queues_, this);
}

absl::Status BatchQueue::Reserve(int images, Priority priority) {
  MutexLock lock(scheduler_.mutex_);
  const auto waiting = static_cast<int>(ready()) + coming_;
  const int places =
      priority == Priority::kInteractive ? options_.capacity : std::max(1, options_.capacity / 2);
  if (images > places - waiting) {
    return Busy(fmt::format(
        "{}: {} images wait already and the queue holds {}: no room for {} more; try again in a "
        "moment",
        options_.name, waiting, places, images));
  }
  coming_ += images;
  Sum(images, 0);
  return absl::OkStatus();
}

void BatchQueue::Release(int images) {
  MutexLock lock(scheduler_.mutex_);
  coming_ -= images;
  Sum(-images, 0);
  scheduler_.changed_.NotifyAll();  // nothing to wait for any more, perhaps
}

void BatchQueue::Push(std::unique_ptr<BatchTask> task, Priority priority) {
  MutexLock lock(scheduler_.mutex_);
  // A queue that was idle starts where the others are.
  if (ready() == 0) virtual_time_ = std::max(virtual_time_, scheduler_.virtual_time_);
  --coming_;
  waiting_[static_cast<int>(priority)].push_back({std::move(task), Clock::now()});
  // Under the lock: whoever waits for the task's end may destroy the scheduler right after it.
  scheduler_.changed_.NotifyOne();
}

BatchQueue::Statistics BatchQueue::statistics() const {
  MutexLock lock(scheduler_.mutex_);
  return {.waiting = coming_ + static_cast<std::int64_t>(ready()),
          .images = images_,
          .batches = batches_};
}

BatchQueue::Statistics BatchQueue::sum() const {
  MutexLock lock(scheduler_.mutex_);
  return *options_.sum;
}

void BatchQueue::Sum(std::int64_t waiting, std::int64_t images) {
  if (options_.sum == nullptr) return;
  options_.sum->waiting += waiting;
  options_.sum->images += images;
  if (images > 0) ++options_.sum->batches;
}

int BatchQueue::MaxBatch() const {
  const int largest = program_.batch_sizes().back();
  if (!waiting_[static_cast<int>(Priority::kInteractive)].empty() || seconds_per_image_ == 0) {
    return largest;
  }
  return static_cast<int>(
      std::clamp(kBackgroundSeconds / seconds_per_image_, 1.0, static_cast<double>(largest)));
}

BatchScheduler::Work BatchQueue::Take() {
  BatchScheduler::Work work{.queue = this};
  std::vector<Waiting> taken;
  std::vector<int> taken_from;
  const auto limit = static_cast<std::size_t>(MaxBatch());
  for (int priority = 0; priority < kPriorities; ++priority) {
    std::deque<Waiting>& waiting = waiting_[priority];
    while (!waiting.empty() && taken.size() < limit) {
      if (waiting.front().task->StillWanted().ok()) {
        taken.push_back(std::move(waiting.front()));
        taken_from.push_back(priority);
      } else {
        work.dropped.push_back(std::move(waiting.front().task));
      }
      waiting.pop_front();
    }
  }
  Sum(-static_cast<std::int64_t>(work.dropped.size()), 0);
  if (taken.empty()) return work;
  const std::span<const int> sizes = program_.batch_sizes();
  const int size =
      *(std::upper_bound(sizes.begin(), sizes.end(), static_cast<int>(taken.size())) - 1);
  // Back to their places, in their order.
  while (taken.size() > static_cast<std::size_t>(size)) {
    waiting_[taken_from.back()].push_front(std::move(taken.back()));
    taken.pop_back();
    taken_from.pop_back();
  }
  for (Waiting& waiting : taken) work.batch.push_back(std::move(waiting.task));
  // Counted now: whoever has an answer finds it counted.
  images_ += size;
  ++batches_;
  Sum(-size, size);
  return work;
}

}  // namespace zood::serving
