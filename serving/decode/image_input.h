// What a request may bring as an image, and how it becomes a network's input.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/image_source.h"
#include "image/decode.h"
#include "serving/servable.h"

namespace zood::serving {

struct PrepareTimes {
  double decode_ms = 0;
  double preprocess_ms = 0;
};

// What decoding an image will take, as its header says.
struct DecodeCost {
  std::uint64_t pixels = 0;
  std::uint64_t memory = 0;  // bytes, at once
};

// Takes microseconds. The errors are those of PrepareImage(), as far as the header shows them.
absl::StatusOr<DecodeCost> CostOf(const dataset::ImageSource& source,
                                  const image::PreprocessSpec& spec,
                                  const image::DecodeLimits& limits);

// The input of `servable`'s network. InvalidArgument when the image cannot be decoded, has too many
// bytes or pixels, or is a tensor of another size; the message says what was expected and found.
absl::StatusOr<std::vector<float>> PrepareImage(const dataset::ImageSource& source,
                                                const Servable& servable,
                                                const image::DecodeLimits& limits,
                                                PrepareTimes& times);

}  // namespace zood::serving
