// What a daemon does for its store and its memory from time to time.
#pragma once

#include <chrono>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "server/log.h"
#include "store/store.h"

namespace zood::server {

// On a thread of its own: Store::Gc() every `gc_interval`, where something is unused; and memory
// that the allocator keeps after a peak goes back to the system. Its destruction waits for a
// collection in progress.
class Housekeeper {
 public:
  // Both references outlive it. `gc_interval` 0: no gc.
  Housekeeper(store::Store& store, Log& log, std::chrono::milliseconds gc_interval);
  ~Housekeeper();

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  void Run();
  // Whether it came, and not the end.
  bool WaitUntil(TimePoint time);
  void CollectGarbage();

  store::Store& store_;
  Log& log_;
  const std::chrono::milliseconds gc_interval_;
  Mutex mutex_;
  CondVar stopped_changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last: it uses the others
};

}  // namespace zood::server
