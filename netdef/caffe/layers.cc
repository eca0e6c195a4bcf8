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

void CaffeLayers::AddInput(const std::string& blob, const std::vector<std::string>& beside) {
  blobs_[blob] = tops_.size();
  tops_.push_back({.blob = blob, .layer = {}, .content = {.value = net_.input(), .segments = {}}});
  net_.EndPoint(blob, net_.input());
  beside_.insert(beside.begin(), beside.end());
}

bool CaffeLayers::IsBeside(const CaffeLayer& layer) {
  const bool all =
      !layer.bottoms.empty() && std::ranges::all_of(layer.bottoms, [&](const std::string& bottom) {
        return beside_.contains(bottom);
      });
  if (all) beside_.insert(layer.tops.begin(), layer.tops.end());
  return all;
}

void CaffeLayers::AddLoss(const CaffeLayer& layer) {
  const auto blob = layer.bottoms.empty() ? blobs_.end() : blobs_.find(layer.bottoms.front());
  if (blob == blobs_.end()) return;
  Top& top = tops_[blob->second];
  if (top.loss_weight && *top.loss_weight >= layer.loss_weight) return;
  top.loss_weight = layer.loss_weight;
  top.is_sigmoid_loss = layer.type == "SigmoidCrossEntropyLoss";
}

void CaffeLayers::Add(const CaffeLayer& layer) {
  constexpr std::string_view kLeftOut[] = {"Accuracy", "ArgMax", "HDF5Output"};
  if (!net_.ok() || std::holds_alternative<CaffeData>(layer.parameters)) return;
  if (layer.type.ends_with("Loss")) return AddLoss(layer);
  if (std::ranges::find(kLeftOut, layer.type) != std::end(kLeftOut) || IsBeside(layer)) return;
  Current current{.layer = layer, .bottoms = {}};
  for (const std::string& bottom : layer.bottoms) {
    const auto blob = blobs_.find(bottom);
    if (blob == blobs_.end()) {
      if (layer.type == "Silence") continue;
      net_.Fail(InvalidArgument(
          "layer '{}' reads the blob '{}', which {}", Printable(layer.name), Printable(bottom),
          beside_.contains(bottom) ? "only training has" : "no layer before it makes"));
      return;
    }
    tops_[blob->second].is_read = true;
    current.bottoms.push_back(tops_[blob->second].content);
  }
  if (layer.type == "Silence") return;
  if (current.bottoms.empty()) {
    net_.Fail(InvalidArgument("layer '{}' of type {} has no bottom", Printable(layer.name),
                              Printable(layer.type)));
    return;
  }
  const std::size_t unsupported = num_unsupported_;
  const std::optional<std::vector<Blob>> made = MakeTops(current);
  if (!made && num_unsupported_ == unsupported) return;  // a mistake
  for (std::size_t i = 0; i < layer.tops.size(); ++i) {
    const std::string& top = layer.tops[i];
    const Blob& content = made ? (*made)[i] : current.bottoms.front();
    blobs_[top] = tops_.size();
    tops_.push_back({.blob = top, .layer = layer.name, .content = content});
    net_.EndPoint(top, content.value);
  }
}

std::optional<std::vector<CaffeLayers::Blob>> CaffeLayers::MakeTops(const Current& current) {
  const auto* slice = std::get_if<CaffeSlice>(&current.layer.parameters);
  if (slice != nullptr && current.bottoms.size() == 1) return Slices(current, *slice);
  const std::optional<Blob> made = Make(current);
  if (!made) return std::nullopt;
  return std::vector<Blob>(current.layer.tops.size(), *made);
}

std::optional<CaffeLayers::Blob> CaffeLayers::Make(const Current& current) {
  constexpr std::string_view kManyBottoms[] = {"Eltwise", "Concat"};
  if (std::ranges::find(kManyBottoms, current.layer.type) == std::end(kManyBottoms) &&
      current.bottoms.size() > 1) {
    return Unsupported("layer '{}' of type {} with {} bottoms", Printable(current.layer.name),
                       Printable(current.layer.type), current.bottoms.size());
  }
  return std::visit([&](const auto& parameters) { return Make(current, parameters); },
                    current.layer.parameters);
}

std::optional<CaffeLayers::Blob> CaffeLayers::NoteUnsupported(std::string what) {
  constexpr std::size_t kMostNamed = 10;
  if (++num_unsupported_ <= kMostNamed) unsupported_.push_back(std::move(what));
  return std::nullopt;
}

bool CaffeLayers::IsChannels(const Current& current, std::int64_t axis) {
  const int rank = current.bottoms.front().value.shape().rank();
  if (axis == 1 || axis == 1 - rank) return true;
  Unsupported("layer '{}': axis {} of a blob with {} axes, other than the channels'",
              Printable(current.layer.name), axis, rank);
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
