// What a request may bring as an image, and how it becomes a network's input.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/shape.h"
#include "image/decode.h"
#include "serving/servable.h"

namespace zood::serving {

// A file: JPEG, PNG, BMP.
struct EncodedImage {
  std::string_view bytes;
};

// Pixels, row-major [height, width, channels] of uint8: 3 channels are RGB, 1 is gray.
struct PixelImage {
  std::string_view bytes;
  Shape shape;
};

// What the network sees, preprocessed by the caller: row-major float32 [height, width, channels].
struct NetworkInput {
  std::string_view bytes;
  Shape shape;
};

// Views; whoever made one keeps the bytes.
using ImageSource = std::variant<EncodedImage, PixelImage, NetworkInput>;

struct PrepareTimes {
  double decode_ms = 0;
  double preprocess_ms = 0;
};

// The input of `servable`'s network. InvalidArgument when the image cannot be decoded, has too many
// bytes or pixels, or is a tensor of another size; the message says what was expected and found.
absl::StatusOr<std::vector<float>> PrepareImage(const ImageSource& source, const Servable& servable,
                                                const image::DecodeLimits& limits,
                                                PrepareTimes& times);

}  // namespace zood::serving
