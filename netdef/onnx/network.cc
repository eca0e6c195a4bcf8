#include "netdef/onnx/network.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "netdef/onnx/builder.h"

namespace zood::netdef {
namespace {

// The image among the model's inputs, and whether its channels come last.
absl::StatusOr<std::pair<OnnxInput, bool>> FindInput(const OnnxModel& model,
                                                     const models::NetworkArgs& args) {
  if (model.inputs.size() != 1) {
    return InvalidArgument("the network has {} inputs; expected one, the image",
                           model.inputs.size());
  }
  const OnnxValueInfo& info = model.inputs.front();
  const auto refused = [&](const std::string& why) {
    std::vector<std::string> dims;
    for (const std::int64_t dim : info.dims) dims.push_back(dim < 0 ? "?" : std::to_string(dim));
    return InvalidArgument("its input '{}' has shape [{}]: {}", Printable(info.name),
                           fmt::join(dims, ","), why);
  };
  if (info.dims.size() != 4) {
    return refused("expected an image, [batch, channels, height, width] or channels last");
  }
  const auto are_channels = [](std::int64_t extent) { return extent == 1 || extent == 3; };
  const bool last = !are_channels(info.dims[1]) && are_channels(info.dims[3]);
  if (!last && !are_channels(info.dims[1])) return refused("expected 1 or 3 channels");
  OnnxInput input{.name = info.name,
                  .height = info.dims[last ? 1 : 2],
                  .width = info.dims[last ? 2 : 3],
                  .channels = info.dims[last ? 3 : 1]};
  const auto choose = [](std::int64_t& own, int asked) {
    if (own < 0) own = asked;
    return own > 0 && (asked == 0 || asked == own);
  };
  if (!choose(input.height, args.height) || !choose(input.width, args.width)) {
    return refused(args.height == 0 && args.width == 0
                       ? "the size of images is left open; give it (zoo import --size)"
                       : fmt::format("it does not take {}x{}", args.height, args.width));
  }
  constexpr std::int64_t kMostSide = 1 << 16;
  if (std::max(input.height, input.width) > kMostSide) return refused("it is too large");
  return std::pair(std::move(input), last);
}

// The initializer of the weights that make the logits; empty where there are none.
std::string HeadOf(const graph::Graph& graph, const std::vector<OnnxWeight>& weights) {
  for (graph::NodeId id = graph.logits();;) {
    const graph::Node& node = graph.node(id);
    const auto* conv = std::get_if<graph::ConvOp>(&node.op);
    const auto* product = std::get_if<graph::FullyConnectedOp>(&node.op);
    if (conv != nullptr || product != nullptr) {
      const std::string& variable =
          graph.variable(conv != nullptr ? conv->weights : product->weights).name;
      const auto found = std::ranges::find(weights, variable, &OnnxWeight::variable);
      return found == weights.end() ? "" : found->initializer;
    }
    if (node.inputs.empty()) return "";
    id = node.inputs.front();
  }
}

absl::StatusOr<Tensor> Converted(const OnnxWeight& weight, const Tensor& read, const Shape& ours) {
  ZOOD_ASSIGN_OR_RETURN(Tensor value, read.ToFloat32());
  for (const OnnxWeight::Step& step : weight.steps) {
    if (step.permutation.empty()) {
      ZOOD_ASSIGN_OR_RETURN(value, value.Reshaped(step.reshaped));
    } else {
      ZOOD_ASSIGN_OR_RETURN(value, Transpose(value, step.permutation));
    }
  }
  const bool plain = weight.function == OnnxWeight::Function::kSame && weight.scale == 1 &&
                     weight.rows.empty() && weight.fill == 0;
  if (plain) return value.Reshaped(ours);
  const std::span<const float> from = value.values<float>();
  std::vector<float> to(from.begin(), from.end());
  if (!weight.rows.empty()) {
    const std::size_t row = from.size() / weight.rows.size();
    for (std::size_t i = 0; i < weight.rows.size(); ++i) {
      const auto source = from.subspan(static_cast<std::size_t>(weight.rows[i]) * row, row);
      std::ranges::copy(source, to.begin() + static_cast<std::ptrdiff_t>(i * row));
    }
  }
  for (float& element : to) {
    if (weight.function == OnnxWeight::Function::kNegative) element = -element;
    if (weight.function == OnnxWeight::Function::kReciprocal) element = 1 / element;
    element *= weight.scale;
    if (weight.fill != 0) element = weight.fill;
  }
  return Tensor::FromVector(ours, std::move(to));
}

}  // namespace

absl::StatusOr<OnnxNetwork> OnnxNetwork::Build(const OnnxModel& model,
                                               const models::NetworkArgs& args,
                                               const std::string& output) {
  OnnxNetwork network;
  network.name_ = fmt::format("the network '{}'", Printable(model.name));
  // Before, arithmetic broadcast otherwise; what comes after may mean other things by the same
  // names.
  constexpr std::int64_t kOldestOpset = 7;
  constexpr std::int64_t kNewestOpset = 23;
  if (model.opset < kOldestOpset || model.opset > kNewestOpset) {
    return Unimplemented(
        "its operators are of opset {}; zood reads {} to {}: export it for one of these",
        model.opset, kOldestOpset, kNewestOpset);
  }
  ZOOD_ASSIGN_OR_RETURN(const auto input, FindInput(model, args));
  network.input_ = input.first;
  const auto build = [&](const std::string& head, int classes) -> absl::Status {
    graph::Net net({.height = static_cast<int>(network.input_.height),
                    .width = static_cast<int>(network.input_.width),
                    .channels = static_cast<int>(network.input_.channels)});
    OnnxBuilder builder(model, network.input_.name, input.second, head, classes, net);
    ZOOD_RETURN_IF_ERROR(builder.AddNodes());
    ZOOD_ASSIGN_OR_RETURN(const graph::Output answer, builder.Answer(output));
    network.output_kind_ = answer.kind;
    ZOOD_ASSIGN_OR_RETURN(network.graph_, net.Finish(answer.value));
    network.weights_ = builder.TakeWeights();
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(build("", 0));
  const std::int64_t classes = network.graph_.node(network.graph_.logits()).shape.back();
  if (args.num_classes == 0 || args.num_classes == classes) return network;
  const std::string head = HeadOf(network.graph_, network.weights_);
  if (head.empty()) {
    return InvalidArgument("the network has no layer whose outputs could be {} classes",
                           args.num_classes);
  }
  ZOOD_RETURN_IF_ERROR(build(head, args.num_classes));
  return network;
}

absl::StatusOr<models::MappedWeights> OnnxNetwork::MapWeights(
    const models::WeightFile& file) const {
  models::WeightAccount account(name_, graph_, file);
  std::set<std::string, std::less<>> used;
  for (const OnnxWeight& weight : weights_) {
    const graph::Variable* variable = account.Find(weight.variable);
    if (variable == nullptr) continue;  // of a node that the output does not need
    const auto found = std::ranges::lower_bound(file.variables, weight.initializer, {},
                                                &checkpoint::VariableInfo::name);
    if (found == file.variables.end() || found->name != weight.initializer) continue;
    used.insert(weight.initializer);
    const bool elements = variable->shape.num_elements() == weight.shape.num_elements();
    if (found->shape != weight.shape || !elements) {
      account.WrongShape(*variable, weight.initializer, elements ? weight.shape : variable->shape,
                         found->shape);
      continue;
    }
    ZOOD_ASSIGN_OR_RETURN(const Tensor read, file.read(weight.initializer));
    auto value = Converted(weight, read, variable->shape);
    if (!value.ok()) return Annotate(value.status(), Printable(weight.initializer));
    ZOOD_RETURN_IF_ERROR(account.Take(*variable, weight.initializer, *std::move(value)));
  }
  for (const checkpoint::UnreadEntry& entry : file.unread) account.Ignore(entry.name, entry.reason);
  for (const checkpoint::VariableInfo& variable : file.variables) {
    if (!used.contains(variable.name)) {
      account.Ignore(variable.name, "a constant of the description, or nothing reads it");
    }
  }
  ZOOD_ASSIGN_OR_RETURN(models::MappedWeights mapped, account.Finish());
  mapped.naming = "ONNX";
  return mapped;
}

}  // namespace zood::netdef
