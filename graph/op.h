// The operations of a network, as data.
//
// Feature maps are [batch, height, width, channels]; vectors are [batch, features]. Every extent
// but the batch is known. Paddings are resolved to numbers: "SAME" and "VALID" are the layer API's
// words, not the graph's.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "base/shape.h"
#include "graph/function.h"

namespace zood::graph {

using NodeId = int;      // index into Graph::nodes()
using VariableId = int;  // index into Graph::variables()

struct Size2d {
  int height = 1;
  int width = 1;
  friend bool operator==(const Size2d&, const Size2d&) = default;
};

// Rows and columns of zeros around a feature map.
struct Padding2d {
  int top = 0;
  int bottom = 0;
  int left = 0;
  int right = 0;
  friend bool operator==(const Padding2d&, const Padding2d&) = default;
};

// The images: [batch, height, width, channels].
struct InputOp {};

// Cross-correlation, as every framework calls convolution. Weights are
// [height, width, in_channels / groups, out_channels]. A depthwise convolution has
// groups == in_channels; its variable has TensorFlow's shape [height, width, in_channels,
// multiplier], which is the same memory, because output channel c * multiplier + m belongs to
// input channel c.
struct ConvOp {
  Size2d kernel;
  Size2d stride;
  Size2d dilation;
  Padding2d padding;
  int groups = 1;
  int out_channels = 0;
  VariableId weights = -1;
  std::optional<VariableId> biases;
};

// x [batch, n] times weights [n, out_features], plus biases.
struct FullyConnectedOp {
  int out_features = 0;
  VariableId weights = -1;
  std::optional<VariableId> biases;
};

// (x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis (Ioffe and Szegedy,
// 2015). In training mean and variance are the batch's, and the moving ones follow them:
// moving = decay * moving + (1 - decay) * batch.
struct BatchNormOp {
  VariableId moving_mean = -1;
  VariableId moving_variance = -1;
  std::optional<VariableId> gamma;
  std::optional<VariableId> beta;
  float epsilon = 0.001f;
  float decay = 0.999f;
};

// gamma * x + beta over the last axis.
struct ScaleOp {
  VariableId gamma = -1;
  std::optional<VariableId> beta;
};

struct ActivationOp {
  ActivationPtr function;
};

// max(x, 0) + slope * min(x, 0), a slope for each channel (He et al., 2015).
struct PreluOp {
  VariableId slope = -1;
};

struct PoolOp {
  enum class Kind { kMax, kAverage };
  // What an average is divided by.
  enum class Divisor {
    kValid,   // the elements that exist (TensorFlow)
    kPadded,  // the part of the window inside the padded map, zeros included (Caffe)
  };
  Kind kind = Kind::kMax;
  Size2d kernel;
  Size2d stride;
  Padding2d padding;  // bottom and right may be "overhang" beyond the divisor's padded map
  Divisor divisor = Divisor::kValid;
  // For kPadded: how many of padding.bottom and padding.right count as padding; the rest overhangs.
  int counted_bottom = 0;
  int counted_right = 0;
};

// x / (bias + alpha * sum of squares over channels c - radius .. c + radius)^beta (Krizhevsky et
// al., 2012). alpha is not divided by the window.
struct LrnOp {
  int radius = 5;
  float bias = 1;
  float alpha = 1;
  float beta = 0.5f;
};

// Elementwise over inputs of one shape. For kSum, input i counts coefficients[i] times.
struct EltwiseOp {
  enum class Kind { kSum, kProduct, kMax };
  Kind kind = Kind::kSum;
  std::vector<float> coefficients;
};

// Along the last axis.
struct ConcatOp {};

// `before` and `after` zero channels around the input's own: the parameter-free shortcut of
// CIFAR ResNets (He et al., 2016, option A). Negative numbers take channels away instead, so that
// a slice is left; the two never have different signs.
struct ChannelPadOp {
  int before = 0;
  int after = 0;
};

// Identity at inference; in training x / keep_probability where a coin says keep, else 0.
struct DropoutOp {
  float keep_probability = 0.5f;
};

// The same elements, row-major, under the node's shape.
struct ReshapeOp {};

// exp(x) / sum(exp(x)) over the last axis.
struct SoftmaxOp {};

using Op =
    std::variant<InputOp, ConvOp, FullyConnectedOp, BatchNormOp, ScaleOp, ActivationOp, PreluOp,
                 PoolOp, LrnOp, EltwiseOp, ConcatOp, ChannelPadOp, DropoutOp, ReshapeOp, SoftmaxOp>;

// "Conv", "BatchNorm", ...: for messages and profiles.
const char* OpName(const Op& op);

// The variables that an operation reads, in the order of its members.
std::vector<VariableId> VariablesOf(const Op& op);

}  // namespace zood::graph
