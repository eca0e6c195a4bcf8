#include "checkpoint/caffe/blob.h"

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/wire.h"

namespace zood::checkpoint {
namespace {

constexpr std::size_t kHighestRank = 32;  // of a Caffe blob

// Fields of BlobProto. 6 and 9 are gradients.
constexpr std::uint32_t kNum = 1;
constexpr std::uint32_t kWidth = 4;
constexpr std::uint32_t kData = 5;
constexpr std::uint32_t kShape = 7;
constexpr std::uint32_t kDoubleData = 8;
// NVIDIA's Caffe keeps elements of any type as bytes.
constexpr std::uint32_t kRawDataType = 10;
constexpr std::uint32_t kRawData = 12;

// BlobShape: dim, packed or not.
absl::StatusOr<std::vector<std::int64_t>> ParseDims(std::span<const std::byte> shape) {
  std::vector<std::int64_t> dims;
  const auto add = [&](std::uint64_t dim) {
    dims.push_back(static_cast<std::int64_t>(dim));
    return dims.size() <= kHighestRank;
  };
  WireReader reader(shape);
  while (const auto field = reader.Next()) {
    bool sound = true;
    if (field->tag == VarintTag(1)) {
      sound = add(field->value);
    } else if (field->tag == BytesTag(1)) {
      std::span<const std::byte> packed = field->bytes;
      while (sound && !packed.empty()) {
        const auto dim = TakeVarint(packed);
        sound = dim && add(*dim);
      }
    }
    if (!sound) return DataLoss("a damaged shape, or one of more than {} extents", kHighestRank);
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return dims;
}

struct Contents {
  std::optional<std::vector<std::int64_t>> shape;
  std::array<std::int64_t, 4> legacy = {0, 0, 0, 0};  // num, channels, height, width
  bool has_legacy = false;
  std::uint64_t float_bytes = 0;
  std::uint64_t double_bytes = 0;
  std::optional<std::uint64_t> raw_type;
  std::uint64_t raw_bytes = 0;
};

absl::StatusOr<Contents> Survey(std::span<const std::byte> message) {
  Contents contents;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case BytesTag(kData):
        contents.float_bytes += field->bytes.size();
        break;
      case Fixed32Tag(kData):
        contents.float_bytes += sizeof(float);
        break;
      case BytesTag(kDoubleData):
        contents.double_bytes += field->bytes.size();
        break;
      case Fixed64Tag(kDoubleData):
        contents.double_bytes += sizeof(double);
        break;
      case VarintTag(kRawDataType):
        contents.raw_type = field->value;
        break;
      case BytesTag(kRawData):
        contents.raw_bytes = field->bytes.size();  // of an optional field the last one counts
        break;
      case BytesTag(kShape): {
        ZOOD_ASSIGN_OR_RETURN(contents.shape, ParseDims(field->bytes));
        break;
      }
      default:
        if (const std::uint32_t number = field->tag >> 3;
            field->tag == VarintTag(number) && number >= kNum && number <= kWidth) {
          contents.legacy[number - kNum] = field->AsInt32();
          contents.has_legacy = true;
        }
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return contents;
}

// What raw_data_type says. Without it, what the bytes of an element say, of which there are
// `count`.
absl::StatusOr<DType> RawType(const Contents& contents, std::int64_t count) {
  constexpr std::array kTypes = {DType::kFloat64, DType::kFloat32, DType::kFloat16};
  if (contents.raw_type) {
    if (*contents.raw_type < kTypes.size()) return kTypes[*contents.raw_type];
    return Unimplemented(
        "raw_data has elements of type {}, which are not floating-point numbers; store the model "
        "in "
        "single precision",
        *contents.raw_type);
  }
  for (const DType dtype : kTypes) {
    const std::uint64_t size = SizeOf(dtype);
    if (contents.raw_bytes % size == 0 &&
        contents.raw_bytes / size == static_cast<std::uint64_t>(count)) {
      return dtype;
    }
  }
  return DType::kFloat32;
}

}  // namespace

absl::StatusOr<CaffeBlob> ParseCaffeBlob(std::span<const std::byte> message) {
  ZOOD_ASSIGN_OR_RETURN(Contents contents, Survey(message));
  CaffeBlob blob = {.message = message};
  // As Caffe does: the old extents come first, and neither form at all is a single number.
  if (contents.has_legacy) {
    blob.shape = Shape({contents.legacy.begin(), contents.legacy.end()});
  } else if (contents.shape) {
    blob.shape = Shape(*std::move(contents.shape));
  }
  const auto count = blob.shape.CheckedNumElements();
  blob.field = kData;
  std::uint64_t bytes = contents.float_bytes;
  if (contents.double_bytes > 0) {
    blob.dtype = DType::kFloat64;
    blob.field = kDoubleData;
    bytes = contents.double_bytes;
  } else if (bytes == 0 && contents.raw_bytes > 0) {
    ZOOD_ASSIGN_OR_RETURN(blob.dtype, RawType(contents, count.value_or(0)));
    blob.field = kRawData;
    bytes = contents.raw_bytes;
  }
  const std::size_t size = SizeOf(blob.dtype);
  if (!count || bytes % size != 0 || static_cast<std::uint64_t>(*count) != bytes / size) {
    return DataLoss("shape {} does not fit {} bytes of {}", blob.shape.ToString(), bytes,
                    Name(blob.dtype));
  }
  return blob;
}

absl::StatusOr<Tensor> ReadCaffeBlob(const CaffeBlob& blob, std::shared_ptr<const void> owner) {
  const std::uint32_t number = blob.field;
  const std::uint32_t unpacked = number == kDoubleData ? Fixed64Tag(number) : Fixed32Tag(number);
  const std::size_t size = SizeOf(blob.dtype);
  const std::size_t total = static_cast<std::size_t>(blob.shape.num_elements()) * size;

  auto elements = std::make_shared<std::vector<std::byte>>();
  const auto append = [&](std::span<const std::byte> piece) {
    elements->reserve(total);
    elements->insert(elements->end(), piece.begin(), piece.end());
  };
  WireReader reader(blob.message);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(number)) {
      if (number == kRawData) elements->clear();
      if (field->bytes.size() == total) {
        return Tensor::View(blob.dtype, blob.shape, field->bytes, std::move(owner));
      }
      append(field->bytes);
    } else if (field->tag == unpacked && number != kRawData) {
      append(std::as_bytes(std::span(&field->value, 1)).first(size));
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  const std::span<const std::byte> bytes = *elements;
  return Tensor::View(blob.dtype, blob.shape, bytes, std::move(elements));
}

}  // namespace zood::checkpoint
