// The layers of Caffe that have no weights.
#include <algorithm>

#include "base/status.h"
#include "base/text.h"
#include "netdef/caffe/layers.h"

namespace zood::netdef {
namespace {

using graph::Padding2d;
using graph::Size2d;
using graph::Value;

// The padding after an axis that makes a pooling's output as long as Caffe's is.
int PaddingAfter(std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                 bool round_up) {
  const std::int64_t room = input + 2 * pad - kernel;
  if (room < 0) return static_cast<int>(pad);  // no window fits: the net says so
  std::int64_t output = (round_up ? (room + stride - 1) / stride : room / stride) + 1;
  if (pad > 0 && (output - 1) * stride >= input + pad) --output;
  return static_cast<int>(std::max<std::int64_t>((output - 1) * stride + kernel - input - pad, 0));
}

}  // namespace

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
  if (type == "ReLU6") return Activate(current, graph::Relu6());
  return Unsupported("layer '{}' of type {}", Printable(current.layer.name), Printable(type));
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffePooling& p) {
  using Method = CaffePooling::Method;
  const std::string& name = current.layer.name;
  const Value& x = current.bottoms[0].value;
  if (p.method == Method::kStochastic) {
    return Unsupported("stochastic pooling in '{}'", Printable(name));
  }
  if (x.shape().rank() != 4) {
    net_.Fail(InvalidArgument("'{}' pools a map, found {}", Printable(name), x.shape().ToString()));
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

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeLrn& p) {
  if (p.within_channel || current.bottoms[0].value.shape().rank() != 4) {
    return Unsupported("normalization within a channel in '{}'", Printable(current.layer.name));
  }
  const auto scope = net_.Scope(current.layer.name);
  return Blob{.value = net_.Lrn(current.bottoms[0].value,
                                {.radius = static_cast<int>((p.local_size - 1) / 2),
                                 .bias = p.k,
                                 .alpha = p.alpha / static_cast<float>(p.local_size),
                                 .beta = p.beta}),
              .segments = {}};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeEltwise& p) {
  using Operation = CaffeEltwise::Operation;
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
    return Unsupported("'{}', which joins blobs flattened from different maps,",
                       Printable(current.layer.name));
  }
  return Blob{.value = net_.Eltwise({.kind = kind, .coefficients = p.coefficients}, inputs),
              .segments = first.segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeConcat& p) {
  if (!IsChannels(current, p.axis)) return std::nullopt;
  const auto scope = net_.Scope(current.layer.name);
  std::vector<Value> inputs;
  std::vector<CaffeSegment> segments;
  for (const Blob& bottom : current.bottoms) {
    inputs.push_back(bottom.value);
    segments.insert(segments.end(), bottom.segments.begin(), bottom.segments.end());
  }
  constexpr std::size_t kMostSegments = 256;
  if (segments.size() > kMostSegments) {
    return Unsupported("'{}', which joins more than {} flattened blobs,",
                       Printable(current.layer.name), kMostSegments);
  }
  return Blob{.value = net_.Concat(inputs), .segments = std::move(segments)};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeRelu& p) {
  return Activate(current,
                  p.negative_slope == 0 ? graph::Relu() : graph::LeakyRelu(p.negative_slope));
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeElu& p) {
  if (p.alpha != 1) {
    return Unsupported("ELU with alpha {} in '{}'", p.alpha, Printable(current.layer.name));
  }
  return Activate(current, graph::Elu());
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeDropout& p) {
  const auto scope = net_.Scope(current.layer.name);
  return Blob{.value = net_.Dropout(current.bottoms[0].value, 1 - p.ratio),
              .segments = current.bottoms[0].segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeSoftmax& p) {
  if (!IsChannels(current, p.axis)) return std::nullopt;
  const auto scope = net_.Scope(current.layer.name);
  return Blob{.value = net_.Softmax(current.bottoms[0].value),
              .segments = current.bottoms[0].segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeFlatten& p) {
  if (!IsChannels(current, p.axis)) return std::nullopt;
  const int rank = current.bottoms[0].value.shape().rank();
  if (p.end_axis != -1 && p.end_axis != rank - 1) {
    return Unsupported("'{}', which flattens some axes only,", Printable(current.layer.name));
  }
  const auto scope = net_.Scope(current.layer.name);
  return Flatten(current.bottoms[0]);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffePower& p) {
  if (p.power != 1) {
    return Unsupported("a power of {} in '{}'", p.power, Printable(current.layer.name));
  }
  return Activate(current, graph::Linear(p.scale, p.shift));
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeReshape& p) {
  const Blob& x = current.bottoms[0];
  const std::int64_t features =
      Shape({x.value.shape().begin() + 1, x.value.shape().end()}).CheckedNumElements().value_or(0);
  const bool flattens = p.axis == 0 && p.num_axes == -1 && p.dims.size() == 2 && p.dims[0] == 0 &&
                        (p.dims[1] == -1 || p.dims[1] == features);
  if (!flattens) {
    return Unsupported("'{}', a reshape other than to {{0, -1}},", Printable(current.layer.name));
  }
  const auto scope = net_.Scope(current.layer.name);
  return Flatten(x);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeClip& p) {
  return Activate(current, graph::Clip(p.min, p.max));
}

std::optional<std::vector<CaffeLayers::Blob>> CaffeLayers::Slices(const Current& current,
                                                                  const CaffeSlice& p) {
  const std::string name = Printable(current.layer.name);
  const Blob& x = current.bottoms[0];
  const std::int64_t channels = x.value.channels();
  const auto parts = static_cast<std::int64_t>(current.layer.tops.size());
  if (!IsChannels(current, p.axis)) return std::nullopt;
  if (!InOurOrder(x.segments)) {
    Unsupported("'{}', which slices a flattened map,", name);
    return std::nullopt;
  }
  std::vector<std::int64_t> ends = p.slice_points;
  if (ends.empty() && parts > 0 && channels % parts == 0) {
    for (std::int64_t i = 1; i < parts; ++i) ends.push_back(i * (channels / parts));
  }
  if (static_cast<std::int64_t>(ends.size()) != parts - 1 ||
      (!ends.empty() && ends.back() >= channels)) {
    net_.Fail(
        InvalidArgument("layer '{}' cannot slice {} channels into {} tops", name, channels, parts));
    return std::nullopt;
  }
  ends.push_back(channels);
  std::vector<Blob> slices;
  const auto scope = net_.Scope(current.layer.name);
  for (std::int64_t begin = 0; const std::int64_t end : ends) {
    slices.push_back({.value = net_.PadChannels(x.value, static_cast<int>(-begin),
                                                static_cast<int>(end - channels)),
                      .segments = {}});
    if (!x.segments.empty()) slices.back().segments = {{.channels = end - begin}};
    begin = end;
  }
  return slices;
}

}  // namespace zood::netdef
