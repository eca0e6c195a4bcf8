#include "image/orientation.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "image/chunks.h"

namespace zood::image {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;  // a type of TIFF: 16 bits
constexpr std::size_t kEntryBytes = 12;

bool StartsWith(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// The first directory of the TIFF structure that EXIF is.
int OrientationInTiff(Bytes tiff) {
  using namespace std::string_view_literals;
  if (StartsWith(tiff, "Exif\0\0"sv)) tiff = tiff.subspan(6);
  const bool big_endian = StartsWith(tiff, "MM"sv);
  if (tiff.size() < 8 || (!big_endian && !StartsWith(tiff, "II"sv))) return 1;
  const std::uint64_t directory = ReadInteger(tiff, 4, 4, big_endian);
  if (directory + 2 > tiff.size()) return 1;
  const std::uint64_t entries = ReadInteger(tiff, directory, 2, big_endian);
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t at = directory + 2 + i * kEntryBytes;
    if (at + kEntryBytes > tiff.size()) return 1;
    if (ReadInteger(tiff, at, 2, big_endian) != kOrientationTag) continue;
    const std::uint64_t value = ReadInteger(tiff, at + 8, 2, big_endian);
    const bool sound =
        ReadInteger(tiff, at + 2, 2, big_endian) == kShort && value >= 1 && value <= 8;
    return sound ? static_cast<int>(value) : 1;
  }
  return 1;
}

// The marker segments before the pixels, ITU-T T.81 B.1.1; EXIF is in the first APP1 of that name.
std::optional<Bytes> ExifOfJpeg(Bytes bytes) {
  using namespace std::string_view_literals;
  std::size_t at = 2;
  while (bytes.size() - at >= 4) {
    if (bytes[at] != std::byte{0xff}) return std::nullopt;
    const auto marker = std::to_integer<int>(bytes[at + 1]);
    if (marker == 0xff) {  // fill bytes
      ++at;
      continue;
    }
    if (marker == 0xda || marker == 0xd9) return std::nullopt;  // the pixels, the end
    const std::uint64_t length = ReadInteger(bytes, at + 2, 2, /*big_endian=*/true);
    if (length < 2 || length > bytes.size() - at - 2) return std::nullopt;
    const Bytes segment = bytes.subspan(at + 4, length - 2);
    if (marker == 0xe1 && StartsWith(segment, "Exif\0"sv)) return segment;
    at += 2 + length;
  }
  return std::nullopt;
}

template <typename Chunks>
std::optional<Bytes> FindChunk(Chunks chunks, std::string_view type) {
  while (const std::optional<Chunk> chunk = chunks.Next()) {
    if (chunk->type == type) return chunk->data;
  }
  return std::nullopt;
}

std::optional<Bytes> ExifOf(Format format, Bytes bytes) {
  switch (format) {
    case Format::kJpeg:
      return ExifOfJpeg(bytes);
    case Format::kPng:
      return FindChunk(PngChunks(bytes), "eXIf");
    case Format::kWebp:
      return FindChunk(RiffChunks(bytes), "EXIF");
    case Format::kGif:
    case Format::kBmp:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

int OrientationOf(Format format, Bytes bytes) {
  const std::optional<Bytes> exif = ExifOf(format, bytes);
  return exif ? OrientationInTiff(*exif) : 1;
}

Image Turned(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  // Which of the three reversals lead from the upright image's pixel to the stored one.
  const bool swaps_sides = orientation >= 5;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const Size size = swaps_sides ? Size{image.width, image.height} : image.size();
  Image upright(size, image.channels);
  for (int y = 0; y < size.height; ++y) {
    std::uint8_t* to = upright.row(y);
    for (int x = 0; x < size.width; ++x, to += image.channels) {
      auto [row, column] = swaps_sides ? std::pair(x, y) : std::pair(y, x);
      if (from_bottom) row = image.height - 1 - row;
      if (from_right) column = image.width - 1 - column;
      std::copy_n(image.row(row) + column * image.channels, image.channels, to);
    }
  }
  return upright;
}

}  // namespace zood::image
