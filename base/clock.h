// The time of day, for what is written down; durations are measured by std::chrono::steady_clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace zood {

// Microseconds since 1970 UTC.
inline std::int64_t NowMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace zood
