#include "models/weights/naming.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "base/text.h"
#include "checkpoint/variable_role.h"

namespace zood::models {
namespace {

bool EndsWithComponent(std::string_view name, std::string_view last) {
  return name == last || (name.ends_with(last) && name[name.size() - last.size() - 1] == '/');
}

using Names = std::set<std::string, std::less<>>;

Placement FromTensorFlow(const Names& ours, std::string_view name) {
  // A variable of the network is one whatever its name looks like.
  if (ours.contains(name)) return {.variable = std::string(name)};
  const checkpoint::ClassifiedVariable classified = checkpoint::ClassifyVariable(name);
  switch (classified.role) {
    case checkpoint::VariableRole::kMovingAverage:
      return {.variable = std::string(classified.variable),
              .is_average = true,
              .beside = fmt::format("moving average of {}", Printable(classified.variable))};
    case checkpoint::VariableRole::kSlot:
      return {.beside = fmt::format("{} of {}", checkpoint::Name(classified.role),
                                    Printable(classified.variable))};
    case checkpoint::VariableRole::kOptimizerState:
    case checkpoint::VariableRole::kGlobalStep:
      return {.beside = std::string(checkpoint::Name(classified.role))};
    case checkpoint::VariableRole::kModel:
      break;
  }
  if (EndsWithComponent(name, "mean_rgb")) return {.beside = "the mean color of preprocessing"};
  return {.variable = std::string(name)};
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

Placement FromPyTorch(const std::vector<ModuleRule>& rules, std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return {};
  const std::string_view module = name.substr(0, dot);
  const std::string_view leaf = name.substr(dot + 1);
  for (const ModuleRule& rule : rules) {
    const auto numbers = Match(rule.module, module);
    if (!numbers) continue;
    if (rule.kind == Kind::kBatchNorm && leaf == "num_batches_tracked") {
      return {.beside = "counter of batch normalization"};
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

// "LeNet/" where every variable's name begins so.
std::string CommonScope(const graph::Graph& graph) {
  if (graph.variables().empty()) return "";
  const std::string& first = graph.variables().front().name;
  const std::string scope = first.substr(0, first.find('/') + 1);
  const bool common = std::ranges::all_of(graph.variables(), [&](const graph::Variable& variable) {
    return variable.name.starts_with(scope);
  });
  return common ? scope : "";
}

}  // namespace

std::vector<Naming> NamingsOf(const Architecture& architecture, const graph::Graph& graph) {
  Names ours;
  for (const graph::Variable& variable : graph.variables()) ours.insert(variable.name);
  std::vector<Naming> namings = {{.name = "TensorFlow",
                                  .scope = CommonScope(graph),
                                  .place = [ours = std::move(ours)](std::string_view name) {
                                    return FromTensorFlow(ours, name);
                                  }}};
  if (!architecture.pytorch_modules.empty()) {
    namings.push_back({.name = "PyTorch", .place = [&architecture](std::string_view name) {
                         return FromPyTorch(architecture.pytorch_modules, name);
                       }});
  }
  return namings;
}

bool IsOfOptimizer(std::string_view name) {
  constexpr auto kOptimizers = std::to_array<std::string_view>(
      {"optimizer", "optimizers", "optim", "opt", "sgd", "adam", "adamw", "momentum", "rmsprop",
       "lamb", "lars", "adagrad", "adadelta", "ftrl", "gradient", "gradients", "grad", "grads",
       "slots"});
  for (std::size_t end = name.find_first_of("./"); end != std::string_view::npos;
       end = name.find_first_of("./")) {
    std::string component(name.substr(0, end));
    for (char& c : component) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    component.erase(component.find_last_not_of("_0123456789") + 1);
    if (std::ranges::find(kOptimizers, component) != kOptimizers.end()) return true;
    name.remove_prefix(end + 1);
  }
  return false;
}

std::string_view LooksLikeNamesOf(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos && name.find('/') == std::string_view::npos) {
    const std::string_view leaf = name.substr(dot + 1);
    const bool known = std::ranges::any_of(kLeaves, [&](const Leaf& l) { return l.file == leaf; });
    if (known) return "PyTorch";
  }
  const std::size_t slash = name.rfind('/');
  const bool numbered = slash != std::string_view::npos && slash + 2 == name.size() &&
                        name.back() >= '0' && name.back() <= '9';
  return numbered ? "Caffe" : "";
}

}  // namespace zood::models
