#include "netdef/onnx/builder.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace zood::netdef {
namespace {

constexpr std::size_t kMostNamed = 10;
constexpr char kChoose[] =
    "choose one by its name with the import's `output` (zoo import --output)";

}  // namespace

OnnxBuilder::OnnxBuilder(const OnnxModel& model, const std::string& input, bool channels_last,
                         const std::string& head, int classes, graph::Net& net)
    : model_(model), head_(head), classes_(classes), net_(net) {
  for (const OnnxInitializer& initializer : model.initializers) {
    OnnxValue& value = values_[initializer.name];
    if (!initializer.value) {
      value = OnnxWeightRef{.initializer = initializer.name,
                            .in_file = initializer.shape,
                            .steps = {},
                            .shape = initializer.shape};
    } else {
      value = ToOnnxConstant(*initializer.value);
    }
  }
  values_[input] =
      OnnxMap{.value = net.input(), .axes = Axes::Of(net.input().shape(), channels_last)};
  net.EndPoint(input, net.input());
  for (const OnnxNode& node : model.nodes) {
    for (const std::string& name : node.inputs) readers_[name].push_back(&node);
  }
}

const std::map<std::string_view, OnnxBuilder::Make>& OnnxBuilder::Operators() {
  static const auto* const operators = new std::map<std::string_view, Make>{
      {"Conv", &OnnxBuilder::Conv},
      {"Gemm", &OnnxBuilder::Gemm},
      {"MatMul", &OnnxBuilder::MatMul},
      {"BatchNormalization", &OnnxBuilder::BatchNormalization},
      {"PRelu", &OnnxBuilder::PRelu},
      {"Relu", &OnnxBuilder::Activation},
      {"LeakyRelu", &OnnxBuilder::Activation},
      {"Elu", &OnnxBuilder::Activation},
      {"Sigmoid", &OnnxBuilder::Activation},
      {"Tanh", &OnnxBuilder::Activation},
      {"Clip", &OnnxBuilder::Clip},
      {"MaxPool", &OnnxBuilder::MaxPool},
      {"AveragePool", &OnnxBuilder::AveragePool},
      {"GlobalAveragePool", &OnnxBuilder::GlobalPool},
      {"GlobalMaxPool", &OnnxBuilder::GlobalPool},
      {"ReduceMean", &OnnxBuilder::ReduceMean},
      {"LRN", &OnnxBuilder::Lrn},
      {"Add", &OnnxBuilder::Arithmetic},
      {"Sub", &OnnxBuilder::Arithmetic},
      {"Mul", &OnnxBuilder::Arithmetic},
      {"Div", &OnnxBuilder::Arithmetic},
      {"Concat", &OnnxBuilder::Concat},
      {"Split", &OnnxBuilder::Split},
      {"Slice", &OnnxBuilder::Slice},
      {"Softmax", &OnnxBuilder::Softmax},
      {"LogSoftmax", &OnnxBuilder::Softmax},
      {"Pad", &OnnxBuilder::Pad},
      {"Flatten", &OnnxBuilder::Flatten},
      {"Reshape", &OnnxBuilder::Reshape},
      {"Transpose", &OnnxBuilder::Transpose},
      {"Squeeze", &OnnxBuilder::Squeeze},
      {"Unsqueeze", &OnnxBuilder::Unsqueeze},
      {"Identity", &OnnxBuilder::Identity},
      {"Dropout", &OnnxBuilder::Identity},
      {"Cast", &OnnxBuilder::Identity},
      {"Shape", &OnnxBuilder::ShapeOf},
      {"Gather", &OnnxBuilder::Gather},
      {"Constant", &OnnxBuilder::ConstantNode},
      {"ConstantOfShape", &OnnxBuilder::ConstantOfShape},
  };
  return *operators;
}

absl::Status OnnxBuilder::AddNodes() {
  for (const OnnxNode& node : model_.nodes) {
    if (done_.contains(&node)) continue;
    ZOOD_RETURN_IF_ERROR(Annotate(Add(node), node.ForPeople()));
    ZOOD_RETURN_IF_ERROR(net_.status());
  }
  return absl::OkStatus();
}

absl::Status OnnxBuilder::Add(const OnnxNode& node) {
  const auto unsupported = [&](const std::string& why) {
    for (const std::string& output : node.outputs) values_[output] = OnnxUnknown();
    std::string text = node.ForPeople();
    if (!why.empty()) text += fmt::format(" ({})", why);
    if (unsupported_.insert(node.outputs.empty() ? node.name : node.outputs[0]).second &&
        unsupported_list_.size() < kMostNamed) {
      unsupported_list_.push_back(std::move(text));
    }
    return absl::OkStatus();
  };
  bool unknown = false;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i].empty()) continue;
    const auto found = values_.find(node.inputs[i]);
    if (found == values_.end()) {
      return InvalidArgument("it reads '{}', which nothing before it makes",
                             Printable(node.inputs[i]));
    }
    unknown |= std::holds_alternative<OnnxUnknown>(found->second);
  }
  const auto make = Operators().find(node.op);
  if (!node.domain.empty() || make == Operators().end()) return unsupported("");
  if (unknown) {
    for (const std::string& output : node.outputs) values_[output] = OnnxUnknown();
    return absl::OkStatus();
  }
  Made made = (this->*make->second)(node);
  if (absl::IsUnimplemented(made.status()))
    return unsupported(std::string(made.status().message()));
  ZOOD_RETURN_IF_ERROR(made.status());
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const std::string& name = node.outputs[i];
    // Outputs beyond the first that only training needs (a dropout's mask) are unknown.
    values_[name] = i < made->size() ? (*made)[i] : OnnxValue(OnnxUnknown());
    const auto* map = std::get_if<OnnxMap>(&values_[name]);
    if (map == nullptr) continue;
    net_.EndPoint(name, map->value);
    if (const auto sum = sums_.find(name); sum != sums_.end()) {
      values_[sum->second] = *map;
      net_.EndPoint(sum->second, map->value);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<graph::Output> OnnxBuilder::Answer(const std::string& chosen) {
  if (!unsupported_.empty()) {
    const std::size_t more = unsupported_.size() - unsupported_list_.size();
    return Unimplemented("not supported: {}{}", fmt::join(unsupported_list_, "; "),
                         more > 0 ? fmt::format("; and {} more", more) : "");
  }
  const auto list = [&] {
    std::vector<std::string> names;
    for (const std::string& output : model_.outputs) {
      const auto found = values_.find(output);
      const auto* map = found == values_.end() ? nullptr : std::get_if<OnnxMap>(&found->second);
      names.push_back(
          fmt::format("'{}' {}", Printable(output), map == nullptr ? "" : map->axes.ToString()));
    }
    return fmt::format("{}", fmt::join(names, ", "));
  };
  if (chosen.empty() && model_.outputs.size() != 1) {
    return InvalidArgument("the network has {} outputs, {}: {}", model_.outputs.size(), list(),
                           kChoose);
  }
  const std::string& name = chosen.empty() ? model_.outputs.front() : chosen;
  const auto found = values_.find(name);
  const auto* map = found == values_.end() ? nullptr : std::get_if<OnnxMap>(&found->second);
  if (map == nullptr) {
    return InvalidArgument("the network has no output '{}'; {}, its own are {}", Printable(name),
                           kChoose, list());
  }
  const bool in_order = map->axes.IsVector() && map->padding == graph::Padding2d{};
  absl::StatusOr<graph::Output> scores =
      in_order
          ? graph::ClassScores(net_, map->value)
          : InvalidArgument("a feature map {}, not one value for each class", map->axes.ToString());
  if (scores.ok()) return scores;
  return InvalidArgument("the output '{}': {}; {}, its own are {}", Printable(name),
                         std::string(scores.status().message()), kChoose, list());
}

// ------------------------------------------------------------ inputs

const OnnxValue* OnnxBuilder::Find(const OnnxNode& node, std::size_t input) const {
  if (input >= node.inputs.size() || node.inputs[input].empty()) return nullptr;
  return &values_.find(node.inputs[input])->second;
}

absl::StatusOr<OnnxMap> OnnxBuilder::Map(const OnnxNode& node, std::size_t input) const {
  const OnnxValue* value = Find(node, input);
  const auto* map = value == nullptr ? nullptr : std::get_if<OnnxMap>(value);
  if (map != nullptr) return *map;
  return Unimplemented("its input {} is not computed from the image", input);
}

absl::StatusOr<OnnxMap> OnnxBuilder::PlainMap(const OnnxNode& node, std::size_t input) const {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap map, Map(node, input));
  if (map.padding == graph::Padding2d{}) return map;
  return Unimplemented("of a map with zeros around it");
}

absl::StatusOr<OnnxMap> OnnxBuilder::Image(const OnnxNode& node, std::size_t input) {
  ZOOD_ASSIGN_OR_RETURN(OnnxMap map, Map(node, input));
  const Shape& shape = map.value.shape();
  if (shape.rank() == 4 && map.axes == Axes::Of(shape)) return map;
  if (shape.rank() == 2 && map.axes.rank() == 4 && map.axes.IsVector() &&
      map.axes.Length(1) == shape.back()) {
    map.value = net_.Reshape(map.value, {1, 1, shape.back()});
    map.axes = Axes::Of(map.value.shape());
    return map;
  }
  return Unimplemented("its input {} is no map of [batch, channels, height, width]",
                       map.axes.ToString());
}

absl::StatusOr<OnnxWeightRef> OnnxBuilder::Weight(const OnnxNode& node, std::size_t input) const {
  const OnnxValue* value = Find(node, input);
  const auto* weight = value == nullptr ? nullptr : std::get_if<OnnxWeightRef>(value);
  if (weight != nullptr) return *weight;
  return Unimplemented("its input {} is no initializer", input);
}

absl::StatusOr<OnnxConstant> OnnxBuilder::Constant(const OnnxNode& node, std::size_t input) const {
  const OnnxValue* value = Find(node, input);
  const auto* constant = value == nullptr ? nullptr : std::get_if<OnnxConstant>(value);
  if (constant != nullptr) return *constant;
  return Unimplemented("its input {} is not known when the network is built", input);
}

absl::StatusOr<std::vector<std::int64_t>> OnnxBuilder::Integers(const OnnxNode& node,
                                                                std::size_t input,
                                                                std::string_view attribute) const {
  if (node.Has(attribute)) return node.Ints(attribute, {});
  if (Find(node, input) == nullptr) return std::vector<std::int64_t>();
  ZOOD_ASSIGN_OR_RETURN(const OnnxConstant constant, Constant(node, input));
  std::vector<std::int64_t> integers;
  constexpr double kMost = 1e15;  // "to the end" is written as the greatest number that there is
  for (const double value : constant.values) {
    if (value == OnnxConstant::kBatch) return Unimplemented("it depends on the batch's size");
    integers.push_back(static_cast<std::int64_t>(std::clamp(value, -kMost, kMost)));
  }
  return integers;
}

absl::StatusOr<std::optional<double>> OnnxBuilder::Scalar(const OnnxNode& node,
                                                          std::size_t input) const {
  if (Find(node, input) == nullptr) return std::nullopt;
  ZOOD_ASSIGN_OR_RETURN(const OnnxConstant constant, Constant(node, input));
  if (constant.values.size() != 1) return InvalidArgument("its input {} is no number", input);
  return constant.values[0];
}

absl::StatusOr<int> OnnxBuilder::AxisOf(std::int64_t axis, int rank) const {
  if (axis >= -rank && axis < rank) return static_cast<int>(axis < 0 ? axis + rank : axis);
  return InvalidArgument("axis {} of a tensor with {}", axis, rank);
}

// ------------------------------------------------------------ weights

std::string OnnxBuilder::ScopeFor(const OnnxWeightRef& weight) {
  std::string scope = weight.initializer;
  for (const std::string_view end : {".weight", "/weight", "_weight", ".bias", "_bias"}) {
    if (!scope.ends_with(end) || scope.size() == end.size()) continue;
    scope.resize(scope.size() - end.size());
    break;
  }
  std::string unique = scope;
  for (int i = 2; !scopes_.insert(unique).second; ++i) unique = fmt::format("{}_{}", scope, i);
  return unique;
}

void OnnxBuilder::AddWeight(std::string variable, OnnxWeightRef from, OnnxWeight how) {
  how.variable = std::move(variable);
  how.initializer = std::move(from.initializer);
  how.shape = std::move(from.in_file);
  from.steps.insert(from.steps.end(), how.steps.begin(), how.steps.end());
  how.steps = std::move(from.steps);
  weights_.push_back(std::move(how));
}

std::int64_t OnnxBuilder::OutputsOf(const OnnxWeightRef& weight, std::int64_t own) const {
  return classes_ > 0 && weight.initializer == head_ ? classes_ : own;
}

absl::StatusOr<OnnxWeightRef> OnnxBuilder::PerChannel(const OnnxMap& map,
                                                      OnnxWeightRef weight) const {
  // Broadcasting aligns the last axes.
  const int behind = map.axes.rank() - weight.shape.rank();
  for (int axis = 0; axis < weight.shape.rank(); ++axis) {
    if (weight.shape[axis] == 1) continue;
    if (behind + axis < 0 || map.axes.WholeAxis(behind + axis) != Place::kChannel ||
        map.axes.Length(behind + axis) != weight.shape[axis]) {
      return Unimplemented("with a weight {} that has more than a value for each channel of {}",
                           weight.shape.ToString(), map.axes.ToString());
    }
  }
  weight.shape = Shape({weight.shape.num_elements()});
  weight.steps.push_back({.permutation = {}, .reshaped = weight.shape});
  return weight;
}

std::optional<OnnxWeightRef> OnnxBuilder::TakeBias(const OnnxNode& node, std::int64_t channels,
                                                   const Axes& axes) {
  const auto readers = readers_.find(node.outputs[0]);
  if (readers == readers_.end() || readers->second.size() != 1 ||
      std::ranges::find(model_.outputs, node.outputs[0]) != model_.outputs.end()) {
    return std::nullopt;
  }
  const OnnxNode& add = *readers->second[0];
  if (add.op != "Add" || !add.domain.empty() || add.inputs.size() != 2 || add.outputs.size() != 1) {
    return std::nullopt;
  }
  const std::string& other = add.inputs[add.inputs[0] == node.outputs[0] ? 1 : 0];
  const auto found = values_.find(other);
  if (found == values_.end()) return std::nullopt;
  const auto* weight = std::get_if<OnnxWeightRef>(&found->second);
  if (weight == nullptr || weight->shape.num_elements() != channels) return std::nullopt;
  auto bias = PerChannel({.value = net_.input(), .axes = axes}, *weight);
  if (!bias.ok()) return std::nullopt;
  done_.insert(&add);
  sums_[node.outputs[0]] = add.outputs[0];
  return *bias;
}

}  // namespace zood::netdef
