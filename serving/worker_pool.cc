#include "serving/worker_pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <utility>

namespace zood::serving {

WorkerPool::WorkerPool(const WorkerPoolOptions& options) {
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this, options] { Loop(options); });
  }
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Post(std::function<void()> task, int priority) {
  MutexLock lock(mutex_);
  tasks_[priority].push_back(std::move(task));
  // Under the lock: whoever waits for the task's end may destroy the pool right after it.
  changed_.NotifyOne();
}

void WorkerPool::Loop(const WorkerPoolOptions& options) {
  DescribeThread(options.name, options.nice);
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(mutex_);
      while (tasks_.empty() && !stopping_) changed_.Wait(mutex_);
      if (tasks_.empty()) return;
      const auto first = tasks_.begin();
      task = std::move(first->second.front());
      first->second.pop_front();
      if (first->second.empty()) tasks_.erase(first);
    }
    task();
  }
}

void DescribeThread(const std::string& name, int nice) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  // On Linux a nice value belongs to a thread. That it cannot be set costs order, not correctness.
  if (nice != 0) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice);
}

}  // namespace zood::serving
