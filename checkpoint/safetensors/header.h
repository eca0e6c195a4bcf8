// The header of a safetensors file: which tensors there are, and where their elements lie.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "checkpoint/limits.h"
#include "checkpoint/safetensors/types.h"

namespace zood::checkpoint {

struct SafetensorsEntry {
  std::string name;
  SafetensorsType type;  // its name is empty, and it has no bits, where zood does not know the type
  Shape shape;
  std::uint64_t begin = 0;  // in bytes, among the elements
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // sorted by name
  std::span<const std::byte> elements;    // of all of them, within the file
};

// Checked: names are there once, each tensor has the bytes that its type and shape need (as far as
// zood knows the type), and together they cover the elements without gap or overlap. Memory grows
// with the header's length and is bounded by limits.max_metadata_bytes. Errors as of Open().
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::span<const std::byte> file,
                                                         const Limits& limits);

}  // namespace zood::checkpoint
