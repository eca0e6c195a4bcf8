// What damaged files may end in.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <string>

#include "checkpoint/reader.h"

namespace zood::checkpoint {

inline constexpr Limits kSmallLimits = {.max_tensor_bytes = 8 << 20,
                                        .max_total_bytes = 16 << 20,
                                        .max_tensors = 10'000,
                                        .max_metadata_bytes = 4 << 20};
// All tensors, one more that is being made, and the budget for metadata in vectors that double.
inline constexpr std::size_t kMostMemory = (16 + 8 + 4 * 4) << 20;

// An error of a kind that the reader's contract names, which names the file and is text.
inline void ExpectClearError(const absl::Status& status, const std::string& path) {
  const std::string message(status.message());
  EXPECT_TRUE(absl::IsDataLoss(status) || absl::IsInvalidArgument(status) ||
              absl::IsUnimplemented(status) || absl::IsResourceExhausted(status))
      << status;
  EXPECT_NE(message.find(path), std::string::npos) << message;
  for (const char c : message) {
    EXPECT_TRUE(std::isprint(static_cast<unsigned char>(c))) << "bytes of the file: " << message;
  }
}

}  // namespace zood::checkpoint
