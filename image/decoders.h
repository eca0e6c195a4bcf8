// The decoders behind Decode(), one for each format. Private to this room.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "image/decode.h"
#include "image/image.h"

namespace zood::image {

// Ends a decoding that takes too long or whose result is no longer needed.
class Watch {
 public:
  // `limits` outlives the watch. The time begins now, on this thread.
  explicit Watch(const DecodeLimits& limits);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // After each piece of work of so many pixels. Cheap: looks at the clock once in about 65,000.
  // ResourceExhausted over max_cpu_time, otherwise what still_wanted returns.
  absl::Status Advance(std::uint64_t pixels);

 private:
  const DecodeLimits& limits_;
  const std::chrono::nanoseconds begun_;
  std::uint64_t since_last_look_ = 0;
};

// A file whose header has been read. Nothing in proportion to the image is reserved before Read().
// Views the bytes that it was opened with; not thread-safe.
class Decoder {
 public:
  virtual ~Decoder() = default;

  // Constant. `memory` counts what Read() holds, its result included.
  const ImageHeader& header() const { return header_; }

  // Once: the pixels, with DecodeOptions::channels channels, not yet turned upright.
  virtual absl::StatusOr<Image> Read(Watch& watch) = 0;

 protected:
  ImageHeader header_;
};

// Each refuses what its header shows to be no image, over the limits, or longer than the file.
using DecoderOr = absl::StatusOr<std::unique_ptr<Decoder>>;
DecoderOr OpenJpeg(std::span<const std::byte> bytes, const DecodeOptions& options,
                   const DecodeLimits& limits);
DecoderOr OpenPng(std::span<const std::byte> bytes, const DecodeOptions& options,
                  const DecodeLimits& limits);
DecoderOr OpenGif(std::span<const std::byte> bytes, const DecodeOptions& options,
                  const DecodeLimits& limits);
DecoderOr OpenWebp(std::span<const std::byte> bytes, const DecodeOptions& options,
                   const DecodeLimits& limits);
DecoderOr OpenBmp(std::span<const std::byte> bytes, const DecodeOptions& options,
                  const DecodeLimits& limits);

// OK when an image of this size, as its header claims it, may be decoded.
absl::Status CheckSize(Format format, std::uint64_t height, std::uint64_t width,
                       const DecodeLimits& limits);

// Of a result that is made as RGB, and then as gray where that is asked for.
inline std::uint64_t ResultBytes(Size size, const DecodeOptions& options) {
  return std::uint64_t{static_cast<std::uint32_t>(size.height)} *
         static_cast<std::uint32_t>(size.width) * (options.channels == 1 ? 4 : 3);
}

// Whether Pillow's rules hold where it and TensorFlow part; see JpegDct.
inline bool AsPillow(const DecodeOptions& options) { return options.dct == JpegDct::kInteger; }

// Rec. 601 luma in 16-bit fixed point; gray pixels keep their value.
inline std::uint8_t Luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >>
                                   16);
}

}  // namespace zood::image
