// What a weight file may cost the process that reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "base/shape.h"
#include "base/status.h"

namespace zood::checkpoint {

// Limits for one checkpoint, all of its files together. They are checked before memory is taken,
// against the sizes that a file declares; what exceeds them ends in ResourceExhausted.
struct Limits {
  std::uint64_t max_tensor_bytes = std::uint64_t{4} << 30;
  // Of the variables that are read together, and of what is unpacked to read them.
  std::uint64_t max_total_bytes = std::uint64_t{8} << 30;
  std::size_t max_tensors = 1'000'000;
  // Names, shapes, and whatever else a reader keeps besides elements. Formats that share prefixes
  // or have empty messages need it: a few bytes of file there become a thousand times as many here.
  // Each of a reader's steps may take as much: no more than kMetadataSteps are held at once.
  std::uint64_t max_metadata_bytes = std::uint64_t{256} << 20;
};
inline constexpr std::uint64_t kMetadataSteps = 6;

// True when no extent is negative and no product of extents leaves int64, which a zero among them
// would hide.
inline bool HasSoundExtents(const Shape& shape) {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return false;
    if (extent > 0 && __builtin_mul_overflow(product, extent, &product)) return false;
  }
  return true;
}

// An amount of memory that is used up by and by. Not thread-safe.
class Budget {
 public:
  explicit Budget(std::uint64_t bytes) : total_(bytes), left_(bytes) {}

  // Call before reserving `bytes` for `what`, a plural. ResourceExhausted, with nothing taken, when
  // less is left.
  absl::Status Take(std::uint64_t bytes, std::string_view what) {
    if (bytes > left_) {
      return ResourceExhausted(
          "the {} need {} bytes more, but only {} of a budget of {} bytes are left; raise the "
          "limit if the file is to be trusted",
          what, bytes, left_, total_);
    }
    left_ -= bytes;
    return absl::OkStatus();
  }

 private:
  std::uint64_t total_;
  std::uint64_t left_;
};

}  // namespace zood::checkpoint
