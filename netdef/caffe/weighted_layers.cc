// The layers of Caffe that have weights.
#include <algorithm>

#include "base/status.h"
#include "base/text.h"
#include "netdef/caffe/layers.h"

namespace zood::netdef {
namespace {

using graph::Padding2d;
using graph::Size2d;
using graph::Value;
using Kind = CaffeWeight::Kind;

}  // namespace

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const CaffeConvolution& p) {
  const std::string& name = current.layer.name;
  if (current.layer.type == "Deconvolution") {
    return Unsupported("layer '{}' of type {}", Printable(name), Printable(current.layer.type));
  }
  const std::int64_t channels = current.bottoms[0].value.channels();
  const bool one_each = p.group == 0 && p.num_output % channels == 0;
  const std::int64_t groups = one_each ? channels : std::max<std::int64_t>(p.group, 1);
  const Size2d pad = ToSize(p.pad);
  const Value value =
      net_.Conv2d(current.bottoms[0].value, static_cast<int>(p.num_output), ToSize(p.kernel),
                  {.stride = ToSize(p.stride),
                   .rate = ToSize(p.dilation),
                   .padding = Padding2d{pad.height, pad.height, pad.width, pad.width},
                   .activation = nullptr,
                   .biases_initializer = p.bias_term ? graph::Zeros() : nullptr,
                   .groups = static_cast<int>(groups),
                   .scope = name});
  AddWeight({.variable = name + "/weights", .kind = Kind::kConvolution, .layer = name});
  if (p.bias_term) AddWeight({.variable = name + "/biases", .layer = name, .blob = 1});
  return Blob{.value = value, .segments = {}};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current,
                                                   const CaffeInnerProduct& p) {
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
                                                   const CaffeBatchNorm& p) {
  const std::string& name = current.layer.name;
  if (!p.use_global_stats) {
    return Unsupported("'{}', which normalizes with the statistics of the batch,", Printable(name));
  }
  const Blob& x = current.bottoms[0];
  const Value value = net_.BatchNorm(x.value, {.decay = p.moving_average_fraction,
                                               .epsilon = p.eps,
                                               .center = false,
                                               .scale = false,
                                               .scope = name});
  for (int i = 0; const char* leaf : {"/moving_mean", "/moving_variance"}) {
    AddWeight({.variable = name + leaf,
               .kind = Kind::kStatistic,
               .layer = name,
               .blob = i++,
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
    return Unsupported("'{}', which has more than a value for each channel,", Printable(name));
  }
  AddWeight({.variable = name + "/gamma",
             .kind = gamma_in_file ? Kind::kVector : Kind::kOnes,
             .layer = name,
             .segments = x.segments});
  if (beta) {
    AddWeight({.variable = name + "/beta",
               .layer = name,
               .blob = gamma_in_file ? 1 : 0,
               .segments = x.segments});
  }
  return Blob{.value = net_.Scale(x.value, beta, name), .segments = x.segments};
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeScale& p) {
  return AddGammaAndBeta(current, p.axis, p.num_axes, true, p.bias_term);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffeBias& p) {
  return AddGammaAndBeta(current, p.axis, p.num_axes, false, true);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current, const CaffePRelu& p) {
  const std::string& name = current.layer.name;
  const Blob& x = current.bottoms[0];
  constexpr int kMostShared = 1 << 16;  // one number in a file stands for so many of ours
  if (p.channel_shared && x.value.channels() > kMostShared) {
    return Unsupported("'{}', a slope shared by {} channels,", Printable(name), x.value.channels());
  }
  AddWeight({.variable = name + "/slope",
             .kind = p.channel_shared ? Kind::kShared : Kind::kVector,
             .layer = name,
             .segments = x.segments});
  return Blob{.value = net_.Prelu(x.value, graph::Constant(0.25f), name), .segments = x.segments};
}

}  // namespace zood::netdef
