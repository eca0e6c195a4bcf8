#include "image/pixels.h"

#include <cstdint>
#include <cstring>

#include "base/status.h"
#include "image/memory_errors.h"

namespace zood::image {
namespace {

absl::Status CheckPixels(std::size_t bytes, const Shape& shape, const DecodeLimits& limits) {
  if (shape.rank() != 3 || shape[0] < 1 || shape[1] < 1 || (shape[2] != 1 && shape[2] != 3)) {
    return InvalidArgument(
        "pixels have shape {}; expected [height, width, 3], which is RGB, or [height, width, 1]",
        shape.ToString());
  }
  const auto height = static_cast<std::uint64_t>(shape[0]);
  const auto width = static_cast<std::uint64_t>(shape[1]);
  if (height > kMaxSide || width > kMaxSide || height * width > limits.max_pixels) {
    return ResourceExhausted(
        "has {} x {} pixels (width x height); at most {} are allowed, {} a side", width, height,
        limits.max_pixels, kMaxSide);
  }
  if (height * width * static_cast<std::uint64_t>(shape[2]) != bytes) {
    return InvalidArgument("pixels of shape {} come with {} bytes, expected {}", shape.ToString(),
                           bytes, height * width * static_cast<std::uint64_t>(shape[2]));
  }
  return absl::OkStatus();
}

Image ToRgb(const Image& gray) {
  Image rgb(gray.size(), 3);
  for (std::size_t i = 0; i < rgb.pixels.size(); ++i) rgb.pixels[i] = gray.pixels[i / 3];
  return rgb;
}

}  // namespace

absl::StatusOr<Image> FromPixels(std::span<const std::byte> bytes, const Shape& shape, int channels,
                                 const DecodeLimits& limits) {
  return CatchBadAlloc("the pixels of an image", [&]() -> absl::StatusOr<Image> {
    if (channels != 1 && channels != 3) {
      return InvalidArgument("{} channels are asked for, expected 1 (gray) or 3 (RGB)", channels);
    }
    ZOOD_RETURN_IF_ERROR(CheckPixels(bytes.size(), shape, limits));
    Image image({static_cast<int>(shape[0]), static_cast<int>(shape[1])},
                static_cast<int>(shape[2]));
    std::memcpy(image.pixels.data(), bytes.data(), bytes.size());
    if (image.channels == channels) return image;
    return channels == 1 ? ToGray(image) : ToRgb(image);
  });
}

}  // namespace zood::image
