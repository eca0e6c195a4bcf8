// TensorProto, ONNX's serialized tensor.
// Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/shape.h"
#include "base/tensor.h"

namespace zood::checkpoint {

// Where another file has the elements.
struct OnnxExternalData {
  std::string location;  // a path beside the model's file, as the file says it
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;  // unset: to the end of what the elements need
};

// A tensor that has been looked through; its elements stay where they are.
struct OnnxTensor {
  std::string name;
  std::int32_t data_type = 0;  // of TensorProto.DataType
  std::optional<DType> dtype;  // nothing for types that zood does not have
  Shape shape;
  std::optional<OnnxExternalData> external;
  bool has_elements = false;  // in the message itself
  std::span<const std::byte> message;
};

// "FLOAT8E4M3FN", for messages.
std::string OnnxTypeName(std::int32_t data_type);

// DataLoss when the message is damaged.
absl::StatusOr<OnnxTensor> ParseOnnxTensor(std::span<const std::byte> message);

// The elements of a tensor that has them in its message, copied only where they do not lie there in
// one aligned piece; `owner` keeps the message alive. DataLoss when shape and elements disagree,
// Unimplemented for a type that zood does not have. Takes as much memory as there are elements.
absl::StatusOr<Tensor> ReadOnnxTensor(const OnnxTensor& tensor, std::shared_ptr<const void> owner);

// The tensor of a Constant node, under the name of what the node makes; nothing for other nodes.
absl::StatusOr<std::optional<OnnxTensor>> OnnxConstantOf(std::span<const std::byte> node);

// The tensors of a model that may be weights: its initializers, and those of Constant nodes under
// the names of what the nodes make. `visit` is called in the order of the file; its error ends the
// walk. DataLoss when the model is damaged.
absl::Status VisitOnnxTensors(std::span<const std::byte> model,
                              const std::function<absl::Status(OnnxTensor tensor)>& visit);

}  // namespace zood::checkpoint
