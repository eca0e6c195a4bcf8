#include "graph/output.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"

namespace zood::graph {
namespace {

using NamedKind = std::pair<OutputKind, std::string_view>;
constexpr NamedKind kNames[] = {
    {OutputKind::kLogits, "logits"},
    {OutputKind::kIndependentLogits, "independent_logits"},
    {OutputKind::kProbabilities, "probabilities"},
    {OutputKind::kIndependentProbabilities, "independent_probabilities"},
};

// What is known of a node's values.
enum class Range {
  kAny,           // what layers with weights make
  kDistribution,  // at least 0, and 1 in all along the last axis
  kUnit,          // each in [0, 1]
  kDerived,       // made of probabilities, but none
};

bool IsProbability(Range range) { return range == Range::kDistribution || range == Range::kUnit; }

Range Derived(Range from) { return from == Range::kAny ? Range::kAny : Range::kDerived; }

// Whether f(x) = x for all x in [0, 1].
bool KeepsProbabilities(const Activation& function) {
  const std::optional<Eltwise> kernel = function.kernel();
  if (!kernel) return false;
  switch (kernel->kind) {
    case Eltwise::Kind::kRelu:
    case Eltwise::Kind::kElu:
      return true;
    case Eltwise::Kind::kClip:
      return kernel->alpha <= 0 && kernel->beta >= 1;
    case Eltwise::Kind::kLinear:
      return kernel->alpha == 1 && kernel->beta == 0;
    case Eltwise::Kind::kTanh:
    case Eltwise::Kind::kLogistic:
      return false;
  }
  return false;
}

bool IsLogistic(const ActivationOp& op) {
  const std::optional<Eltwise> kernel = op.function->kernel();
  return kernel && kernel->kind == Eltwise::Kind::kLogistic;
}

// Whether the operation makes probabilities of any numbers.
bool MakesProbabilities(const Op& op) {
  const auto* activation = std::get_if<ActivationOp>(&op);
  return std::holds_alternative<SoftmaxOp>(op) ||
         (activation != nullptr && IsLogistic(*activation));
}

// The range of one node, given those of the nodes before it. An overload for every operation, so
// that the compiler names the one that is missing.
class RangeOf {
 public:
  RangeOf(std::span<const Node> nodes, const std::vector<Range>& ranges, const Node& node)
      : nodes_(nodes), ranges_(ranges), node_(node) {}

  Range operator()(const InputOp&) const { return Range::kAny; }
  Range operator()(const ConvOp&) const { return Range::kAny; }
  Range operator()(const FullyConnectedOp&) const { return Range::kAny; }
  Range operator()(const BatchNormOp&) const { return Derived(Input()); }
  Range operator()(const ScaleOp&) const { return Derived(Input()); }
  Range operator()(const LrnOp&) const { return Derived(Input()); }
  Range operator()(const PreluOp&) const { return Input(); }  // the identity above 0
  Range operator()(const DropoutOp&) const { return Input(); }
  Range operator()(const ChannelPadOp& op) const {
    const bool slices = op.before < 0 || op.after < 0;
    return Input() == Range::kDistribution && slices ? Range::kUnit : Input();
  }
  Range operator()(const SoftmaxOp&) const { return Range::kDistribution; }

  Range operator()(const ActivationOp& op) const {
    if (IsLogistic(op)) return Range::kUnit;
    if (IsProbability(Input()) && KeepsProbabilities(*op.function)) return Input();
    const std::optional<Eltwise> kernel = op.function->kernel();
    const bool clips = kernel && kernel->kind == Eltwise::Kind::kClip;
    return clips && kernel->alpha >= 0 && kernel->beta <= 1 ? Range::kUnit : Derived(Input());
  }

  Range operator()(const PoolOp& op) const {
    if (Input() != Range::kDistribution) return Input();
    // The mean of distributions is one, unless zeros are counted in.
    const bool mean = op.kind == PoolOp::Kind::kAverage && op.padding == Padding2d{};
    return mean ? Range::kDistribution : Range::kUnit;
  }

  Range operator()(const ReshapeOp&) const {
    const bool keeps_axis = node_.shape.back() == Shapes().back();
    return Input() == Range::kDistribution && !keeps_axis ? Range::kUnit : Input();
  }

  Range operator()(const EltwiseOp& op) const {
    if (Any(Range::kAny)) return Range::kAny;  // a gate on features, say
    if (Any(Range::kDerived)) return Range::kDerived;
    const Range all = Any(Range::kUnit) ? Range::kUnit : Range::kDistribution;
    if (op.kind != EltwiseOp::Kind::kSum) return node_.inputs.size() == 1 ? all : Range::kUnit;
    double sum = 0;
    for (const float coefficient : op.coefficients) sum += coefficient;
    const bool weights = std::ranges::all_of(op.coefficients, [](float c) { return c >= 0; });
    constexpr double kRounding = 1e-5;  // thirds are not exact
    if (!weights || sum > 1 + kRounding) return Range::kDerived;
    return std::abs(sum - 1) <= kRounding ? all : Range::kUnit;
  }

  Range operator()(const ConcatOp&) const {
    if (node_.inputs.size() == 1) return Input();
    const auto is = [&](auto in) {
      return std::ranges::all_of(node_.inputs, [&](NodeId id) { return in(At(id)); });
    };
    if (is([](Range range) { return range == Range::kAny; })) return Range::kAny;
    return is(IsProbability) ? Range::kUnit : Range::kDerived;
  }

 private:
  Range At(NodeId id) const { return ranges_[static_cast<std::size_t>(id)]; }
  Range Input() const { return At(node_.inputs.front()); }
  bool Any(Range range) const {
    return std::ranges::any_of(node_.inputs, [&](NodeId id) { return At(id) == range; });
  }
  const Shape& Shapes() const { return nodes_[static_cast<std::size_t>(node_.inputs[0])].shape; }

  std::span<const Node> nodes_;
  const std::vector<Range>& ranges_;
  const Node& node_;
};

// Whether the node gives its only input on as it is, where that holds probabilities.
bool IsIdentity(std::span<const Node> nodes, const Node& node) {
  if (node.inputs.size() != 1) return false;
  const Shape& from = nodes[static_cast<std::size_t>(node.inputs.front())].shape;
  if (const auto* activation = std::get_if<ActivationOp>(&node.op)) {
    return KeepsProbabilities(*activation->function);
  }
  if (const auto* pool = std::get_if<PoolOp>(&node.op)) {
    return pool->padding == Padding2d{} && from.rank() == 4 && from[1] == 1 && from[2] == 1;
  }
  if (const auto* eltwise = std::get_if<EltwiseOp>(&node.op)) {
    return eltwise->kind != EltwiseOp::Kind::kSum || eltwise->coefficients.front() == 1;
  }
  if (std::holds_alternative<ReshapeOp>(node.op)) return node.shape.back() == from.back();
  return std::holds_alternative<DropoutOp>(node.op) || std::holds_alternative<PreluOp>(node.op) ||
         std::holds_alternative<ConcatOp>(node.op);
}

// The softmax or logistic function that made the probabilities of node `id`, where nothing has
// changed them since.
const Node* MakerOf(std::span<const Node> nodes, NodeId id) {
  for (;; id = nodes[static_cast<std::size_t>(id)].inputs.front()) {
    const Node& node = nodes[static_cast<std::size_t>(id)];
    if (MakesProbabilities(node.op)) return &node;
    if (!IsIdentity(nodes, node)) return nullptr;
  }
}

}  // namespace

std::string_view Name(OutputKind kind) {
  return std::ranges::find(kNames, kind, &NamedKind::first)->second;
}

std::optional<OutputKind> OutputKindNamed(std::string_view name) {
  for (const auto& [kind, its_name] : kNames) {
    if (its_name == name) return kind;
  }
  return std::nullopt;
}

absl::StatusOr<Output> ClassScores(Net& net, Value x) {
  const std::span<const Node> nodes = net.nodes();
  if (x.shape().rank() == 4 && x.height() * std::int64_t{x.width()} != 1) {
    return InvalidArgument("a feature map of shape {}, not one value for each class",
                           x.shape().ToString());
  }
  std::vector<Range> ranges;
  for (const Node& node : nodes.first(static_cast<std::size_t>(x.id()) + 1)) {
    ranges.push_back(std::visit(RangeOf(nodes, ranges, node), node.op));
  }
  Output output = {.value = x, .kind = OutputKind::kLogits};
  const Range range = ranges.back();
  if (range == Range::kDerived) {
    return InvalidArgument(
        "made of probabilities, but neither probabilities nor logits: what it means is not known");
  }
  if (IsProbability(range)) {
    if (const Node* maker = MakerOf(nodes, x.id())) {
      output.value = net.At(maker->inputs.front());
      output.kind = std::holds_alternative<SoftmaxOp>(maker->op) ? OutputKind::kLogits
                                                                 : OutputKind::kIndependentLogits;
    } else {
      output.kind = range == Range::kDistribution ? OutputKind::kProbabilities
                                                  : OutputKind::kIndependentProbabilities;
    }
  } else if (x.channels() == 1) {
    return InvalidArgument(
        "a single number that is not a probability; where it is the logit of one, let the network "
        "end "
        "in a sigmoid");
  }
  if (output.value.shape().rank() == 4) output.value = net.Squeeze(output.value);
  return output;
}

}  // namespace zood::graph
