#include "engine/inference/lowering.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/kernels/dnnl_problem.h"
#include "graph/visit.h"

namespace zood::engine {
namespace {

using graph::Graph;
using graph::Node;

// A dense convolution over this few channels beats a depthwise and a pointwise one.
constexpr int kMaxMergedChannels = 4;

class Lowering {
 public:
  Lowering(const Graph& graph, std::span<const NodeId> results)
      : graph_(graph),
        needed_(graph.NodesNeededBy(results)),
        is_result_(graph.nodes().size(), false),
        absorbed_(graph.nodes().size(), false),
        users_(graph.nodes().size()) {
    lowered_.results.assign(results.begin(), results.end());
    lowered_.value_of.assign(graph.nodes().size(), -1);
    for (NodeId id : results) is_result_[Index(id)] = true;
    for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes().size()); ++id) {
      if (!needed_[Index(id)]) continue;
      for (NodeId input : graph.node(id).inputs) users_[Index(input)].push_back(id);
    }
  }

  LoweredGraph Run() {
    std::vector<std::pair<NodeId, Step>> steps;  // with the last node that each one absorbed
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) {
      if (!needed_[Index(id)] || absorbed_[Index(id)]) continue;
      const Node& node = graph_.node(id);
      if (std::holds_alternative<graph::InputOp>(node.op)) {
        lowered_.value_of[Index(id)] = id;
      } else if (graph::IsIdentityAtInference(node.op)) {
        lowered_.value_of[Index(id)] = -2;  // resolved below, when every value has its place
      } else {
        Step step = MakeStep(id);
        const NodeId last = step.output;
        lowered_.value_of[Index(last)] = last;
        steps.emplace_back(last, std::move(step));
      }
    }
    // A step runs where its last absorbed node was: everything it reads comes before that.
    std::ranges::sort(steps, {}, [](const auto& entry) { return entry.first; });
    ResolveAliases();
    for (auto& [last, step] : steps) lowered_.steps.push_back(std::move(step));
    return std::move(lowered_);
  }

 private:
  static std::size_t Index(NodeId id) { return static_cast<std::size_t>(id); }

  // The one node that reads `id`, where nothing else needs its value.
  std::optional<NodeId> OnlyUser(NodeId id) const {
    if (is_result_[Index(id)] || users_[Index(id)].size() != 1) return std::nullopt;
    return users_[Index(id)].front();
  }

  void ResolveAliases() {
    for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes().size()); ++id) {
      if (lowered_.value_of[Index(id)] != -2) continue;
      lowered_.value_of[Index(id)] = lowered_.value_of[Index(graph_.node(id).inputs.front())];
    }
  }

  Step MakeStep(NodeId id) {
    const Node& node = graph_.node(id);
    Step step{.node = id, .inputs = node.inputs, .output = id};
    std::visit(
        graph::Overloaded{
            [&](const graph::OneOf<graph::ConvOp, graph::FullyConnectedOp> auto&) {
              step.weights = WeightsRef{.node = id};
              step.fully_connected = IsFullyConnected(node);
              MergePointwise(step);
              AbsorbAffine(step, step.weights->affine);
              AbsorbResidual(id, step);
              AbsorbActivations(step);
            },
            [&](const graph::OneOf<graph::BatchNormOp, graph::ScaleOp> auto&) {
              step.affine = {id};
              AbsorbAffine(step, step.affine);
              AbsorbActivations(step);
            },
            [&](const graph::EltwiseOp&) { AbsorbActivations(step); },
            [&](const graph::ActivationOp& activation) {
              if (const auto kernel = activation.function->kernel()) {
                step.activations = {*kernel};
                AbsorbActivations(step);
              }
            },
            [](const graph::OneOf<graph::InputOp, graph::PreluOp, graph::PoolOp, graph::LrnOp,
                                  graph::ConcatOp, graph::ChannelPadOp, graph::DropoutOp,
                                  graph::ReshapeOp, graph::SoftmaxOp> auto&) {}},
        node.op);
    return step;
  }

  bool IsFullyConnected(const Node& node) const {
    return std::holds_alternative<graph::FullyConnectedOp>(node.op) || CoversWholeMap(graph_, node);
  }

  void Absorb(Step& step, NodeId id) {
    absorbed_[Index(id)] = true;
    step.output = id;
  }

  void MergePointwise(Step& step) {
    const auto* depthwise = std::get_if<graph::ConvOp>(&graph_.node(step.node).op);
    if (depthwise == nullptr || depthwise->groups == 1 || depthwise->biases ||
        depthwise->groups > kMaxMergedChannels) {
      return;
    }
    const int channels = graph_.node(step.inputs.front()).shape[3] > kMaxMergedChannels
                             ? 0
                             : static_cast<int>(graph_.node(step.inputs.front()).shape[3]);
    const auto user = OnlyUser(step.output);
    if (channels != depthwise->groups || !user) return;
    const auto* pointwise = std::get_if<graph::ConvOp>(&graph_.node(*user).op);
    if (pointwise == nullptr || pointwise->groups != 1 || pointwise->kernel != graph::Size2d{} ||
        pointwise->stride != graph::Size2d{} || pointwise->padding != graph::Padding2d{}) {
      return;
    }
    step.weights->pointwise = *user;
    Absorb(step, *user);
  }

  void AbsorbAffine(Step& step, std::vector<NodeId>& affine) {
    for (auto user = OnlyUser(step.output); user; user = OnlyUser(step.output)) {
      const Node& node = graph_.node(*user);
      if (!std::holds_alternative<graph::BatchNormOp>(node.op) &&
          !std::holds_alternative<graph::ScaleOp>(node.op)) {
        return;
      }
      affine.push_back(*user);
      Absorb(step, *user);
    }
  }

  void AbsorbResidual(NodeId id, Step& step) {
    const auto user = OnlyUser(step.output);
    if (!user) return;
    const auto* sum = std::get_if<graph::EltwiseOp>(&graph_.node(*user).op);
    const auto& inputs = graph_.node(*user).inputs;
    if (sum == nullptr || sum->kind != graph::EltwiseOp::Kind::kSum || inputs.size() != 2) return;
    const std::size_t own = inputs[0] == step.output ? 0 : 1;
    const NodeId other = inputs[1 - own];
    // The later of two convolutions takes the sum; the earlier one's value is in memory by then.
    if (other >= id || other == step.output || sum->coefficients[1 - own] != 1.0f) return;
    step.weights->scale = sum->coefficients[own];
    step.residual = other;
    Absorb(step, *user);
  }

  void AbsorbActivations(Step& step) {
    for (auto user = OnlyUser(step.output); user; user = OnlyUser(step.output)) {
      const auto* activation = std::get_if<graph::ActivationOp>(&graph_.node(*user).op);
      if (activation == nullptr) return;
      const auto kernel = activation->function->kernel();
      if (!kernel) return;
      step.activations.push_back(*kernel);
      Absorb(step, *user);
    }
  }

  const Graph& graph_;
  std::vector<bool> needed_;
  std::vector<bool> is_result_;
  std::vector<bool> absorbed_;
  std::vector<std::vector<NodeId>> users_;
  LoweredGraph lowered_;
};

}  // namespace

std::string WeightsRef::Key() const {
  std::string key = fmt::format("{}", node);
  if (pointwise) key += fmt::format("*{}", *pointwise);
  for (NodeId id : affine) key += fmt::format("+{}", id);
  return key + fmt::format("x{:a}", scale);
}

LoweredGraph Lower(const Graph& graph, std::span<const NodeId> results) {
  return Lowering(graph, results).Run();
}

std::string Describe(const Graph& graph, const Step& step) {
  std::string text = graph::OpName(graph.node(step.node).op);
  if (step.weights) {
    if (step.fully_connected) text = "FullyConnected";
    if (step.weights->pointwise) text += " * Conv";
    for (NodeId id : step.weights->affine) {
      text += std::string(" + ") + graph::OpName(graph.node(id).op);
    }
  }
  if (step.residual) text += " + Add";
  for (std::size_t i = 0; i < step.activations.size(); ++i) text += " + Activation";
  return text;
}

}  // namespace zood::engine
