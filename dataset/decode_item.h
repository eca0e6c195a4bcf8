// An item of a dataset as pixels.
#pragma once

#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "image/decode.h"
#include "image/image.h"

namespace zood::dataset {

// The decoded photo of an item, with `channels` channels: gray pixels are replicated, color ones
// become gray by the luma 0.299 R + 0.587 G + 0.114 B. Errors name the item: InvalidArgument for
// one that cannot be decoded, ResourceExhausted over `limits`. Thread-safe.
absl::StatusOr<image::Image> DecodeItem(const Item& item, const image::DecodeOptions& options,
                                        const image::DecodeLimits& limits = {});

}  // namespace zood::dataset
