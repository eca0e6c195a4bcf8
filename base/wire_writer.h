// Writes the protobuf wire format, for the few small messages that zood puts into files of other
// programs. The counterpart of proto_wire.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/wire.h"

namespace zood {

inline void AppendVarint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

// A zero is left out, as proto3 does.
inline void AppendVarintField(std::string& out, std::uint32_t number, std::uint64_t value) {
  if (value == 0) return;
  AppendVarint(out, VarintTag(number));
  AppendVarint(out, value);
}

inline void AppendFixed32(std::string& out, std::uint32_t value) {
  out += AsText(std::as_bytes(std::span(&value, 1)));
}

inline void AppendFixed32Field(std::string& out, std::uint32_t number, std::uint32_t value) {
  if (value == 0) return;
  AppendVarint(out, Fixed32Tag(number));
  AppendFixed32(out, value);
}

// A string, or a message that is present even when it is empty.
inline void AppendBytesField(std::string& out, std::uint32_t number, std::string_view bytes) {
  AppendVarint(out, BytesTag(number));
  AppendVarint(out, bytes.size());
  out += bytes;
}

}  // namespace zood
