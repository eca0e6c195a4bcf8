// PNG by libspng.
#include <spng.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/status.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

// Deflate shrinks by 1032 at most, so that a short file cannot hold a large picture.
constexpr std::uint64_t kMaxDeflateRatio = 1032;
// Of text and profiles, which nobody here reads; libspng keeps them in memory.
constexpr std::size_t kMaxChunkBytes = std::size_t{8} << 20;

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

absl::Status Failed(std::size_t bytes, int error) {
  return InvalidArgument("PNG of {} bytes is damaged or cut off: {}", bytes, spng_strerror(error));
}

// The bytes of the picture before compression, filter bytes and interlacing aside: a lower bound.
std::uint64_t RawBytes(const spng_ihdr& header) {
  const int samples = header.color_type == SPNG_COLOR_TYPE_TRUECOLOR         ? 3
                      : header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA ? 4
                      : header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ? 2
                                                                             : 1;
  return std::uint64_t{header.width} * header.height * samples * header.bit_depth / 8;
}

// True when the chain of chunks reaches its end mark. libspng takes some files without it.
bool HasEnd(std::span<const std::byte> bytes) {
  constexpr std::size_t kSignature = 8;
  constexpr std::size_t kAround = 12;  // length, type and checksum of a chunk
  std::size_t at = kSignature;
  while (at <= bytes.size() && bytes.size() - at >= kAround) {
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      length = length << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
    }
    if (std::memcmp(bytes.data() + at + 4, "IEND", 4) == 0) return true;
    if (length > bytes.size() - at - kAround) return false;
    at += kAround + length;
  }
  return false;
}

}  // namespace

absl::StatusOr<Image> DecodePng(std::span<const std::byte> bytes, const DecodeOptions& options,
                                const DecodeLimits& limits) {
  const Context context(spng_ctx_new(0), &spng_ctx_free);
  if (context == nullptr) return ResourceExhausted("no memory for a PNG decoder");
  spng_set_image_limits(context.get(), kMaxSide, kMaxSide);
  spng_set_chunk_limits(context.get(), kMaxChunkBytes, kMaxChunkBytes);
  // A wrong checksum is fatal where the chunk matters, as libpng has it.
  spng_set_crc_action(context.get(), SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
  if (const int error = spng_set_png_buffer(context.get(), bytes.data(), bytes.size())) {
    return Failed(bytes.size(), error);
  }
  spng_ihdr header = {};
  const int header_error = spng_get_ihdr(context.get(), &header);
  if (header_error == 0 || header_error == SPNG_EUSER_WIDTH || header_error == SPNG_EUSER_HEIGHT) {
    ZOOD_RETURN_IF_ERROR(CheckSize("PNG", header.height, header.width, limits));
  }
  if (header_error != 0) return Failed(bytes.size(), header_error);
  if (RawBytes(header) / kMaxDeflateRatio > bytes.size()) {
    return InvalidArgument(
        "PNG is cut off: the header says {} x {} pixels, which {} bytes cannot hold", header.width,
        header.height, bytes.size());
  }

  if (!HasEnd(bytes)) {
    return InvalidArgument("PNG of {} bytes is cut off: it has no end mark (IEND)", bytes.size());
  }

  Image image({static_cast<int>(header.height), static_cast<int>(header.width)}, 3);
  if (const int error = spng_decode_image(context.get(), image.pixels.data(), image.pixels.size(),
                                          SPNG_FMT_RGB8, 0)) {
    return Failed(bytes.size(), error);
  }
  // What follows the pixels must be sound too.
  if (const int error = spng_decode_chunks(context.get())) return Failed(bytes.size(), error);
  return options.channels == 1 ? ToGray(image) : image;
}

}  // namespace zood::image
