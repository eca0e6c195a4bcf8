// A fixed number of threads that run tasks: the most urgent first, those alike in the order they
// come.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace zood::serving {

struct WorkerPoolOptions {
  std::string name;  // of the threads, as `top` and `gdb` show it; at most 15 characters
  int threads = 1;
  // Added to the threads' nice value: work that must not disturb the computation has 10.
  int nice = 0;
};

// Thread-safe. Tasks must not throw.
class WorkerPool {
 public:
  explicit WorkerPool(const WorkerPoolOptions& options);
  // Runs what is queued, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // A lower number is more urgent.
  void Post(std::function<void()> task, int priority = 0);

 private:
  void Loop(const WorkerPoolOptions& options);

  Mutex mutex_;
  CondVar changed_;
  std::map<int, std::deque<std::function<void()>>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // constant after construction
};

// Names the calling thread and adds `nice` to its nice value. Threads that it starts inherit both.
void DescribeThread(const std::string& name, int nice);

}  // namespace zood::serving
