// Limits under which fuzz targets read: small, so that exceeding them shows as memory.
#pragma once

#include <string>

#include "checkpoint/reader.h"

namespace zood::checkpoint {

inline constexpr Limits kFuzzLimits = {.max_tensor_bytes = 1 << 20,
                                       .max_total_bytes = 4 << 20,
                                       .max_tensors = 1000,
                                       .max_metadata_bytes = 1 << 20};

// Everything that a reader that could be opened has to give.
inline void ReadAllOf(const absl::StatusOr<std::unique_ptr<Reader>>& reader) {
  if (!reader.ok()) return;
  for (const auto& variable : (*reader)->variables()) {
    (*reader)->Read(variable.name).status().IgnoreError();
  }
  (*reader)->ReadAll().status().IgnoreError();
}

}  // namespace zood::checkpoint
