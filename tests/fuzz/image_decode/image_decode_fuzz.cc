// Any bytes either decode to an image of a sound size or are refused; nothing else happens.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "image/decode.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const zood::image::DecodeLimits limits = {.max_pixels = 1 << 18, .max_scans = 20};
  for (const int channels : {1, 3}) {
    const zood::image::DecodeOptions options = {
        .channels = channels,
        .dct = channels == 1 ? zood::image::JpegDct::kInteger : zood::image::JpegDct::kIntegerFast,
        .upright = channels == 3};
    const auto header = zood::image::ReadHeader(bytes, options, limits);
    const auto image = zood::image::Decode(bytes, options, limits);
    if (!image.ok()) continue;
    if (!header.ok() || header->memory < image->pixels.size()) std::abort();
    const std::size_t pixels = std::size_t(image->height) * image->width;
    if (pixels == 0 || pixels > limits.max_pixels || image->channels != channels ||
        image->pixels.size() != pixels * channels) {
      std::abort();
    }
  }
  return 0;
}
