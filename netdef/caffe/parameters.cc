#include "netdef/caffe/parameters.h"

#include <array>
#include <cmath>
#include <utility>

#include "base/status.h"

namespace zood::netdef {
namespace {

namespace pb = formats::caffe;

constexpr int kHighestRank = 32;  // of a Caffe blob

absl::Status CheckBetween(std::string_view what, std::int64_t value, std::int64_t least,
                          std::int64_t most = kLargestCaffeNumber) {
  if (value >= least && value <= most) return absl::OkStatus();
  return InvalidArgument("{} is {}; it must be between {} and {}", what, value, least, most);
}

absl::Status CheckAxis(std::int64_t axis, std::string_view what = "axis") {
  return CheckBetween(what, axis, -kHighestRank, kHighestRank - 1);
}

absl::Status CheckFinite(std::string_view what, float value) {
  if (std::isfinite(value)) return absl::OkStatus();
  return InvalidArgument("{} is {}, not a finite number", what, value);
}

// A number for both axes: x, or x_h and x_w.
struct SpatialField {
  std::string_view name;
  std::span<const std::uint32_t> both;  // none, one for both axes, or height and width
  bool has_height = false;
  std::int64_t height = 0;
  bool has_width = false;
  std::int64_t width = 0;
};

// `fallback` stands where nothing is said; -1 when something must be.
absl::StatusOr<CaffeSpatial> ResolveSpatial(const SpatialField& field, std::int64_t fallback,
                                            std::int64_t least) {
  CaffeSpatial result = {fallback, fallback};
  if (field.has_height || field.has_width) {
    if (!field.both.empty()) {
      return InvalidArgument("both {0} and {0}_h or {0}_w are given", field.name);
    }
    if (field.has_height) result.height = field.height;
    if (field.has_width) result.width = field.width;
  } else if (field.both.size() > 2) {
    return InvalidArgument("{} has {} values; images have two axes", field.name, field.both.size());
  } else if (!field.both.empty()) {
    result = {field.both.front(), field.both.back()};
  }
  if (result.height < 0 || result.width < 0) {
    return InvalidArgument("{} is missing", field.name);
  }
  ZOOD_RETURN_IF_ERROR(CheckBetween(field.name, result.height, least));
  ZOOD_RETURN_IF_ERROR(CheckBetween(field.name, result.width, least));
  return result;
}

absl::StatusOr<CaffeConvolution> Convolution(const pb::ConvolutionParameter& from) {
  CaffeConvolution to = {
      .num_output = from.num_output(), .bias_term = from.bias_term(), .group = from.group()};
  ZOOD_RETURN_IF_ERROR(CheckBetween("num_output", to.num_output, 1));
  ZOOD_RETURN_IF_ERROR(CheckBetween("group", to.group, 1));
  ZOOD_RETURN_IF_ERROR(CheckBetween("axis", from.axis(), 1, 1));
  if (to.num_output % to.group != 0) {
    return InvalidArgument("num_output {} is no multiple of group {}", to.num_output, to.group);
  }
  ZOOD_ASSIGN_OR_RETURN(
      to.kernel, ResolveSpatial({"kernel_size", Values(from.kernel_size()), from.has_kernel_h(),
                                 from.kernel_h(), from.has_kernel_w(), from.kernel_w()},
                                -1, 1));
  ZOOD_ASSIGN_OR_RETURN(to.stride,
                        ResolveSpatial({"stride", Values(from.stride()), from.has_stride_h(),
                                        from.stride_h(), from.has_stride_w(), from.stride_w()},
                                       1, 1));
  ZOOD_ASSIGN_OR_RETURN(to.pad, ResolveSpatial({"pad", Values(from.pad()), from.has_pad_h(),
                                                from.pad_h(), from.has_pad_w(), from.pad_w()},
                                               0, 0));
  ZOOD_ASSIGN_OR_RETURN(
      to.dilation, ResolveSpatial({.name = "dilation", .both = Values(from.dilation())}, 1, 1));
  return to;
}

// Forks of Caffe compute one filter for each channel faster under types of their own; some files
// leave the group out there.
absl::StatusOr<CaffeConvolution> Depthwise(const pb::ConvolutionParameter& from) {
  ZOOD_ASSIGN_OR_RETURN(CaffeConvolution to, Convolution(from));
  if (!from.has_group()) to.group = 0;
  return to;
}

// A field that is not repeated, as ResolveSpatial() wants it.
std::span<const std::uint32_t> AtMostOne(bool has, const std::uint32_t& value) {
  return {&value, has ? std::size_t{1} : std::size_t{0}};
}

absl::StatusOr<CaffePooling> Pooling(const pb::PoolingParameter& from) {
  CaffePooling to = {.global = from.global_pooling(),
                     .round_up = from.round_mode() == pb::PoolingParameter::CEIL};
  switch (from.pool()) {
    case pb::PoolingParameter::MAX:
      to.method = CaffePooling::Method::kMax;
      break;
    case pb::PoolingParameter::AVE:
      to.method = CaffePooling::Method::kAverage;
      break;
    case pb::PoolingParameter::STOCHASTIC:
      to.method = CaffePooling::Method::kStochastic;
      break;
  }
  const std::uint32_t kernel = from.kernel_size();
  const std::uint32_t stride = from.stride();
  const std::uint32_t pad = from.pad();
  const SpatialField kernel_field = {"kernel_size",       AtMostOne(from.has_kernel_size(), kernel),
                                     from.has_kernel_h(), from.kernel_h(),
                                     from.has_kernel_w(), from.kernel_w()};
  if (to.global) {
    if (from.has_kernel_size() || from.has_kernel_h() || from.has_kernel_w()) {
      return InvalidArgument("global_pooling and a kernel size exclude each other");
    }
  } else {
    ZOOD_ASSIGN_OR_RETURN(to.kernel, ResolveSpatial(kernel_field, -1, 1));
  }
  ZOOD_ASSIGN_OR_RETURN(to.stride, ResolveSpatial({"stride", AtMostOne(from.has_stride(), stride),
                                                   from.has_stride_h(), from.stride_h(),
                                                   from.has_stride_w(), from.stride_w()},
                                                  1, 1));
  ZOOD_ASSIGN_OR_RETURN(
      to.pad, ResolveSpatial({"pad", AtMostOne(from.has_pad(), pad), from.has_pad_h(), from.pad_h(),
                              from.has_pad_w(), from.pad_w()},
                             0, 0));
  if (to.global && (to.pad != CaffeSpatial{0, 0} || to.stride != CaffeSpatial{1, 1})) {
    return InvalidArgument("global_pooling needs pad 0 and stride 1");
  }
  if (!to.global && (to.pad.height >= to.kernel.height || to.pad.width >= to.kernel.width)) {
    return InvalidArgument("pad {}x{} must be smaller than the kernel {}x{}", to.pad.height,
                           to.pad.width, to.kernel.height, to.kernel.width);
  }
  return to;
}

absl::StatusOr<CaffeInnerProduct> InnerProduct(const pb::InnerProductParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckBetween("num_output", from.num_output(), 1));
  ZOOD_RETURN_IF_ERROR(CheckAxis(from.axis()));
  return CaffeInnerProduct{.num_output = from.num_output(),
                           .bias_term = from.bias_term(),
                           .axis = from.axis(),
                           .transpose = from.transpose()};
}

absl::StatusOr<CaffeLrn> Lrn(const pb::LRNParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckBetween("local_size", from.local_size(), 1));
  if (from.local_size() % 2 == 0) {
    return InvalidArgument("local_size is {}; it must be odd", from.local_size());
  }
  ZOOD_RETURN_IF_ERROR(CheckFinite("alpha", from.alpha()));
  ZOOD_RETURN_IF_ERROR(CheckFinite("beta", from.beta()));
  ZOOD_RETURN_IF_ERROR(CheckFinite("k", from.k()));
  return CaffeLrn{.local_size = from.local_size(),
                  .alpha = from.alpha(),
                  .beta = from.beta(),
                  .k = from.k(),
                  .within_channel = from.norm_region() == pb::LRNParameter::WITHIN_CHANNEL};
}

absl::StatusOr<CaffeEltwise> Eltwise(const pb::EltwiseParameter& from, int bottoms) {
  CaffeEltwise to;
  switch (from.operation()) {
    case pb::EltwiseParameter::PROD:
      to.operation = CaffeEltwise::Operation::kProduct;
      break;
    case pb::EltwiseParameter::SUM:
      to.operation = CaffeEltwise::Operation::kSum;
      break;
    case pb::EltwiseParameter::MAX:
      to.operation = CaffeEltwise::Operation::kMax;
      break;
  }
  if (from.coeff_size() > 0 && from.coeff_size() != bottoms) {
    return InvalidArgument("{} values of coeff for {} bottoms", from.coeff_size(), bottoms);
  }
  if (from.coeff_size() > 0 && to.operation != CaffeEltwise::Operation::kSum) {
    return InvalidArgument("coeff is for sums only");
  }
  for (const float coefficient : from.coeff()) {
    ZOOD_RETURN_IF_ERROR(CheckFinite("coeff", coefficient));
    to.coefficients.push_back(coefficient);
  }
  return to;
}

absl::StatusOr<CaffeConcat> Concat(const pb::ConcatParameter& from) {
  if (from.has_axis() && from.has_concat_dim()) {
    return InvalidArgument("both axis and concat_dim, its old name, are given");
  }
  const std::int64_t axis = from.has_concat_dim() ? from.concat_dim() : from.axis();
  ZOOD_RETURN_IF_ERROR(CheckAxis(axis));
  return CaffeConcat{.axis = axis};
}

absl::StatusOr<CaffeBatchNorm> BatchNorm(const pb::BatchNormParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckFinite("eps", from.eps()));
  ZOOD_RETURN_IF_ERROR(CheckFinite("moving_average_fraction", from.moving_average_fraction()));
  if (from.eps() < 0) return InvalidArgument("eps is {}; it must not be negative", from.eps());
  return CaffeBatchNorm{.use_global_stats = !from.has_use_global_stats() || from.use_global_stats(),
                        .moving_average_fraction = from.moving_average_fraction(),
                        .eps = from.eps()};
}

absl::StatusOr<CaffeScale> Scale(const pb::ScaleParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckAxis(from.axis()));
  ZOOD_RETURN_IF_ERROR(CheckBetween("num_axes", from.num_axes(), -1, kHighestRank));
  return CaffeScale{
      .axis = from.axis(), .num_axes = from.num_axes(), .bias_term = from.bias_term()};
}

absl::StatusOr<CaffeBias> Bias(const pb::BiasParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckAxis(from.axis()));
  ZOOD_RETURN_IF_ERROR(CheckBetween("num_axes", from.num_axes(), -1, kHighestRank));
  return CaffeBias{.axis = from.axis(), .num_axes = from.num_axes()};
}

absl::StatusOr<CaffeRelu> Relu(const pb::ReLUParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckFinite("negative_slope", from.negative_slope()));
  return CaffeRelu{.negative_slope = from.negative_slope()};
}

absl::StatusOr<CaffeElu> Elu(const pb::ELUParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckFinite("alpha", from.alpha()));
  return CaffeElu{.alpha = from.alpha()};
}

absl::StatusOr<CaffeDropout> Dropout(const pb::DropoutParameter& from) {
  if (!(from.dropout_ratio() >= 0 && from.dropout_ratio() < 1)) {
    return InvalidArgument("dropout_ratio is {}; it must be at least 0 and less than 1",
                           from.dropout_ratio());
  }
  return CaffeDropout{.ratio = from.dropout_ratio()};
}

absl::StatusOr<CaffeSoftmax> Softmax(const pb::SoftmaxParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckAxis(from.axis()));
  return CaffeSoftmax{.axis = from.axis()};
}

absl::StatusOr<CaffeFlatten> Flatten(const pb::FlattenParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckAxis(from.axis()));
  ZOOD_RETURN_IF_ERROR(CheckAxis(from.end_axis(), "end_axis"));
  return CaffeFlatten{.axis = from.axis(), .end_axis = from.end_axis()};
}

absl::StatusOr<CaffePower> Power(const pb::PowerParameter& from) {
  ZOOD_RETURN_IF_ERROR(CheckFinite("power", from.power()));
  ZOOD_RETURN_IF_ERROR(CheckFinite("scale", from.scale()));
  ZOOD_RETURN_IF_ERROR(CheckFinite("shift", from.shift()));
  return CaffePower{.power = from.power(), .scale = from.scale(), .shift = from.shift()};
}

absl::StatusOr<CaffeReshape> Reshape(const pb::ReshapeParameter& from) {
  if (from.shape().dim_size() > kHighestRank) {
    return InvalidArgument("a shape of rank {}", from.shape().dim_size());
  }
  bool inferred = false;
  for (const std::int64_t dim : from.shape().dim()) {
    ZOOD_RETURN_IF_ERROR(CheckBetween("dim", dim, -1));
    if (dim == -1 && inferred) return InvalidArgument("more than one dim is -1");
    inferred = inferred || dim == -1;
  }
  ZOOD_RETURN_IF_ERROR(CheckAxis(from.axis()));
  ZOOD_RETURN_IF_ERROR(CheckBetween("num_axes", from.num_axes(), -1, kHighestRank));
  return CaffeReshape{.dims = {from.shape().dim().begin(), from.shape().dim().end()},
                      .axis = from.axis(),
                      .num_axes = from.num_axes()};
}

absl::StatusOr<CaffeSlice> Slice(const pb::SliceParameter& from, int tops) {
  if (from.has_axis() && from.has_slice_dim()) {
    return InvalidArgument("both axis and slice_dim, its old name, are given");
  }
  CaffeSlice to = {.axis = from.has_slice_dim() ? std::int64_t{from.slice_dim()} : from.axis()};
  ZOOD_RETURN_IF_ERROR(CheckAxis(to.axis));
  if (from.slice_point_size() > 0 && from.slice_point_size() != tops - 1) {
    return InvalidArgument("{} slice points for {} tops", from.slice_point_size(), tops);
  }
  std::int64_t previous = 0;
  for (const std::uint32_t point : from.slice_point()) {
    ZOOD_RETURN_IF_ERROR(CheckBetween("slice_point", point, previous + 1));
    to.slice_points.push_back(point);
    previous = point;
  }
  return to;
}

absl::StatusOr<CaffeClip> Clip(const pb::ClipParameter& from) {
  if (!from.has_min() || !from.has_max()) return InvalidArgument("a clip needs min and max");
  ZOOD_RETURN_IF_ERROR(CheckFinite("min", from.min()));
  ZOOD_RETURN_IF_ERROR(CheckFinite("max", from.max()));
  if (from.min() > from.max()) {
    return InvalidArgument("min {} is greater than max {}", from.min(), from.max());
  }
  return CaffeClip{.min = from.min(), .max = from.max()};
}

using Parameters = decltype(CaffeLayer::parameters);

// Moves what a StatusOr of one kind of parameters holds into a StatusOr of all.
template <typename T>
absl::StatusOr<Parameters> Any(absl::StatusOr<T> parameters) {
  if (!parameters.ok()) return parameters.status();
  return Parameters(*std::move(parameters));
}

using Resolver = absl::StatusOr<Parameters> (*)(const pb::LayerParameter& layer);

constexpr std::pair<std::string_view, Resolver> kResolvers[] = {
    {"Convolution", [](const auto& l) { return Any(Convolution(l.convolution_param())); }},
    {"DepthwiseConvolution", [](const auto& l) { return Any(Depthwise(l.convolution_param())); }},
    {"ConvolutionDepthwise", [](const auto& l) { return Any(Depthwise(l.convolution_param())); }},
    {"Deconvolution", [](const auto& l) { return Any(Convolution(l.convolution_param())); }},
    {"Pooling", [](const auto& l) { return Any(Pooling(l.pooling_param())); }},
    {"InnerProduct", [](const auto& l) { return Any(InnerProduct(l.inner_product_param())); }},
    {"LRN", [](const auto& l) { return Any(Lrn(l.lrn_param())); }},
    {"Eltwise", [](const auto& l) { return Any(Eltwise(l.eltwise_param(), l.bottom_size())); }},
    {"Concat", [](const auto& l) { return Any(Concat(l.concat_param())); }},
    {"BatchNorm", [](const auto& l) { return Any(BatchNorm(l.batch_norm_param())); }},
    {"Scale", [](const auto& l) { return Any(Scale(l.scale_param())); }},
    {"Bias", [](const auto& l) { return Any(Bias(l.bias_param())); }},
    {"ReLU", [](const auto& l) { return Any(Relu(l.relu_param())); }},
    {"PReLU",
     [](const auto& l) -> absl::StatusOr<Parameters> {
       return CaffePRelu{.channel_shared = l.prelu_param().channel_shared()};
     }},
    {"ELU", [](const auto& l) { return Any(Elu(l.elu_param())); }},
    {"Dropout", [](const auto& l) { return Any(Dropout(l.dropout_param())); }},
    {"Softmax", [](const auto& l) { return Any(Softmax(l.softmax_param())); }},
    {"SoftmaxWithLoss", [](const auto& l) { return Any(Softmax(l.softmax_param())); }},
    {"Flatten", [](const auto& l) { return Any(Flatten(l.flatten_param())); }},
    {"Power", [](const auto& l) { return Any(Power(l.power_param())); }},
    {"Reshape", [](const auto& l) { return Any(Reshape(l.reshape_param())); }},
    {"Clip", [](const auto& l) { return Any(Clip(l.clip_param())); }},
    {"Slice", [](const auto& l) { return Any(Slice(l.slice_param(), l.top_size())); }},
};

}  // namespace

absl::StatusOr<CaffeLayer> ResolveCaffeLayer(const pb::LayerParameter& layer) {
  CaffeLayer result = {.name = layer.name(),
                       .type = layer.type(),
                       .bottoms = {layer.bottom().begin(), layer.bottom().end()},
                       .tops = {layer.top().begin(), layer.top().end()}};
  if (result.type.empty()) return InvalidArgument("the layer has no type");
  if (layer.loss_weight_size() > 0) {
    result.loss_weight = layer.loss_weight(0);
    ZOOD_RETURN_IF_ERROR(CheckFinite("loss_weight", result.loss_weight));
  }
  for (const auto& [type, resolve] : kResolvers) {
    if (type != result.type) continue;
    ZOOD_ASSIGN_OR_RETURN(result.parameters, resolve(layer));
    return result;
  }
  if (result.bottoms.empty()) {
    ZOOD_ASSIGN_OR_RETURN(result.parameters, ResolveCaffeData(layer));
  }
  return result;
}

absl::StatusOr<Shape> ResolveCaffeShape(std::span<const std::int64_t> dims) {
  if (dims.size() > kHighestRank) return InvalidArgument("a shape of rank {}", dims.size());
  for (const std::int64_t dim : dims) ZOOD_RETURN_IF_ERROR(CheckBetween("dim", dim, 1));
  return Shape({dims.begin(), dims.end()});
}

}  // namespace zood::netdef
