#include "netdef/caffe/network.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "models/weights/weight_layout.h"

namespace zood::netdef {
namespace {

using Kind = CaffeWeight::Kind;

std::string BlobName(const CaffeWeight& weight) {
  return fmt::format("{}/{}", weight.layer, weight.blob);
}

// The layer of "<layer>/<index>".
std::string LayerOf(const std::string& blob) { return blob.substr(0, blob.rfind('/')); }

// The shape that the weight's blob has in a file of today.
Shape BlobShape(const CaffeWeight& weight, const Shape& ours) {
  switch (weight.kind) {
    case Kind::kConvolution:
      return models::ShapeIn(models::WeightLayout::kConv, ours);
    case Kind::kInnerProduct:
      return weight.transposed ? ours : models::ShapeIn(models::WeightLayout::kLinear, ours);
    case Kind::kShared:
      return {1};
    default:
      return ours;
  }
}

// Old files give every blob four axes, ones in front.
bool SameButForLeadingOnes(const Shape& a, const Shape& b) {
  const auto trimmed = [](const Shape& shape) {
    return std::vector<std::int64_t>(
        std::ranges::find_if(shape, [](std::int64_t dim) { return dim != 1; }), shape.end());
  };
  return trimmed(a) == trimmed(b);
}

absl::StatusOr<Tensor> FromValues(const Shape& shape, std::vector<float> values) {
  return Tensor::FromVector(shape, std::move(values));
}

// The rows of [n, ...], which are features in Caffe's order, in ours.
absl::StatusOr<Tensor> Reordered(const Tensor& tensor, const std::vector<CaffeSegment>& segments) {
  if (InOurOrder(segments)) return tensor;
  const std::span<const float> from = tensor.values<float>();
  const auto rows = static_cast<std::size_t>(tensor.shape()[0]);
  const std::size_t row = from.size() / rows;
  std::vector<float> to;
  to.reserve(from.size());
  std::size_t begin = 0;  // of the segment
  for (const CaffeSegment& s : segments) {
    const auto map = static_cast<std::size_t>(s.height * s.width);
    const auto channels = static_cast<std::size_t>(s.channels);
    for (std::size_t place = 0; place < map; ++place) {
      for (std::size_t c = 0; c < channels; ++c) {
        const auto values = from.subspan((begin + c * map + place) * row, row);
        to.insert(to.end(), values.begin(), values.end());
      }
    }
    begin += map * channels;
  }
  return FromValues(tensor.shape(), std::move(to));
}

// BatchNorm's blob 2: both statistics were summed up with decaying weights, this is the weights'
// sum. 0 where nothing was summed up.
absl::StatusOr<Tensor> DividedByFactor(const Tensor& sum, const Tensor& factor) {
  ZOOD_ASSIGN_OR_RETURN(const Tensor divisor, factor.ToFloat32());
  const float f = divisor.values<float>()[0];
  const float scale = f == 0 ? 0 : 1 / f;
  const std::span<const float> from = sum.values<float>();
  std::vector<float> values(from.begin(), from.end());
  for (float& value : values) value *= scale;
  return FromValues(sum.shape(), std::move(values));
}

// The variable of shape `ours` from its blob, which has the right shape.
absl::StatusOr<Tensor> Convert(const CaffeWeight& weight, const Tensor& blob, const Shape& ours,
                               const Tensor& factor) {
  ZOOD_ASSIGN_OR_RETURN(const Tensor floats, blob.ToFloat32());
  ZOOD_ASSIGN_OR_RETURN(Tensor value, floats.Reshaped(BlobShape(weight, ours)));
  switch (weight.kind) {
    case Kind::kConvolution:
      return models::FromLayout(models::WeightLayout::kConv, value, ours);
    case Kind::kShared:
      return FromValues(ours, std::vector<float>(static_cast<std::size_t>(ours.num_elements()),
                                                 value.values<float>()[0]));
    case Kind::kInnerProduct:
      if (!weight.transposed) {
        ZOOD_ASSIGN_OR_RETURN(value,
                              models::FromLayout(models::WeightLayout::kLinear, value, ours));
      }
      return Reordered(value, weight.segments);
    case Kind::kStatistic: {
      ZOOD_ASSIGN_OR_RETURN(value, DividedByFactor(value, factor));
      return Reordered(value, weight.segments);
    }
    case Kind::kVector:
      return Reordered(value, weight.segments);
    case Kind::kOnes:
      break;
  }
  return FromValues(ours, std::vector<float>(static_cast<std::size_t>(ours.num_elements()), 1));
}

std::string FactorName(const CaffeWeight& weight) { return weight.layer + "/2"; }

// The file's blobs by name.
using Blobs = std::map<std::string, const checkpoint::VariableInfo*, std::less<>>;

absl::StatusOr<Tensor> ReadFactor(const CaffeWeight& weight, const Blobs& blobs,
                                  const models::WeightFile& file) {
  const std::string name = FactorName(weight);
  const auto found = blobs.find(name);
  if (found == blobs.end()) {
    return InvalidArgument("the file has no {}, the factor of a BatchNorm layer's statistics",
                           Printable(name));
  }
  if (const Shape& shape = found->second->shape; shape.num_elements() != 1) {
    return InvalidArgument(
        "{}, the factor of a BatchNorm layer's statistics: expected [1], found "
        "{}",
        Printable(name), shape.ToString());
  }
  return file.read(name);
}

}  // namespace

absl::StatusOr<CaffeNetwork> CaffeNetwork::Build(const CaffeNet& definition,
                                                 const std::string& output) {
  CaffeNetwork network;
  network.name_ = fmt::format("the network '{}'", Printable(definition.name));
  ZOOD_ASSIGN_OR_RETURN(network.input_, FindImageInput(definition));
  const CaffeImageInput& input = network.input_;
  graph::Net net({.height = static_cast<int>(input.height),
                  .width = static_cast<int>(input.width),
                  .channels = static_cast<int>(input.channels)});
  CaffeLayers layers(net);
  layers.AddInput(input.blob, input.beside);
  for (const CaffeLayer& layer : definition.layers) layers.Add(layer);
  ZOOD_ASSIGN_OR_RETURN(const graph::Output answer, layers.Answer(output));
  network.output_kind_ = answer.kind;
  ZOOD_ASSIGN_OR_RETURN(network.graph_, net.Finish(answer.value));
  network.weights_ = layers.TakeWeights();
  return network;
}

std::string CaffeNetwork::ClassifyingLayer() const {
  for (graph::NodeId id = graph_.logits();;) {
    const graph::Node& node = graph_.node(id);
    const auto* conv = std::get_if<graph::ConvOp>(&node.op);
    const auto* product = std::get_if<graph::FullyConnectedOp>(&node.op);
    if (conv != nullptr || product != nullptr) {
      const std::string& variable =
          graph_.variable(conv != nullptr ? conv->weights : product->weights).name;
      return std::ranges::find(weights_, variable, &CaffeWeight::variable)->layer;
    }
    if (node.inputs.empty()) return "";
    id = node.inputs.front();
  }
}

absl::StatusOr<models::MappedWeights> CaffeNetwork::MapWeights(
    const models::WeightFile& file) const {
  Blobs blobs;
  for (const checkpoint::VariableInfo& blob : file.variables) blobs[blob.name] = &blob;
  models::WeightAccount account(name_, graph_, file);
  std::set<std::string, std::less<>> layers;
  std::set<std::string, std::less<>> used;
  for (const CaffeWeight& weight : weights_) {
    const graph::Variable& variable = *account.Find(weight.variable);
    layers.insert(weight.layer);
    const std::string name = BlobName(weight);
    const auto blob = blobs.find(name);
    if (blob == blobs.end()) continue;
    used.insert(name);
    const Shape expected = BlobShape(weight, variable.shape);
    if (!SameButForLeadingOnes(blob->second->shape, expected)) {
      account.WrongShape(variable, name, expected, blob->second->shape);
      continue;
    }
    Tensor factor;
    if (weight.kind == Kind::kStatistic) {
      ZOOD_ASSIGN_OR_RETURN(factor, ReadFactor(weight, blobs, file));
      used.insert(FactorName(weight));
    }
    ZOOD_ASSIGN_OR_RETURN(const Tensor read, file.read(name));
    auto value = Convert(weight, read, variable.shape, factor);
    if (!value.ok()) return Annotate(value.status(), Printable(name));
    ZOOD_RETURN_IF_ERROR(account.Take(variable, name, *std::move(value)));
  }
  for (const checkpoint::UnreadEntry& entry : file.unread) {
    account.Ignore(entry.name, entry.reason);
  }
  for (const checkpoint::VariableInfo& blob : file.variables) {
    if (used.contains(blob.name)) continue;
    if (layers.contains(LayerOf(blob.name))) {
      account.Unknown(blob.name, blob.shape);
    } else {
      account.Ignore(blob.name, "its layer is not in the network");
    }
  }
  const bool other_names = account.NothingFits();
  ZOOD_ASSIGN_OR_RETURN(
      models::MappedWeights mapped,
      account.Finish(other_names
                         ? "No variable has a name of this network's layers: a network from "
                           "a .prototxt takes the weights of its .caffemodel"
                         : ""));
  mapped.naming = "Caffe";
  return mapped;
}

absl::StatusOr<models::MappedWeights> CaffeNetwork::MapWeights(const TensorMap& file) const {
  return MapWeights(models::FileOf(file));
}

}  // namespace zood::netdef
