// The four features of tf.Example that image datasets have (slim's dataset_utils), read from the
// wire format of protocol buffers without building the message.
#include <string_view>

#include "base/status.h"
#include "dataset/formats/readers.h"

namespace zood::dataset {
namespace {

// The fields of one message, one after the other.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  // False at the end or when the message is damaged; sound() tells which.
  bool Next() {
    if (rest_.empty() || !sound_) return false;
    std::uint64_t tag = 0;
    if (!ReadVarint(tag) || tag >> 3 == 0 || tag >> 32 != 0) return Fail();
    number_ = static_cast<std::uint32_t>(tag >> 3);
    type_ = static_cast<int>(tag & 7);
    switch (type_) {
      case 0:
        return ReadVarint(varint_) || Fail();
      case 1:
        return Take(8) || Fail();
      case 2: {
        std::uint64_t length = 0;
        return (ReadVarint(length) && Take(length)) || Fail();
      }
      case 5:
        return Take(4) || Fail();
      default:
        return Fail();
    }
  }

  bool Is(std::uint32_t number, int type) const { return number_ == number && type_ == type; }
  std::uint64_t varint() const { return varint_; }
  std::string_view bytes() const { return bytes_; }
  bool sound() const { return sound_; }

  // Also for the packed numbers inside a field.
  bool ReadVarint(std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 70 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      if (shift == 63 && byte > 1) return false;
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

 private:
  bool Fail() {
    sound_ = false;
    return false;
  }
  bool Take(std::uint64_t length) {
    if (length > rest_.size()) return false;
    bytes_ = rest_.substr(0, static_cast<std::size_t>(length));
    rest_.remove_prefix(static_cast<std::size_t>(length));
    return true;
  }

  std::string_view rest_;
  std::string_view bytes_;
  std::uint64_t varint_ = 0;
  std::uint32_t number_ = 0;
  int type_ = 0;
  bool sound_ = true;
};

constexpr int kVarint = 0;
constexpr int kBytes = 2;

absl::Status Damaged(std::string_view what) { return InvalidArgument("has a damaged {}", what); }

// Feature { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; }, each
// a list `value = 1`. The list must have one value.
absl::StatusOr<std::string_view> BytesValue(std::string_view feature, std::string_view key) {
  std::optional<std::string_view> value;
  Fields fields(feature);
  while (fields.Next()) {
    if (!fields.Is(1, kBytes)) continue;
    Fields list(fields.bytes());
    while (list.Next()) {
      if (!list.Is(1, kBytes)) continue;
      if (value) return InvalidArgument("has several values of {}", key);
      value = list.bytes();
    }
    if (!list.sound()) return Damaged(key);
  }
  if (!fields.sound()) return Damaged(key);
  if (!value) return InvalidArgument("has no bytes in {}", key);
  return *value;
}

absl::StatusOr<std::int64_t> Int64Value(std::string_view feature, std::string_view key) {
  std::optional<std::uint64_t> value;
  Fields fields(feature);
  while (fields.Next()) {
    if (!fields.Is(3, kBytes)) continue;
    Fields list(fields.bytes());
    while (list.Next()) {
      if (list.Is(1, kVarint)) {
        if (value) return InvalidArgument("has several values of {}", key);
        value = list.varint();
      } else if (list.Is(1, kBytes)) {
        Fields packed(list.bytes());
        std::uint64_t number = 0;
        if (!packed.ReadVarint(number)) return Damaged(key);
        if (value) return InvalidArgument("has several values of {}", key);
        value = number;
      }
    }
    if (!list.sound()) return Damaged(key);
  }
  if (!fields.sound()) return Damaged(key);
  if (!value) return InvalidArgument("has no integer in {}", key);
  return static_cast<std::int64_t>(*value);
}

absl::Status ReadFeature(std::string_view key, std::string_view feature, TfExample& example) {
  if (key == "image/encoded") {
    ZOOD_ASSIGN_OR_RETURN(example.encoded, BytesValue(feature, key));
  } else if (key == "image/class/label") {
    ZOOD_ASSIGN_OR_RETURN(example.label, Int64Value(feature, key));
  } else if (key == "image/class/text" || key == "image/filename") {
    // Of no consequence: what cannot be read is not there.
    const absl::StatusOr<std::string_view> text = BytesValue(feature, key);
    if (text.ok()) (key == "image/filename" ? example.filename : example.text) = *text;
  }
  return absl::OkStatus();
}

}  // namespace

// Example { Features features = 1; }, Features { map<string, Feature> feature = 1; }
absl::StatusOr<TfExample> ParseTfExample(std::string_view message) {
  TfExample example;
  Fields top(message);
  while (top.Next()) {
    if (!top.Is(1, kBytes)) continue;
    Fields features(top.bytes());
    while (features.Next()) {
      if (!features.Is(1, kBytes)) continue;
      std::string_view key;
      std::string_view feature;
      Fields entry(features.bytes());
      while (entry.Next()) {
        if (entry.Is(1, kBytes)) key = entry.bytes();
        if (entry.Is(2, kBytes)) feature = entry.bytes();
      }
      if (!entry.sound()) return Damaged("tf.Example");
      ZOOD_RETURN_IF_ERROR(ReadFeature(key, feature, example));
    }
    if (!features.sound()) return Damaged("tf.Example");
  }
  if (!top.sound()) return Damaged("tf.Example");
  return example;
}

}  // namespace zood::dataset
