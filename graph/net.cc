#include "graph/net.h"

#include <tuple>

#include "base/status.h"
#include "graph/window.h"

namespace zood::graph {
namespace {

constexpr std::int64_t kBatch = Shape::kAnyBatch;
constexpr std::int64_t kMaxElements = (std::int64_t{1} << 31) - 1;

// The members of the layers' arguments that have defaults.
constexpr auto DefaultsOf(const Conv2dArgs&) {
  using A = Conv2dArgs;
  return std::tuple(&A::stride, &A::rate, &A::padding, &A::activation, &A::normalizer,
                    &A::weights_initializer, &A::weights_regularizer, &A::biases_initializer,
                    &A::biases_regularizer, &A::groups);
}
constexpr auto DefaultsOf(const SeparableConv2dArgs&) {
  using A = SeparableConv2dArgs;
  return std::tuple(&A::stride, &A::rate, &A::padding, &A::activation, &A::normalizer,
                    &A::weights_initializer, &A::depthwise_regularizer, &A::pointwise_regularizer,
                    &A::biases_initializer);
}
constexpr auto DefaultsOf(const FullyConnectedArgs&) {
  using A = FullyConnectedArgs;
  return std::tuple(&A::activation, &A::normalizer, &A::weights_initializer,
                    &A::weights_regularizer, &A::biases_initializer, &A::biases_regularizer);
}
constexpr auto DefaultsOf(const Pool2dArgs&) {
  return std::tuple(&Pool2dArgs::stride, &Pool2dArgs::padding);
}
constexpr auto DefaultsOf(const BatchNormArgs&) {
  using A = BatchNormArgs;
  return std::tuple(&A::decay, &A::epsilon, &A::center, &A::scale, &A::activation);
}

template <typename T>
void Override(std::optional<T>& target, const std::optional<T>& value) {
  if (value) target = value;
}

}  // namespace

const Shape& Value::shape() const { return net_->graph_.node(id_).shape; }

Net::Net(InputSize size) {
  defaults_.emplace_back();
  Node input{.name = "input",
             .op = InputOp{},
             .inputs = {},
             .shape = {kBatch, size.height, size.width, size.channels}};
  for (int extent : {size.height, size.width, size.channels}) {
    if (extent >= 1 && extent <= kMaxExtent) continue;
    Fail(InvalidArgument("an input of {}x{}x{} is not an image", size.height, size.width,
                         size.channels));
    input.shape = {kBatch, 1, 1, 1};
  }
  graph_.nodes_.push_back(std::move(input));
}

Net::Guard Net::Scope(const std::string& name) {
  const std::size_t length = scope_.size();
  scope_ += (scope_.empty() ? "" : "/") + name;
  return Guard([this, length] { scope_.resize(length); });
}

template <typename Args>
Net::Guard Net::PushDefaults(Args DefaultArgs::* layer, const Args& args) {
  defaults_.push_back(DefaultArgs(defaults_.back()));
  Args& target = defaults_.back().*layer;
  std::apply([&](auto... members) { (Override(target.*members, args.*members), ...); },
             DefaultsOf(args));
  return Guard([this] { defaults_.pop_back(); });
}

Net::Guard Net::Defaults(const Conv2dArgs& args) { return PushDefaults(&DefaultArgs::conv, args); }
Net::Guard Net::Defaults(const SeparableConv2dArgs& args) {
  return PushDefaults(&DefaultArgs::separable, args);
}
Net::Guard Net::Defaults(const FullyConnectedArgs& args) {
  return PushDefaults(&DefaultArgs::fully_connected, args);
}
Net::Guard Net::Defaults(const Pool2dArgs& args) { return PushDefaults(&DefaultArgs::pool, args); }
Net::Guard Net::Defaults(const BatchNormArgs& args) {
  return PushDefaults(&DefaultArgs::batch_norm, args);
}

Net::Guard Net::CollectEndPoints(const CollectArgs& args) {
  collecting_.push_back(args);
  return Guard([this] { collecting_.pop_back(); });
}

void Net::EndPoint(const std::string& name, Value x) { graph_.end_points_[name] = x.id_; }

Value Net::Collect(Value x, bool pooling) {
  if (!collecting_.empty() && (!pooling || collecting_.back().poolings)) EndPoint(scope_, x);
  return x;
}

void Net::Fail(const absl::Status& status) {
  if (status_.ok() && !status.ok()) status_ = Annotate(status, scope_.empty() ? "network" : scope_);
}

Value Net::FailValue(const absl::Status& status) {
  Fail(status);
  return input();  // any value will do: nothing is built from a net that failed
}

Value Net::AddNode(Op op, const std::vector<Value>& inputs) {
  return AddNode(std::move(op), inputs, inputs.front().shape());
}

Value Net::AddNode(Op op, const std::vector<Value>& inputs, Shape shape) {
  const auto elements = shape.WithBatch(1).CheckedNumElements();
  if (!elements || *elements < 1 || *elements > kMaxElements) {
    return FailValue(InvalidArgument("an output of the shape {} is too large: use smaller images",
                                     shape.ToString()));
  }
  Node node{.name = scope_, .op = std::move(op), .inputs = {}, .shape = std::move(shape)};
  for (const Value& input : inputs) node.inputs.push_back(input.id_);
  graph_.nodes_.push_back(std::move(node));
  return Value(this, static_cast<NodeId>(graph_.nodes_.size()) - 1);
}

VariableId Net::AddVariable(const std::string& leaf, Shape shape, bool trainable,
                            InitializerPtr initializer, RegularizerPtr regularizer) {
  const std::string name = scope_.empty() ? leaf : scope_ + "/" + leaf;
  const auto elements = shape.CheckedNumElements();
  if (!elements || *elements > kMaxElements || *elements == 0) {
    Fail(InvalidArgument("variable {} would have the shape {}", leaf, shape.ToString()));
    shape = {1};
  }
  if (!variable_names_.insert(name).second) {
    Fail(InvalidArgument("two layers make a variable of the name {}", name));
  }
  graph_.variables_.push_back({.name = name,
                               .shape = std::move(shape),
                               .trainable = trainable,
                               .initializer = std::move(initializer),
                               .regularizer = std::move(regularizer)});
  return static_cast<VariableId>(graph_.variables_.size()) - 1;
}

std::string Net::Unique(const std::string& given, const char* fallback) {
  if (!given.empty()) return given;
  const int n = used_names_[scope_ + "/" + fallback]++;
  return n == 0 ? fallback : fmt::format("{}_{}", fallback, n);
}

Value Net::Repeat(Value x, int n, const std::string& scope_name, const Layer& layer) {
  const auto scope = Scope(scope_name);
  for (int i = 1; i <= n; ++i) x = layer(x, fmt::format("{}_{}", scope_name, i));
  return x;
}

absl::StatusOr<Graph> Net::Finish(Value logits, std::optional<Value> aux_logits) {
  if (!status_.ok()) return status_;
  graph_.logits_ = logits.id_;
  if (aux_logits) graph_.aux_logits_ = aux_logits->id_;
  return std::move(graph_);
}

}  // namespace zood::graph
