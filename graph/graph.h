// A network as data: nodes, variables, end points.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/shape.h"
#include "base/tensor.h"
#include "graph/function.h"
#include "graph/op.h"

namespace zood::graph {

// A named weight of a network, without its value.
struct Variable {
  std::string name;  // as in the checkpoint: "vgg_16/conv1/conv1_1/weights"
  Shape shape;
  bool trainable = true;  // false for moving statistics
  InitializerPtr initializer;
  RegularizerPtr regularizer;  // may be null
};

struct Node {
  std::string name;  // the scope it was made in; not unique
  Op op;
  std::vector<NodeId> inputs;
  Shape shape;  // the first extent is Shape::kAnyBatch
};

// Immutable; made by Net (net.h), or from another one (cut.h). Nodes are in topological order:
// inputs come before users. Node 0 is the input.
class Graph {
 public:
  std::span<const Node> nodes() const { return nodes_; }
  const Node& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }
  std::span<const Variable> variables() const { return variables_; }
  const Variable& variable(VariableId id) const { return variables_[static_cast<std::size_t>(id)]; }

  NodeId input() const { return 0; }
  const Shape& input_shape() const { return nodes_.front().shape; }  // [?, H, W, C]

  // What the network answers before its softmax, [?, classes]; or its features, where it was built
  // without classes.
  NodeId logits() const { return logits_; }
  // The auxiliary classifier's, where the network has one.
  std::optional<NodeId> aux_logits() const { return aux_logits_; }

  // Named intermediate results, by the names the original framework gives them.
  const std::map<std::string, NodeId, std::less<>>& end_points() const { return end_points_; }
  absl::StatusOr<NodeId> EndPoint(std::string_view name) const;

  // The variables that computing `outputs` reads, as flags by VariableId.
  std::vector<bool> VariablesNeededBy(std::span<const NodeId> outputs) const;
  // The nodes that computing `outputs` runs, as flags by NodeId.
  std::vector<bool> NodesNeededBy(std::span<const NodeId> outputs) const;

  // OK when `weights` has every variable, float32 and in its shape. The error names up to five
  // variables that are missing or of another shape, and how many more there are.
  absl::Status CheckWeights(const TensorMap& weights) const;

 private:
  friend class Net;
  friend class GraphPart;  // cut.cc

  std::vector<Node> nodes_;
  std::vector<Variable> variables_;
  NodeId logits_ = 0;
  std::optional<NodeId> aux_logits_;
  std::map<std::string, NodeId, std::less<>> end_points_;
};

}  // namespace zood::graph
