// Operators that compute.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status.h"
#include "base/text.h"
#include "netdef/onnx/builder.h"

namespace zood::netdef {
namespace {

using graph::Padding2d;
using graph::Size2d;
using graph::Value;

constexpr std::int64_t kMostExtent = 1 << 24;

// Two numbers of an attribute, height first.
absl::StatusOr<Size2d> SizeOf2d(const std::vector<std::int64_t>& numbers, const char* attribute,
                                std::int64_t least = 1) {
  if (numbers.size() != 2) {
    return Unimplemented("{} has {} numbers, not those of two axes", attribute, numbers.size());
  }
  for (const std::int64_t number : numbers) {
    if (number < least || number > kMostExtent) {
      return InvalidArgument("{} of {}", attribute, number);
    }
  }
  return Size2d{static_cast<int>(numbers[0]), static_cast<int>(numbers[1])};
}

std::int64_t Spread(int kernel, int dilation) {
  return static_cast<std::int64_t>(kernel - 1) * dilation + 1;
}

}  // namespace

// ------------------------------------------------------------ layers with weights

absl::StatusOr<Padding2d> OnnxBuilder::PaddingOf(const OnnxNode& node, const Value& x,
                                                 Size2d kernel, Size2d stride,
                                                 Size2d dilation) const {
  const std::string automatic = node.Text("auto_pad", "NOTSET");
  if (automatic == "VALID") return Padding2d{};
  if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
    const auto total = [](int input, int window, int step, int spread) {
      const std::int64_t output = (input + step - 1) / step;
      return std::max<std::int64_t>((output - 1) * step + Spread(window, spread) - input, 0);
    };
    const std::int64_t rows = total(x.height(), kernel.height, stride.height, dilation.height);
    const std::int64_t columns = total(x.width(), kernel.width, stride.width, dilation.width);
    const std::int64_t odd = automatic == "SAME_LOWER" ? 1 : 0;
    const auto before = [&](std::int64_t all) { return static_cast<int>((all + odd) / 2); };
    return Padding2d{before(rows), static_cast<int>(rows) - before(rows), before(columns),
                     static_cast<int>(columns) - before(columns)};
  }
  if (automatic != "NOTSET") return Unimplemented("auto_pad '{}'", Printable(automatic));
  const std::vector<std::int64_t> pads = node.Ints("pads", {0, 0, 0, 0});
  if (pads.size() != 4) return Unimplemented("pads of other axes than height and width");
  for (const std::int64_t pad : pads) {
    if (pad < 0 || pad > kMostExtent) return Unimplemented("pads of {}", pad);
  }
  return Padding2d{static_cast<int>(pads[0]), static_cast<int>(pads[2]), static_cast<int>(pads[1]),
                   static_cast<int>(pads[3])};
}

OnnxBuilder::Made OnnxBuilder::Conv(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(const OnnxMap x, Image(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const OnnxWeightRef weight, Weight(node, 1));
  if (weight.shape.rank() != 4) return Unimplemented("with weights {}", weight.shape.ToString());
  ZOOD_ASSIGN_OR_RETURN(const Size2d kernel,
                        SizeOf2d({weight.shape[2], weight.shape[3]}, "the kernel"));
  ZOOD_ASSIGN_OR_RETURN(const Size2d stride, SizeOf2d(node.Ints("strides", {1, 1}), "strides"));
  ZOOD_ASSIGN_OR_RETURN(const Size2d rate, SizeOf2d(node.Ints("dilations", {1, 1}), "dilations"));
  const std::int64_t groups = node.Int("group", 1);
  const std::int64_t channels = x.value.channels();
  const std::int64_t outputs = OutputsOf(weight, weight.shape[0]);
  if (groups < 1 || weight.shape[1] > kMostExtent || groups > kMostExtent ||
      weight.shape[1] * groups != channels || outputs < 1 || outputs > kMostExtent) {
    return InvalidArgument("its weights {} and {} groups do not fit {} channels",
                           weight.shape.ToString(), groups, channels);
  }
  ZOOD_ASSIGN_OR_RETURN(Padding2d padding, PaddingOf(node, x.value, kernel, stride, rate));
  padding.top += x.padding.top;
  padding.bottom += x.padding.bottom;
  padding.left += x.padding.left;
  padding.right += x.padding.right;
  std::optional<OnnxWeightRef> bias;
  if (Find(node, 2) != nullptr) {
    ZOOD_ASSIGN_OR_RETURN(bias, Weight(node, 2));
  } else {
    bias = TakeBias(node, weight.shape[0], Axes::Of(Shape({-1, 2, 2, weight.shape[0]})));
  }
  const std::string scope = ScopeFor(weight);
  const Value value = net_.Conv2d(x.value, static_cast<int>(outputs), kernel,
                                  {.stride = stride,
                                   .rate = rate,
                                   .padding = padding,
                                   .activation = nullptr,
                                   .biases_initializer = bias ? graph::Zeros() : nullptr,
                                   .groups = static_cast<int>(groups),
                                   .scope = scope});
  AddWeight(scope + "/weights", weight, {.steps = {{.permutation = {2, 3, 1, 0}}}});
  if (bias) AddWeight(scope + "/biases", *bias);
  std::vector<OnnxValue> made = {OnnxMap{.value = value, .axes = Axes::Of(value.shape())}};
  return made;
}

absl::StatusOr<OnnxMap> OnnxBuilder::FullyConnected(const OnnxMap& x, OnnxWeightRef weight,
                                                    bool out_first, float alpha,
                                                    const std::optional<OnnxWeightRef>& bias,
                                                    float beta) {
  const int out_axis = out_first ? 0 : 1;
  const std::int64_t inputs = weight.shape[1 - out_axis];
  const std::int64_t outputs = OutputsOf(weight, weight.shape[out_axis]);
  if (x.axes.rank() != 2 || x.axes.Length(1) != inputs || outputs < 1 || outputs > kMostExtent) {
    return Unimplemented("of {} with weights {}", x.axes.ToString(), weight.shape.ToString());
  }
  OnnxWeight how{.scale = alpha};
  if (out_first) how.steps.push_back({.permutation = {1, 0}, .reshaped = {}});
  if (x.value.shape().rank() == 4) {
    const std::vector<std::int64_t> places = x.axes.PlacesIn(x.value.shape(), 1);
    how.rows.resize(places.size());
    for (std::size_t i = 0; i < places.size(); ++i) {
      how.rows[static_cast<std::size_t>(places[i])] = static_cast<std::int64_t>(i);
    }
    if (std::ranges::is_sorted(how.rows)) how.rows.clear();
  }
  const std::string scope = ScopeFor(weight);
  const Value flat = x.value.shape().rank() == 4 ? net_.Flatten(x.value) : x.value;
  const Value value = net_.FullyConnected(flat, static_cast<int>(outputs),
                                          {.activation = nullptr,
                                           .biases_initializer = bias ? graph::Zeros() : nullptr,
                                           .scope = scope});
  AddWeight(scope + "/weights", std::move(weight), std::move(how));
  if (bias) AddWeight(scope + "/biases", *bias, {.scale = beta});
  return OnnxMap{.value = value, .axes = Axes::Of(value.shape())};
}

OnnxBuilder::Made OnnxBuilder::Gemm(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(const OnnxMap x, PlainMap(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const OnnxWeightRef weight, Weight(node, 1));
  const bool out_first = node.Int("transB", 0) != 0;
  if (node.Int("transA", 0) != 0 || weight.shape.rank() != 2) {
    return Unimplemented("of a transposed input, or of weights {}", weight.shape.ToString());
  }
  std::optional<OnnxWeightRef> bias;
  if (Find(node, 2) != nullptr) {
    ZOOD_ASSIGN_OR_RETURN(const OnnxWeightRef given, Weight(node, 2));
    const std::int64_t outputs = weight.shape[out_first ? 0 : 1];
    ZOOD_ASSIGN_OR_RETURN(
        bias, PerChannel({.value = x.value, .axes = Axes::Of(Shape({-1, outputs}))}, given));
  }
  ZOOD_ASSIGN_OR_RETURN(OnnxMap made, FullyConnected(x, weight, out_first, node.Float("alpha", 1),
                                                     bias, node.Float("beta", 1)));
  return std::vector<OnnxValue>{std::move(made)};
}

OnnxBuilder::Made OnnxBuilder::MatMul(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const OnnxWeightRef weight, Weight(node, 1));
  if (weight.shape.rank() != 2) return Unimplemented("with weights {}", weight.shape.ToString());
  const std::int64_t outputs = weight.shape[1];
  if (x.axes.rank() == 2) {
    const auto bias = TakeBias(node, outputs, Axes::Of(Shape({-1, outputs})));
    ZOOD_ASSIGN_OR_RETURN(OnnxMap made, FullyConnected(x, weight, false, 1, bias, 1));
    return std::vector<OnnxValue>{std::move(made)};
  }
  // A product for each pixel: a convolution of one pixel.
  const int last = x.axes.rank() - 1;
  const bool of_channels = x.axes.WholeAxis(last) == Place::kChannel;
  if (!of_channels || x.value.shape().rank() != 4 || x.axes.Length(last) != weight.shape[0] ||
      outputs > kMostExtent) {
    return Unimplemented("of {} with weights {}", x.axes.ToString(), weight.shape.ToString());
  }
  std::vector<Axis> axes;
  for (int axis = 0; axis < last; ++axis) axes.push_back(x.axes[axis]);
  axes.push_back({{.place = Place::kChannel, .extent = outputs}});
  x.axes = Axes(std::move(axes));
  const auto bias = TakeBias(node, outputs, x.axes);
  const std::string scope = ScopeFor(weight);
  x.value = net_.Conv2d(x.value, static_cast<int>(OutputsOf(weight, outputs)), {1, 1},
                        {.padding = graph::kValid,
                         .activation = nullptr,
                         .biases_initializer = bias ? graph::Zeros() : nullptr,
                         .scope = scope});
  AddWeight(scope + "/weights", weight,
            {.steps = {{.permutation = {}, .reshaped = {1, 1, weight.shape[0], outputs}}}});
  if (bias) AddWeight(scope + "/biases", *bias);
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::BatchNormalization(const OnnxNode& node) {
  constexpr float kEpsilon = 1e-5f;
  constexpr float kMomentum = 0.9f;
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  if (node.Int("training_mode", 0) != 0 || node.Int("is_test", 1) == 0) {
    return Unimplemented("with the statistics of the batch: export the model for inference");
  }
  if (x.axes.rank() < 2 || x.axes.WholeAxis(1) != Place::kChannel) {
    return Unimplemented("of other axes than the channels of {}", x.axes.ToString());
  }
  std::vector<OnnxWeightRef> weights;
  for (std::size_t input = 1; input < 5; ++input) {
    ZOOD_ASSIGN_OR_RETURN(weights.emplace_back(), Weight(node, input));
  }
  const std::string scope = ScopeFor(weights[0]);
  x.value = net_.BatchNorm(x.value, {.decay = node.Float("momentum", kMomentum),
                                     .epsilon = node.Float("epsilon", kEpsilon),
                                     .center = true,
                                     .scale = true,
                                     .scope = scope});
  for (std::size_t i = 0; const char* leaf : {"gamma", "beta", "moving_mean", "moving_variance"}) {
    AddWeight(fmt::format("{}/{}", scope, leaf), weights[i++]);
  }
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::PRelu(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  if (const auto slope = Scalar(node, 1); slope.ok() && *slope) {
    x.value = net_.Apply(x.value, graph::LeakyRelu(static_cast<float>(**slope)));
    return std::vector<OnnxValue>{std::move(x)};
  }
  ZOOD_ASSIGN_OR_RETURN(OnnxWeightRef weight, Weight(node, 1));
  if (weight.shape.num_elements() != x.value.shape().back()) {
    return Unimplemented("with slopes {}", weight.shape.ToString());
  }
  ZOOD_ASSIGN_OR_RETURN(weight, PerChannel(x, std::move(weight)));
  const std::string scope = ScopeFor(weight);
  x.value = net_.Prelu(x.value, graph::Constant(0.25f), scope);
  AddWeight(scope + "/slope", weight);
  return std::vector<OnnxValue>{std::move(x)};
}

// ------------------------------------------------------------ elementwise

OnnxBuilder::Made OnnxBuilder::Activation(const OnnxNode& node) {
  constexpr float kLeak = 0.01f;
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  graph::ActivationPtr function;
  if (node.op == "Relu") function = graph::Relu();
  if (node.op == "LeakyRelu") function = graph::LeakyRelu(node.Float("alpha", kLeak));
  if (node.op == "Sigmoid") function = graph::Sigmoid();
  if (node.op == "Tanh") function = graph::Tanh();
  if (node.op == "Elu") {
    if (node.Float("alpha", 1) != 1) return Unimplemented("with another alpha than 1");
    function = graph::Elu();
  }
  x.value = net_.Apply(x.value, function);
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::Clip(const OnnxNode& node) {
  constexpr float kMost = std::numeric_limits<float>::max();
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const std::optional<double> low, Scalar(node, 1));
  ZOOD_ASSIGN_OR_RETURN(const std::optional<double> high, Scalar(node, 2));
  const float from = low ? static_cast<float>(*low) : node.Float("min", -kMost);
  const float to = high ? static_cast<float>(*high) : node.Float("max", kMost);
  if (!(from <= to)) return InvalidArgument("from {} to {}", from, to);
  const bool only_below = from == 0 && to == kMost;
  x.value = net_.Apply(x.value, only_below             ? graph::Relu()
                                : from == 0 && to == 6 ? graph::Relu6()
                                                       : graph::Clip(from, to));
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::LinearFunction(const OnnxNode& node, const OnnxMap& x, double number,
                                              bool map_first) {
  OnnxMap made = x;
  const auto n = static_cast<float>(number);
  float scale = 1;
  float shift = 0;
  if (node.op == "Add") shift = n;
  if (node.op == "Mul") scale = n;
  if (node.op == "Sub") {
    scale = map_first ? 1 : -1;
    shift = map_first ? -n : n;
  }
  if (node.op == "Div") {
    if (!map_first) return Unimplemented("of a number by a map");
    if (n == 0) return InvalidArgument("by zero");
    scale = static_cast<float>(1 / number);
  }
  if (scale == 1 && shift == 0) return std::vector<OnnxValue>{std::move(made)};
  made.value = net_.Apply(made.value, graph::Linear(scale, shift));
  return std::vector<OnnxValue>{std::move(made)};
}

OnnxBuilder::Made OnnxBuilder::ArithmeticWithWeight(const OnnxNode& node, const OnnxMap& x,
                                                    OnnxWeightRef weight, bool map_first) {
  using Function = OnnxWeight::Function;
  OnnxMap made = x;
  ZOOD_ASSIGN_OR_RETURN(OnnxWeightRef vector, PerChannel(x, std::move(weight)));
  if (vector.shape[0] != x.value.shape().back()) {
    return Unimplemented("with one value for {} channels", x.value.shape().back());
  }
  const bool adds = node.op == "Add" || node.op == "Sub";
  if (!map_first && (node.op == "Sub" || node.op == "Div")) {
    return Unimplemented("of weights by a map");
  }
  const std::string scope = ScopeFor(vector);
  made.value = net_.Scale(x.value, adds, scope);
  if (adds) {
    AddWeight(scope + "/gamma", vector, {.fill = 1});
    AddWeight(scope + "/beta", vector,
              {.function = node.op == "Sub" ? Function::kNegative : Function::kSame});
  } else {
    AddWeight(scope + "/gamma", vector,
              {.function = node.op == "Div" ? Function::kReciprocal : Function::kSame});
  }
  return std::vector<OnnxValue>{std::move(made)};
}

OnnxBuilder::Made OnnxBuilder::ArithmeticOfMaps(const OnnxNode& node, const OnnxMap& a,
                                                const OnnxMap& b) {
  if (a.axes != b.axes || a.value.shape() != b.value.shape()) {
    return Unimplemented("of {} and {}", a.axes.ToString(), b.axes.ToString());
  }
  if (node.op == "Div") return Unimplemented("of a map by a map");
  OnnxMap made = a;
  if (node.op == "Mul") {
    made.value = net_.Eltwise({.kind = graph::EltwiseOp::Kind::kProduct, .coefficients = {}},
                              {a.value, b.value});
  } else {
    made.value = net_.Add(a.value, b.value, node.op == "Sub" ? -1.0f : 1.0f);
  }
  return std::vector<OnnxValue>{std::move(made)};
}

OnnxBuilder::Made OnnxBuilder::Arithmetic(const OnnxNode& node) {
  const OnnxValue* a = Find(node, 0);
  const OnnxValue* b = Find(node, 1);
  if (a == nullptr || b == nullptr) return InvalidArgument("it lacks an input");
  const auto* number_a = std::get_if<OnnxConstant>(a);
  const auto* number_b = std::get_if<OnnxConstant>(b);
  if (number_a != nullptr && number_b != nullptr) {
    return ArithmeticOfConstants(node, *number_a, *number_b);
  }
  const bool map_first = std::holds_alternative<OnnxMap>(*a);
  ZOOD_ASSIGN_OR_RETURN(const OnnxMap x, PlainMap(node, map_first ? 0 : 1));
  const OnnxValue& other = map_first ? *b : *a;
  if (const auto* map = std::get_if<OnnxMap>(&other)) {
    if (map->padding != Padding2d{}) return Unimplemented("of a map with zeros around it");
    return ArithmeticOfMaps(node, x, *map);
  }
  if (const auto* weight = std::get_if<OnnxWeightRef>(&other)) {
    return ArithmeticWithWeight(node, x, *weight, map_first);
  }
  const auto& constant = std::get<OnnxConstant>(other);
  if (constant.values.size() != 1) return Unimplemented("with a list of integers");
  return LinearFunction(node, x, constant.values[0], map_first);
}

// ------------------------------------------------------------ poolings

OnnxBuilder::Made OnnxBuilder::Pool(const OnnxNode& node, graph::PoolOp::Kind kind) {
  using Divisor = graph::PoolOp::Divisor;
  ZOOD_ASSIGN_OR_RETURN(const OnnxMap x, Image(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const Size2d kernel,
                        SizeOf2d(node.Ints("kernel_shape", {}), "kernel_shape"));
  ZOOD_ASSIGN_OR_RETURN(const Size2d stride, SizeOf2d(node.Ints("strides", {1, 1}), "strides"));
  ZOOD_ASSIGN_OR_RETURN(const Size2d rate, SizeOf2d(node.Ints("dilations", {1, 1}), "dilations"));
  if (rate != Size2d{1, 1}) return Unimplemented("with dilations");
  if (node.outputs.size() > 1 && !node.outputs[1].empty() && readers_.contains(node.outputs[1])) {
    return Unimplemented("whose indices are used");
  }
  ZOOD_ASSIGN_OR_RETURN(Padding2d padding, PaddingOf(node, x.value, kernel, stride, rate));
  const bool counts = node.Int("count_include_pad", 0) != 0;
  const bool average = kind == graph::PoolOp::Kind::kAverage;
  if (x.padding != Padding2d{}) {
    // Zeros that count: what a maximum leaves out, and an average that counts none of its own.
    if (!average || (!counts && padding != Padding2d{})) {
      return Unimplemented("of a map with zeros around it");
    }
    padding.top += x.padding.top;
    padding.bottom += x.padding.bottom;
    padding.left += x.padding.left;
    padding.right += x.padding.right;
  }
  const Padding2d own = padding;
  if (node.Int("ceil_mode", 0) != 0) {
    // One window more where a part of it is left, if it begins before the padding behind.
    const auto behind = [](int input, int window, int step, int before, int after) {
      const std::int64_t room = std::int64_t{input} + before + after - window;
      if (room < 0) return after;
      std::int64_t output = (room + step - 1) / step + 1;
      if ((output - 1) * step >= std::int64_t{input} + before) --output;
      return static_cast<int>(
          std::max<std::int64_t>((output - 1) * step + window - input - before, 0));
    };
    padding.bottom =
        behind(x.value.height(), kernel.height, stride.height, padding.top, padding.bottom);
    padding.right =
        behind(x.value.width(), kernel.width, stride.width, padding.left, padding.right);
  }
  const bool padded = counts || x.padding != Padding2d{};
  const graph::Pool2dArgs args{.stride = stride,
                               .padding = padding,
                               .divisor = padded ? Divisor::kPadded : Divisor::kValid,
                               .counted_bottom = padded ? std::min(padding.bottom, own.bottom) : 0,
                               .counted_right = padded ? std::min(padding.right, own.right) : 0};
  OnnxMap made = x;
  made.padding = {};
  made.value =
      average ? net_.AvgPool2d(x.value, kernel, args) : net_.MaxPool2d(x.value, kernel, args);
  made.axes = Axes::Of(made.value.shape());
  return std::vector<OnnxValue>{std::move(made)};
}

OnnxBuilder::Made OnnxBuilder::MaxPool(const OnnxNode& node) {
  return Pool(node, graph::PoolOp::Kind::kMax);
}

OnnxBuilder::Made OnnxBuilder::AveragePool(const OnnxNode& node) {
  return Pool(node, graph::PoolOp::Kind::kAverage);
}

OnnxBuilder::Made OnnxBuilder::GlobalPool(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, Image(node, 0));
  if (x.padding != Padding2d{}) return Unimplemented("of a map with zeros around it");
  x.value = node.op == "GlobalAveragePool"
                ? net_.GlobalAvgPool(x.value)
                : net_.MaxPool2d(x.value, {x.value.height(), x.value.width()});
  x.axes = Axes::Of(x.value.shape());
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::ReduceMean(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::int64_t> given, Integers(node, 1, "axes"));
  if (given.empty()) return Unimplemented("over all axes");
  std::vector<bool> reduced(static_cast<std::size_t>(x.axes.rank()));
  for (const std::int64_t axis : given) {
    ZOOD_ASSIGN_OR_RETURN(const int at, AxisOf(axis, x.axes.rank()));
    reduced[static_cast<std::size_t>(at)] = true;
  }
  // All of height and width goes, and nothing else.
  const bool keeps = node.Int("keepdims", 1) != 0;
  std::vector<Axis> left;
  for (int axis = 0; axis < x.axes.rank(); ++axis) {
    for (const AxisPart& part : x.axes[axis]) {
      const bool spatial = part.place == Place::kHeight || part.place == Place::kWidth;
      if (spatial != reduced[static_cast<std::size_t>(axis)]) {
        return Unimplemented("over other axes than height and width of {}", x.axes.ToString());
      }
    }
    if (!reduced[static_cast<std::size_t>(axis)]) {
      left.push_back(x.axes[axis]);
    } else if (keeps) {
      left.emplace_back();
    }
  }
  if (x.value.shape().rank() != 4) return Unimplemented("of a vector");
  x.value = net_.GlobalAvgPool(x.value);
  x.axes = Axes(std::move(left));
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::Lrn(const OnnxNode& node) {
  constexpr float kAlpha = 1e-4f;
  constexpr float kBeta = 0.75f;
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, Image(node, 0));
  const std::int64_t size = node.Int("size", 0);
  if (x.padding != Padding2d{}) return Unimplemented("of a map with zeros around it");
  if (size < 1 || size % 2 == 0 || size > kMostExtent) return Unimplemented("of size {}", size);
  x.value = net_.Lrn(x.value, {.radius = static_cast<int>(size / 2),
                               .bias = node.Float("bias", 1),
                               .alpha = node.Float("alpha", kAlpha) / static_cast<float>(size),
                               .beta = node.Float("beta", kBeta)});
  return std::vector<OnnxValue>{std::move(x)};
}

// ------------------------------------------------------------ channels

OnnxBuilder::Made OnnxBuilder::Concat(const OnnxNode& node) {
  if (node.inputs.empty()) return InvalidArgument("it has no inputs");
  if (std::holds_alternative<OnnxConstant>(*Find(node, 0))) {
    OnnxConstant all{.dims = {0}, .values = {}};
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      ZOOD_ASSIGN_OR_RETURN(const OnnxConstant one, Constant(node, i));
      if (one.dims.size() != 1) return Unimplemented("of more than lists");
      all.values.insert(all.values.end(), one.values.begin(), one.values.end());
    }
    all.dims[0] = static_cast<std::int64_t>(all.values.size());
    return std::vector<OnnxValue>{std::move(all)};
  }
  std::vector<Value> values;
  std::optional<Axes> axes;
  int at = 0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    ZOOD_ASSIGN_OR_RETURN(const OnnxMap map, PlainMap(node, i));
    ZOOD_ASSIGN_OR_RETURN(at, AxisOf(node.Int("axis", 1), map.axes.rank()));
    const bool of_channels = map.axes.WholeAxis(at) == Place::kChannel ||
                             (map.axes[at].empty() && map.value.shape().back() == 1);
    std::vector<Axis> others;
    for (int axis = 0; axis < map.axes.rank(); ++axis) {
      others.push_back(axis == at ? Axis() : map.axes[axis]);
    }
    if (!of_channels || (axes && Axes(others) != *axes)) {
      return Unimplemented("along another axis than the channels of {}", map.axes.ToString());
    }
    axes = Axes(std::move(others));
    values.push_back(map.value);
  }
  OnnxMap made{.value = net_.Concat(values), .axes = {}};
  std::vector<Axis> all;
  for (int axis = 0; axis < axes->rank(); ++axis) {
    all.push_back(axis == at ? Axis{{.place = Place::kChannel, .extent = made.value.shape().back()}}
                             : (*axes)[axis]);
  }
  made.axes = Axes(std::move(all));
  return std::vector<OnnxValue>{std::move(made)};
}

absl::StatusOr<OnnxMap> OnnxBuilder::Channels(const OnnxMap& x, int axis, std::int64_t begin,
                                              std::int64_t length) {
  const std::int64_t channels = x.value.shape().back();
  if (x.axes.WholeAxis(axis) != Place::kChannel) {
    return Unimplemented("along another axis than the channels of {}", x.axes.ToString());
  }
  if (begin < 0 || length < 1 || begin + length > channels) {
    return InvalidArgument("channels {} to {} of {}", begin, begin + length, channels);
  }
  OnnxMap made = x;
  if (length == channels) return made;
  made.value = net_.PadChannels(x.value, static_cast<int>(-begin),
                                static_cast<int>(begin + length - channels));
  std::vector<Axis> axes;
  for (int i = 0; i < x.axes.rank(); ++i) {
    axes.push_back(i != axis     ? x.axes[i]
                   : length == 1 ? Axis()
                                 : Axis{{.place = Place::kChannel, .extent = length}});
  }
  made.axes = Axes(std::move(axes));
  return made;
}

OnnxBuilder::Made OnnxBuilder::Split(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(const OnnxMap x, PlainMap(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const int axis, AxisOf(node.Int("axis", 0), x.axes.rank()));
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int64_t> lengths, Integers(node, 1, "split"));
  const auto parts = static_cast<std::int64_t>(node.outputs.size());
  const std::int64_t all = x.axes.Length(axis);
  if (lengths.empty() && all > 0) {
    const std::int64_t each = (all + parts - 1) / parts;
    for (std::int64_t left = all; left > 0; left -= each) lengths.push_back(std::min(each, left));
  }
  if (static_cast<std::int64_t>(lengths.size()) != parts) {
    return InvalidArgument("{} lengths for {} outputs", lengths.size(), parts);
  }
  std::vector<OnnxValue> made;
  std::int64_t begin = 0;
  for (const std::int64_t length : lengths) {
    if (length < 0 || length > kMostExtent) return InvalidArgument("a length of {}", length);
    ZOOD_ASSIGN_OR_RETURN(made.emplace_back(), Channels(x, axis, begin, length));
    begin += length;
  }
  if (begin != all) return InvalidArgument("its lengths are {} of {} in all", begin, all);
  return made;
}

OnnxBuilder::Made OnnxBuilder::Slice(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int64_t> starts, Integers(node, 1, "starts"));
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int64_t> ends, Integers(node, 2, "ends"));
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int64_t> axes, Integers(node, 3, "axes"));
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::int64_t> steps, Integers(node, 4, "steps"));
  for (std::size_t i = axes.size(); i < starts.size(); ++i) {
    axes.push_back(static_cast<std::int64_t>(i));
  }
  steps.resize(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size()) {
    return InvalidArgument("{} starts, {} ends", starts.size(), ends.size());
  }
  const auto range = [](std::int64_t start, std::int64_t end, std::int64_t length) {
    const auto clamp = [&](std::int64_t at) {
      return std::clamp<std::int64_t>(at < 0 ? at + length : at, 0, length);
    };
    return std::pair(clamp(start), std::max(clamp(start), clamp(end)));
  };
  if (std::ranges::any_of(steps, [](std::int64_t step) { return step != 1; })) {
    return Unimplemented("with steps");
  }
  if (const auto* constant = std::get_if<OnnxConstant>(Find(node, 0))) {
    if (constant->dims.size() != 1 || starts.size() != 1)
      return Unimplemented("of more than lists");
    const auto [begin, end] =
        range(starts[0], ends[0], static_cast<std::int64_t>(constant->values.size()));
    return std::vector<OnnxValue>{
        OnnxConstant{.dims = {end - begin},
                     .values = {constant->values.begin() + begin, constant->values.begin() + end}}};
  }
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  for (std::size_t i = 0; i < starts.size(); ++i) {
    ZOOD_ASSIGN_OR_RETURN(const int axis, AxisOf(axes[i], x.axes.rank()));
    const std::int64_t length = x.axes.Length(axis);
    if (length < 0) return Unimplemented("of the batch");
    const auto [begin, end] = range(starts[i], ends[i], length);
    if (begin == 0 && end == length) continue;
    ZOOD_ASSIGN_OR_RETURN(x, Channels(x, axis, begin, end - begin));
  }
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::Softmax(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, PlainMap(node, 0));
  constexpr std::int64_t kOneAxisSince = 13;  // of the opset; before, all axes behind went along
  const bool one_axis = model_.opset >= kOneAxisSince;
  ZOOD_ASSIGN_OR_RETURN(const int axis, AxisOf(node.Int("axis", one_axis ? -1 : 1), x.axes.rank()));
  bool alone = x.axes.WholeAxis(axis) == Place::kChannel;
  for (int behind = axis + 1; !one_axis && behind < x.axes.rank(); ++behind) {
    alone &= x.axes[behind].empty();
  }
  if (!alone) return Unimplemented("over other axes than the channels of {}", x.axes.ToString());
  if (node.op == "Softmax") {
    x.value = net_.Softmax(x.value);
  } else if (readers_.contains(node.outputs[0])) {
    return Unimplemented("that is not the network's last operator");
  }
  // The softmax of a LogSoftmax is that of its input: the input stands for it at the end.
  return std::vector<OnnxValue>{std::move(x)};
}

OnnxBuilder::Made OnnxBuilder::Pad(const OnnxNode& node) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap x, Image(node, 0));
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::int64_t> pads, Integers(node, 1, "pads"));
  ZOOD_ASSIGN_OR_RETURN(const std::optional<double> number, Scalar(node, 2));
  if (node.Text("mode", "constant") != "constant" || number.value_or(node.Float("value", 0)) != 0 ||
      Find(node, 3) != nullptr) {
    return Unimplemented("with something else than zeros around all");
  }
  if (pads.size() != 8) return InvalidArgument("it has {} pads for 4 axes", pads.size());
  for (const std::int64_t pad : pads) {
    if (pad < 0 || pad > kMostExtent) return Unimplemented("by {}", pad);
  }
  if (pads[0] + pads[1] + pads[4] + pads[5] != 0) {
    return Unimplemented("of other axes than height and width");
  }
  x.padding.top += static_cast<int>(pads[2]);
  x.padding.left += static_cast<int>(pads[3]);
  x.padding.bottom += static_cast<int>(pads[6]);
  x.padding.right += static_cast<int>(pads[7]);
  return std::vector<OnnxValue>{std::move(x)};
}

}  // namespace zood::netdef
