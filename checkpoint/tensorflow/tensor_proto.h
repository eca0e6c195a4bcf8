// The elements of a TensorProto, as V1 checkpoints hold them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/shape.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// Decodes the serialized TensorProto `message` as `shape` elements of `dtype`, which its own header
// fields leave open in a checkpoint. Elements that stand in the message as they stand in memory are
// shared with it, and `owner` must keep them alive. DataLoss when the number of elements differs
// (nothing is filled up by repetition) or one does not fit its type; ResourceExhausted when strings
// need more than `max_bytes`.
// Field numbers: tensorflow/core/framework/tensor.proto.
absl::StatusOr<Tensor> DecodeTensorProto(std::span<const std::byte> message, DType dtype,
                                         const Shape& shape, std::shared_ptr<const void> owner,
                                         std::uint64_t max_bytes);

}  // namespace zood::checkpoint
