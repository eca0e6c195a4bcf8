#include "engine/threads.h"

#include <omp.h>

#include <algorithm>

namespace zood::engine {

ThreadScope::ThreadScope(int threads)
    : threads_before_(omp_get_max_threads()), dynamic_before_(omp_get_dynamic()) {
  omp_set_dynamic(0);
  omp_set_num_threads(
      std::min(threads > 0 ? threads : omp_get_num_procs(), omp_get_thread_limit()));
}

ThreadScope::~ThreadScope() {
  omp_set_num_threads(threads_before_);
  omp_set_dynamic(dynamic_before_);
}

}  // namespace zood::engine
