#include "netdef/caffe/net.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "netdef/caffe/parameters.h"
#include "netdef/caffe/schema.h"

namespace zood::netdef {
namespace {

namespace pb = formats::caffe;

constexpr int kLegacyRank = 4;  // of input_dim: num, channels, height, width

bool Contains(const google::protobuf::RepeatedPtrField<std::string>& texts,
              const std::string& text) {
  return std::ranges::find(texts, text) != texts.end();
}

// Whether `state`, taken to be in phase TEST, is one that `rule` matches.
bool Meets(const pb::NetState& state, const pb::NetStateRule& rule) {
  const auto is_there = [&](const std::string& stage) { return Contains(state.stage(), stage); };
  return (!rule.has_phase() || rule.phase() == pb::TEST) &&
         (!rule.has_min_level() || state.level() >= rule.min_level()) &&
         (!rule.has_max_level() || state.level() <= rule.max_level()) &&
         std::ranges::all_of(rule.stage(), is_there) &&
         std::ranges::none_of(rule.not_stage(), is_there);
}

absl::StatusOr<bool> IsIncluded(const pb::NetState& state, const pb::LayerParameter& layer) {
  if (layer.include_size() > 0 && layer.exclude_size() > 0) {
    return InvalidArgument("a layer has either include or exclude rules");
  }
  const auto meets = [&](const pb::NetStateRule& rule) { return Meets(state, rule); };
  return layer.include_size() > 0 ? std::ranges::any_of(layer.include(), meets)
                                  : std::ranges::none_of(layer.exclude(), meets);
}

// `input: "data"` with four `input_dim`s or an `input_shape` each.
absl::Status AddLegacyInputs(const pb::NetParameter& net, CaffeNet& definition) {
  const int inputs = net.input_size();
  const bool has_dims = net.input_dim_size() > 0;
  if (has_dims == (net.input_shape_size() > 0) && (has_dims || inputs > 0)) {
    return InvalidArgument("an input needs either four input_dim or one input_shape");
  }
  if (has_dims ? net.input_dim_size() != inputs * kLegacyRank : net.input_shape_size() != inputs) {
    return InvalidArgument("{} inputs have {} input_dim (four each) and {} input_shape (one each)",
                           inputs, net.input_dim_size(), net.input_shape_size());
  }
  for (int i = 0; i < inputs; ++i) {
    std::vector<std::int64_t> dims;
    if (has_dims) {
      const auto first = net.input_dim().begin() + i * kLegacyRank;
      dims.assign(first, first + kLegacyRank);
    } else {
      dims.assign(net.input_shape(i).dim().begin(), net.input_shape(i).dim().end());
    }
    auto shape = ResolveCaffeShape(dims);
    if (!shape.ok()) {
      return Annotate(shape.status(), fmt::format("input '{}'", Printable(net.input(i))));
    }
    definition.inputs.push_back({.name = net.input(i), .shape = *std::move(shape)});
  }
  return absl::OkStatus();
}

// A layer of type Input: a shape for each top, or one for all.
absl::Status AddInputLayer(const pb::LayerParameter& layer, CaffeNet& definition) {
  ZOOD_ASSIGN_OR_RETURN(const CaffeTransform transform, ResolveCaffeTransform(layer));
  const auto& shapes = layer.input_param().shape();
  if (shapes.empty() || (shapes.size() != 1 && shapes.size() != layer.top_size())) {
    return InvalidArgument("{} shapes for {} inputs", shapes.size(), layer.top_size());
  }
  for (int i = 0; i < layer.top_size(); ++i) {
    ZOOD_ASSIGN_OR_RETURN(Shape shape,
                          ResolveCaffeShape(Values(shapes[shapes.size() == 1 ? 0 : i].dim())));
    definition.inputs.push_back({layer.top(i), std::move(shape), transform});
  }
  return absl::OkStatus();
}

absl::Status AddLayer(const pb::NetParameter& net, const pb::LayerParameter& layer,
                      CaffeNet& definition) {
  ZOOD_ASSIGN_OR_RETURN(const bool is_included, IsIncluded(net.state(), layer));
  if (!is_included) return absl::OkStatus();
  if (layer.type() == "Input") return AddInputLayer(layer, definition);
  ZOOD_ASSIGN_OR_RETURN(CaffeLayer resolved, ResolveCaffeLayer(layer));
  definition.layers.push_back(std::move(resolved));
  return absl::OkStatus();
}

absl::StatusOr<CaffeNet> Define(pb::NetParameter net) {
  ZOOD_RETURN_IF_ERROR(UpgradeCaffeSchema(net));
  CaffeNet definition = {.name = net.name()};
  ZOOD_RETURN_IF_ERROR(AddLegacyInputs(net, definition));
  for (const pb::LayerParameter& layer : net.layer()) {
    const absl::Status added = AddLayer(net, layer, definition);
    if (!added.ok()) {
      return Annotate(added, fmt::format("layer '{}' of type {}", Printable(layer.name()),
                                         Printable(layer.type())));
    }
  }
  if (definition.layers.empty()) return InvalidArgument("the network has no layers");
  return definition;
}

absl::StatusOr<CaffeNet> Define(absl::StatusOr<pb::NetParameter> net, const std::string& where) {
  if (!net.ok()) return net.status();
  auto definition = Define(*std::move(net));
  if (!definition.ok()) return Annotate(definition.status(), where);
  return definition;
}

}  // namespace

absl::StatusOr<CaffeNet> ParseCaffeText(std::string_view prototxt, const std::string& where,
                                        const checkpoint::Limits& limits) {
  return Define(ParseCaffeSchemaText(prototxt, where, limits), where);
}

absl::StatusOr<CaffeNet> ParseCaffeModel(std::span<const std::byte> caffemodel,
                                         const std::string& where,
                                         const checkpoint::Limits& limits) {
  return Define(ParseCaffeSchemaModel(caffemodel, where, limits), where);
}

}  // namespace zood::netdef
