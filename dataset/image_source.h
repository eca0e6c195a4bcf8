// What may come as an image: a file, pixels, or what a network sees.
#pragma once

#include <string_view>
#include <variant>

#include "base/shape.h"

namespace zood::dataset {

// A file: JPEG, PNG, GIF, WebP, BMP.
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

}  // namespace zood::dataset
