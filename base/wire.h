// The protobuf wire format, decoded in place: fields are spans into the message, and no memory is
// taken. (A generated class costs a hundred times the bytes of a message full of empty
// submessages; weight files from strangers are read with this instead.)
// Format: https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "base/status.h"

namespace zood {

static_assert(std::endian::native == std::endian::little, "weight files are little-endian");

// The little-endian number at the start of `bytes`, which must be long enough.
template <typename T>
T LoadLittleEndian(std::span<const std::byte> bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

inline std::string_view AsText(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Takes a base-128 varint off the front of `bytes`. Nothing, with `bytes` untouched, when it is cut
// short or longer than ten bytes; bits beyond the 64th are dropped, as protobuf does.
inline std::optional<std::uint64_t> TakeVarint(std::span<const std::byte>& bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes.size() && i < 10; ++i) {
    const auto byte = static_cast<std::uint64_t>(bytes[i]);
    value |= (byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      bytes = bytes.subspan(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

// A field's number together with its wire type, to switch on:
//   switch (field->tag) { case BytesTag(1): ...; case VarintTag(2): ...; }
// A known number with another wire type is thus an unknown field, as in protobuf.
constexpr std::uint32_t VarintTag(std::uint32_t number) { return number << 3 | 0; }
constexpr std::uint32_t Fixed64Tag(std::uint32_t number) { return number << 3 | 1; }
constexpr std::uint32_t BytesTag(std::uint32_t number) { return number << 3 | 2; }
constexpr std::uint32_t Fixed32Tag(std::uint32_t number) { return number << 3 | 5; }

struct WireField {
  std::uint32_t tag = 0;
  std::uint64_t value = 0;           // of a varint or fixed field
  std::span<const std::byte> bytes;  // of a length-delimited field: string, message, packed numbers

  // int32 and int64 are stored as the 64-bit two's complement; an int32 takes its low half.
  std::int64_t AsInt64() const { return static_cast<std::int64_t>(value); }
  std::int32_t AsInt32() const { return static_cast<std::int32_t>(value); }
  bool AsBool() const { return value != 0; }
  std::string_view AsString() const { return AsText(bytes); }
};

// Walks the fields of one message:
//   WireReader reader(message);
//   while (const auto field = reader.Next()) ...
//   ZOOD_RETURN_IF_ERROR(reader.status());
// Submessages are read by readers of their own, so that depth is the caller's. Groups, which no
// weight format uses, count as damage.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> message) : size_(message.size()), rest_(message) {}

  // Nothing at the end of the message and when it is damaged: see status().
  std::optional<WireField> Next() {
    if (damaged_ || rest_.empty()) return std::nullopt;
    WireField field;
    const auto tag = TakeVarint(rest_);
    damaged_ = !tag || *tag > 0xffffffff || *tag >> 3 == 0;
    if (damaged_) return std::nullopt;
    field.tag = static_cast<std::uint32_t>(*tag);
    damaged_ = !TakeValue(field);
    if (damaged_) return std::nullopt;
    return field;
  }

  // What is left after the last field that Next() returned.
  std::span<const std::byte> rest() const { return rest_; }

  // DataLoss, with the offset, when Next() stopped before the end of the message.
  absl::Status status() const {
    if (!damaged_) return absl::OkStatus();
    return DataLoss("malformed protobuf message: no whole field at byte {} of {}",
                    size_ - rest_.size(), size_);
  }

 private:
  bool TakeValue(WireField& field) {
    switch (field.tag & 7) {
      case 0: {
        const auto value = TakeVarint(rest_);
        field.value = value.value_or(0);
        return value.has_value();
      }
      case 1:
        return TakeFixed<std::uint64_t>(field);
      case 2: {
        const auto length = TakeVarint(rest_);
        if (!length || *length > rest_.size()) return false;
        field.bytes = rest_.first(static_cast<std::size_t>(*length));
        rest_ = rest_.subspan(field.bytes.size());
        return true;
      }
      case 5:
        return TakeFixed<std::uint32_t>(field);
      default:
        return false;
    }
  }

  template <typename T>
  bool TakeFixed(WireField& field) {
    if (rest_.size() < sizeof(T)) return false;
    field.value = LoadLittleEndian<T>(rest_);
    rest_ = rest_.subspan(sizeof(T));
    return true;
  }

  std::size_t size_;
  std::span<const std::byte> rest_;
  bool damaged_ = false;
};

// Reads the fields of a protobuf message into variables:
//
//   std::int64_t size = 0;
//   ZOOD_RETURN_IF_ERROR(ReadFields(message, Field(VarintTag(1), size),
//                                   Field(BytesTag(2), [&](const WireField& shape) { ... })));
//
// A number, a string or bytes take the last value of their field, as protobuf does for fields that
// are not repeated; a function is called for each. Other fields are skipped.
template <typename Target>
struct FieldReader {
  std::uint32_t tag;
  Target target;  // a reference to a variable, or a function that returns absl::Status

  absl::Status Read(const WireField& field) const {
    using Value = std::remove_reference_t<Target>;
    if constexpr (std::is_invocable_v<Value, const WireField&>) {
      return target(field);
    } else if constexpr (std::is_integral_v<Value>) {
      target = static_cast<Value>(field.value);
    } else if constexpr (std::is_assignable_v<Value&, std::span<const std::byte>>) {
      target = field.bytes;
    } else {
      target = field.AsString();
    }
    return absl::OkStatus();
  }
};

template <typename Target>
FieldReader<Target> Field(std::uint32_t tag, Target&& target) {
  return {tag, std::forward<Target>(target)};
}

// DataLoss for a damaged message; otherwise the first error of a function.
template <typename... Targets>
absl::Status ReadFields(std::span<const std::byte> message, const FieldReader<Targets>&... fields) {
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    absl::Status status;
    ((field->tag == fields.tag && (status = fields.Read(*field), true)) || ...);
    ZOOD_RETURN_IF_ERROR(status);
  }
  return reader.status();
}

}  // namespace zood
