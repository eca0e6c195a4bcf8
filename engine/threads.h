// How many threads the calling thread's parallel regions use.
#pragma once

namespace zood::engine {

// Sets the number of OpenMP threads that this thread's regions use, oneDNN's among them, for the
// life of the object. `threads` 0 means one for each core.
//
// A region gets as many as were set, whatever the environment says: oneDNN divides a computation
// when it is compiled, and one that then ran on fewer threads (OMP_THREAD_LIMIT, OMP_DYNAMIC) would
// lack parts of its result. So what is set is no more than the limit, and does not change.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int threads_before_;
  int dynamic_before_;
};

}  // namespace zood::engine
