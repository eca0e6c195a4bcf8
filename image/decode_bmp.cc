// Windows bitmaps without compression: 8 bits with a palette, 24 bits, 32 bits; either row order.
// Layout: the BITMAPFILEHEADER and BITMAPINFOHEADER of the Windows API; later headers extend these.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/status.h"
#include "image/decoders.h"

namespace zood::image {
namespace {

constexpr std::size_t kFileHeaderBytes = 14;
constexpr std::uint32_t kInfoHeaderBytes = 40;
constexpr std::uint32_t kUncompressed = 0;
constexpr std::uint32_t kBitFields = 3;
constexpr std::size_t kMasksOffset = kFileHeaderBytes + kInfoHeaderBytes;

using Bytes = std::span<const std::byte>;

std::uint32_t Read16(Bytes bytes, std::size_t at) {
  return std::to_integer<std::uint32_t>(bytes[at]) | std::to_integer<std::uint32_t>(bytes[at + 1])
                                                         << 8;
}
std::uint32_t Read32(Bytes bytes, std::size_t at) {
  return Read16(bytes, at) | Read16(bytes, at + 2) << 16;
}

struct Header {
  std::size_t pixels_at = 0;
  std::size_t palette_at = 0;
  std::uint32_t palette_size = 0;  // entries of 4 bytes: blue, green, red, unused
  std::int64_t width = 0;
  std::int64_t height = 0;
  bool top_down = false;
  int bytes_per_pixel = 0;

  // Rows start at multiples of four bytes.
  std::size_t row_bytes() const {
    return (static_cast<std::size_t>(width) * bytes_per_pixel + 3) / 4 * 4;
  }
};

// 32-bit pictures may name the place of each colour; only the usual order is read.
absl::Status CheckMasks(Bytes bytes) {
  if (bytes.size() < kMasksOffset + 12) return InvalidArgument("BMP is cut off in its header");
  const std::array<std::uint32_t, 3> masks = {Read32(bytes, kMasksOffset),
                                              Read32(bytes, kMasksOffset + 4),
                                              Read32(bytes, kMasksOffset + 8)};
  if (masks != std::array<std::uint32_t, 3>{0xff0000, 0xff00, 0xff}) {
    return InvalidArgument(
        "BMP has the colour masks {:08x} {:08x} {:08x}; only 00ff0000 0000ff00 000000ff is read",
        masks[0], masks[1], masks[2]);
  }
  return absl::OkStatus();
}

absl::StatusOr<Header> ReadHeader(Bytes bytes) {
  if (bytes.size() < kFileHeaderBytes + kInfoHeaderBytes) {
    return InvalidArgument("BMP is cut off in its header: {} bytes", bytes.size());
  }
  const std::uint32_t info_bytes = Read32(bytes, 14);
  if (info_bytes < kInfoHeaderBytes || info_bytes > bytes.size() - kFileHeaderBytes) {
    return InvalidArgument("BMP has an information header of {} bytes, expected 40 or more",
                           info_bytes);
  }
  const auto signed_height = static_cast<std::int32_t>(Read32(bytes, 22));
  const std::uint32_t bits = Read16(bytes, 28);
  const std::uint32_t compression = Read32(bytes, 30);
  Header header = {
      .pixels_at = Read32(bytes, 10),
      .palette_at = kFileHeaderBytes + info_bytes,
      .width = static_cast<std::int32_t>(Read32(bytes, 18)),
      .height = std::abs(std::int64_t{signed_height}),
      .top_down = signed_height < 0,
      .bytes_per_pixel = static_cast<int>(bits / 8),
  };
  if (bits != 8 && bits != 24 && bits != 32) {
    return InvalidArgument("BMP has {} bits a pixel; 8, 24 and 32 are read", bits);
  }
  if (compression == kBitFields && bits == 32) {
    ZOOD_RETURN_IF_ERROR(CheckMasks(bytes));
  } else if (compression != kUncompressed) {
    return InvalidArgument("BMP has compression {}; only uncompressed pictures are read",
                           compression);
  }
  if (header.width < 0) return InvalidArgument("BMP has a negative width, {}", header.width);
  if (bits == 8) {
    const std::uint32_t used = Read32(bytes, 46);
    header.palette_size = used == 0 ? 256 : used;
  }
  return header;
}

// The colours of an 8-bit picture. Entries that the file does not have are black.
absl::StatusOr<std::array<std::uint8_t, 256 * 3>> ReadPalette(Bytes bytes, const Header& header) {
  if (header.palette_size > 256 ||
      header.palette_at + std::size_t{4} * header.palette_size > bytes.size()) {
    return InvalidArgument("BMP of {} bytes has no room for its palette of {} colours",
                           bytes.size(), header.palette_size);
  }
  std::array<std::uint8_t, 256 * 3> palette = {};
  for (std::size_t i = 0; i < header.palette_size; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      palette[3 * i + c] = std::to_integer<std::uint8_t>(bytes[header.palette_at + 4 * i + 2 - c]);
    }
  }
  return palette;
}

}  // namespace

absl::StatusOr<Image> DecodeBmp(Bytes bytes, const DecodeOptions& options,
                                const DecodeLimits& limits) {
  ZOOD_ASSIGN_OR_RETURN(const Header header, ReadHeader(bytes));
  ZOOD_RETURN_IF_ERROR(CheckSize("BMP", static_cast<std::uint64_t>(header.height),
                                 static_cast<std::uint64_t>(header.width), limits));
  const std::size_t needed = header.row_bytes() * static_cast<std::size_t>(header.height);
  if (header.pixels_at > bytes.size() || needed > bytes.size() - header.pixels_at) {
    return InvalidArgument(
        "BMP is cut off: {} x {} pixels of {} bytes from byte {} on need {} bytes, the file has {}",
        header.width, header.height, header.bytes_per_pixel, header.pixels_at,
        header.pixels_at + needed, bytes.size());
  }
  std::array<std::uint8_t, 256 * 3> palette = {};
  if (header.bytes_per_pixel == 1) {
    ZOOD_ASSIGN_OR_RETURN(palette, ReadPalette(bytes, header));
  }

  Image image({static_cast<int>(header.height), static_cast<int>(header.width)}, 3);
  for (int y = 0; y < image.height; ++y) {
    const int stored = header.top_down ? y : image.height - 1 - y;
    const std::byte* from = bytes.data() + header.pixels_at + stored * header.row_bytes();
    std::uint8_t* to = image.row(y);
    for (int x = 0; x < image.width; ++x, from += header.bytes_per_pixel, to += 3) {
      if (header.bytes_per_pixel == 1) {
        std::copy_n(palette.data() + 3 * std::to_integer<std::size_t>(*from), 3, to);
      } else {
        for (int c = 0; c < 3; ++c) to[c] = std::to_integer<std::uint8_t>(from[2 - c]);
      }
    }
  }
  return options.channels == 1 ? ToGray(image) : image;
}

}  // namespace zood::image
