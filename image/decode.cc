#include "image/decode.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "base/status.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

bool StartsWith(std::span<const std::byte> bytes, std::span<const std::uint8_t> magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](std::uint8_t a, std::byte b) { return a == std::to_integer<int>(b); });
}

// The first bytes in hexadecimal, for people who know their formats.
std::string Start(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", std::to_integer<int>(byte));
  }
  return text;
}

}  // namespace

absl::Status CheckSize(const char* format, std::uint64_t height, std::uint64_t width,
                       const DecodeLimits& limits) {
  if (height == 0 || width == 0) {
    return InvalidArgument("{}: the header says {} x {} pixels (width x height); neither may be 0",
                           format, width, height);
  }
  const bool too_long = height > kMaxSide || width > kMaxSide;
  if (too_long || height * width > limits.max_pixels) {  // cannot overflow: the sides are checked
    return ResourceExhausted(
        "{}: the header says {} x {} pixels (width x height), allowed are {} pixels and {} a side; "
        "send a smaller picture",
        format, width, height, limits.max_pixels, kMaxSide);
  }
  return absl::OkStatus();
}

Image ToGray(const Image& rgb) {
  Image gray(rgb.size(), 1);
  for (std::size_t i = 0; i < gray.pixels.size(); ++i) {
    gray.pixels[i] = Luma(rgb.pixels.data() + 3 * i);
  }
  return gray;
}

absl::StatusOr<Image> Decode(std::span<const std::byte> bytes, const DecodeOptions& options,
                             const DecodeLimits& limits) {
  static constexpr std::array<std::uint8_t, 3> kJpeg = {0xff, 0xd8, 0xff};
  static constexpr std::array<std::uint8_t, 8> kPng = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  static constexpr std::array<std::uint8_t, 2> kBmp = {'B', 'M'};
  if (options.channels != 1 && options.channels != 3) {
    return InvalidArgument("decode.channels is {}, expected 1 (gray) or 3 (RGB)", options.channels);
  }
  if (bytes.empty()) return InvalidArgument("the picture is empty (0 bytes)");
  if (bytes.size() > limits.max_bytes) {
    return ResourceExhausted("the encoded picture has {} bytes, allowed are {}", bytes.size(),
                             limits.max_bytes);
  }
  if (StartsWith(bytes, kJpeg)) return DecodeJpeg(bytes, options, limits);
  if (StartsWith(bytes, kPng)) return DecodePng(bytes, options, limits);
  if (StartsWith(bytes, kBmp)) return DecodeBmp(bytes, options, limits);
  return InvalidArgument(
      "not a picture of a known format: {} bytes that start with {}; expected JPEG, PNG or BMP",
      bytes.size(), Start(bytes));
}

}  // namespace zood::image
