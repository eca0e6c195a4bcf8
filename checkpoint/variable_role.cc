#include "checkpoint/variable_role.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"

namespace zood::checkpoint {
namespace {

constexpr std::string_view kMovingAverage = "ExponentialMovingAverage";
constexpr std::array<std::string_view, 9> kSlots = {
    "Momentum",  "Adam",   "RMSProp", "Adagrad", "Adadelta",
    "Ftrl",      "AdaMax", "biased",  // of the zero-debiased averages of batch norm, like the next
    "local_step"};
constexpr std::array<std::string_view, 2> kOptimizerState = {"beta1_power", "beta2_power"};

// `component` without the number by which TensorFlow keeps names apart: Adam_1 is Adam.
std::string_view WithoutNumber(std::string_view component) {
  const std::size_t digits = component.find_last_not_of("0123456789");
  if (digits == std::string_view::npos || digits + 1 == component.size() ||
      component[digits] != '_') {
    return component;
  }
  return component.substr(0, digits);
}

}  // namespace

std::string_view Name(VariableRole role) {
  switch (role) {
    case VariableRole::kModel:
      return "model variable";
    case VariableRole::kMovingAverage:
      return "moving average";
    case VariableRole::kSlot:
      return "slot";
    case VariableRole::kOptimizerState:
      return "optimizer state";
    case VariableRole::kGlobalStep:
      return "global step";
  }
  return "unknown";
}

ClassifiedVariable ClassifyVariable(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  const bool nested = slash != std::string_view::npos;
  const std::string_view last = nested ? name.substr(slash + 1) : name;
  const std::string_view kind = WithoutNumber(last);
  if (nested && last == kMovingAverage) {
    return {.role = VariableRole::kMovingAverage, .variable = name.substr(0, slash)};
  }
  if (nested && std::ranges::find(kSlots, kind) != kSlots.end()) {
    return {.role = VariableRole::kSlot, .variable = name.substr(0, slash)};
  }
  if (std::ranges::find(kOptimizerState, kind) != kOptimizerState.end()) {
    return {.role = VariableRole::kOptimizerState, .variable = name};
  }
  if (last == "global_step") return {.role = VariableRole::kGlobalStep, .variable = name};
  return {.role = VariableRole::kModel, .variable = name};
}

absl::StatusOr<std::vector<Reader::Request>> SelectVariables(const Reader& reader,
                                                             const ReadOptions& options) {
  std::vector<Reader::Request> requests;
  for (const VariableInfo& variable : reader.variables()) {
    const ClassifiedVariable classified = ClassifyVariable(variable.name);
    const bool model = classified.role == VariableRole::kModel;
    const bool average = classified.role == VariableRole::kMovingAverage;
    if (!options.training_state && !model && !average) continue;
    if (!options.prefer_moving_averages) {
      if (average && !options.training_state) continue;
      requests.push_back({.name = variable.name, .as = variable.name});
      continue;
    }
    if (!average) {
      const std::string shadow = fmt::format("{}/{}", variable.name, kMovingAverage);
      if (reader.Find(shadow) == nullptr) {
        requests.push_back({.name = variable.name, .as = variable.name});
      }
      continue;
    }
    const std::string base(classified.variable);
    if (const VariableInfo* raw = reader.Find(base);
        raw != nullptr && (raw->shape != variable.shape || raw->dtype != variable.dtype)) {
      return DataLoss("{}: '{}' is {} {}, but its moving average is {} {}", reader.files().front(),
                      Printable(base), Name(raw->dtype), raw->shape.ToString(),
                      Name(variable.dtype), variable.shape.ToString());
    }
    requests.push_back({.name = variable.name, .as = base});
  }
  return requests;
}

absl::StatusOr<TensorMap> ReadAll(const Reader& reader, const ReadOptions& options) {
  ZOOD_ASSIGN_OR_RETURN(const auto requests, SelectVariables(reader, options));
  return reader.ReadAs(requests, options.progress);
}

}  // namespace zood::checkpoint
