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
          "the checkpoint requires a reader of version {}{}; zood reads version "
          "{}",
          too_new ? "" : "other than ", field->AsInt32(), kVersion);
    }
  }
  return reader.status();
}

absl::StatusOr<Shape> ParseShape(std::span<const std::byte> message, Budget& budget) {
  std::vector<std::int64_t> dims;
  const auto add_dim = [&](const WireField& dim) -> absl::Status {
    if (dims.size() == kMaxRank) return DataLoss("a shape has more than {} axes", kMaxRank);
    ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(std::int64_t), "shapes"));
    return ReadFields(dim.bytes, Field(VarintTag(1), dims.emplace_back()));
  };
  bool unknown_rank = false;
  ZOOD_RETURN_IF_ERROR(
      ReadFields(message, Field(BytesTag(2), add_dim), Field(VarintTag(3), unknown_rank)));
  if (unknown_rank) return DataLoss("a shape is of unknown rank");
  Shape shape(std::move(dims));
  if (!HasSoundExtents(shape)) return DataLoss("the shape {} is impossible", shape.ToString());
  return shape;
}

absl::StatusOr<Extent> ParseExtent(std::span<const std::byte> message) {
  Extent extent;
  bool has_length = false;
  const auto set_length = [&](const WireField& length) {
    extent.length = length.AsInt64();
    has_length = true;
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(
      ReadFields(message, Field(VarintTag(1), extent.start), Field(VarintTag(2), set_length)));
  if (!has_length) return Extent{};  // a start without a length means nothing
  if (extent.length < 0) return DataLoss("a slice has the length {}", extent.length);
  return extent;
}

absl::StatusOr<Slice> ParseSlice(std::span<const std::byte> message, Budget& budget) {
  ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(Slice), "slices"));
  Slice slice;
  const auto add_extent = [&](const WireField& field) -> absl::Status {
    if (slice.size() == kMaxRank) return DataLoss("a slice has more than {} axes", kMaxRank);
    ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(Extent), "slices"));
    ZOOD_ASSIGN_OR_RETURN(const Extent extent, ParseExtent(field.bytes));
    slice.push_back(extent);
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(ReadFields(message, Field(BytesTag(1), add_extent)));
  return slice;
}

// For Field(): assigns to, or appends to, what the parser makes of the bytes.
auto ShapeInto(Shape& shape, Budget& budget) {
  return [&](const WireField& field) -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(shape, ParseShape(field.bytes, budget));
    return absl::OkStatus();
  };
}
auto SlicesInto(std::vector<Slice>& slices, Budget& budget) {
  return [&](const WireField& field) -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(slices.emplace_back(), ParseSlice(field.bytes, budget));
    return absl::OkStatus();
  };
}

absl::StatusOr<SavedSliceMeta> ParseSavedSliceMeta(std::span<const std::byte> message,
                                                   Budget& budget) {
  ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(SavedSliceMeta), "variables"));
  SavedSliceMeta meta;
  std::uint64_t data_type = 0;
  const auto set_name = [&](const WireField& field) -> absl::Status {
    ZOOD_RETURN_IF_ERROR(budget.Take(field.bytes.size(), "names of variables"));
    meta.name = field.AsString();
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(ReadFields(
      message, Field(BytesTag(1), set_name), Field(BytesTag(2), ShapeInto(meta.shape, budget)),
      Field(VarintTag(3), data_type), Field(BytesTag(4), SlicesInto(meta.slices, budget))));
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
    return Unimplemented("its type has the number {}, which zood does not support", data_type);
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
  std::uint64_t endianness = 0;
  ZOOD_RETURN_IF_ERROR(ReadFields(
      message, Field(VarintTag(1), header.num_shards), Field(VarintTag(2), endianness),
      Field(BytesTag(3), [](const WireField& version) { return CheckVersion(version.bytes); })));
  if (endianness != 0) {
    return Unimplemented("the checkpoint is big-endian; save it again on a little-endian machine");
  }
  if (header.num_shards < 1 || header.num_shards > 99'999) {
    return DataLoss("the header counts {} data files", header.num_shards);
  }
  return header;
}

absl::StatusOr<BundleEntry> ParseBundleEntry(std::span<const std::byte> message, Budget& budget) {
  ZOOD_RETURN_IF_ERROR(budget.Take(sizeof(BundleEntry), "entries of the index"));
  BundleEntry entry;
  std::uint64_t data_type = 0;
  ZOOD_RETURN_IF_ERROR(ReadFields(
      message, Field(VarintTag(1), data_type), Field(BytesTag(2), ShapeInto(entry.shape, budget)),
      Field(VarintTag(3), entry.shard), Field(VarintTag(4), entry.offset),
      Field(VarintTag(5), entry.size), Field(Fixed32Tag(6), entry.masked_crc),
      Field(BytesTag(7), SlicesInto(entry.slices, budget))));
  ZOOD_ASSIGN_OR_RETURN(entry.dtype, DTypeFromTensorFlow(data_type));
  return entry;
}

absl::StatusOr<std::vector<SavedSliceMeta>> ParseSavedTensorSlicesMeta(
    std::span<const std::byte> message, const Limits& limits, Budget& budget) {
  std::vector<SavedSliceMeta> variables;
  const auto add_variable = [&](const WireField& field) -> absl::Status {
    if (variables.size() == limits.max_tensors) {
      return ResourceExhausted("there are more variables than the limit of {}", limits.max_tensors);
    }
    ZOOD_ASSIGN_OR_RETURN(SavedSliceMeta variable, ParseSavedSliceMeta(field.bytes, budget));
    variables.push_back(std::move(variable));
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(ReadFields(message, Field(BytesTag(1), [&](const WireField& meta) {
                                    return ReadFields(
                                        meta.bytes, Field(BytesTag(1), add_variable),
                                        Field(BytesTag(2), [](const WireField& version) {
                                          return CheckVersion(version.bytes);
                                        }));
                                  })));
  return variables;
}

absl::StatusOr<SavedSlice> ParseSavedSlice(std::span<const std::byte> message) {
  SavedSlice slice;
  ZOOD_RETURN_IF_ERROR(ReadFields(message, Field(BytesTag(2), [&](const WireField& data) {
                                    return ReadFields(data.bytes, Field(BytesTag(1), slice.name),
                                                      Field(BytesTag(3), slice.tensor));
                                  })));
  return slice;
}

}  // namespace zood::checkpoint
