// An ONNX model as plain values, and the form in which its description is kept.
// Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace zood::netdef {

struct OnnxAttribute {
  float f = 0;
  std::int64_t i = 0;
  std::string s;
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  std::optional<Tensor> t;
};

struct OnnxNode {
  std::string op;
  std::string domain;               // empty for ONNX's own operators
  std::string name;                 // may be empty
  std::vector<std::string> inputs;  // an empty name: an optional input that is not given
  std::vector<std::string> outputs;
  std::map<std::string, OnnxAttribute, std::less<>> attributes;
  bool has_graph = false;  // If, Loop, Scan

  std::int64_t Int(std::string_view attribute, std::int64_t otherwise) const;
  float Float(std::string_view attribute, float otherwise) const;
  std::string Text(std::string_view attribute, std::string otherwise) const;
  std::vector<std::int64_t> Ints(std::string_view attribute,
                                 std::vector<std::int64_t> otherwise) const;
  bool Has(std::string_view attribute) const { return attributes.contains(attribute); }
  // "'conv1' of type Conv", for messages.
  std::string ForPeople() const;
};

// An initializer. Numbers that decide what the graph is (shapes, axes, single numbers) have their
// values here; weights are read when they are mapped.
struct OnnxInitializer {
  std::string name;
  Shape shape;
  std::optional<Tensor> value;
};

struct OnnxValueInfo {
  std::string name;
  std::vector<std::int64_t> dims;  // -1 where the file leaves one open
};

struct OnnxModel {
  std::int64_t opset = 0;  // of ONNX's own operators
  std::string name;
  std::vector<OnnxNode> nodes;
  std::vector<OnnxInitializer> initializers;
  std::vector<OnnxValueInfo> inputs;  // without initializers
  std::vector<std::string> outputs;
  std::map<std::string, std::string, std::less<>> metadata;
};

// The description in a model's file, without weights: what NetworkSpec::source holds. Base64 of a
// ModelProto in which tensors of weights have no elements. DataLoss for a damaged file;
// ResourceExhausted for one whose description exceeds `most_bytes`.
absl::StatusOr<std::string> OnnxDescription(std::span<const std::byte> file,
                                            std::uint64_t most_bytes);

// InvalidArgument for what OnnxDescription() does not make; Unimplemented for sparse initializers
// and functions of the model's own.
absl::StatusOr<OnnxModel> ParseOnnxDescription(std::string_view description);

}  // namespace zood::netdef
