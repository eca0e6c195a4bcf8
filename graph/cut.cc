#include "graph/cut.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "graph/visit.h"

namespace zood::graph {
namespace {

std::size_t Index(int id) { return static_cast<std::size_t>(id); }

std::vector<NodeId> ResultsOf(const Graph& graph) {
  std::vector<NodeId> results = {graph.logits()};
  if (graph.aux_logits()) results.push_back(*graph.aux_logits());
  return results;
}

// For each node, by NodeId, whether its value never changes while the rest is trained.
std::vector<bool> FrozenNodes(const Graph& graph, const std::vector<bool>& updated) {
  std::vector<bool> frozen(graph.nodes().size());
  for (std::size_t i = 0; i < frozen.size(); ++i) {
    const Node& node = graph.nodes()[i];
    frozen[i] = !IsRandomInTraining(node.op) &&
                std::ranges::none_of(VariablesOf(node.op),
                                     [&](VariableId id) { return updated[Index(id)]; }) &&
                std::ranges::all_of(node.inputs, [&](NodeId id) { return frozen[Index(id)]; });
  }
  return frozen;
}

}  // namespace

// Makes the graph of some of a graph's nodes.
class GraphPart {
 public:
  explicit GraphPart(const Graph& whole) : whole_(whole), new_id_(whole.nodes().size(), -1) {}

  // The nodes in `wanted`; node `input` becomes the part's input.
  Graph Take(const std::vector<bool>& wanted, NodeId input) {
    RenumberVariables(wanted, input);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!wanted[i]) continue;
      Node node = whole_.nodes()[i];
      if (static_cast<NodeId>(i) == input) {
        node.op = InputOp{};
        node.inputs.clear();
      }
      for (NodeId& id : node.inputs) id = new_id_[Index(id)];
      ForEachVariable(node.op, [this](VariableId& id) { id = new_variable_[Index(id)]; });
      new_id_[i] = static_cast<NodeId>(part_.nodes_.size());
      part_.nodes_.push_back(std::move(node));
    }
    for (const auto& [name, id] : whole_.end_points_) {
      if (wanted[Index(id)]) part_.end_points_[name] = new_id_[Index(id)];
    }
    return std::move(part_);
  }

  NodeId NewId(NodeId id) const { return new_id_[Index(id)]; }

  static void SetResults(Graph& part, NodeId logits, std::optional<NodeId> aux_logits) {
    part.logits_ = logits;
    part.aux_logits_ = aux_logits;
  }

 private:
  void RenumberVariables(const std::vector<bool>& wanted, NodeId input) {
    std::vector<bool> read(whole_.variables().size(), false);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!wanted[i] || static_cast<NodeId>(i) == input) continue;
      for (VariableId id : VariablesOf(whole_.nodes()[i].op)) read[Index(id)] = true;
    }
    new_variable_.assign(read.size(), -1);
    for (std::size_t i = 0; i < read.size(); ++i) {
      if (!read[i]) continue;
      new_variable_[i] = static_cast<VariableId>(part_.variables_.size());
      part_.variables_.push_back(whole_.variables()[i]);
    }
  }

  const Graph& whole_;
  std::vector<NodeId> new_id_;  // by old NodeId
  std::vector<VariableId> new_variable_;
  Graph part_;
};

std::optional<NodeId> FrozenCut(const Graph& graph, const std::vector<bool>& updated) {
  if (updated.size() != graph.variables().size()) return std::nullopt;
  const std::vector<NodeId> results = ResultsOf(graph);
  const std::vector<bool> needed = graph.NodesNeededBy(results);
  const std::vector<bool> frozen = FrozenNodes(graph, updated);
  // Edges leave a node towards later ones only, so that between node i and i + 1 the values in use
  // are those that some later node, or the caller, still reads. Where i alone is in use, all that
  // comes after sees the images through i.
  std::vector<NodeId> last_reader(graph.nodes().size(), -1);
  constexpr NodeId kCaller = 1 << 30;
  for (NodeId id : results) last_reader[Index(id)] = kCaller;
  for (std::size_t i = graph.nodes().size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (NodeId input : graph.nodes()[i].inputs) {
      last_reader[Index(input)] = std::max(last_reader[Index(input)], static_cast<NodeId>(i));
    }
  }
  std::optional<NodeId> cut;
  NodeId read_until = -1;  // the last node that reads a value before i
  for (NodeId i = 0; i < static_cast<NodeId>(graph.nodes().size()); ++i) {
    if (!needed[Index(i)]) continue;
    if (read_until <= i && frozen[Index(i)] && i != graph.input()) cut = i;
    read_until = std::max(read_until, last_reader[Index(i)]);
  }
  return cut;
}

absl::StatusOr<Graph> Before(const Graph& graph, NodeId cut) {
  if (cut < 0 || Index(cut) >= graph.nodes().size()) {
    return InvalidArgument("no node {} to cut at: the network has {}", cut, graph.nodes().size());
  }
  const NodeId outputs[] = {cut, graph.input()};
  GraphPart part(graph);
  Graph before = part.Take(graph.NodesNeededBy(outputs), graph.input());
  GraphPart::SetResults(before, part.NewId(cut), std::nullopt);
  return before;
}

absl::StatusOr<Graph> After(const Graph& graph, NodeId cut) {
  if (cut < 0 || Index(cut) >= graph.nodes().size()) {
    return InvalidArgument("no node {} to cut at: the network has {}", cut, graph.nodes().size());
  }
  // What the results need when the cut needs nothing.
  std::vector<bool> wanted(graph.nodes().size(), false);
  wanted[Index(cut)] = true;
  for (NodeId id : ResultsOf(graph)) wanted[Index(id)] = true;
  for (std::size_t i = wanted.size(); i-- > 0;) {
    if (!wanted[i] || static_cast<NodeId>(i) == cut) continue;
    if (static_cast<NodeId>(i) < cut) {
      return InvalidArgument("cannot cut at {}: the logits need {} beside it", graph.node(cut).name,
                             graph.nodes()[i].name);
    }
    for (NodeId id : graph.nodes()[i].inputs) wanted[Index(id)] = true;
  }
  GraphPart part(graph);
  Graph after = part.Take(wanted, cut);
  std::optional<NodeId> aux;
  if (graph.aux_logits()) aux = part.NewId(*graph.aux_logits());
  GraphPart::SetResults(after, part.NewId(graph.logits()), aux);
  return after;
}

}  // namespace zood::graph
