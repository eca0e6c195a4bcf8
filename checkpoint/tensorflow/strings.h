// How V2 checkpoints store a tensor of strings: the lengths as varints, a masked CRC-32C over the
// lengths (as little-endian numbers of 4 bytes, of 8 when one does not fit), the strings.
// Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc (WriteStringTensor).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// The bytes of the data file, and the checksum that the index keeps of them, masked: it covers the
// lengths as numbers, their checksum and the strings.
struct EncodedStrings {
  std::string bytes;
  std::uint32_t masked_crc = 0;
};
EncodedStrings EncodeStrings(std::span<const std::string> strings);

// DataLoss when the bytes are damaged or do not hold `shape` strings; ResourceExhausted when they
// need more than `max_bytes`.
absl::StatusOr<Tensor> DecodeStrings(std::span<const std::byte> bytes, std::uint32_t masked_crc,
                                     const Shape& shape, std::uint64_t max_bytes);

}  // namespace zood::checkpoint
