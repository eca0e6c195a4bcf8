// The chunks that PNG and WebP files consist of. Private to this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace zood::image {

// An unsigned number of `width` bytes that lie inside `bytes`.
inline std::uint64_t ReadInteger(std::span<const std::byte> bytes, std::size_t at, int width,
                                 bool big_endian) {
  std::uint64_t value = 0;
  for (int i = 0; i < width; ++i) {
    const int from = big_endian ? i : width - 1 - i;
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + static_cast<std::size_t>(from)]);
  }
  return value;
}

struct Chunk {
  std::string_view type;  // four characters
  std::span<const std::byte> data;
  std::size_t begin = 0;  // of the whole chunk in the file
  std::size_t end = 0;
};

// One chunk after the other; nothing after the last one, or where the file is cut off.
//
// PNG: length (big-endian), type, data, checksum; from byte 8 on. The checksums are not checked.
class PngChunks {
 public:
  explicit PngChunks(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::optional<Chunk> Next() {
    constexpr std::size_t kAround = 12;
    if (at_ > bytes_.size() || bytes_.size() - at_ < kAround) return std::nullopt;
    const std::uint64_t length = ReadInteger(bytes_, at_, 4, /*big_endian=*/true);
    if (length > bytes_.size() - at_ - kAround) return std::nullopt;
    const Chunk chunk = {.type = {reinterpret_cast<const char*>(bytes_.data()) + at_ + 4, 4},
                         .data = bytes_.subspan(at_ + 8, length),
                         .begin = at_,
                         .end = at_ + kAround + length};
    at_ = chunk.end;
    return chunk;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_ = 8;
};

// RIFF: type, length (little-endian), data, padded to an even length; from byte `at` on, which is
// behind the file's own header.
class RiffChunks {
 public:
  explicit RiffChunks(std::span<const std::byte> bytes, std::size_t at = 12)
      : bytes_(bytes), at_(at) {}

  std::optional<Chunk> Next() {
    constexpr std::size_t kHeader = 8;
    if (at_ > bytes_.size() || bytes_.size() - at_ < kHeader) return std::nullopt;
    const std::uint64_t length = ReadInteger(bytes_, at_ + 4, 4, /*big_endian=*/false);
    if (length > bytes_.size() - at_ - kHeader) return std::nullopt;
    const Chunk chunk = {.type = {reinterpret_cast<const char*>(bytes_.data()) + at_, 4},
                         .data = bytes_.subspan(at_ + kHeader, length),
                         .begin = at_,
                         .end = at_ + kHeader + length};
    at_ = chunk.end + length % 2;
    return chunk;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t at_;
};

}  // namespace zood::image
