// Layouts: BITMAPCOREHEADER (12 bytes, OS/2), BITMAPINFOHEADER (40) of the Windows API; later
// headers (52 to 124 bytes) extend the latter, and their masks stand where those of the shorter
// one follow it.
#include <algorithm>
#include <bit>
#include <cstdlib>

#include "base/status.h"
#include "image/bmp.h"
#include "image/chunks.h"

namespace zood::image {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::size_t kFileHeaderBytes = 14;
constexpr std::uint32_t kCoreHeaderBytes = 12;
constexpr std::uint32_t kInfoHeaderBytes = 40;
constexpr std::size_t kMasksAt = kFileHeaderBytes + kInfoHeaderBytes;

// The values of the field biCompression.
enum Compression : std::uint32_t {
  kUncompressed = 0,
  kRunLength8 = 1,
  kRunLength4 = 2,
  kBitFields = 3,
  kAlphaBitFields = 6,
};

std::uint32_t Read16(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(ReadInteger(bytes, at, 2, /*big_endian=*/false));
}
std::uint32_t Read32(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(ReadInteger(bytes, at, 4, /*big_endian=*/false));
}

// One run of bits, or none.
bool IsRun(std::uint32_t mask) {
  if (mask == 0) return true;
  const std::uint32_t low = mask >> std::countr_zero(mask);
  return (low & (low + 1)) == 0;  // 2^32 wraps to 0
}

absl::Status ReadMasks(Bytes bytes, BmpHeader& header) {
  if (bytes.size() < kMasksAt + 12) return InvalidArgument("BMP is cut off in its header");
  const std::array<std::uint32_t, 3> masks = {Read32(bytes, kMasksAt), Read32(bytes, kMasksAt + 4),
                                              Read32(bytes, kMasksAt + 8)};
  if (masks == std::array<std::uint32_t, 3>{}) return absl::OkStatus();  // the usual ones
  if (!std::ranges::all_of(masks, IsRun)) {
    return InvalidArgument(
        "BMP has the color masks {:08x} {:08x} {:08x}; each must be one run of bits", masks[0],
        masks[1], masks[2]);
  }
  header.masks = masks;
  return absl::OkStatus();
}

// What `bits` and `compression` say together.
absl::Status ReadCoding(Bytes bytes, std::uint32_t compression, BmpHeader& header) {
  const int bits = header.bits;
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    return InvalidArgument("BMP has {} bits a pixel; 1, 4, 8, 16, 24 and 32 are read", bits);
  }
  if (bits == 16) {
    header.masks = {0x7c00, 0x03e0, 0x001f};
  } else if (bits > 16) {
    header.masks = {0xff0000, 0x00ff00, 0x0000ff};
  }
  if (compression == kUncompressed) return absl::OkStatus();
  if (compression == kRunLength8 && bits == 8) {
    header.coding = BmpCoding::kRle8;
    return absl::OkStatus();
  }
  if (compression == kRunLength4 && bits == 4) {
    header.coding = BmpCoding::kRle4;
    return absl::OkStatus();
  }
  if ((compression == kBitFields || compression == kAlphaBitFields) && bits >= 16) {
    return ReadMasks(bytes, header);
  }
  return InvalidArgument(
      "BMP has {} bits a pixel with compression {}; read are uncompressed ones, RLE of 4 or 8 "
      "bits, "
      "and bit fields of 16, 24 or 32",
      bits, compression);
}

// The old OS/2 form: sides of 16 bits, a palette of three bytes a color.
BmpHeader ReadCoreHeader(Bytes bytes) {
  return {.palette_stride = 3,
          .width = Read16(bytes, 18),
          .height = Read16(bytes, 20),
          .bits = static_cast<int>(Read16(bytes, 24))};
}

absl::StatusOr<BmpHeader> ReadInfoHeader(Bytes bytes) {
  const auto width = static_cast<std::int32_t>(Read32(bytes, 18));
  const auto height = static_cast<std::int32_t>(Read32(bytes, 22));
  if (width < 0) return InvalidArgument("BMP has a negative width, {}", width);
  return BmpHeader{.width = static_cast<std::uint64_t>(width),
                   .height = static_cast<std::uint64_t>(std::abs(std::int64_t{height})),
                   .top_down = height < 0,
                   .bits = static_cast<int>(Read16(bytes, 28))};
}

}  // namespace

absl::StatusOr<BmpHeader> ReadBmpHeader(Bytes bytes) {
  constexpr std::size_t kShortest = kFileHeaderBytes + kCoreHeaderBytes;
  if (bytes.size() < kShortest) {
    return InvalidArgument("BMP is cut off in its header: {} bytes", bytes.size());
  }
  const std::uint32_t info_bytes = Read32(bytes, 14);
  const bool is_core = info_bytes == kCoreHeaderBytes;
  if ((!is_core && info_bytes < kInfoHeaderBytes) || info_bytes > bytes.size() - kFileHeaderBytes) {
    return InvalidArgument("BMP has an information header of {} bytes, expected 12, or 40 or more",
                           info_bytes);
  }
  BmpHeader header;
  std::uint64_t colors = 0;
  std::uint32_t compression = kUncompressed;
  if (is_core) {
    header = ReadCoreHeader(bytes);
  } else {
    ZOOD_ASSIGN_OR_RETURN(header, ReadInfoHeader(bytes));
    compression = Read32(bytes, 30);
    colors = Read32(bytes, 46);
  }
  header.pixels_at = Read32(bytes, 10);
  header.palette_at = kFileHeaderBytes + info_bytes;
  ZOOD_RETURN_IF_ERROR(ReadCoding(bytes, compression, header));
  if (header.has_palette()) {
    const std::uint64_t most = std::uint64_t{1} << header.bits;
    const std::uint64_t room =
        (bytes.size() - header.palette_at) / static_cast<std::uint64_t>(header.palette_stride);
    header.palette_size = std::min({colors == 0 ? most : colors, most, room});
  }
  return header;
}

}  // namespace zood::image
