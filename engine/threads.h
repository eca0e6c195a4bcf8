// How many threads the calling thread's parallel regions use.
#pragma once

namespace zood::engine {

// Sets the number of OpenMP threads that this thread's regions use, oneDNN's among them, for the
// life of the object. `threads` 0 means one for each core.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

}  // namespace zood::engine
