#include "netdef/caffe/image_input.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::netdef {
namespace {

constexpr int kImageRank = 4;  // batch, channels, height, width
constexpr std::int64_t kLargest = 1 << 16;

constexpr char kGiveDeploy[] =
    "this is a file for training; give the network's deploy.prototxt, or replace the layer by "
    "one of type Input with the shape of an image";

// A layer of data, as an input with its whole size.
absl::StatusOr<CaffeImageInput> FromData(const CaffeLayer& layer, const CaffeData& data) {
  if (layer.tops.empty()) {
    return InvalidArgument("layer '{}' of type {} feeds no blob", Printable(layer.name),
                           Printable(layer.type));
  }
  const std::int64_t crop = data.transform.crop_size;
  CaffeImageInput input = {.blob = layer.tops.front(),
                           .channels = data.channels,
                           .height = crop > 0 ? crop : data.height,
                           .width = crop > 0 ? crop : data.width,
                           .transform = data.transform,
                           .whole_height = data.height,
                           .whole_width = data.width,
                           .beside = {layer.tops.begin() + 1, layer.tops.end()}};
  if (input.channels == 0 || input.height == 0 || input.width == 0) {
    return InvalidArgument(
        "the images come from layer '{}' of type {}, which does not say their {}: {}",
        Printable(layer.name), Printable(layer.type),
        input.channels == 0 ? "number of channels" : "size", kGiveDeploy);
  }
  return input;
}

CaffeImageInput FromInput(const CaffeInput& input) {
  return {.blob = input.name,
          .channels = input.shape[1],
          .height = input.shape[2],
          .width = input.shape[3],
          .transform = input.transform};
}

absl::Status CheckExtents(const CaffeImageInput& input) {
  for (const std::int64_t extent : {input.channels, input.height, input.width}) {
    if (extent >= 1 && extent <= kLargest) continue;
    return InvalidArgument(
        "input '{}' has {} channels, {} rows and {} columns; 1 to {} are allowed",
        Printable(input.blob), input.channels, input.height, input.width, kLargest);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CaffeImageInput> FindImageInput(const CaffeNet& net) {
  std::vector<CaffeImageInput> images;
  std::vector<std::string> beside;
  for (const CaffeInput& input : net.inputs) {
    if (input.shape.rank() == kImageRank) {
      images.push_back(FromInput(input));
    } else {
      beside.push_back(input.name);
    }
  }
  for (const CaffeLayer& layer : net.layers) {
    const auto* data = std::get_if<CaffeData>(&layer.parameters);
    if (data == nullptr) continue;
    ZOOD_ASSIGN_OR_RETURN(images.emplace_back(), FromData(layer, *data));
  }
  // Legacy inputs give labels four axes, too.
  if (images.size() > 1) {
    std::erase_if(images, [&](const CaffeImageInput& input) {
      const bool is_pixel = input.height == 1 && input.width == 1;
      if (is_pixel) beside.push_back(input.blob);
      return is_pixel;
    });
  }
  if (images.empty() && net.inputs.size() == 1) {
    const CaffeInput& input = net.inputs.front();
    return InvalidArgument("input '{}' has the shape {}, expected batch, channels, height, width",
                           Printable(input.name), input.shape.ToString());
  }
  if (images.size() != 1) {
    return InvalidArgument("the network '{}' has {} inputs with images, expected one{}",
                           Printable(net.name), images.size(),
                           images.empty() ? fmt::format(": {}", kGiveDeploy) : "");
  }
  CaffeImageInput image = std::move(images.front());
  image.beside.insert(image.beside.end(), beside.begin(), beside.end());
  ZOOD_RETURN_IF_ERROR(CheckExtents(image));
  return image;
}

}  // namespace zood::netdef
