#include "netdef/network_definition.h"

#include <cstddef>
#include <span>

namespace zood::netdef {

std::vector<std::string> NetworkDefinition::HeadVariables() const {
  return ClassifierVariables(*graph_);
}

std::vector<std::string> ClassifierVariables(const graph::Graph& graph) {
  graph::NodeId id = graph.logits();
  const auto makes_classes = [&] {
    const graph::Op& op = graph.node(id).op;
    return std::holds_alternative<graph::ConvOp>(op) ||
           std::holds_alternative<graph::FullyConnectedOp>(op);
  };
  while (!makes_classes() && !graph.node(id).inputs.empty()) id = graph.node(id).inputs.front();
  const graph::NodeId output = graph.logits();
  const std::vector<bool> all = graph.VariablesNeededBy(std::span(&output, 1));
  const std::vector<bool> below = graph.VariablesNeededBy(graph.node(id).inputs);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] && !below[i]) names.push_back(graph.variables()[i].name);
  }
  return names;
}

}  // namespace zood::netdef
