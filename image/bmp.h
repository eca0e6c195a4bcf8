// The header of a Windows or OS/2 bitmap, and its run-length coding. Private to this room.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "image/decoders.h"

namespace zood::image {

enum class BmpCoding { kPlain, kRle8, kRle4 };

struct BmpHeader {
  std::size_t pixels_at = 0;
  std::size_t palette_at = 0;
  std::size_t palette_size = 0;  // entries that the file has, 256 at most
  int palette_stride = 4;        // bytes an entry: blue, green, red, and one unused but in OS/2's
  std::uint64_t width = 0;
  std::uint64_t height = 0;
  bool top_down = false;
  int bits = 0;  // a pixel: 1, 4, 8 with a palette; 16, 24, 32 without
  BmpCoding coding = BmpCoding::kPlain;
  // Which bits are red, green and blue, where there is no palette. Each is one run of bits.
  std::array<std::uint32_t, 3> masks = {};

  bool has_palette() const { return bits <= 8; }
  // Rows start at multiples of four bytes.
  std::uint64_t row_bytes() const {
    return (width * static_cast<std::uint64_t>(bits) + 31) / 32 * 4;
  }
};

// InvalidArgument, naming what is found and what is read, for other forms. The sides are not
// checked.
absl::StatusOr<BmpHeader> ReadBmpHeader(std::span<const std::byte> bytes);

// Unpacks RLE8 or RLE4 from header.pixels_at on: an index for each pixel into `indices` (height x
// width, zero before), rows in the order of the file. What the runs leave out stays 0. Runs are cut
// off at the end of a row. InvalidArgument when the data end before the image does.
absl::Status UnpackRuns(std::span<const std::byte> bytes, const BmpHeader& header, Watch& watch,
                        std::span<std::uint8_t> indices);

}  // namespace zood::image
