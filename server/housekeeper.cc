#include "server/housekeeper.h"

#include <malloc.h>

#include <algorithm>
#include <string>

#include "serving/memory_budget.h"

namespace zood::server {
namespace {

constexpr std::chrono::seconds kTrimInterval{10};
// Less is left with the allocator, which will use it again.
constexpr std::size_t kFreeBytesToTrim = std::size_t{32} << 20;

void GiveMemoryBack() {
  if (mallinfo2().fordblks >= kFreeBytesToTrim) malloc_trim(0);
}

}  // namespace

Housekeeper::Housekeeper(store::Store& store, Log& log, std::chrono::milliseconds gc_interval)
    : store_(store), log_(log), gc_interval_(gc_interval), thread_([this] { Run(); }) {}

Housekeeper::~Housekeeper() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
    stopped_changed_.NotifyAll();
  }
  thread_.join();
}

void Housekeeper::Run() {
  const TimePoint begun = std::chrono::steady_clock::now();
  TimePoint trim = begun + kTrimInterval;
  TimePoint gc = gc_interval_.count() > 0 ? begun + gc_interval_ : TimePoint::max();
  while (WaitUntil(std::min(trim, gc))) {
    // The next one counts from the end of this one: a slow disk gets its pauses.
    if (gc <= trim) {
      CollectGarbage();
      gc = std::chrono::steady_clock::now() + gc_interval_;
    } else {
      GiveMemoryBack();
      trim = std::chrono::steady_clock::now() + kTrimInterval;
    }
  }
}

bool Housekeeper::WaitUntil(TimePoint time) {
  const MutexLock lock(mutex_);
  while (!stopped_ && std::chrono::steady_clock::now() < time) {
    stopped_changed_.WaitUntil(mutex_, time);
  }
  return !stopped_;
}

void Housekeeper::CollectGarbage() {
  const auto report = store_.Gc({.only_if_unused = true});
  if (!report.ok()) {
    log_.Error("garbage collection failed", {{"error", std::string(report.status().message())}});
  } else if (report->packs_removed > 0 || report->tensors_forgotten > 0) {
    log_.Info("garbage collected",
              {{"freed", serving::FormatBytes(report->bytes_freed)},
               {"tensors_forgotten", std::to_string(report->tensors_forgotten)},
               {"packs_removed", std::to_string(report->packs_removed)}});
  }
}

}  // namespace zood::server
