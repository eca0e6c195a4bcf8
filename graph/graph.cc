#include "graph/graph.h"

#include "base/status.h"
#include "graph/visit.h"

namespace zood::graph {

const char* OpName(const Op& op) {
  struct Name {
    const char* operator()(const InputOp&) const { return "Input"; }
    const char* operator()(const ConvOp&) const { return "Conv"; }
    const char* operator()(const FullyConnectedOp&) const { return "FullyConnected"; }
    const char* operator()(const BatchNormOp&) const { return "BatchNorm"; }
    const char* operator()(const ScaleOp&) const { return "Scale"; }
    const char* operator()(const ActivationOp&) const { return "Activation"; }
    const char* operator()(const PreluOp&) const { return "Prelu"; }
    const char* operator()(const PoolOp&) const { return "Pool"; }
    const char* operator()(const LrnOp&) const { return "Lrn"; }
    const char* operator()(const EltwiseOp&) const { return "Eltwise"; }
    const char* operator()(const ConcatOp&) const { return "Concat"; }
    const char* operator()(const ChannelPadOp&) const { return "ChannelPad"; }
    const char* operator()(const DropoutOp&) const { return "Dropout"; }
    const char* operator()(const ReshapeOp&) const { return "Reshape"; }
    const char* operator()(const SoftmaxOp&) const { return "Softmax"; }
  };
  return std::visit(Name(), op);
}

std::vector<VariableId> VariablesOf(const Op& op) {
  std::vector<VariableId> ids;
  ForEachVariable(op, [&ids](VariableId id) { ids.push_back(id); });
  return ids;
}

absl::StatusOr<NodeId> Graph::EndPoint(std::string_view name) const {
  if (const auto it = end_points_.find(name); it != end_points_.end()) return it->second;
  std::string known;
  for (const auto& [other, id] : end_points_) known += (known.empty() ? "" : ", ") + other;
  return NotFound("no end point '{}'; this network has: {}", name, known);
}

std::vector<bool> Graph::NodesNeededBy(std::span<const NodeId> outputs) const {
  std::vector<bool> needed(nodes_.size(), false);
  for (NodeId id : outputs) needed[static_cast<std::size_t>(id)] = true;
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (NodeId input : nodes_[i].inputs) needed[static_cast<std::size_t>(input)] = true;
  }
  return needed;
}

std::vector<bool> Graph::VariablesNeededBy(std::span<const NodeId> outputs) const {
  const std::vector<bool> nodes = NodesNeededBy(outputs);
  std::vector<bool> needed(variables_.size(), false);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes[i]) continue;
    for (VariableId id : VariablesOf(nodes_[i].op)) needed[static_cast<std::size_t>(id)] = true;
  }
  return needed;
}

absl::Status Graph::CheckWeights(const TensorMap& weights) const {
  constexpr int kListed = 5;
  int wrong = 0;
  std::string list;
  for (const Variable& variable : variables_) {
    const auto it = weights.find(variable.name);
    std::string found;
    if (it == weights.end()) {
      found = "it is missing";
    } else if (it->second.dtype() != DType::kFloat32 || it->second.shape() != variable.shape) {
      found = fmt::format("found {} {}", Name(it->second.dtype()), it->second.shape().ToString());
    } else {
      continue;
    }
    if (++wrong <= kListed) {
      list += fmt::format("{}{}: expected float32 {}, {}", list.empty() ? "" : "; ", variable.name,
                          variable.shape.ToString(), found);
    }
  }
  if (wrong == 0) return absl::OkStatus();
  if (wrong > kListed) list += fmt::format("; and {} more", wrong - kListed);
  return InvalidArgument("{} of {} variables do not fit the network: {}", wrong, variables_.size(),
                         list);
}

}  // namespace zood::graph
