#include "checkpoint/tensorflow/tensor_proto.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/wire.h"
#include "checkpoint/limits.h"

namespace zood::checkpoint {
namespace {

constexpr std::uint32_t kTensorContent = 4;
constexpr std::uint32_t kStringVal = 8;

// Which repeated field holds the elements of a type, and how they stand there.
struct ValueField {
  std::uint32_t number = 0;
  std::size_t fixed_width = 0;  // 0: varints
};

ValueField FieldOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return {.number = 5, .fixed_width = 4};
    case DType::kFloat64:
      return {.number = 6, .fixed_width = 8};
    case DType::kComplex64:
      return {.number = 9, .fixed_width = 4};
    case DType::kComplex128:
      return {.number = 12, .fixed_width = 8};
    case DType::kInt64:
      return {.number = 10};
    case DType::kBool:
      return {.number = 11};
    case DType::kFloat16:
    case DType::kBFloat16:
      return {.number = 13};
    case DType::kUInt32:
      return {.number = 16};
    case DType::kUInt64:
      return {.number = 17};
    case DType::kString:
      return {.number = kStringVal};
    default:
      return {.number = 7};  // the smaller integers
  }
}

absl::Status WrongCount(std::uint64_t found, std::uint64_t expected) {
  return DataLoss("{} elements are stored, but its shape needs {}", found, expected);
}

// Calls packed(bytes) for each packed run of the field and single(value) for each element that
// stands alone. A writer may mix them.
template <typename Packed, typename Single>
absl::Status ForEachValue(std::span<const std::byte> message, const ValueField& values,
                          const Packed& packed, const Single& single) {
  const std::uint32_t single_tag = values.fixed_width == 4   ? Fixed32Tag(values.number)
                                   : values.fixed_width == 8 ? Fixed64Tag(values.number)
                                                             : VarintTag(values.number);
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(values.number)) ZOOD_RETURN_IF_ERROR(packed(field->bytes));
    if (field->tag == single_tag) ZOOD_RETURN_IF_ERROR(single(field->value));
  }
  return reader.status();
}

absl::StatusOr<Tensor> DecodeFixed(std::span<const std::byte> message, DType dtype,
                                   const Shape& shape, std::shared_ptr<const void> owner) {
  const ValueField values = FieldOf(dtype);
  std::uint64_t size = 0;
  std::span<const std::byte> latest;
  ZOOD_RETURN_IF_ERROR(ForEachValue(
      message, values,
      [&](std::span<const std::byte> bytes) {
        size += bytes.size();
        latest = bytes;
        return absl::OkStatus();
      },
      [&](std::uint64_t) {
        size += values.fixed_width;
        return absl::OkStatus();
      }));
  const std::uint64_t expected = static_cast<std::uint64_t>(shape.num_elements()) * SizeOf(dtype);
  if (size != expected) return WrongCount(size / SizeOf(dtype), expected / SizeOf(dtype));
  if (latest.size() == size) return Tensor::View(dtype, shape, latest, std::move(owner));

  auto joined = std::make_shared<std::vector<std::byte>>();
  joined->reserve(size);
  ZOOD_RETURN_IF_ERROR(ForEachValue(
      message, values,
      [&](std::span<const std::byte> bytes) {
        joined->insert(joined->end(), bytes.begin(), bytes.end());
        return absl::OkStatus();
      },
      [&](std::uint64_t value) {
        const auto bytes = std::as_bytes(std::span(&value, 1)).first(values.fixed_width);
        joined->insert(joined->end(), bytes.begin(), bytes.end());
        return absl::OkStatus();
      }));
  const std::span<const std::byte> view = *joined;
  return Tensor::View(dtype, shape, view, std::move(joined));
}

// Varints carry an int32 as its 64-bit two's complement, so all integers pass through int64.
template <typename T>
absl::StatusOr<Tensor> DecodeVarints(std::span<const std::byte> message, DType dtype,
                                     const Shape& shape) {
  const ValueField values = FieldOf(dtype);
  const auto expected = static_cast<std::uint64_t>(shape.num_elements());
  std::uint64_t count = 0;
  ZOOD_RETURN_IF_ERROR(ForEachValue(
      message, values,
      [&](std::span<const std::byte> bytes) {
        count += static_cast<std::uint64_t>(std::ranges::count_if(
            bytes, [](std::byte byte) { return (byte & std::byte{0x80}) == std::byte{0}; }));
        return absl::OkStatus();
      },
      [&](std::uint64_t) {
        ++count;
        return absl::OkStatus();
      }));
  if (count != expected) return WrongCount(count, expected);

  auto elements = std::make_shared<std::vector<T>>();
  elements->reserve(expected);
  const auto append = [&](std::uint64_t value) -> absl::Status {
    const auto narrow = static_cast<T>(value);
    if (static_cast<std::uint64_t>(narrow) != value) {
      return DataLoss("element {} does not fit {}: {}", elements->size(), Name(dtype),
                      static_cast<std::int64_t>(value));
    }
    elements->push_back(narrow);
    return absl::OkStatus();
  };
  const auto append_all = [&](std::span<const std::byte> bytes) -> absl::Status {
    while (!bytes.empty()) {
      const auto value = TakeVarint(bytes);
      if (!value) return DataLoss("element {} is malformed", elements->size());
      ZOOD_RETURN_IF_ERROR(append(*value));
    }
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(ForEachValue(message, values, append_all, append));
  const auto view = std::as_bytes(std::span(*elements));
  return Tensor::View(dtype, shape, view, std::move(elements));
}

absl::StatusOr<Tensor> DecodeStrings(std::span<const std::byte> message, const Shape& shape,
                                     std::uint64_t max_bytes) {
  Budget budget(max_bytes);
  std::uint64_t count = 0;
  ZOOD_RETURN_IF_ERROR(ReadFields(message, Field(BytesTag(kStringVal), [&](const WireField& field) {
                                    ++count;
                                    return budget.Take(sizeof(std::string) + field.bytes.size(),
                                                       "strings");
                                  })));
  const auto expected = static_cast<std::uint64_t>(shape.num_elements());
  if (count != expected) return WrongCount(count, expected);
  std::vector<std::string> strings;
  strings.reserve(count);
  ZOOD_RETURN_IF_ERROR(ReadFields(message, Field(BytesTag(kStringVal), [&](const WireField& field) {
                                    strings.emplace_back(field.AsString());
                                    return absl::OkStatus();
                                  })));
  return Tensor::Strings(shape, std::move(strings));
}

// The raw bytes that a TensorProto may hold instead of its repeated fields; empty when it does not.
std::span<const std::byte> TensorContent(std::span<const std::byte> message) {
  std::span<const std::byte> content;
  ReadFields(message, Field(BytesTag(kTensorContent), content)).IgnoreError();
  return content;
}

}  // namespace

absl::StatusOr<Tensor> DecodeTensorProto(std::span<const std::byte> message, DType dtype,
                                         const Shape& shape, std::shared_ptr<const void> owner,
                                         std::uint64_t max_bytes) {
  if (dtype == DType::kString) return DecodeStrings(message, shape, max_bytes);
  if (const auto content = TensorContent(message); !content.empty()) {
    auto tensor = Tensor::View(dtype, shape, content, std::move(owner));
    return tensor.ok() ? tensor : DataLoss("{}", std::string(tensor.status().message()));
  }
  if (FieldOf(dtype).fixed_width > 0) return DecodeFixed(message, dtype, shape, std::move(owner));
  switch (dtype) {
    case DType::kInt8:
      return DecodeVarints<std::int8_t>(message, dtype, shape);
    case DType::kInt16:
      return DecodeVarints<std::int16_t>(message, dtype, shape);
    case DType::kInt32:
      return DecodeVarints<std::int32_t>(message, dtype, shape);
    case DType::kInt64:
      return DecodeVarints<std::int64_t>(message, dtype, shape);
    case DType::kUInt32:
      return DecodeVarints<std::uint32_t>(message, dtype, shape);
    case DType::kUInt64:
      return DecodeVarints<std::uint64_t>(message, dtype, shape);
    case DType::kBool:
    case DType::kUInt8:
      return DecodeVarints<std::uint8_t>(message, dtype, shape);
    default:
      return DecodeVarints<std::uint16_t>(message, dtype, shape);
  }
}

}  // namespace zood::checkpoint
