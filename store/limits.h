// How much of anything the store keeps. Generous for honest use; a bound for everybody else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "base/status.h"

namespace zood::store {

inline constexpr std::size_t kMaxDocument = 64 << 20;  // bytes: a network's source, a plan, a spec
inline constexpr std::size_t kMaxLine = 4096;          // bytes: a label, a uri, a tag
inline constexpr std::size_t kMaxNote = 1 << 20;       // bytes
inline constexpr std::size_t kMaxTensors = 100'000;
inline constexpr std::size_t kMaxLabels = 1'000'000;
inline constexpr std::size_t kMaxEntries = 10'000;  // sources, tags, metrics, aliases, metadata
inline constexpr std::size_t kMaxItems = 4'000'000;

inline constexpr std::size_t kMaxJobProgress = 16 << 20;  // bytes
inline constexpr std::size_t kMaxJobEvent = 1 << 20;      // bytes
inline constexpr std::size_t kMaxListing = 16 << 20;  // bytes that one page brings, or little more
inline constexpr std::int64_t kDefaultPage = 50;
inline constexpr std::int64_t kMaxPage = 1000;

// InvalidArgument when there are more than `most` of `what`.
inline absl::Status CheckCount(std::string_view what, std::size_t count, std::size_t most) {
  if (count <= most) return absl::OkStatus();
  return InvalidArgument("{} {}; at most {} are kept", count, what, most);
}

// The same for a string of any bytes.
inline absl::Status CheckSize(std::string_view what, std::size_t bytes, std::size_t most) {
  if (bytes <= most) return absl::OkStatus();
  return InvalidArgument("{} has {} bytes; at most {} are kept", what, bytes, most);
}

}  // namespace zood::store
