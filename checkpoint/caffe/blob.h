// BlobProto, Caffe's serialized tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/shape.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// A blob that has been looked through. Checked: as many elements as its shape says.
struct CaffeBlob {
  DType dtype = DType::kFloat32;  // or kFloat64, kFloat16
  Shape shape;
  std::uint32_t field = 0;  // of the message, which has the elements
  std::span<const std::byte> message;
};

// Elements are floats, doubles or, from NVIDIA's Caffe, raw data of either type or half floats.
// DataLoss when the message is damaged or shape and elements disagree; Unimplemented for raw
// integers.
absl::StatusOr<CaffeBlob> ParseCaffeBlob(std::span<const std::byte> message);

// The elements, copied only where they do not lie in one aligned piece. `owner` keeps the message
// alive. Takes as much memory as the blob has elements.
absl::StatusOr<Tensor> ReadCaffeBlob(const CaffeBlob& blob, std::shared_ptr<const void> owner);

}  // namespace zood::checkpoint
