#include "image/decode.h"

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "base/status.h"
#include "image/decoders.h"
#include "image/memory_errors.h"
#include "image/orientation.h"

namespace zood::image {
namespace {

constexpr std::uint64_t kPixelsBetweenLooks = 1 << 16;

std::chrono::nanoseconds ThreadTime() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// The first bytes in hexadecimal, for people who know their formats.
std::string Start(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", std::to_integer<int>(byte));
  }
  return text;
}

absl::Status NotAnImage(std::span<const std::byte> bytes) {
  const std::string foreign = NameOfForeign(bytes);
  if (!foreign.empty()) {
    return InvalidArgument("the file is {}, which is not decoded; expected {}: convert it first",
                           foreign, kFormatNames);
  }
  return InvalidArgument("not an image of a known format: {} bytes that start with {}; expected {}",
                         bytes.size(), Start(bytes), kFormatNames);
}

DecoderOr OpenAs(Format format, std::span<const std::byte> bytes, const DecodeOptions& options,
                 const DecodeLimits& limits) {
  switch (format) {
    case Format::kJpeg:
      return OpenJpeg(bytes, options, limits);
    case Format::kPng:
      return OpenPng(bytes, options, limits);
    case Format::kGif:
      return OpenGif(bytes, options, limits);
    case Format::kWebp:
      return OpenWebp(bytes, options, limits);
    case Format::kBmp:
      return OpenBmp(bytes, options, limits);
  }
  return NotAnImage(bytes);
}

struct Opened {
  std::unique_ptr<Decoder> decoder;
  ImageHeader header;
};

absl::StatusOr<Opened> Open(std::span<const std::byte> bytes, const DecodeOptions& options,
                            const DecodeLimits& limits) {
  if (options.channels != 1 && options.channels != 3) {
    return InvalidArgument("decode.channels is {}, expected 1 (gray) or 3 (RGB)", options.channels);
  }
  if (bytes.empty()) return InvalidArgument("the image is empty (0 bytes)");
  if (bytes.size() > limits.max_bytes) {
    return ResourceExhausted("the encoded image has {} bytes, allowed are {}", bytes.size(),
                             limits.max_bytes);
  }
  const std::optional<Format> format = FormatOf(bytes);
  if (!format) return NotAnImage(bytes);
  Opened opened;
  ZOOD_ASSIGN_OR_RETURN(opened.decoder, OpenAs(*format, bytes, options, limits));
  ImageHeader& header = opened.header = opened.decoder->header();
  if (options.upright) {
    header.orientation = OrientationOf(header.format, bytes);
    // The turned image beside the other one.
    if (header.orientation != 1) {
      header.memory = std::max(header.memory, 2 * ResultBytes(header.size, options));
    }
  }
  if (header.memory > limits.max_memory) {
    return ResourceExhausted(
        "{}: {} x {} pixels (width x height) take {} bytes to decode, allowed "
        "are {}; send a smaller image",
        Name(header.format), header.size.width, header.size.height, header.memory,
        limits.max_memory);
  }
  return opened;
}

absl::StatusOr<Image> DecodeAll(std::span<const std::byte> bytes, const DecodeOptions& options,
                                const DecodeLimits& limits) {
  Watch watch(limits);
  ZOOD_ASSIGN_OR_RETURN(const Opened opened, Open(bytes, options, limits));
  ZOOD_ASSIGN_OR_RETURN(Image image, opened.decoder->Read(watch));
  return Turned(std::move(image), opened.header.orientation);
}

}  // namespace

Watch::Watch(const DecodeLimits& limits) : limits_(limits), begun_(ThreadTime()) {}

absl::Status Watch::Advance(std::uint64_t pixels) {
  since_last_look_ += pixels;
  if (since_last_look_ < kPixelsBetweenLooks) return absl::OkStatus();
  since_last_look_ = 0;
  if (limits_.still_wanted) ZOOD_RETURN_IF_ERROR(limits_.still_wanted());
  if (ThreadTime() - begun_ <= limits_.max_cpu_time) return absl::OkStatus();
  return ResourceExhausted(
      "decoding the image takes more than {} ms of CPU time; send a smaller image",
      std::chrono::duration_cast<std::chrono::milliseconds>(limits_.max_cpu_time).count());
}

absl::Status CheckSize(Format format, std::uint64_t height, std::uint64_t width,
                       const DecodeLimits& limits) {
  if (height == 0 || width == 0) {
    return InvalidArgument("{}: the header says {} x {} pixels (width x height); neither may be 0",
                           Name(format), width, height);
  }
  const bool too_long = height > kMaxSide || width > kMaxSide;
  if (too_long || height * width > limits.max_pixels) {  // cannot overflow: the sides are checked
    return ResourceExhausted(
        "{}: the header says {} x {} pixels (width x height), allowed are {} pixels and {} a side; "
        "send a smaller image",
        Name(format), width, height, limits.max_pixels, kMaxSide);
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

absl::StatusOr<ImageHeader> ReadHeader(std::span<const std::byte> bytes,
                                       const DecodeOptions& options, const DecodeLimits& limits) {
  return CatchBadAlloc("an image's header", [&]() -> absl::StatusOr<ImageHeader> {
    ZOOD_ASSIGN_OR_RETURN(const Opened opened, Open(bytes, options, limits));
    return opened.header;
  });
}

absl::StatusOr<Image> Decode(std::span<const std::byte> bytes, const DecodeOptions& options,
                             const DecodeLimits& limits) {
  return CatchBadAlloc("the pixels of an image", [&] { return DecodeAll(bytes, options, limits); });
}

}  // namespace zood::image
