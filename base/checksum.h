// Checksums and digests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace zood {

// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of `bytes`, continuing from `crc`, the
// checksum of what came before. Uses the processor's instruction where it has one.
std::uint32_t Crc32c(std::span<const std::byte> bytes, std::uint32_t crc = 0);

// TensorFlow and LevelDB store checksums masked, because a checksum of data that holds its own
// checksum is a poor one: rotate right by 15, add 0xa282ead8.
std::uint32_t MaskCrc32c(std::uint32_t crc);

// SHA-256 over a stream of bytes. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::span<const std::byte> bytes);

  // The digest as 64 lower-case hexadecimal digits. Call once, last.
  std::string HexDigest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
std::string Sha256Hex(std::span<const std::byte> bytes);

// The bytes of a string, for the functions above.
inline std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace zood
