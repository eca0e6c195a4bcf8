#include "checkpoint/onnx/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"

namespace zood::checkpoint {
namespace {

// Which of the message's fields holds a type's elements where they are not raw: as packed numbers,
// several types in one.
enum class Store : std::uint8_t { kNone, kFloat, kInt32, kInt64, kDouble, kUInt64 };

struct Type {
  const char* name = "";
  std::optional<DType> dtype = {};
  Store store = Store::kNone;
};
// By TensorProto.DataType.
const std::array<Type, 17> kTypes = {{
    {"UNDEFINED"},
    {"FLOAT", DType::kFloat32, Store::kFloat},
    {"UINT8", DType::kUInt8, Store::kInt32},
    {"INT8", DType::kInt8, Store::kInt32},
    {"UINT16", DType::kUInt16, Store::kInt32},
    {"INT16", DType::kInt16, Store::kInt32},
    {"INT32", DType::kInt32, Store::kInt32},
    {"INT64", DType::kInt64, Store::kInt64},
    {"STRING"},
    {"BOOL", DType::kBool, Store::kInt32},
    {"FLOAT16", DType::kFloat16, Store::kInt32},
    {"DOUBLE", DType::kFloat64, Store::kDouble},
    {"UINT32", DType::kUInt32, Store::kUInt64},
    {"UINT64", DType::kUInt64, Store::kUInt64},
    {"COMPLEX64"},
    {"COMPLEX128"},
    {"BFLOAT16", DType::kBFloat16, Store::kInt32},
}};

const Type& TypeOf(std::int32_t data_type) {
  const bool known = data_type > 0 && static_cast<std::size_t>(data_type) < kTypes.size();
  return kTypes[known ? static_cast<std::size_t>(data_type) : 0];
}

constexpr std::uint32_t kFloatData = 4;
constexpr std::uint32_t kInt32Data = 5;
constexpr std::uint32_t kInt64Data = 7;
constexpr std::uint32_t kRawData = 9;
constexpr std::uint32_t kDoubleData = 10;
constexpr std::uint32_t kUInt64Data = 11;

absl::Status SetExternal(std::span<const std::byte> entry, OnnxExternalData& external) {
  std::string_view key;
  std::string_view value;
  WireReader reader(entry);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(1)) key = field->AsString();
    if (field->tag == BytesTag(2)) value = field->AsString();
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  if (key == "location") external.location = std::string(value);
  if (key != "offset" && key != "length") return absl::OkStatus();
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) {
    return DataLoss("the {} of external data is '{}'; expected a number", key, Printable(value));
  }
  (key == "offset" ? external.offset : external.length.emplace()) = number;
  return absl::OkStatus();
}

// Appends one element of `width` bytes.
void Append(std::uint64_t value, std::size_t width, std::vector<std::byte>& elements) {
  const auto bytes = std::as_bytes(std::span(&value, 1)).first(width);
  elements.insert(elements.end(), bytes.begin(), bytes.end());
}

// The numbers of one field, packed or not, as elements of `width` bytes. No more than `most`.
absl::Status Unpack(const WireField& field, Store store, std::size_t width, std::size_t most,
                    std::vector<std::byte>& elements) {
  const auto full = [&] { return elements.size() / width >= most; };
  if ((field.tag & 7) != 2) {
    if (full()) return DataLoss("more elements than its shape has");
    Append(field.value, width, elements);
    return absl::OkStatus();
  }
  std::span<const std::byte> rest = field.bytes;
  if (store == Store::kFloat || store == Store::kDouble) {
    if (rest.size() % width != 0 || rest.size() / width > most - elements.size() / width) {
      return DataLoss("{} bytes of packed elements do not fit its shape", rest.size());
    }
    elements.insert(elements.end(), rest.begin(), rest.end());
    return absl::OkStatus();
  }
  while (!rest.empty()) {
    const auto value = TakeVarint(rest);
    if (!value || full()) return DataLoss("packed elements do not fit its shape");
    Append(*value, width, elements);
  }
  return absl::OkStatus();
}

std::uint32_t FieldOf(Store store) {
  switch (store) {
    case Store::kFloat:
      return kFloatData;
    case Store::kInt32:
      return kInt32Data;
    case Store::kInt64:
      return kInt64Data;
    case Store::kDouble:
      return kDoubleData;
    case Store::kUInt64:
      return kUInt64Data;
    case Store::kNone:
      break;
  }
  return 0;
}

}  // namespace

std::string OnnxTypeName(std::int32_t data_type) {
  const Type& type = TypeOf(data_type);
  return &type == kTypes.data() ? fmt::format("type {}", data_type) : type.name;
}

absl::StatusOr<OnnxTensor> ParseOnnxTensor(std::span<const std::byte> message) {
  constexpr std::size_t kMostAxes = 16;
  OnnxTensor tensor{.message = message};
  OnnxExternalData external;
  bool is_external = false;
  std::vector<std::int64_t> dims;
  WireReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->tag) {
      case VarintTag(1):
        dims.push_back(field->AsInt64());
        break;
      case BytesTag(1):
        for (std::span<const std::byte> rest = field->bytes; !rest.empty();) {
          const auto dim = TakeVarint(rest);
          if (!dim || dims.size() > kMostAxes) return DataLoss("its dims are damaged");
          dims.push_back(static_cast<std::int64_t>(*dim));
        }
        break;
      case VarintTag(2):
        tensor.data_type = field->AsInt32();
        break;
      case BytesTag(8):
        tensor.name = std::string(field->AsString());
        break;
      case BytesTag(13):
        ZOOD_RETURN_IF_ERROR(SetExternal(field->bytes, external));
        break;
      case VarintTag(14):
        is_external = field->value == 1;
        break;
      default:
        tensor.has_elements |= field->tag >> 3 >= kFloatData && field->tag >> 3 <= kUInt64Data;
    }
    if (dims.size() > kMostAxes) return DataLoss("it has more than {} axes", kMostAxes);
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  tensor.shape = Shape(std::move(dims));
  tensor.dtype = TypeOf(tensor.data_type).dtype;
  if (is_external) tensor.external = std::move(external);
  return tensor;
}

absl::StatusOr<Tensor> ReadOnnxTensor(const OnnxTensor& tensor, std::shared_ptr<const void> owner) {
  if (!tensor.dtype) {
    return Unimplemented("its type is {}, which zood does not have",
                         OnnxTypeName(tensor.data_type));
  }
  const std::size_t width = SizeOf(*tensor.dtype);
  const auto count = static_cast<std::size_t>(tensor.shape.num_elements());
  const Store store = TypeOf(tensor.data_type).store;
  std::vector<std::byte> elements;
  WireReader reader(tensor.message);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(kRawData)) {
      if (field->bytes.size() != count * width) {
        return DataLoss("{} bytes of elements for {} of {}", field->bytes.size(),
                        tensor.shape.ToString(), Name(*tensor.dtype));
      }
      return Tensor::View(*tensor.dtype, tensor.shape, field->bytes, std::move(owner));
    }
    if (field->tag >> 3 == FieldOf(store)) {
      ZOOD_RETURN_IF_ERROR(Unpack(*field, store, width, count, elements));
    }
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  if (elements.size() != count * width) {
    return DataLoss("{} elements for the shape {}", elements.size() / width,
                    tensor.shape.ToString());
  }
  auto kept = std::make_shared<const std::vector<std::byte>>(std::move(elements));
  const std::span<const std::byte> bytes = *kept;
  return Tensor::View(*tensor.dtype, tensor.shape, bytes, std::move(kept));
}

absl::StatusOr<std::optional<OnnxTensor>> OnnxConstantOf(std::span<const std::byte> node) {
  std::string_view op;
  std::string_view output;
  std::span<const std::byte> value;
  WireReader reader(node);
  while (const auto field = reader.Next()) {
    if (field->tag == BytesTag(2) && output.empty()) output = field->AsString();
    if (field->tag == BytesTag(4)) op = field->AsString();
    if (field->tag != BytesTag(5)) continue;
    WireReader attribute(field->bytes);
    while (const auto member = attribute.Next()) {
      if (member->tag == BytesTag(5)) value = member->bytes;
    }
    ZOOD_RETURN_IF_ERROR(attribute.status());
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  if (op != "Constant" || value.empty()) return std::nullopt;
  ZOOD_ASSIGN_OR_RETURN(OnnxTensor tensor, ParseOnnxTensor(value));
  tensor.name = std::string(output);
  return tensor;
}

absl::Status VisitOnnxTensors(std::span<const std::byte> model,
                              const std::function<absl::Status(OnnxTensor tensor)>& visit) {
  WireReader reader(model);
  while (const auto field = reader.Next()) {
    if (field->tag != BytesTag(7)) continue;
    WireReader graph(field->bytes);
    while (const auto member = graph.Next()) {
      if (member->tag == BytesTag(5)) {
        ZOOD_ASSIGN_OR_RETURN(OnnxTensor tensor, ParseOnnxTensor(member->bytes));
        ZOOD_RETURN_IF_ERROR(visit(std::move(tensor)));
      } else if (member->tag == BytesTag(1)) {
        ZOOD_ASSIGN_OR_RETURN(std::optional<OnnxTensor> tensor, OnnxConstantOf(member->bytes));
        if (tensor) ZOOD_RETURN_IF_ERROR(visit(*std::move(tensor)));
      }
    }
    ZOOD_RETURN_IF_ERROR(graph.status());
  }
  return reader.status();
}

}  // namespace zood::checkpoint
