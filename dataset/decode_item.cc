#include "dataset/decode_item.h"

#include "base/status.h"
#include "image/pixels.h"

namespace zood::dataset {

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
    photo = image::FromPixels(tensor.bytes(), tensor.shape(), options.channels, limits);
  } else {
    photo = image::Decode(tensor.bytes(), options, limits);
  }
  if (!photo.ok()) return Annotate(photo.status(), item.name);
  return photo;
}

}  // namespace zood::dataset
