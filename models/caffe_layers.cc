#include "models/caffe_layers.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <variant>

#include "base/status.h"
#include "checkpoint/printable.h"

namespace zood::models {
namespace {

using checkpoint::CaffeSpatial;
using checkpoint::Printable;
using graph::Padding2d;
using graph::Size2d;
using graph::Value;
using Kind = CaffeWeight::Kind;

// The reader bounds every number of a layer by 2^24.
Size2d ToSize(const CaffeSpatial& spatial) {
  return {static_cast<int>(spatial.height), static_cast<int>(spatial.width)};
}

// The padding after an axis that makes a pooling's output as long as Caffe's is.
int PaddingAfter(std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                 bool round_up) {
  const std::int64_t room = input + 2 * pad - kernel;
  if (room < 0) return static_cast<int>(pad);  // no window fits: the net says so
  std::int64_t output = (round_up ? (room + stride - 1) / stride : room / stride) + 1;
  if (pad > 0 && (output - 1) * stride >= input + pad) --output;
  return static_cast<int>(
      std::max<std::int64_t>((output - 1) * stride + kernel - input - pad, 0));
}

}  // namespace

bool InOurOrder(const std::vector<CaffeSegment>& segments) {
  return std::ranges::all_of(segments, [](const CaffeSegment& s) {
    return s.channels == 1 || (s.height == 1 && s.width == 1);
  });
}

void CaffeLayers::AddInput(const std::string& blob) {
  blobs_.insert_or_assign(blob, Blob{.value = net_.input(), .segments = {}});
  net_.EndPoint(blob, net_.input());
}

void CaffeLayers::Add(const checkpoint::CaffeLayer& layer) {
  constexpr std::string_view kLeftOut[] = {"Silence", "Accuracy", "EuclideanLoss", "HingeLoss",
                                           "MultinomialLogisticLoss",
                                           "SigmoidCrossEntropyLoss"};
  if (std::ranges::find(kLeftOut, layer.type) != std::end(kLeftOut)) return;
  Current current{.layer = layer, .bottoms = {}};
  for (std::size_t i = 0; i < layer.bottoms.size(); ++i) {
    if (i > 0 && layer.type == "SoftmaxWithLoss") break;  // the labels
    const auto blob = blobs_.find(layer.bottoms[i]);
    if (blob == blobs_.end()) {
      net_.Fail(InvalidArgument("layer '{}' reads the blob '{}', which no layer before it makes",
                                Printable(layer.name), Printable(layer.bottoms[i])));
      return;
    }
    current.bottoms.push_back(blob->second);
  }
  if (current.bottoms.empty()) {
    net_.Fail(InvalidArgument("layer '{}' of type {} has no bottom; a network for use, such as a "
                              "deploy.prototxt, takes its images from an input",
                              Printable(layer.name), Printable(layer.type)));
    return;
  }
  const std::optional<Blob> made = Make(current);
  if (!made) return;
  const bool softmax = std::holds_alternative<checkpoint::CaffeSoftmax>(layer.parameters);
  before_softmax_ = softmax ? std::optional(current.bottoms.front()) : std::nullopt;
  last_ = made;
  if (layer.type == "SoftmaxWithLoss") return;  // its top is the loss
  for (const std::string& top : layer.tops) {
    blobs_.insert_or_assign(top, *made);
    net_.EndPoint(top, made->value);
  }
}

graph::Value CaffeLayers::Logits() {
  const std::optional<Blob>& blob = before_softmax_ ? before_softmax_ : last_;
  if (!blob) {
    net_.Fail(InvalidArgument("the network has no layers"));
    return net_.input();
  }
  if (!InOurOrder(blob->segments)) {
    net_.Fail(Unimplemented("the network answers a flattened map, not one value for each class"));
  }
  return blob->segments.empty() ? net_.Squeeze(blob->value) : blob->value;
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current) {
  constexpr std::string_view kManyBottoms[] = {"Eltwise", "Concat"};
  if (std::ranges::find(kManyBottoms, current.layer.type) == std::end(kManyBottoms) &&
      current.bottoms.size() > 1) {
    return Unsupported(fmt::format("layer '{}' of type {} with {} bottoms",
                                   Printable(current.layer.name), Printable(current.layer.type),
                                   current.bottoms.size()));
  }
  return std::visit([&](const auto& parameters) { return Make(current, parameters); },
                    current.layer.parameters);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Unsupported(const std::string& what) {
  net_.Fail(Unimplemented("{} is not supported", what));
  return std::nullopt;
}

bool CaffeLayers::IsChannels(const Current& current, std::int64_t axis) {
  const int rank = current.bottoms.front().value.shape().rank();
  if (axis == 1 || axis == 1 - rank) return true;
  Unsupported(fmt::format("layer '{}': axis {} of a blob with {} axes, other than the channels'",
                          Printable(current.layer.name), axis, rank));
  return false;
}

void CaffeLayers::AddWeight(CaffeWeight weight) { weights_.push_back(std::move(weight)); }

CaffeLayers::Blob CaffeLayers::Flatten(const Blob& blob) {
  if (blob.value.shape().rank() != 4) return blob;
  const Value& map = blob.value;
  return {.value = net_.Flatten(map),
          .segments = {{.channels = map.channels(), .height = map.height(),
                        .width = map.width()}}};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Activate(const Current& current,
                                                       const graph::ActivationPtr& function) {
  const auto scope = net_.Scope(current.layer.name);
  return Blob{.value = net_.Apply(current.bottoms[0].value, function),
              .segments = current.bottoms[0].segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const std::monostate&) {
  const std::string& type = current.layer.type;
  if (type == "Split") return current.bottoms[0];
  if (type == "Sigmoid") return Activate(current, graph::Sigmoid());
  if (type == "TanH") return Activate(current, graph::Tanh());
  return Unsupported(
      fmt::format("layer '{}' of type {}", Printable(current.layer.name), Printable(type)));
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeConvolution& p) {
  const std::string& name = current.layer.name;
  if (current.layer.type != "Convolution") {
    return Unsupported(
        fmt::format("layer '{}' of type {}", Printable(name), Printable(current.layer.type)));
  }
  const Size2d pad = ToSize(p.pad);
  const Value value = net_.Conv2d(
      current.bottoms[0].value, static_cast<int>(p.num_output), ToSize(p.kernel),
      {.stride = ToSize(p.stride),
       .rate = ToSize(p.dilation),
       .padding = Padding2d{pad.height, pad.height, pad.width, pad.width},
       .activation = nullptr,
       .biases_initializer = p.bias_term ? graph::Zeros() : nullptr,
       .groups = static_cast<int>(p.group),
       .scope = name});
  AddWeight({.variable = name + "/weights", .kind = Kind::kConvolution, .layer = name});
  if (p.bias_term) AddWeight({.variable = name + "/biases", .layer = name, .blob = 1});
  return Blob{.value = value, .segments = {}};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffePooling& p) {
  using Method = checkpoint::CaffePooling::Method;
  const std::string& name = current.layer.name;
  const Value& x = current.bottoms[0].value;
  if (p.method == Method::kStochastic) {
    return Unsupported(fmt::format("stochastic pooling in '{}'", Printable(name)));
  }
  if (x.shape().rank() != 4) {
    net_.Fail(InvalidArgument("'{}' pools a map, found {}", Printable(name),
                              x.shape().ToString()));
    return std::nullopt;
  }
  if (p.global && p.method == Method::kAverage) {
    const auto scope = net_.Scope(name);
    return Blob{.value = net_.GlobalAvgPool(x), .segments = {}};
  }
  const Size2d kernel = p.global ? Size2d{x.height(), x.width()} : ToSize(p.kernel);
  const Size2d pad = p.global ? Size2d{0, 0} : ToSize(p.pad);
  const Size2d stride = ToSize(p.stride);
  const Padding2d padding{
      .top = pad.height,
      .bottom = PaddingAfter(x.height(), kernel.height, stride.height, pad.height, p.round_up),
      .left = pad.width,
      .right = PaddingAfter(x.width(), kernel.width, stride.width, pad.width, p.round_up)};
  const graph::Pool2dArgs args{.stride = stride,
                               .padding = padding,
                               .divisor = graph::PoolOp::Divisor::kPadded,
                               .counted_bottom = std::min(padding.bottom, pad.height),
                               .counted_right = std::min(padding.right, pad.width),
                               .scope = name};
  return Blob{.value = p.method == Method::kMax ? net_.MaxPool2d(x, kernel, args)
                                                : net_.AvgPool2d(x, kernel, args),
              .segments = {}};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeInnerProduct& p) {
  if (!IsChannels(current, p.axis)) return std::nullopt;
  const std::string& name = current.layer.name;
  const Blob flat = Flatten(current.bottoms[0]);
  const Value value =
      net_.FullyConnected(flat.value, static_cast<int>(p.num_output),
                          {.activation = nullptr,
                           .biases_initializer = p.bias_term ? graph::Zeros() : nullptr,
                           .scope = name});
  AddWeight({.variable = name + "/weights",
             .kind = Kind::kInnerProduct,
             .layer = name,
             .transposed = p.transpose,
             .segments = flat.segments});
  if (p.bias_term) AddWeight({.variable = name + "/biases", .layer = name, .blob = 1});
  return Blob{.value = value, .segments = {{.channels = p.num_output}}};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeLrn& p) {
  if (p.within_channel || current.bottoms[0].value.shape().rank() != 4) {
    return Unsupported(fmt::format("normalisation within a channel in '{}'",
                                   Printable(current.layer.name)));
  }
  const auto scope = net_.Scope(current.layer.name);
  return Blob{.value = net_.Lrn(current.bottoms[0].value,
                                {.radius = static_cast<int>((p.local_size - 1) / 2),
                                 .bias = p.k,
                                 .alpha = p.alpha / static_cast<float>(p.local_size),
                                 .beta = p.beta}),
              .segments = {}};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeEltwise& p) {
  using Operation = checkpoint::CaffeEltwise::Operation;
  using OpKind = graph::EltwiseOp::Kind;
  const auto scope = net_.Scope(current.layer.name);
  std::vector<Value> inputs;
  for (const Blob& bottom : current.bottoms) inputs.push_back(bottom.value);
  const OpKind kind = p.operation == Operation::kSum       ? OpKind::kSum
                      : p.operation == Operation::kProduct ? OpKind::kProduct
                                                           : OpKind::kMax;
  const Blob& first = current.bottoms.front();
  if (std::ranges::any_of(current.bottoms, [&](const Blob& other) {
        return other.segments != first.segments &&
               !(InOurOrder(other.segments) && InOurOrder(first.segments));
      })) {
    return Unsupported(fmt::format("'{}', which joins blobs flattened from different maps,",
                                   Printable(current.layer.name)));
  }
  return Blob{.value = net_.Eltwise({.kind = kind, .coefficients = p.coefficients}, inputs),
              .segments = first.segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeConcat& p) {
  if (!IsChannels(current, p.axis)) return std::nullopt;
  const auto scope = net_.Scope(current.layer.name);
  std::vector<Value> inputs;
  std::vector<CaffeSegment> segments;
  for (const Blob& bottom : current.bottoms) {
    inputs.push_back(bottom.value);
    segments.insert(segments.end(), bottom.segments.begin(), bottom.segments.end());
  }
  return Blob{.value = net_.Concat(inputs), .segments = std::move(segments)};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeBatchNorm& p) {
  const std::string& name = current.layer.name;
  if (!p.use_global_stats) {
    return Unsupported(fmt::format("'{}', which normalises with the statistics of the batch,",
                                   Printable(name)));
  }
  const Blob& x = current.bottoms[0];
  const Value value = net_.BatchNorm(x.value, {.decay = p.moving_average_fraction,
                                               .epsilon = p.eps,
                                               .center = false,
                                               .scale = false,
                                               .scope = name});
  for (int i = 0; const char* leaf : {"/moving_mean", "/moving_variance"}) {
    AddWeight({.variable = name + leaf, .kind = Kind::kStatistic, .layer = name, .blob = i++,
               .segments = x.segments});
  }
  return Blob{.value = value, .segments = x.segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::AddGammaAndBeta(const Current& current,
                                                              std::int64_t axis,
                                                              std::int64_t num_axes,
                                                              bool gamma_in_file, bool beta) {
  const std::string& name = current.layer.name;
  const Blob& x = current.bottoms[0];
  if (!IsChannels(current, axis)) return std::nullopt;
  if (num_axes != 1 && !(num_axes == -1 && x.value.shape().rank() == 2)) {
    return Unsupported(fmt::format("'{}', which has more than a value for each channel,",
                                   Printable(name)));
  }
  AddWeight({.variable = name + "/gamma",
             .kind = gamma_in_file ? Kind::kVector : Kind::kOnes,
             .layer = name,
             .segments = x.segments});
  if (beta) {
    AddWeight({.variable = name + "/beta", .layer = name, .blob = gamma_in_file ? 1 : 0,
               .segments = x.segments});
  }
  return Blob{.value = net_.Scale(x.value, beta, name), .segments = x.segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeScale& p) {
  return AddGammaAndBeta(current, p.axis, p.num_axes, true, p.bias_term);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeBias& p) {
  return AddGammaAndBeta(current, p.axis, p.num_axes, false, true);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeRelu& p) {
  return Activate(current,
                  p.negative_slope == 0 ? graph::Relu() : graph::LeakyRelu(p.negative_slope));
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffePRelu& p) {
  const std::string& name = current.layer.name;
  const Blob& x = current.bottoms[0];
  constexpr int kMostShared = 1 << 16;  // one number in a file stands for so many of ours
  if (p.channel_shared && x.value.channels() > kMostShared) {
    return Unsupported(fmt::format("'{}', a slope shared by {} channels,", Printable(name),
                                   x.value.channels()));
  }
  AddWeight({.variable = name + "/slope",
             .kind = p.channel_shared ? Kind::kShared : Kind::kVector,
             .layer = name,
             .segments = x.segments});
  return Blob{.value = net_.Prelu(x.value, graph::Constant(0.25f), name), .segments = x.segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeElu& p) {
  if (p.alpha != 1) {
    return Unsupported(fmt::format("ELU with alpha {} in '{}'", p.alpha,
                                   Printable(current.layer.name)));
  }
  return Activate(current, graph::Elu());
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeDropout& p) {
  const auto scope = net_.Scope(current.layer.name);
  return Blob{.value = net_.Dropout(current.bottoms[0].value, 1 - p.ratio),
              .segments = current.bottoms[0].segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeSoftmax& p) {
  if (!IsChannels(current, p.axis)) return std::nullopt;
  const auto scope = net_.Scope(current.layer.name);
  return Blob{.value = net_.Softmax(current.bottoms[0].value),
              .segments = current.bottoms[0].segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeFlatten& p) {
  if (!IsChannels(current, p.axis)) return std::nullopt;
  const int rank = current.bottoms[0].value.shape().rank();
  if (p.end_axis != -1 && p.end_axis != rank - 1) {
    return Unsupported(fmt::format("'{}', which flattens some axes only,",
                                   Printable(current.layer.name)));
  }
  const auto scope = net_.Scope(current.layer.name);
  return Flatten(current.bottoms[0]);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffePower& p) {
  if (p.power != 1) {
    return Unsupported(fmt::format("a power of {} in '{}'", p.power,
                                   Printable(current.layer.name)));
  }
  return Activate(current, graph::Linear(p.scale, p.shift));
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeReshape& p) {
  const Blob& x = current.bottoms[0];
  const std::int64_t features = Shape({x.value.shape().begin() + 1, x.value.shape().end()})
                                    .CheckedNumElements()
                                    .value_or(0);
  const bool flattens = p.axis == 0 && p.num_axes == -1 && p.dims.size() == 2 && p.dims[0] == 0 &&
                        (p.dims[1] == -1 || p.dims[1] == features);
  if (!flattens) {
    return Unsupported(fmt::format("'{}', a reshape other than to {{0, -1}},",
                                   Printable(current.layer.name)));
  }
  const auto scope = net_.Scope(current.layer.name);
  return Flatten(x);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const checkpoint::CaffeSlice&) {
  return Unsupported(fmt::format("the Slice '{}'", Printable(current.layer.name)));
}

}  // namespace zood::models
