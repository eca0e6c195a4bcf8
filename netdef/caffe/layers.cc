#include "netdef/caffe/layers.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/status.h"
#include "base/text.h"

namespace zood::netdef {

using graph::Value;

bool InOurOrder(const std::vector<CaffeSegment>& segments) {
  return std::ranges::all_of(segments, [](const CaffeSegment& s) {
    return s.channels == 1 || (s.height == 1 && s.width == 1);
  });
}

void CaffeLayers::AddInput(const std::string& blob) {
  blobs_.insert_or_assign(blob, Blob{.value = net_.input(), .segments = {}});
  net_.EndPoint(blob, net_.input());
}

void CaffeLayers::Add(const CaffeLayer& layer) {
  constexpr std::string_view kLeftOut[] = {"Silence",
                                           "Accuracy",
                                           "EuclideanLoss",
                                           "HingeLoss",
                                           "MultinomialLogisticLoss",
                                           "SigmoidCrossEntropyLoss"};
  if (!net_.ok() || std::ranges::find(kLeftOut, layer.type) != std::end(kLeftOut)) return;
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
    net_.Fail(
        InvalidArgument("layer '{}' of type {} has no bottom; a network for use, such as a "
                        "deploy.prototxt, takes its images from an input",
                        Printable(layer.name), Printable(layer.type)));
    return;
  }
  const std::optional<Blob> made = Make(current);
  if (!made) return;
  const bool softmax = std::holds_alternative<CaffeSoftmax>(layer.parameters);
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
          .segments = {{.channels = map.channels(), .height = map.height(), .width = map.width()}}};
}

}  // namespace zood::netdef
