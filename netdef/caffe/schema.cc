#include "netdef/caffe/schema.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/wire.h"
#include "base/wire_writer.h"
#include "checkpoint/caffe/reader.h"

namespace zood::netdef {
namespace {

using formats::caffe::LayerParameter;
using formats::caffe::NetParameter;
using formats::caffe::V1LayerParameter;

// The most bytes of memory that the generated classes take for a byte of description: three bytes
// of file are an empty LayerParameter.
constexpr std::uint64_t kMemoryPerByte = 256;

absl::Status CheckLength(std::uint64_t size, const std::string& where,
                         const checkpoint::Limits& limits) {
  const std::uint64_t longest = limits.max_metadata_bytes / kMemoryPerByte;
  if (size <= longest) return absl::OkStatus();
  return ResourceExhausted(
      "{}: the network's description of {} bytes is longer than the limit of {}", where, size,
      longest);
}

// Keeps the parser's first error, the one that the others follow from.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (!message_.empty()) return;
    message_ = message;
    line_ = line + 1;  // the parser counts from 0
    column_ = column + 1;
  }

  absl::Status ToStatus(const std::string& where) const {
    if (message_.find("V0LayerParameter") != std::string::npos) {
      return Annotate(checkpoint::RefuseCaffeV0(), fmt::format("{}:{}:{}", where, line_, column_));
    }
    std::string message = message_;
    constexpr std::string_view kPackage = "zood.formats.caffe.";
    for (std::size_t at = 0; (at = message.find(kPackage, at)) != std::string::npos;) {
      message.erase(at, kPackage.size());
    }
    return InvalidArgument("{}:{}:{}: {}", where, line_, column_, Printable(message, 300));
  }

 private:
  std::string message_;
  int line_ = 0;
  int column_ = 0;
};

// A serialized layer without the blobs, which are field `blobs`. Every field is checked before
// it is copied.
absl::Status AppendWithoutBlobs(std::string& out, const WireField& layer, std::uint32_t blobs,
                                const std::string& where, const checkpoint::Limits& limits) {
  std::string kept;
  WireReader reader(layer.bytes);
  std::span<const std::byte> rest = layer.bytes;
  while (const auto field = reader.Next()) {
    const auto size = rest.size() - reader.rest().size();
    if (field->tag != BytesTag(blobs)) {
      ZOOD_RETURN_IF_ERROR(CheckLength(out.size() + kept.size() + size, where, limits));
      kept += AsText(rest.first(size));
    }
    rest = reader.rest();
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  AppendBytesField(out, layer.tag >> 3, kept);
  return absl::OkStatus();
}

// A serialized NetParameter without blobs, which are nearly all of it.
absl::StatusOr<std::string> WithoutBlobs(std::span<const std::byte> caffemodel,
                                         const std::string& where,
                                         const checkpoint::Limits& limits) {
  std::string out;
  WireReader reader(caffemodel);
  std::span<const std::byte> rest = caffemodel;
  while (const auto field = reader.Next()) {
    const auto size = rest.size() - reader.rest().size();
    if (field->tag == BytesTag(NetParameter::kLayerFieldNumber)) {
      ZOOD_RETURN_IF_ERROR(AppendWithoutBlobs(out, *field, 7, where, limits));
    } else if (field->tag == BytesTag(NetParameter::kLayersFieldNumber)) {
      ZOOD_RETURN_IF_ERROR(AppendWithoutBlobs(out, *field, 6, where, limits));
    } else {
      ZOOD_RETURN_IF_ERROR(CheckLength(out.size() + size, where, limits));
      out += AsText(rest.first(size));
    }
    ZOOD_RETURN_IF_ERROR(CheckLength(out.size(), where, limits));
    rest = reader.rest();
  }
  ZOOD_RETURN_IF_ERROR(reader.status());
  return out;
}

// clang-format off
constexpr std::pair<V1LayerParameter::LayerType, std::string_view> kTypesOfV1[] = {
    {V1LayerParameter::ABSVAL, "AbsVal"}, {V1LayerParameter::ACCURACY, "Accuracy"},
    {V1LayerParameter::ARGMAX, "ArgMax"}, {V1LayerParameter::BNLL, "BNLL"},
    {V1LayerParameter::CONCAT, "Concat"}, {V1LayerParameter::CONTRASTIVE_LOSS, "ContrastiveLoss"},
    {V1LayerParameter::CONVOLUTION, "Convolution"}, {V1LayerParameter::DATA, "Data"},
    {V1LayerParameter::DECONVOLUTION, "Deconvolution"}, {V1LayerParameter::DROPOUT, "Dropout"},
    {V1LayerParameter::DUMMY_DATA, "DummyData"}, {V1LayerParameter::ELTWISE, "Eltwise"},
    {V1LayerParameter::EUCLIDEAN_LOSS, "EuclideanLoss"}, {V1LayerParameter::EXP, "Exp"},
    {V1LayerParameter::FLATTEN, "Flatten"}, {V1LayerParameter::HDF5_DATA, "HDF5Data"},
    {V1LayerParameter::HDF5_OUTPUT, "HDF5Output"}, {V1LayerParameter::HINGE_LOSS, "HingeLoss"},
    {V1LayerParameter::IM2COL, "Im2col"}, {V1LayerParameter::IMAGE_DATA, "ImageData"},
    {V1LayerParameter::INFOGAIN_LOSS, "InfogainLoss"},
    {V1LayerParameter::INNER_PRODUCT, "InnerProduct"}, {V1LayerParameter::LRN, "LRN"},
    {V1LayerParameter::MEMORY_DATA, "MemoryData"},
    {V1LayerParameter::MULTINOMIAL_LOGISTIC_LOSS, "MultinomialLogisticLoss"},
    {V1LayerParameter::MVN, "MVN"}, {V1LayerParameter::POOLING, "Pooling"},
    {V1LayerParameter::POWER, "Power"}, {V1LayerParameter::RELU, "ReLU"},
    {V1LayerParameter::SIGMOID, "Sigmoid"},
    {V1LayerParameter::SIGMOID_CROSS_ENTROPY_LOSS, "SigmoidCrossEntropyLoss"},
    {V1LayerParameter::SILENCE, "Silence"}, {V1LayerParameter::SLICE, "Slice"},
    {V1LayerParameter::SOFTMAX, "Softmax"}, {V1LayerParameter::SOFTMAX_LOSS, "SoftmaxWithLoss"},
    {V1LayerParameter::SPLIT, "Split"}, {V1LayerParameter::TANH, "TanH"},
    {V1LayerParameter::THRESHOLD, "Threshold"}, {V1LayerParameter::WINDOW_DATA, "WindowData"},
};
// clang-format on
static_assert(std::size(kTypesOfV1) == V1LayerParameter::LayerType_ARRAYSIZE - 1);  // without NONE

// Empty for numbers that are not a layer type of V1's.
std::string_view TypeOfV1(V1LayerParameter::LayerType type) {
  const auto* const found =
      std::ranges::find(kTypesOfV1, type, [](const auto& row) { return row.first; });
  return found == std::end(kTypesOfV1) ? "" : found->second;
}

// Everything that matters to inference; fillers and learning rates stay behind.
void UpgradeLayer(V1LayerParameter& from, LayerParameter& to) {
  to.set_name(from.name());
  to.set_type(std::string(TypeOfV1(from.type())));
  to.mutable_bottom()->Swap(from.mutable_bottom());
  to.mutable_top()->Swap(from.mutable_top());
  to.mutable_include()->Swap(from.mutable_include());
  to.mutable_exclude()->Swap(from.mutable_exclude());
  to.mutable_loss_weight()->Swap(from.mutable_loss_weight());
#define ZOOD_MOVE(parameter) \
  if (from.has_##parameter()) to.mutable_##parameter()->Swap(from.mutable_##parameter())
  ZOOD_MOVE(concat_param);
  ZOOD_MOVE(convolution_param);
  ZOOD_MOVE(data_param);
  ZOOD_MOVE(dropout_param);
  ZOOD_MOVE(dummy_data_param);
  ZOOD_MOVE(eltwise_param);
  ZOOD_MOVE(image_data_param);
  ZOOD_MOVE(inner_product_param);
  ZOOD_MOVE(lrn_param);
  ZOOD_MOVE(memory_data_param);
  ZOOD_MOVE(pooling_param);
  ZOOD_MOVE(power_param);
  ZOOD_MOVE(relu_param);
  ZOOD_MOVE(slice_param);
  ZOOD_MOVE(softmax_param);
  ZOOD_MOVE(transform_param);
  ZOOD_MOVE(window_data_param);
#undef ZOOD_MOVE
}

}  // namespace

absl::StatusOr<NetParameter> ParseCaffeSchemaText(std::string_view prototxt,
                                                  const std::string& where,
                                                  const checkpoint::Limits& limits) {
  ZOOD_RETURN_IF_ERROR(CheckLength(prototxt.size(), where, limits));
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  google::protobuf::io::ArrayInputStream input(prototxt.data(), static_cast<int>(prototxt.size()));
  NetParameter net;
  if (!parser.Parse(&input, &net)) return error.ToStatus(where);
  return net;
}

absl::StatusOr<NetParameter> ParseCaffeSchemaModel(std::span<const std::byte> caffemodel,
                                                   const std::string& where,
                                                   const checkpoint::Limits& limits) {
  auto description = WithoutBlobs(caffemodel, where, limits);
  if (!description.ok()) return Annotate(description.status(), where);
  NetParameter net;
  if (!net.ParseFromString(*description)) {
    return DataLoss("{}: the network's description is damaged", where);
  }
  return net;
}

absl::Status UpgradeCaffeSchema(NetParameter& net) {
  if (net.layers_size() > 0 && net.layer_size() > 0) {
    return InvalidArgument("the network has `layers` of the V1 form and `layer` of today's form");
  }
  for (V1LayerParameter& layer : *net.mutable_layers()) {
    if (layer.has_layer()) return checkpoint::RefuseCaffeV0();
    if (TypeOfV1(layer.type()).empty()) {
      return InvalidArgument("layer '{}' has no type", Printable(layer.name()));
    }
    UpgradeLayer(layer, *net.add_layer());
  }
  net.clear_layers();
  return absl::OkStatus();
}

}  // namespace zood::netdef
