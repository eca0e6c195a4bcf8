// The protocol messages inside TensorFlow's checkpoints, decoded from the wire. Field numbers come
// from tensorflow/core/protobuf/tensor_bundle.proto, util/saved_tensor_slice.proto and
// framework/{tensor_shape,tensor_slice,types,versions}.proto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/shape.h"
#include "checkpoint/limits.h"
#include "checkpoint/tensorflow/slice.h"

namespace zood::checkpoint {

// Quantized types become the integers that they are stored as, references what they refer to.
// Unimplemented for resources, variants and numbers that TensorFlow does not define.
absl::StatusOr<DType> DTypeFromTensorFlow(std::uint64_t data_type);
int TensorFlowDataType(DType dtype);

// What the entry "" of a V2 index says of the whole.
struct BundleHeader {
  std::int64_t num_shards = 0;
};
// Unimplemented when the file is big-endian or requires a newer reader.
absl::StatusOr<BundleHeader> ParseBundleHeader(std::span<const std::byte> message);

// Where a V2 checkpoint keeps a tensor, or, when there are slices, which slices it consists of.
struct BundleEntry {
  DType dtype = DType::kFloat32;
  Shape shape;
  std::int64_t shard = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint32_t masked_crc = 0;
  std::vector<Slice> slices;
};
absl::StatusOr<BundleEntry> ParseBundleEntry(std::span<const std::byte> message, Budget& budget);

// One variable in the header of a V1 file.
struct SavedSliceMeta {
  std::string name;
  Shape shape;
  DType dtype = DType::kFloat32;
  std::vector<Slice> slices;  // those that this file holds
};
// The `meta` of SavedTensorSlices: the entry "" of a V1 table.
absl::StatusOr<std::vector<SavedSliceMeta>> ParseSavedTensorSlicesMeta(
    std::span<const std::byte> message, const Limits& limits, Budget& budget);

// The `data` of SavedTensorSlices: any other entry.
struct SavedSlice {
  std::string_view name;
  std::span<const std::byte> tensor;  // a TensorProto
};
absl::StatusOr<SavedSlice> ParseSavedSlice(std::span<const std::byte> message);

}  // namespace zood::checkpoint
