// A pack: the tensors that one publish brought, in one file.
//
// One file instead of hundreds is one fsync and one rename a publish, and one mapping a load.
// The file is a header and, from 64-byte boundaries on, each tensor's encoded elements:
//
//   "ZOODPACK"            8 bytes
//   format                uint32, 1
//   count of tensors      uint32
//   bytes of the header   uint64, padding included
//   bytes of the file     uint64
//   for each tensor       digest (32 bytes), offset and bytes (uint64 each), dtype (uint8),
//                         rank (uint8), six zero bytes, extents (int64 each)
//   zeros to a multiple of 64 bytes
//
// A pack's name is the SHA-256 of its header. The name proves the header and the header proves
// each tensor, so a pack can be checked, and its tensors recovered, without the catalogue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "store/version.h"

namespace zood::store {

inline constexpr std::uint64_t kPackAlignment = 64;

// Where a tensor's encoded elements lie.
struct TensorLocation {
  std::string pack;  // its name: 64 hexadecimal digits
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;

  friend bool operator==(const TensorLocation&, const TensorLocation&) = default;
};

struct StoredTensor {
  TensorRef ref;
  TensorLocation location;
};

// What a pack holds, and its file's first bytes.
struct Pack {
  std::string name;
  std::uint64_t bytes = 0;  // of the whole file
  std::string header;
  std::vector<StoredTensor> tensors;  // in the order of their offsets
};

// Places `tensors` one after another.
Pack LayOutPack(std::span<const TensorRef> tensors);

// Reads the header of a whole pack file. DataLoss when it is none, is cut short, speaks of bytes
// outside the file, or does not have the SHA-256 that `name` says.
absl::StatusOr<Pack> ReadPack(const std::string& name, std::span<const std::byte> file);

}  // namespace zood::store
