// Pixels that come without a file.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "image/decode.h"
#include "image/image.h"

namespace zood::image {

// The image of row-major uint8 pixels of shape [height, width, channels], with `channels` channels
// (1 or 3): one rule for what is classified and what is trained on. Gray is replicated, color
// becomes gray by the luma 0.299 R + 0.587 G + 0.114 B.
//
// Errors: InvalidArgument for any other shape (two or four channels have no defined meaning) and
// for bytes that do not fit it; ResourceExhausted over limits.max_pixels, over kMaxSide, and where
// memory runs out. Thread-safe.
absl::StatusOr<Image> FromPixels(std::span<const std::byte> bytes, const Shape& shape, int channels,
                                 const DecodeLimits& limits = {});

}  // namespace zood::image
