// Windows and OS/2 bitmaps: palettes of 1, 4 and 8 bits, plain or run-length coded; 16, 24 and 32
// bits in any order of colors; either order of rows. The values are Pillow's.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "image/bmp.h"
#include "image/chunks.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

using Bytes = std::span<const std::byte>;
using Palette = std::array<std::uint8_t, 256 * 3>;

// The colors of an image with a palette. Those that the file does not have are black.
Palette ReadPalette(Bytes bytes, const BmpHeader& header) {
  Palette palette = {};
  for (std::size_t i = 0; i < header.palette_size; ++i) {
    const std::size_t at = header.palette_at + i * static_cast<std::size_t>(header.palette_stride);
    for (std::size_t c = 0; c < 3; ++c) {
      palette[3 * i + c] = std::to_integer<std::uint8_t>(bytes[at + 2 - c]);
    }
  }
  return palette;
}

// One color of a pixel, from the bits of a mask to the whole range of a byte.
class Channel {
 public:
  explicit Channel(std::uint32_t mask) : mask_(mask) {
    if (mask == 0) return;
    const int bits = std::popcount(mask);
    shift_ = std::countr_zero(mask) + std::max(bits - 8, 0);  // of longer ones the upper byte
    const unsigned most = (1u << std::min(bits, 8)) - 1;
    for (unsigned i = 0; i <= most; ++i) scaled_[i] = static_cast<std::uint8_t>(i * 255 / most);
  }
  std::uint8_t operator()(std::uint32_t pixel) const { return scaled_[(pixel & mask_) >> shift_]; }

 private:
  std::uint32_t mask_;
  int shift_ = 0;
  std::array<std::uint8_t, 256> scaled_ = {};
};

class BmpDecoder final : public Decoder {
 public:
  BmpDecoder(Bytes bytes, const DecodeOptions& options) : options_(options), bytes_(bytes) {}

  absl::Status Open(const DecodeLimits& limits) {
    ZOOD_ASSIGN_OR_RETURN(bmp_, ReadBmpHeader(bytes_));
    ZOOD_RETURN_IF_ERROR(CheckSize(Format::kBmp, bmp_.height, bmp_.width, limits));
    const bool is_plain = bmp_.coding == BmpCoding::kPlain;
    const std::uint64_t needed = is_plain ? bmp_.row_bytes() * bmp_.height : 2;
    if (bmp_.pixels_at > bytes_.size() || needed > bytes_.size() - bmp_.pixels_at) {
      return InvalidArgument(
          "BMP is cut off: {} x {} pixels of {} bits from byte {} on need {} bytes, the file has "
          "{}",
          bmp_.width, bmp_.height, bmp_.bits, bmp_.pixels_at, bmp_.pixels_at + needed,
          bytes_.size());
    }
    header_ = {.format = Format::kBmp,
               .size = {static_cast<int>(bmp_.height), static_cast<int>(bmp_.width)}};
    header_.memory = ResultBytes(header_.size, options_) +
                     (is_plain ? 0 : bmp_.height * bmp_.width) + kSmallMemory;
    return absl::OkStatus();
  }

  absl::StatusOr<Image> Read(Watch& watch) override {
    Image image(header_.size, 3);
    ZOOD_RETURN_IF_ERROR(bmp_.coding != BmpCoding::kPlain ? ReadRuns(watch, image)
                         : bmp_.has_palette()             ? ReadIndices(watch, image)
                                                          : ReadColors(watch, image));
    return options_.channels == 1 ? ToGray(image) : image;
  }

 private:
  static constexpr std::uint64_t kSmallMemory = 4 << 10;

  // Where the file has the image's row y.
  std::size_t StoredRow(int y) const {
    return static_cast<std::size_t>(bmp_.top_down ? y : header_.size.height - 1 - y);
  }
  const std::byte* RowData(int y) const {
    return bytes_.data() + bmp_.pixels_at + StoredRow(y) * bmp_.row_bytes();
  }

  absl::Status ReadRuns(Watch& watch, Image& image) const {
    const Palette palette = ReadPalette(bytes_, bmp_);
    std::vector<std::uint8_t> indices(bmp_.height * bmp_.width);
    ZOOD_RETURN_IF_ERROR(UnpackRuns(bytes_, bmp_, watch, indices));
    for (int y = 0; y < image.height; ++y) {
      const std::uint8_t* from = indices.data() + StoredRow(y) * bmp_.width;
      std::uint8_t* to = image.row(y);
      for (int x = 0; x < image.width; ++x) {
        to = std::copy_n(palette.data() + 3 * std::size_t{from[x]}, 3, to);
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadIndices(Watch& watch, Image& image) const {
    const Palette palette = ReadPalette(bytes_, bmp_);
    const auto bits = static_cast<std::size_t>(bmp_.bits);
    const auto mask = (std::size_t{1} << bits) - 1;
    for (int y = 0; y < image.height; ++y) {
      const std::byte* from = RowData(y);
      std::uint8_t* to = image.row(y);
      for (std::size_t x = 0; x < bmp_.width; ++x) {  // the first pixel in the highest bits
        const std::size_t at = x * bits;
        const std::size_t index =
            std::to_integer<std::size_t>(from[at / 8]) >> (8 - bits - at % 8) & mask;
        to = std::copy_n(palette.data() + 3 * index, 3, to);
      }
      ZOOD_RETURN_IF_ERROR(watch.Advance(bmp_.width));
    }
    return absl::OkStatus();
  }

  absl::Status ReadColors(Watch& watch, Image& image) const {
    const std::array<Channel, 3> channels = {Channel(bmp_.masks[0]), Channel(bmp_.masks[1]),
                                             Channel(bmp_.masks[2])};
    const int bytes_per_pixel = bmp_.bits / 8;
    for (int y = 0; y < image.height; ++y) {
      const Bytes row(RowData(y), bmp_.row_bytes());
      std::uint8_t* to = image.row(y);
      for (int x = 0; x < image.width; ++x) {
        const auto pixel = static_cast<std::uint32_t>(ReadInteger(
            row, static_cast<std::size_t>(x) * static_cast<std::size_t>(bytes_per_pixel),
            bytes_per_pixel, /*big_endian=*/false));
        for (const Channel& channel : channels) *to++ = channel(pixel);
      }
      ZOOD_RETURN_IF_ERROR(watch.Advance(bmp_.width));
    }
    return absl::OkStatus();
  }

  const DecodeOptions options_;
  const Bytes bytes_;
  BmpHeader bmp_;
};

}  // namespace

DecoderOr OpenBmp(Bytes bytes, const DecodeOptions& options, const DecodeLimits& limits) {
  auto decoder = std::make_unique<BmpDecoder>(bytes, options);
  ZOOD_RETURN_IF_ERROR(decoder->Open(limits));
  return decoder;
}

}  // namespace zood::image
