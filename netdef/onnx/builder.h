// One node of an ONNX model after the other in the layer API. For netdef/onnx/network.cc only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/net.h"
#include "graph/output.h"
#include "netdef/onnx/axes.h"
#include "netdef/onnx/model.h"
#include "netdef/onnx/network.h"

namespace zood::netdef {

// Numbers that are known while the network is built: shapes, axes, and what is computed of them.
struct OnnxConstant {
  // In the place of the batch's size, which is not known, and of what is computed of it.
  static constexpr double kBatch = -9007199254740992.0;

  std::vector<std::int64_t> dims;
  std::vector<double> values;
};

// A weight as it is in the file, and what the model does with it before it is used.
struct OnnxWeightRef {
  std::string initializer;
  Shape in_file;
  std::vector<OnnxWeight::Step> steps;
  Shape shape;  // after the steps
};

// A value of the network.
struct OnnxMap {
  graph::Value value;
  Axes axes;
  graph::Padding2d padding = {};  // zeros around it that no layer has taken yet
};

// What a node that zood does not have would have made.
struct OnnxUnknown {};

using OnnxValue = std::variant<OnnxUnknown, OnnxConstant, OnnxWeightRef, OnnxMap>;

// The values of a tensor of numbers.
OnnxConstant ToOnnxConstant(const Tensor& tensor);

class OnnxBuilder {
 public:
  // `classes` above 0: the outputs of the layer whose weights are `head`, instead of the model's.
  // References outlive the builder.
  OnnxBuilder(const OnnxModel& model, const std::string& input, bool channels_last,
              const std::string& head, int classes, graph::Net& net);

  // Errors say the node; nodes that zood does not have are collected for Answer().
  absl::Status AddNodes();
  // The tensor `chosen`, or the model's only output. Unimplemented, with all nodes that zood does
  // not have; InvalidArgument, with the names, where there are several outputs, or where it is no
  // class scores.
  absl::StatusOr<graph::Output> Answer(const std::string& chosen);

  std::vector<OnnxWeight> TakeWeights() { return std::move(weights_); }

 private:
  using Made = absl::StatusOr<std::vector<OnnxValue>>;  // for each output
  using Make = Made (OnnxBuilder::*)(const OnnxNode& node);
  static const std::map<std::string_view, Make>& Operators();

  absl::Status Add(const OnnxNode& node);

  // ---- inputs of a node; errors name the input
  const OnnxValue* Find(const OnnxNode& node, std::size_t input) const;  // null: not given
  absl::StatusOr<OnnxMap> Map(const OnnxNode& node, std::size_t input) const;
  // Without zeros around it.
  absl::StatusOr<OnnxMap> PlainMap(const OnnxNode& node, std::size_t input) const;
  // [batch, channels, height, width], as ONNX's convolutions and poolings take it.
  absl::StatusOr<OnnxMap> Image(const OnnxNode& node, std::size_t input);
  absl::StatusOr<OnnxWeightRef> Weight(const OnnxNode& node, std::size_t input) const;
  absl::StatusOr<OnnxConstant> Constant(const OnnxNode& node, std::size_t input) const;
  // A constant of integers, from the input or, in older opsets, the attribute.
  absl::StatusOr<std::vector<std::int64_t>> Integers(const OnnxNode& node, std::size_t input,
                                                     std::string_view attribute) const;
  absl::StatusOr<std::optional<double>> Scalar(const OnnxNode& node, std::size_t input) const;
  // The vector of one value for each channel of `map` that broadcasting makes of a weight.
  absl::StatusOr<OnnxWeightRef> PerChannel(const OnnxMap& map, OnnxWeightRef weight) const;

  // ---- operators
  Made Conv(const OnnxNode& node);
  Made Gemm(const OnnxNode& node);
  Made MatMul(const OnnxNode& node);
  Made BatchNormalization(const OnnxNode& node);
  Made PRelu(const OnnxNode& node);
  Made Activation(const OnnxNode& node);
  Made Clip(const OnnxNode& node);
  Made MaxPool(const OnnxNode& node);
  Made AveragePool(const OnnxNode& node);
  Made GlobalPool(const OnnxNode& node);
  Made ReduceMean(const OnnxNode& node);
  Made Lrn(const OnnxNode& node);
  Made Arithmetic(const OnnxNode& node);
  Made Concat(const OnnxNode& node);
  Made Split(const OnnxNode& node);
  Made Slice(const OnnxNode& node);
  Made Softmax(const OnnxNode& node);
  Made Pad(const OnnxNode& node);
  Made Flatten(const OnnxNode& node);
  Made Reshape(const OnnxNode& node);
  Made Transpose(const OnnxNode& node);
  Made Squeeze(const OnnxNode& node);
  Made Unsqueeze(const OnnxNode& node);
  Made Identity(const OnnxNode& node);
  Made ShapeOf(const OnnxNode& node);
  Made Gather(const OnnxNode& node);
  Made ConstantNode(const OnnxNode& node);
  Made ConstantOfShape(const OnnxNode& node);

  // ---- helpers
  Made ArithmeticOfConstants(const OnnxNode& node, const OnnxConstant& a, const OnnxConstant& b);
  Made ArithmeticWithWeight(const OnnxNode& node, const OnnxMap& x, OnnxWeightRef weight,
                            bool map_first);
  Made ArithmeticOfMaps(const OnnxNode& node, const OnnxMap& a, const OnnxMap& b);
  Made LinearFunction(const OnnxNode& node, const OnnxMap& x, double number, bool map_first);
  absl::StatusOr<OnnxMap> FullyConnected(const OnnxMap& x, OnnxWeightRef weight, bool out_first,
                                         float alpha, const std::optional<OnnxWeightRef>& bias,
                                         float beta);
  Made Pool(const OnnxNode& node, graph::PoolOp::Kind kind);
  absl::StatusOr<graph::Padding2d> PaddingOf(const OnnxNode& node, const graph::Value& x,
                                             graph::Size2d kernel, graph::Size2d stride,
                                             graph::Size2d dilation) const;
  absl::StatusOr<OnnxMap> Channels(const OnnxMap& x, int axis, std::int64_t begin,
                                   std::int64_t length);
  absl::StatusOr<OnnxValue> Transformed(OnnxWeightRef weight, std::vector<int> permutation) const;
  // The weight that the only reader of the node's output adds to it, channel by channel.
  std::optional<OnnxWeightRef> TakeBias(const OnnxNode& node, std::int64_t channels,
                                        const Axes& axes);
  std::string ScopeFor(const OnnxWeightRef& weight);
  void AddWeight(std::string variable, OnnxWeightRef from, OnnxWeight how = {});
  std::int64_t OutputsOf(const OnnxWeightRef& weight, std::int64_t own) const;
  absl::StatusOr<int> AxisOf(std::int64_t axis, int rank) const;

  const OnnxModel& model_;
  const std::string& head_;
  const int classes_;
  graph::Net& net_;
  std::map<std::string, OnnxValue, std::less<>> values_;
  std::map<std::string, std::vector<const OnnxNode*>, std::less<>> readers_;
  std::set<const OnnxNode*> done_;           // with a node before them, an addition each
  std::map<std::string, std::string> sums_;  // what such an addition makes, by its summand
  std::set<std::string> scopes_;
  std::set<std::string> unsupported_;
  std::vector<std::string> unsupported_list_;
  std::vector<OnnxWeight> weights_;
};

}  // namespace zood::netdef
