#include "checkpoint/tensorflow/proto.h"

#include <array>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"

namespace zood::checkpoint {
namespace {

// TensorFlow's limit on the rank of a tensor.
constexpr std::size_t kMaxRank = 254;
// The version of both forms that this code reads (TF_CHECKPOINT_VERSION, kTensorBundleVersion).
constexpr std::int32_t kVersion = 1;

// DataType by number, from types.proto.
struct TypeName {
  std::string_view name;
  std::optional<DType> dtype;
};
constexpr std::array<TypeName, 24> kTypes = {{
    {"DT_INVALID", std::nullopt},
    {"DT_FLOAT", DType::kFloat32},
    {"DT_DOUBLE", DType::kFloat64},
    {"DT_INT32", DType::kInt32},
    {"DT_UINT8", DType::kUInt8},
    {"DT_INT16", DType::kInt16},
    {"DT_INT8", DType::kInt8},
    {"DT_STRING", DType::kString},
    {"DT_COMPLEX64", DType::kComplex64},
    {"DT_INT64", DType::kInt64},
    {"DT_BOOL", DType::kBool},
    {"DT_QINT8", DType::kInt8},
    {"DT_QUINT8", DType::kUInt8},
    {"DT_QINT32", DType::kInt32},
    {"DT_BFLOAT16", DType::kBFloat16},
    {"DT_QINT16", DType::kInt16},
    {"DT_QUINT16", DType::kUInt16},
    {"DT_UINT16", DType::kUInt16},
    {"DT_COMPLEX128", DType::kComplex128},
    {"DT_HALF", DType::kFloat16},
    {"DT_RESOURCE", std::nullopt},
    {"DT_VARIANT", std::nullopt},
    {"DT_UINT32", DType::kUInt32},
    {"DT_UINT64", DType::kUInt64},
}};
constexpr std::uint64_t kReferenceOffset = 100;  // DT_FLOAT_REF = 101, and so on

absl::Status CheckVersion(std::span<const std::byte> version_def) {
  WireReader reader(version_def);
  while (const auto field = reader.Next()) {
    const bool too_new = field->tag == VarintTag(2) && field->AsInt32() > kVersion;
    const bool bad = field->tag == VarintTag(3) && field->AsInt32() == kVersion;
    if (too_new || bad) {
      return Unimplemented(
          "the checkpoint asks for a reader of version {}{}; zood reads version "
          "{}",
          too_new ? "" : "other than ", field->AsInt32(), kVersion);
    }
  }
  return reader.status();
}

absl::StatusOr<std::int64_t> ParseDim(std::span<const std::byte> message) {
  std::int64_t size = 0;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->tag == VarintTag(1)) size = field->AsInt64();
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return size;
}

absl::StatusOr<Shape> ParseShape(std::span<const std::byte> message, Budget& budget) {
  std::vector<std::int64_t> dims;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(2)) {
      if (dims.size() == kMaxRank) return DataLoss("a shape has more than {} axes", kMaxRank);
      ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(std::int64_t), "shapes"));
      ZOOD_ASSIGN_OR_RETURN(const std::int64_t size, ParseDim(field->bytes));
      dims.push_back(size);
    } else if (field->tag == VarintTag(3) && field->AsBool()) {
      return DataLoss("a shape is of unknown rank");
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  Shape shape(std::move(dims));
  if (!HasSoundExtents(shape)) return DataLoss("the shape {} is impossible", shape.ToString());
  return shape;
}

absl::StatusOr<Extent> ParseExtent(std::span<const std::byte> message) {
  Extent extent;
  bool has_length = false;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->tag == VarintTag(1)) extent.start = field->AsInt64();
    if (field->tag == VarintTag(2)) {
      extent.length = field->AsInt64();
      has_length = true;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  if (!has_length) return Extent{};  // a start without a length means nothing
  if (extent.length < 0) return DataLoss("a slice has the length {}", extent.length);
  return extent;
}

absl::StatusOr<Slice> ParseSlice(std::span<const std::byte> message, Budget& budget) {
  ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(Slice), "slices"));
  Slice slice;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->tag != BytesTag(1)) continue;
    if (slice.size() == kMaxRank) return DataLoss("a slice has more than {} axes", kMaxRank);
    ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(Extent), "slices"));
    ZOOD_ASSIGN_OR_RETURN(const Extent extent, ParseExtent(field->bytes));
    slice.push_back(extent);
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return slice;
}

absl::StatusOr<SavedSliceMeta> ParseSavedSliceMeta(std::span<const std::byte> message,
                                                   Budget& budget) {
  ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(SavedSliceMeta), "variables"));
  SavedSliceMeta meta;
  std::uint64_t data_type = 0;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case BytesTag(1):
        ZOOD_RETURN_IF_ERROR(budget.Take(field->bytes.size(), "names of variables"));
        meta.name = field->AsString();
        break;
      case BytesTag(2): {
        ZOOD_ASSIGN_OR_RETURN(meta.shape, ParseShape(field->bytes, budget));
        break;
      }
      case VarintTag(3):
        data_type = field->value;
        break;
      case BytesTag(4): {
        ZOOD_ASSIGN_OR_RETURN(Slice slice, ParseSlice(field->bytes, budget));
        meta.slices.push_back(std::move(slice));
        break;
      }
      default:
        break;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  auto dtype = DTypeFromTensorFlow(data_type);
  if (!dtype.ok()) {
    return Annotate(dtype.status(), fmt::format("variable '{}'", Printable(meta.name)));
  }
  meta.dtype = *dtype;
  return meta;
}

}  // namespace

absl::StatusOr<DType> DTypeFromTensorFlow(std::uint64_t data_type) {
  if (data_type > kReferenceOffset) data_type -= kReferenceOffset;
  if (data_type >= kTypes.size()) {
    return Unimplemented("its type has the number {}, which zood does not know", data_type);
  }
  const TypeName& type = kTypes[data_type];
  if (!type.dtype) return Unimplemented("its type {} is not one of plain elements", type.name);
  return *type.dtype;
}

int TensorFlowDataType(DType dtype) {
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    const bool quantized = kTypes[i].name.starts_with("DT_Q");
    if (!quantized && kTypes[i].dtype == dtype) return static_cast<int>(i);
  }
  return 0;
}

absl::StatusOr<BundleHeader> ParseBundleHeader(std::span<const std::byte> message) {
  BundleHeader header;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case VarintTag(1):
        header.num_shards = field->AsInt32();
        break;
      case VarintTag(2):
        if (field->value != 0) {
          return Unimplemented(
              "the checkpoint is big-endian; save it again on a little-endian "
              "machine");
        }
        break;
      case BytesTag(3):
        ZOOD_RETURN_IF_ERROR(CheckVersion(field->bytes));
        break;
      default:
        break;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  if (header.num_shards < 1 || header.num_shards > 99'999) {
    return DataLoss("the header counts {} data files", header.num_shards);
  }
  return header;
}

absl::StatusOr<BundleEntry> ParseBundleEntry(std::span<const std::byte> message, Budget& budget) {
  ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(BundleEntry), "entries of the index"));
  BundleEntry entry;
  std::uint64_t data_type = 0;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case VarintTag(1):
        data_type = field->value;
        break;
      case BytesTag(2): {
        ZOOD_ASSIGN_OR_RETURN(entry.shape, ParseShape(field->bytes, budget));
        break;
      }
      case VarintTag(3):
        entry.shard = field->AsInt32();
        break;
      case VarintTag(4):
        entry.offset = field->value;
        break;
      case VarintTag(5):
        entry.size = field->value;
        break;
      case Fixed32Tag(6):
        entry.masked_crc = static_cast<std::uint32_t>(field->value);
        break;
      case BytesTag(7): {
        ZOOD_ASSIGN_OR_RETURN(Slice slice, ParseSlice(field->bytes, budget));
        entry.slices.push_back(std::move(slice));
        break;
      }
      default:
        break;
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  ZOOD_ASSIGN_OR_RETURN(entry.dtype, DTypeFromTensorFlow(data_type));
  return entry;
}

absl::StatusOr<std::vector<SavedSliceMeta>> ParseSavedTensorSlicesMeta(
    std::span<const std::byte> message, const Limits& limits, Budget& budget) {
  std::vector<SavedSliceMeta> variables;
  WireReader outer(message);
  while (const auto meta = outer.Next()) {
    if (meta->tag != BytesTag(1)) continue;
    WireReader reader(meta->bytes);
    while (const auto field = reader.Next()) {
      if (field->tag == BytesTag(1)) {
        if (variables.size() == limits.max_tensors) {
          return ResourceExhausted("there are more variables than the limit of {}",
                                   limits.max_tensors);
        }
        ZOOD_ASSIGN_OR_RETURN(SavedSliceMeta variable, ParseSavedSliceMeta(field->bytes, budget));
        variables.push_back(std::move(variable));
      } else if (field->tag == BytesTag(2)) {
        ZOOD_RETURN_IF_ERROR(CheckVersion(field->bytes));
      }
    }
    ZOOD_RETURN_IF_ERROR(reader.status());
  }
  ZOOD_RETURN_IF_ERROR(outer.status());
  return variables;
}

absl::StatusOr<SavedSlice> ParseSavedSlice(std::span<const std::byte> message) {
  SavedSlice slice;
  WireReader outer(message);
  while (const auto data = outer.Next()) {
    if (data->tag != BytesTag(2)) continue;
    WireReader reader(data->bytes);
    while (const auto field = reader.Next()) {
      if (field->tag == BytesTag(1)) slice.name = field->AsString();
      if (field->tag == BytesTag(3)) slice.tensor = field->bytes;
    }
    ZOOD_RETURN_IF_ERROR(reader.status());
  }
  ZOOD_RETURN_IF_ERROR(outer.status());
  return slice;
}

}  // namespace zood::checkpoint
