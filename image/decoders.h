// The decoders behind Decode(), one for each format. Private to this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "image/decode.h"
#include "image/image.h"

namespace zood::image {

absl::StatusOr<Image> DecodeJpeg(std::span<const std::byte> bytes, const DecodeOptions& options,
                                 const DecodeLimits& limits);
absl::StatusOr<Image> DecodePng(std::span<const std::byte> bytes, const DecodeOptions& options,
                                const DecodeLimits& limits);
absl::StatusOr<Image> DecodeBmp(std::span<const std::byte> bytes, const DecodeOptions& options,
                                const DecodeLimits& limits);

// OK when a picture of this size, as its header claims it, may be decoded.
absl::Status CheckSize(const char* format, std::uint64_t height, std::uint64_t width,
                       const DecodeLimits& limits);

// Rec. 601 luma in 16-bit fixed point; gray pixels keep their value.
inline std::uint8_t Luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >>
                                   16);
}

}  // namespace zood::image
