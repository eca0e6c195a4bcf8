// Counts the heap of the test binary it is linked into.
#pragma once

#include <cstddef>

namespace zood::checkpoint {

// The greatest growth of the heap since construction, over all threads. One at a time.
class AllocationMeter {
 public:
  AllocationMeter();
  std::size_t peak_growth() const;

 private:
  std::size_t start_;
};

}  // namespace zood::checkpoint
