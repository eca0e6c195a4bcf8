#include "dataset/decode_item.h"

#include <cstring>

#include "base/status.h"

namespace zood::dataset {
namespace {

absl::StatusOr<image::Image> FromPixels(const Tensor& tensor, int channels,
                                        const image::DecodeLimits& limits) {
  const Shape& shape = tensor.shape();
  if ((shape[2] != 1 && shape[2] != 3) || tensor.bytes().empty()) {
    return InvalidArgument("pixels have shape {}; expected [height, width, 1 or 3]",
                           shape.ToString());
  }
  if (shape[0] > image::kMaxSide || shape[1] > image::kMaxSide ||
      static_cast<std::uint64_t>(shape[0] * shape[1]) > limits.max_pixels) {
    return ResourceExhausted("has {} x {} pixels; at most {} are allowed, {} a side", shape[0],
                             shape[1], limits.max_pixels, image::kMaxSide);
  }
  const image::Size size = {static_cast<int>(shape[0]), static_cast<int>(shape[1])};
  image::Image photo(size, static_cast<int>(shape[2]));
  std::memcpy(photo.pixels.data(), tensor.bytes().data(), tensor.bytes().size());
  if (photo.channels == channels) return photo;
  if (channels == 1) return image::ToGray(photo);
  image::Image rgb(size, 3);
  for (std::size_t i = 0; i < rgb.pixels.size(); ++i) rgb.pixels[i] = photo.pixels[i / 3];
  return rgb;
}

}  // namespace

absl::StatusOr<image::Image> DecodeItem(const Item& item, const image::DecodeOptions& options,
                                        const image::DecodeLimits& limits) {
  const Tensor& tensor = item.image;
  absl::StatusOr<image::Image> photo;
  if (tensor.dtype() != DType::kUInt8 ||
      (tensor.shape().rank() != 1 && tensor.shape().rank() != 3)) {
    photo = InvalidArgument(
        "is {} of shape {}, expected uint8: [n], a file, or pixels of shape "
        "[height, width, channels]",
        Name(tensor.dtype()), tensor.shape().ToString());
  } else if (tensor.shape().rank() == 3) {
    photo = FromPixels(tensor, options.channels, limits);
  } else {
    photo = image::Decode(tensor.bytes(), options, limits);
  }
  if (!photo.ok()) return Annotate(photo.status(), item.name);
  return photo;
}

}  // namespace zood::dataset
