// PNG by libspng, which is shown only what makes the pixels.
#include <spng.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "base/status.h"
#include "image/chunks.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

using Bytes = std::span<const std::byte>;

// Deflate shrinks by 1032 at most, so that a short file cannot hold a large image.
constexpr std::uint64_t kMaxDeflateRatio = 1032;
// Of zlib's window and libspng's buffers.
constexpr std::uint64_t kSmallMemory = 128 << 10;

using Context = std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)>;

absl::Status Failed(std::size_t bytes, int error) {
  return InvalidArgument("PNG of {} bytes is damaged or cut off: {}", bytes, spng_strerror(error));
}

int SamplesOf(const spng_ihdr& header) {
  return header.color_type == SPNG_COLOR_TYPE_TRUECOLOR         ? 3
         : header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA ? 4
         : header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ? 2
                                                                : 1;
}

// The bytes of the image before compression, filter bytes and interlacing aside: a lower bound.
std::uint64_t RawBytes(const spng_ihdr& header) {
  return std::uint64_t{header.width} * header.height * SamplesOf(header) * header.bit_depth / 8;
}

// The file without what does not make pixels: profiles, texts, times, transparency, the palette
// that an image with colors of its own suggests. None of it can then be wrong, too long or too
// much. Nothing is copied; the chain of chunks must be whole.
class PixelChunks {
 public:
  explicit PixelChunks(Bytes bytes) : bytes_(bytes), chunks_(bytes) {}

  // False at the end.
  bool Read(std::byte* to, std::size_t length) {
    while (length > 0) {
      if (at_ == end_ && !Advance()) return false;
      const std::size_t count = std::min(length, end_ - at_);
      std::memcpy(to, bytes_.data() + at_, count);
      at_ += count;
      to += count;
      length -= count;
    }
    return true;
  }

 private:
  bool Advance() {
    while (const std::optional<Chunk> chunk = chunks_.Next()) {
      if (chunk->type == "IHDR" && chunk->data.size() > kColorTypeAt) {
        has_palette_ = std::to_integer<int>(chunk->data[kColorTypeAt]) == SPNG_COLOR_TYPE_INDEXED;
      }
      const bool is_ancillary = (chunk->type[0] & 0x20) != 0;
      if (is_ancillary || (chunk->type == "PLTE" && !has_palette_)) continue;
      at_ = chunk->begin;
      end_ = chunk->end;
      return true;
    }
    return false;
  }

  static constexpr std::size_t kColorTypeAt = 9;

  const Bytes bytes_;
  PngChunks chunks_;
  bool has_palette_ = false;
  std::size_t at_ = 0;
  std::size_t end_ = 8;  // the signature comes first
};

int ReadPixelChunks(spng_ctx*, void* chunks, void* to, std::size_t length) {
  return static_cast<PixelChunks*>(chunks)->Read(static_cast<std::byte*>(to), length) ? 0
                                                                                      : SPNG_IO_EOF;
}

// OK when the chain of chunks reaches its end mark. libspng takes some files without it.
absl::Status CheckChain(Bytes bytes) {
  PngChunks chunks(bytes);
  while (const std::optional<Chunk> chunk = chunks.Next()) {
    if (chunk->type == "IEND") return absl::OkStatus();
    if (chunk->type == "CgBI") {
      return InvalidArgument(
          "the file is Apple's own form of PNG (CgBI), made for apps; expected {}: convert it "
          "first",
          kFormatNames);
    }
  }
  return InvalidArgument("PNG of {} bytes is cut off: it has no end mark (IEND)", bytes.size());
}

class PngDecoder final : public Decoder {
 public:
  PngDecoder(Bytes bytes, const DecodeOptions& options)
      : options_(options),
        bytes_(bytes),
        chunks_(bytes),
        context_(spng_ctx_new(0), &spng_ctx_free) {}

  absl::Status Open(const DecodeLimits& limits) {
    if (context_ == nullptr) return ResourceExhausted("no memory for a PNG decoder");
    spng_set_image_limits(context_.get(), kMaxSide, kMaxSide);
    if (const int error = spng_set_png_stream(context_.get(), &ReadPixelChunks, &chunks_)) {
      return Failed(bytes_.size(), error);
    }
    spng_ihdr header = {};
    const int error = spng_get_ihdr(context_.get(), &header);
    if (error == 0 || error == SPNG_EUSER_WIDTH || error == SPNG_EUSER_HEIGHT) {
      ZOOD_RETURN_IF_ERROR(CheckSize(Format::kPng, header.height, header.width, limits));
    }
    ZOOD_RETURN_IF_ERROR(CheckChain(bytes_));
    if (error != 0) return Failed(bytes_.size(), error);
    if (RawBytes(header) / kMaxDeflateRatio > bytes_.size()) {
      return InvalidArgument(
          "PNG is cut off: the header says {} x {} pixels, which {} bytes cannot hold",
          header.width, header.height, bytes_.size());
    }
    header_ = {.format = Format::kPng,
               .size = {static_cast<int>(header.height), static_cast<int>(header.width)}};
    // Two rows as they are stored and one as it is made.
    const std::uint64_t rows = std::uint64_t{header.width} * 8 * 3;
    header_.memory = ResultBytes(header_.size, options_) + rows + kSmallMemory;
    return absl::OkStatus();
  }

  absl::StatusOr<Image> Read(Watch& watch) override {
    Image image(header_.size, 3);
    int error =
        spng_decode_image(context_.get(), nullptr, 0, SPNG_FMT_RGB8, SPNG_DECODE_PROGRESSIVE);
    // Interlaced images come in seven passes, each with some pixels of some rows.
    for (spng_row_info row = {}; error == 0;) {
      error = spng_get_row_info(context_.get(), &row);
      if (error != 0) break;
      error = spng_decode_row(context_.get(), image.row(static_cast<int>(row.row_num)),
                              image.row_length());
      ZOOD_RETURN_IF_ERROR(watch.Advance(static_cast<std::uint64_t>(image.width)));
    }
    if (error != SPNG_EOI) return Failed(bytes_.size(), error);
    // The end mark must be sound, too.
    if (const int end = spng_decode_chunks(context_.get())) return Failed(bytes_.size(), end);
    return options_.channels == 1 ? ToGray(image) : image;
  }

 private:
  const DecodeOptions options_;
  const Bytes bytes_;
  PixelChunks chunks_;
  const Context context_;
};

}  // namespace

DecoderOr OpenPng(Bytes bytes, const DecodeOptions& options, const DecodeLimits& limits) {
  auto decoder = std::make_unique<PngDecoder>(bytes, options);
  ZOOD_RETURN_IF_ERROR(decoder->Open(limits));
  return decoder;
}

}  // namespace zood::image
