// Little-endian numbers in byte strings, for the store's own formats.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace zood::store {

static_assert(std::endian::native == std::endian::little,
              "the store keeps elements as memory holds them, and its format is little-endian");

template <typename T>
void AppendLittleEndian(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

// The number at `offset`; the caller has checked that it lies within `bytes`.
template <typename T>
T ReadLittleEndian(std::span<const std::byte> bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace zood::store
