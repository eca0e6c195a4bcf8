#include "checkpoint/safetensors/header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"

namespace zood::checkpoint {
namespace {

using Json = nlohmann::json;

// Builds the entries while the text is parsed; nothing else of it is kept. What does not belong
// where it stands ends the parsing, so that nothing nests deeper than the format does.
class HeaderHandler : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderHandler(const Limits& limits)
      : limits_(limits), budget_(limits.max_metadata_bytes) {}

  absl::StatusOr<std::vector<SafetensorsEntry>> Run(std::string_view text) {
    if (!Json::sax_parse(text, this) || !status_.ok()) return status_;
    return std::move(entries_);
  }

  bool null() override { return Misplaced("null"); }
  bool boolean(bool) override { return Misplaced("a bool"); }
  bool number_integer(number_integer_t) override { return Misplaced("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Misplaced("a number that is no integer of 64 bits");
  }
  bool binary(binary_t&) override { return Misplaced("binary data"); }
  bool number_unsigned(number_unsigned_t value) override;
  bool string(string_t& value) override;
  bool start_object(std::size_t) override;
  bool key(string_t& name) override;
  bool end_object() override;
  bool start_array(std::size_t) override;
  bool end_array() override;
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(DataLoss("the header is no JSON text (at its byte {})", position));
  }

 private:
  enum class Place : std::uint8_t { kOutside, kTensors, kMetadata, kTensor, kShape, kOffsets };
  enum Field : unsigned { kNoField = 0, kTypeField = 1, kShapeField = 2, kOffsetsField = 4 };
  static constexpr unsigned kAllFields = kTypeField | kShapeField | kOffsetsField;

  bool Fail(absl::Status status) {
    status_ = std::move(status);
    return false;
  }
  std::string Where() const {
    return place_ == Place::kOutside || entry_.name.empty()
               ? std::string("the header")
               : fmt::format("tensor '{}'", Printable(entry_.name));
  }
  bool Misplaced(std::string_view what) {
    return Fail(DataLoss("{}: {} is not where the format has one", Where(), what));
  }
  bool Pays(std::uint64_t bytes) {
    absl::Status taken = budget_.Take(bytes, "tensors of the header");
    return taken.ok() || Fail(std::move(taken));
  }
  bool StartEntry(string_t& name);

  const Limits& limits_;
  Budget budget_;
  absl::Status status_;
  std::vector<SafetensorsEntry> entries_;

  Place place_ = Place::kOutside;
  bool has_metadata_ = false;
  SafetensorsEntry entry_;
  std::vector<std::int64_t> extents_;
  std::vector<std::uint64_t> offsets_;
  Field field_ = kNoField;
  unsigned seen_ = 0;
};

bool HeaderHandler::number_unsigned(number_unsigned_t value) {
  if (place_ == Place::kOffsets) {
    if (offsets_.size() == 2) return Misplaced("a third offset");
    offsets_.push_back(value);
    return true;
  }
  if (place_ != Place::kShape) return Misplaced("a number");
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return Misplaced("an extent beyond 2^63");
  }
  // Twice: the reader's list of variables has it too.
  if (!Pays(4 * sizeof(std::int64_t))) return false;
  extents_.push_back(static_cast<std::int64_t>(value));
  return true;
}

bool HeaderHandler::string(string_t& value) {
  if (place_ == Place::kMetadata) return true;
  if (place_ != Place::kTensor || field_ != kTypeField) return Misplaced("a text");
  const auto* known = std::ranges::find(kSafetensorsTypes, value, &SafetensorsType::name);
  if (known != kSafetensorsTypes.end()) entry_.type = *known;
  return true;
}

bool HeaderHandler::start_object(std::size_t) {
  switch (place_) {
    case Place::kOutside:
      place_ = Place::kTensors;
      return true;
    case Place::kTensors:
      place_ = entry_.name == kSafetensorsMetadata ? Place::kMetadata : Place::kTensor;
      return true;
    default:
      return Misplaced("an object");
  }
}

bool HeaderHandler::StartEntry(string_t& name) {
  if (name == kSafetensorsMetadata && std::exchange(has_metadata_, true)) {
    return Fail(DataLoss("the header has {} twice", kSafetensorsMetadata));
  }
  if (entries_.size() >= limits_.max_tensors) {
    return Fail(ResourceExhausted("the file has more than {} tensors", limits_.max_tensors));
  }
  if (!Pays(2 * (sizeof(SafetensorsEntry) + name.size()))) return false;
  entry_ = {.name = std::move(name)};
  extents_.clear();
  offsets_.clear();
  seen_ = 0;
  return true;
}

bool HeaderHandler::key(string_t& name) {
  if (place_ == Place::kMetadata) return true;
  if (place_ == Place::kTensors) return StartEntry(name);
  field_ = name == "dtype"          ? kTypeField
           : name == "shape"        ? kShapeField
           : name == "data_offsets" ? kOffsetsField
                                    : kNoField;
  if (field_ == kNoField) {
    return Fail(Unimplemented("{} has the field '{}', of which zood does not know what it means",
                              Where(), Printable(name)));
  }
  if ((seen_ & field_) != 0) return Fail(DataLoss("{} has its {} twice", Where(), name));
  seen_ |= field_;
  return true;
}

bool HeaderHandler::end_object() {
  switch (place_) {
    case Place::kTensor:
      if (seen_ != kAllFields || offsets_.size() != 2) {
        return Fail(DataLoss("{} lacks its dtype, its shape or its two data_offsets", Where()));
      }
      entry_.shape = Shape(std::exchange(extents_, {}));
      entry_.begin = offsets_[0];
      entry_.end = offsets_[1];
      entries_.push_back(std::exchange(entry_, {}));
      place_ = Place::kTensors;
      return true;
    case Place::kMetadata:
      place_ = Place::kTensors;
      entry_ = {};
      return true;
    default:
      place_ = Place::kOutside;
      return true;
  }
}

bool HeaderHandler::start_array(std::size_t) {
  if (place_ == Place::kTensor && field_ == kShapeField) {
    place_ = Place::kShape;
    return true;
  }
  if (place_ == Place::kTensor && field_ == kOffsetsField) {
    place_ = Place::kOffsets;
    return true;
  }
  return Misplaced("an array");
}

bool HeaderHandler::end_array() {
  place_ = Place::kTensor;
  return true;
}

absl::Status CheckSize(const SafetensorsEntry& entry) {
  const std::string name = Printable(entry.name);
  if (!HasSoundExtents(entry.shape)) {
    return DataLoss("tensor '{}' has the impossible shape {}", name, entry.shape.ToString());
  }
  if (entry.type.bits == 0) return absl::OkStatus();
  std::uint64_t bits = 0;
  const auto elements = static_cast<std::uint64_t>(entry.shape.num_elements());
  const bool huge = __builtin_mul_overflow(elements, entry.type.bits, &bits);
  if (huge || bits % 8 != 0 || bits / 8 != entry.end - entry.begin) {
    return DataLoss("tensor '{}': {} elements of {} do not make the {} bytes of its data_offsets",
                    name, elements, entry.type.name, entry.end - entry.begin);
  }
  return absl::OkStatus();
}

// In the order of their elements.
absl::Status CheckPlaces(std::span<const SafetensorsEntry> entries, std::uint64_t available) {
  std::uint64_t expected = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != expected || entry.end < entry.begin) {
      return DataLoss(
          "tensor '{}' has data_offsets [{},{}] where the tensor before ends at {}: there must be "
          "neither gap nor overlap",
          Printable(entry.name), entry.begin, entry.end, expected);
    }
    ZOOD_RETURN_IF_ERROR(CheckSize(entry));
    expected = entry.end;
  }
  if (expected > available) {
    return DataLoss("the file is cut short: {} of {} bytes of its tensors are missing",
                    expected - available, expected);
  }
  if (expected < available) {
    return DataLoss("{} bytes behind the last tensor belong to none", available - expected);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::span<const std::byte> file,
                                                         const Limits& limits) {
  constexpr std::size_t kLengthSize = sizeof(std::uint64_t);
  if (file.size() < kLengthSize) return DataLoss("the file ends within the length of its header");
  const auto length = LoadLittleEndian<std::uint64_t>(file);
  const std::uint64_t most = std::min(kSafetensorsLongestHeader, limits.max_metadata_bytes);
  if (length > most) {
    return ResourceExhausted("a header of {} bytes is longer than the limit of {}", length, most);
  }
  const auto rest = file.subspan(kLengthSize);
  if (length > rest.size()) {
    return DataLoss("the file is cut short: {} of {} bytes of its header are missing",
                    length - rest.size(), length);
  }
  const auto size = static_cast<std::size_t>(length);
  const std::string_view text = AsText(rest.first(size));
  if (!text.starts_with('{')) return DataLoss("the header does not begin with '{{'");
  ZOOD_ASSIGN_OR_RETURN(auto entries, HeaderHandler(limits).Run(text));
  const auto place = [](const SafetensorsEntry& entry) {
    return std::tuple(entry.begin, entry.end);
  };
  std::ranges::sort(entries, {}, place);
  ZOOD_RETURN_IF_ERROR(CheckPlaces(entries, rest.size() - size));
  std::ranges::sort(entries, {}, &SafetensorsEntry::name);
  const auto twice = std::ranges::adjacent_find(entries, {}, &SafetensorsEntry::name);
  if (twice != entries.end()) {
    return DataLoss("tensor '{}' is there twice", Printable(twice->name));
  }
  return SafetensorsHeader{.entries = std::move(entries), .elements = rest.subspan(size)};
}

}  // namespace zood::checkpoint
