#include "models/weights/name_map.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "checkpoint/variable_role.h"
#include "models/weights/weight_layout.h"

namespace zood::models {
namespace {

// What a variable of a file is for a network.
struct Target {
  std::string variable;  // ours; empty where there is none
  WeightLayout layout = WeightLayout::kSame;
  std::string ignored;  // the reason, where it is known to be beside the network
};

bool EndsWithComponent(std::string_view name, std::string_view last) {
  return name == last || (name.ends_with(last) && name[name.size() - last.size() - 1] == '/');
}

Target FromTensorFlow(const std::string& name) {
  const checkpoint::ClassifiedVariable classified = checkpoint::ClassifyVariable(name);
  switch (classified.role) {
    case checkpoint::VariableRole::kMovingAverage:
    case checkpoint::VariableRole::kSlot:
      return {.ignored = fmt::format("{} of {}", checkpoint::Name(classified.role),
                                     Printable(classified.variable))};
    case checkpoint::VariableRole::kOptimizerState:
    case checkpoint::VariableRole::kGlobalStep:
      return {.ignored = std::string(checkpoint::Name(classified.role))};
    case checkpoint::VariableRole::kModel:
      break;
  }
  if (EndsWithComponent(name, "mean_rgb")) {
    return {.ignored = "the mean colour of preprocessing"};
  }
  return {.variable = name};
}

// The numbers in the places of `pattern`'s "{}", if `text` matches.
std::optional<std::vector<int>> Match(std::string_view pattern, std::string_view text) {
  std::vector<int> numbers;
  while (!pattern.empty()) {
    if (pattern.starts_with("{}")) {
      int number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc() || text.front() == '-' || number >= 1'000'000) return std::nullopt;
      numbers.push_back(number);
      text.remove_prefix(static_cast<std::size_t>(end - text.data()));
      pattern.remove_prefix(2);
    } else {
      if (text.empty() || text.front() != pattern.front()) return std::nullopt;
      text.remove_prefix(1);
      pattern.remove_prefix(1);
    }
  }
  if (!text.empty()) return std::nullopt;
  return numbers;
}

// `scope` with its "{}" and "{+1}" filled in.
std::string Fill(std::string_view scope, const std::vector<int>& numbers) {
  std::string filled;
  std::size_t used = 0;
  while (!scope.empty()) {
    const bool plain = scope.starts_with("{}");
    if (const bool next = scope.starts_with("{+1}"); (plain || next) && used < numbers.size()) {
      filled += std::to_string(numbers[used++] + (next ? 1 : 0));
      scope.remove_prefix(plain ? 2 : 4);
    } else {
      filled += scope.front();
      scope.remove_prefix(1);
    }
  }
  return filled;
}

struct Leaf {
  ModuleRule::Kind kind;
  std::string_view file;
  std::string_view ours;
  WeightLayout layout = WeightLayout::kSame;
};
using Kind = ModuleRule::Kind;
constexpr Leaf kLeaves[] = {
    {Kind::kConv, "weight", "weights", WeightLayout::kConv},
    {Kind::kConv, "bias", "biases"},
    {Kind::kDepthwiseConv, "weight", "depthwise_weights", WeightLayout::kDepthwise},
    {Kind::kDepthwiseConv, "bias", "biases"},
    {Kind::kLinear, "weight", "weights", WeightLayout::kLinear},
    {Kind::kLinear, "bias", "biases"},
    {Kind::kBatchNorm, "weight", "gamma"},
    {Kind::kBatchNorm, "bias", "beta"},
    {Kind::kBatchNorm, "running_mean", "moving_mean"},
    {Kind::kBatchNorm, "running_var", "moving_variance"},
};

Target FromPyTorch(const std::vector<ModuleRule>& rules, std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {};
  const std::string_view module = name.substr(0, dot);
  const std::string_view leaf = name.substr(dot + 1);
  for (const ModuleRule& rule : rules) {
    const auto numbers = Match(rule.module, module);
    if (!numbers) continue;
    if (rule.kind == Kind::kBatchNorm && leaf == "num_batches_tracked") {
      return {.ignored = "counter of batch normalisation"};
    }
    for (const Leaf& known : kLeaves) {
      if (known.kind != rule.kind || known.file != leaf) continue;
      return {.variable = fmt::format("{}/{}", Fill(rule.scope, *numbers), known.ours),
              .layout = known.layout};
    }
    return {};
  }
  return {};
}

// One file against one network.
class Mapper {
 public:
  Mapper(const Architecture& architecture, const graph::Graph& graph, const WeightFile& file)
      : architecture_(architecture), file_(file), account_(architecture.name, graph) {
    for (const graph::Variable& variable : graph.variables()) {
      has_head_ = has_head_ || InHead(variable.name);
    }
  }

  absl::Status Add(const checkpoint::VariableInfo& found, const Target& target) {
    const std::string& name = found.name;
    // A variable of the network is one whatever its name looks like.
    const graph::Variable* variable = account_.Find(name);
    const WeightLayout layout = variable == nullptr ? target.layout : WeightLayout::kSame;
    if (variable == nullptr) variable = account_.Find(target.variable);
    if (variable == nullptr) {
      AddUnused(found, target);
      return absl::OkStatus();
    }
    if (!HasAxesOf(layout, variable->shape)) {
      account_.WrongShape(*variable, name, variable->shape, found.shape);
      return absl::OkStatus();
    }
    if (const Shape expected = ShapeIn(layout, variable->shape); found.shape != expected) {
      account_.WrongShape(*variable, name, expected, found.shape);
      NoteWrongShape(*variable, layout, found.shape);
      return absl::OkStatus();
    }
    ZOOD_ASSIGN_OR_RETURN(const Tensor tensor, file_.read(name));
    auto value = FromLayout(layout, tensor, variable->shape);
    if (!value.ok()) return Annotate(value.status(), Printable(name));
    return account_.Take(*variable, name, *std::move(value));
  }

  absl::StatusOr<MappedWeights> Finish() {
    if (only_head_differs_ && classes_ > 0 && account_.OnlyShapesDiffer()) {
      return account_.Finish(fmt::format(
          "Its classifier is for {} classes: build the network with as many", classes_));
    }
    return account_.Finish();
  }

 private:
  bool InHead(std::string_view variable) const {
    return std::ranges::any_of(architecture_.head_scopes, [variable](const std::string& scope) {
      return variable.size() > scope.size() && variable.starts_with(scope) &&
             variable[scope.size()] == '/';
    });
  }

  void AddUnused(const checkpoint::VariableInfo& found, const Target& target) {
    if (!target.ignored.empty()) {
      account_.Ignore(found.name, target.ignored);
    } else if (!has_head_ && InHead(target.variable)) {
      account_.Ignore(found.name, "the classifier, which this network is built without");
    } else {
      account_.Unknown(found.name, found.shape);
    }
  }

  void NoteWrongShape(const graph::Variable& variable, WeightLayout layout, const Shape& found) {
    if (!InHead(variable.name)) {
      only_head_differs_ = false;
    } else if (found.rank() > 0) {
      classes_ = layout == WeightLayout::kSame ? found.back() : found[0];
    }
  }

  const Architecture& architecture_;
  const WeightFile& file_;
  WeightAccount account_;
  bool has_head_ = false;
  bool only_head_differs_ = true;  // of the shapes that differ
  std::int64_t classes_ = 0;       // of the file's classifier, where it differs
};

}  // namespace

absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, checkpoint::Format format,
                                         const WeightFile& file) {
  const bool pytorch = format == checkpoint::Format::kPyTorch;
  if (format == checkpoint::Format::kCaffe) {
    return InvalidArgument(
        "{} has no names for the layers of a Caffe file: import it with its .prototxt instead",
        architecture.name);
  }
  if (pytorch && architecture.pytorch_modules.empty()) {
    return InvalidArgument("{} has no names for the modules of a PyTorch file", architecture.name);
  }
  Mapper mapper(architecture, graph, file);
  for (const checkpoint::VariableInfo& found : file.variables) {
    ZOOD_RETURN_IF_ERROR(
        mapper.Add(found, pytorch ? FromPyTorch(architecture.pytorch_modules, found.name)
                                  : FromTensorFlow(found.name)));
  }
  return mapper.Finish();
}

absl::StatusOr<MappedWeights> MapWeights(const Architecture& architecture,
                                         const graph::Graph& graph, checkpoint::Format format,
                                         const TensorMap& file) {
  return MapWeights(architecture, graph, format, FileOf(file));
}

}  // namespace zood::models
