#include "netdef/caffe/parameters.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/status.h"

namespace zood::netdef {
namespace {

namespace pb = formats::caffe;
namespace proto = google::protobuf;

constexpr int kHighestRank = 32;  // of a Caffe blob

absl::Status CheckBetween(std::string_view what, std::int64_t value, std::int64_t least,
                          std::int64_t most = kLargestCaffeNumber) {
  if (value >= least && value <= most) return absl::OkStatus();
  return InvalidArgument("{} is {}; it must be between {} and {}", what, value, least, most);
}

// What a whole number may be, by the name of its field in every kind of parameters.
struct NumberRange {
  std::string_view field;
  std::int64_t least;
  std::int64_t most;
};
constexpr NumberRange kRanges[] = {
    {"axis", -kHighestRank, kHighestRank - 1},
    {"end_axis", -kHighestRank, kHighestRank - 1},
    {"concat_dim", -kHighestRank, kHighestRank - 1},
    {"slice_dim", -kHighestRank, kHighestRank - 1},
    {"num_axes", -1, kHighestRank},
    {"num_output", 1, kLargestCaffeNumber},
    {"group", 1, kLargestCaffeNumber},
    {"local_size", 1, kLargestCaffeNumber},
};

absl::Status CheckFinite(std::string_view what, float value) {
  if (std::isfinite(value)) return absl::OkStatus();
  return InvalidArgument("{} is {}, not a finite number", what, value);
}

// Every number of the message, defaults included: finite, and within its range.
absl::Status CheckNumbers(const proto::Message& message) {
  const proto::Reflection& values = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const proto::FieldDescriptor* field = message.GetDescriptor()->field(i);
    const std::string_view name = field->name();
    const auto* const range = std::ranges::find(kRanges, name, &NumberRange::field);
    if (field->cpp_type() == proto::FieldDescriptor::CPPTYPE_FLOAT) {
      for (int j = 0; field->is_repeated() && j < values.FieldSize(message, field); ++j) {
        ZOOD_RETURN_IF_ERROR(CheckFinite(name, values.GetRepeatedFloat(message, field, j)));
      }
      if (!field->is_repeated()) {
        ZOOD_RETURN_IF_ERROR(CheckFinite(name, values.GetFloat(message, field)));
      }
    } else if (range != std::end(kRanges)) {
      const std::int64_t value = field->cpp_type() == proto::FieldDescriptor::CPPTYPE_INT32
                                     ? std::int64_t{values.GetInt32(message, field)}
                                     : std::int64_t{values.GetUInt32(message, field)};
      ZOOD_RETURN_IF_ERROR(CheckBetween(name, value, range->least, range->most));
    }
  }
  return absl::OkStatus();
}

// A number for both axes: field `name`, which may be repeated, or `stem`_h and `stem`_w. `fallback`
// where none is set; -1 where one must be.
absl::StatusOr<CaffeSpatial> ResolveSpatial(const proto::Message& message, const std::string& name,
                                            const std::string& stem, std::int64_t fallback,
                                            std::int64_t least) {
  const proto::Reflection& values = *message.GetReflection();
  const auto find = [&](const std::string& field) {
    return message.GetDescriptor()->FindFieldByName(field);
  };
  const auto set = [&](const proto::FieldDescriptor* field) {
    return field != nullptr && values.HasField(message, field);
  };
  CaffeSpatial result = {fallback, fallback};
  const proto::FieldDescriptor* const both = find(name);
  const int count = both->is_repeated() ? values.FieldSize(message, both) : set(both);
  const auto* const height = find(stem + "_h");
  const auto* const width = find(stem + "_w");
  if (set(height) || set(width)) {
    if (count > 0) return InvalidArgument("both {0} and {1}_h or {1}_w are given", name, stem);
    if (set(height)) result.height = values.GetUInt32(message, height);
    if (set(width)) result.width = values.GetUInt32(message, width);
  } else if (count > 2) {
    return InvalidArgument("{} has {} values; images have two axes", name, count);
  } else if (count > 0 && both->is_repeated()) {
    result = {values.GetRepeatedUInt32(message, both, 0),
              values.GetRepeatedUInt32(message, both, count - 1)};
  } else if (count > 0) {
    result = {values.GetUInt32(message, both), values.GetUInt32(message, both)};
  }
  if (result.height < 0 || result.width < 0) return InvalidArgument("{} is missing", name);
  ZOOD_RETURN_IF_ERROR(CheckBetween(name, result.height, least));
  ZOOD_RETURN_IF_ERROR(CheckBetween(name, result.width, least));
  return result;
}

absl::StatusOr<CaffeConvolution> Convolution(const pb::ConvolutionParameter& from) {
  CaffeConvolution to = {
      .num_output = from.num_output(), .bias_term = from.bias_term(), .group = from.group()};
  ZOOD_RETURN_IF_ERROR(CheckBetween("axis", from.axis(), 1, 1));
  if (to.num_output % to.group != 0) {
    return InvalidArgument("num_output {} is not a multiple of group {}", to.num_output, to.group);
  }
  ZOOD_ASSIGN_OR_RETURN(to.kernel, ResolveSpatial(from, "kernel_size", "kernel", -1, 1));
  ZOOD_ASSIGN_OR_RETURN(to.stride, ResolveSpatial(from, "stride", "stride", 1, 1));
  ZOOD_ASSIGN_OR_RETURN(to.pad, ResolveSpatial(from, "pad", "pad", 0, 0));
  ZOOD_ASSIGN_OR_RETURN(to.dilation, ResolveSpatial(from, "dilation", "dilation", 1, 1));
  return to;
}

// Forks of Caffe compute one filter for each channel faster under types of their own; some files
// omit the group.
absl::StatusOr<CaffeConvolution> Depthwise(const pb::ConvolutionParameter& from) {
  ZOOD_ASSIGN_OR_RETURN(CaffeConvolution to, Convolution(from));
  if (!from.has_group()) to.group = 0;
  return to;
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
  if (to.global) {
    if (from.has_kernel_size() || from.has_kernel_h() || from.has_kernel_w()) {
      return InvalidArgument("global_pooling and a kernel size exclude each other");
    }
  } else {
    ZOOD_ASSIGN_OR_RETURN(to.kernel, ResolveSpatial(from, "kernel_size", "kernel", -1, 1));
  }
  ZOOD_ASSIGN_OR_RETURN(to.stride, ResolveSpatial(from, "stride", "stride", 1, 1));
  ZOOD_ASSIGN_OR_RETURN(to.pad, ResolveSpatial(from, "pad", "pad", 0, 0));
  if (to.global && (to.pad != CaffeSpatial{0, 0} || to.stride != CaffeSpatial{1, 1})) {
    return InvalidArgument("global_pooling needs pad 0 and stride 1");
  }
  if (!to.global && (to.pad.height >= to.kernel.height || to.pad.width >= to.kernel.width)) {
    return InvalidArgument("pad {}x{} must be smaller than the kernel {}x{}", to.pad.height,
                           to.pad.width, to.kernel.height, to.kernel.width);
  }
  return to;
}

absl::StatusOr<CaffeLrn> Lrn(const pb::LRNParameter& from) {
  if (from.local_size() % 2 == 0) {
    return InvalidArgument("local_size is {}; it must be odd", from.local_size());
  }
  return CaffeLrn{.local_size = from.local_size(),
                  .alpha = from.alpha(),
                  .beta = from.beta(),
                  .k = from.k(),
                  .within_channel = from.norm_region() == pb::LRNParameter::WITHIN_CHANNEL};
}

absl::StatusOr<CaffeEltwise> Eltwise(const pb::EltwiseParameter& from,
                                     const pb::LayerParameter& layer) {
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
  if (from.coeff_size() > 0 && from.coeff_size() != layer.bottom_size()) {
    return InvalidArgument("{} values of coeff for {} bottoms", from.coeff_size(),
                           layer.bottom_size());
  }
  if (from.coeff_size() > 0 && to.operation != CaffeEltwise::Operation::kSum) {
    return InvalidArgument("coeff is for sums only");
  }
  to.coefficients.assign(from.coeff().begin(), from.coeff().end());
  return to;
}

absl::StatusOr<CaffeConcat> Concat(const pb::ConcatParameter& from) {
  if (from.has_axis() && from.has_concat_dim()) {
    return InvalidArgument("both axis and concat_dim, its old name, are given");
  }
  return CaffeConcat{.axis = from.has_concat_dim() ? std::int64_t{from.concat_dim()} : from.axis()};
}

absl::StatusOr<CaffeBatchNorm> BatchNorm(const pb::BatchNormParameter& from) {
  if (from.eps() < 0) return InvalidArgument("eps is {}; it must not be negative", from.eps());
  return CaffeBatchNorm{.use_global_stats = !from.has_use_global_stats() || from.use_global_stats(),
                        .moving_average_fraction = from.moving_average_fraction(),
                        .eps = from.eps()};
}

absl::StatusOr<CaffeDropout> Dropout(const pb::DropoutParameter& from) {
  if (!(from.dropout_ratio() >= 0 && from.dropout_ratio() < 1)) {
    return InvalidArgument("dropout_ratio is {}; it must be at least 0 and less than 1",
                           from.dropout_ratio());
  }
  return CaffeDropout{.ratio = from.dropout_ratio()};
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
  return CaffeReshape{.dims = {from.shape().dim().begin(), from.shape().dim().end()},
                      .axis = from.axis(),
                      .num_axes = from.num_axes()};
}

absl::StatusOr<CaffeSlice> Slice(const pb::SliceParameter& from, const pb::LayerParameter& layer) {
  if (from.has_axis() && from.has_slice_dim()) {
    return InvalidArgument("both axis and slice_dim, its old name, are given");
  }
  CaffeSlice to = {.axis = from.has_slice_dim() ? std::int64_t{from.slice_dim()} : from.axis()};
  if (from.slice_point_size() > 0 && from.slice_point_size() != layer.top_size() - 1) {
    return InvalidArgument("{} slice points for {} tops", from.slice_point_size(),
                           layer.top_size());
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
  if (from.min() > from.max()) {
    return InvalidArgument("min {} is greater than max {}", from.min(), from.max());
  }
  return CaffeClip{.min = from.min(), .max = from.max()};
}

using Parameters = decltype(CaffeLayer::parameters);
using Layer = pb::LayerParameter;

template <typename T>
absl::StatusOr<Parameters> Any(absl::StatusOr<T> parameters) {
  if (!parameters.ok()) return parameters.status();
  return Parameters(*std::move(parameters));
}

template <typename T>
absl::StatusOr<Parameters> Any(T parameters) {
  return Parameters(std::move(parameters));
}

// The layer's message of parameters, its numbers checked, as `Make` resolves it.
template <auto Get, auto Make>
absl::StatusOr<Parameters> Resolve(const Layer& layer) {
  const auto& from = (layer.*Get)();
  ZOOD_RETURN_IF_ERROR(CheckNumbers(from));
  if constexpr (requires { Make(from, layer); }) {
    return Any(Make(from, layer));
  } else {
    return Any(Make(from));
  }
}

using Resolver = absl::StatusOr<Parameters> (*)(const Layer& layer);

CaffeInnerProduct InnerProduct(const pb::InnerProductParameter& from) {
  return {.num_output = from.num_output(),
          .bias_term = from.bias_term(),
          .axis = from.axis(),
          .transpose = from.transpose()};
}

CaffeSoftmax Softmax(const pb::SoftmaxParameter& from) { return {.axis = from.axis()}; }

// clang-format off
constexpr std::pair<std::string_view, Resolver> kResolvers[] = {
    {"Convolution", Resolve<&Layer::convolution_param, Convolution>},
    {"DepthwiseConvolution", Resolve<&Layer::convolution_param, Depthwise>},
    {"ConvolutionDepthwise", Resolve<&Layer::convolution_param, Depthwise>},
    {"Deconvolution", Resolve<&Layer::convolution_param, Convolution>},
    {"Pooling", Resolve<&Layer::pooling_param, Pooling>},
    {"InnerProduct", Resolve<&Layer::inner_product_param, InnerProduct>},
    {"LRN", Resolve<&Layer::lrn_param, Lrn>},
    {"Eltwise", Resolve<&Layer::eltwise_param, Eltwise>},
    {"Concat", Resolve<&Layer::concat_param, Concat>},
    {"BatchNorm", Resolve<&Layer::batch_norm_param, BatchNorm>},
    {"Scale", Resolve<&Layer::scale_param,
        [](const auto& p) { return CaffeScale{p.axis(), p.num_axes(), p.bias_term()}; }>},
    {"Bias", Resolve<&Layer::bias_param,
        [](const auto& p) { return CaffeBias{p.axis(), p.num_axes()}; }>},
    {"ReLU", Resolve<&Layer::relu_param,
        [](const auto& p) { return CaffeRelu{p.negative_slope()}; }>},
    {"PReLU", Resolve<&Layer::prelu_param,
        [](const auto& p) { return CaffePRelu{p.channel_shared()}; }>},
    {"ELU", Resolve<&Layer::elu_param, [](const auto& p) { return CaffeElu{p.alpha()}; }>},
    {"Dropout", Resolve<&Layer::dropout_param, Dropout>},
    {"Softmax", Resolve<&Layer::softmax_param, Softmax>},
    {"SoftmaxWithLoss", Resolve<&Layer::softmax_param, Softmax>},
    {"Flatten", Resolve<&Layer::flatten_param,
        [](const auto& p) { return CaffeFlatten{p.axis(), p.end_axis()}; }>},
    {"Power", Resolve<&Layer::power_param,
        [](const auto& p) { return CaffePower{p.power(), p.scale(), p.shift()}; }>},
    {"Reshape", Resolve<&Layer::reshape_param, Reshape>},
    {"Clip", Resolve<&Layer::clip_param, Clip>},
    {"Slice", Resolve<&Layer::slice_param, Slice>},
};
// clang-format on

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
