// Little-endian numbers in byte strings, for the store's own formats.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace zood::store {

static_assert(std::endian::native == std::endian::little,
              "the store keeps elements as memory holds them, and its format is little-endian");

template <typename T>
void AppendLittleEndian(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

// A count and a text as the store's digests take them: uint64, and a uint64 length before the
// bytes.
inline void AppendCount(std::string& out, std::size_t count) {
  AppendLittleEndian<std::uint64_t>(out, count);
}
inline void AppendText(std::string& out, std::string_view text) {
  AppendCount(out, text.size());
  out += text;
}

// The number at `offset`; the caller has checked that it lies within `bytes`.
template <typename T>
T ReadLittleEndian(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace zood::store
