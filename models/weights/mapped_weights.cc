#include "models/weights/mapped_weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/seed.h"
#include "base/status.h"
#include "base/text.h"

namespace zood::models {
namespace {

std::string List(const char* what, std::span<const std::string> items) {
  constexpr std::size_t kListed = 5;
  if (items.empty()) return "";
  std::string text = fmt::format("; {} {}: {}", items.size(), what,
                                 fmt::join(items.first(std::min(items.size(), kListed)), ", "));
  if (items.size() > kListed) text += fmt::format(" and {} more", items.size() - kListed);
  return text;
}

}  // namespace

WeightFile FileOf(const TensorMap& tensors) {
  WeightFile file;
  for (const auto& [name, tensor] : tensors) {
    file.variables.push_back({.name = name, .dtype = tensor.dtype(), .shape = tensor.shape()});
  }
  file.read = [&tensors](const std::string& name) -> absl::StatusOr<Tensor> {
    return tensors.at(name);
  };
  return file;
}

WeightAccount::WeightAccount(std::string network, const graph::Graph& graph, const WeightFile& file)
    : network_(std::move(network)), graph_(graph) {
  for (const graph::Variable& variable : graph.variables()) wanted_[variable.name] = &variable;
  for (const checkpoint::VariableInfo& variable : file.variables) {
    dtypes_[variable.name] = variable.dtype;
  }
}

const graph::Variable* WeightAccount::Find(std::string_view variable) const {
  const auto found = wanted_.find(variable);
  return found == wanted_.end() ? nullptr : found->second;
}

absl::Status WeightAccount::Take(const graph::Variable& variable, const std::string& from,
                                 Tensor value) {
  if (!mapped_.weights.try_emplace(variable.name, std::move(value)).second) {
    return InvalidArgument("two variables of the file are {}, one of them {}", variable.name,
                           Printable(from));
  }
  const auto dtype = dtypes_.find(from);
  if (dtype != dtypes_.end() && dtype->second != DType::kFloat32) {
    ++mapped_.converted[dtype->second];
  }
  return absl::OkStatus();
}

void WeightAccount::Ignore(const std::string& name, std::string reason) {
  mapped_.ignored.push_back({.variable = name, .reason = std::move(reason)});
}

void WeightAccount::Unknown(const std::string& name, const Shape& shape) {
  unknown_.push_back(fmt::format("{} {}", Printable(name), shape.ToString()));
}

void WeightAccount::WrongShape(const graph::Variable& variable, const std::string& from,
                               const Shape& expected, const Shape& found) {
  wrong_[variable.name] = {.from = from,
                           .text = fmt::format("{} (expected {}, found {})", Printable(from),
                                               expected.ToString(), found.ToString())};
}

void WeightAccount::Unreadable(const graph::Variable& variable, const std::string& from,
                               std::string reason) {
  unreadable_[variable.name] = {.from = from, .text = std::move(reason)};
}

std::vector<std::string> WeightAccount::Missing() const {
  std::vector<std::string> missing;
  for (const auto& [name, variable] : wanted_) {
    if (mapped_.weights.contains(name) || wrong_.contains(name)) continue;
    std::string text = fmt::format("{} {}", name, variable->shape.ToString());
    if (const auto at = unreadable_.find(name); at != unreadable_.end()) {
      text += fmt::format(" (the file's '{}' is not read: {})", Printable(at->second.from),
                          at->second.text);
    }
    missing.push_back(std::move(text));
  }
  return missing;
}

void WeightAccount::Initialize(const graph::Variable& variable) {
  if (!variable.initializer) return;  // stays missing
  std::vector<float> values(static_cast<std::size_t>(variable.shape.num_elements()));
  variable.initializer->Fill(variable.shape, DeriveSeed(0, variable.name), values);
  auto tensor = Tensor::FromVector(variable.shape, std::move(values));
  if (!tensor.ok()) return;
  mapped_.weights.emplace(variable.name, *std::move(tensor));
  mapped_.initialized.push_back(variable.name);
  if (const auto at = wrong_.find(variable.name); at != wrong_.end()) {
    Ignore(at->second.from, "of another shape, and only training uses it");
    wrong_.erase(at);
  }
}

// An auxiliary classifier takes no part in the answer.
void WeightAccount::InitializeWhatOnlyTrainingUses() {
  const std::vector<bool> needed = graph_.VariablesNeededBy({{graph_.logits()}});
  for (std::size_t i = 0; i < needed.size(); ++i) {
    const graph::Variable& variable = graph_.variables()[i];
    if (!needed[i] && !mapped_.weights.contains(variable.name)) Initialize(variable);
  }
}

bool WeightAccount::OnlyShapesDiffer() const {
  return !wrong_.empty() && unknown_.empty() && Missing().empty();
}

absl::StatusOr<MappedWeights> WeightAccount::Finish(const std::string& hint) {
  const bool nothing = NothingFits();
  if (!nothing) InitializeWhatOnlyTrainingUses();
  const std::vector<std::string> missing = Missing();
  if (missing.empty() && wrong_.empty() && unknown_.empty()) return std::move(mapped_);
  std::vector<std::string> wrong;
  for (const auto& [name, found] : wrong_) wrong.push_back(found.text);
  std::string message =
      fmt::format("the file does not fit {}{}{}{}", network_, List("of another shape", wrong),
                  List("missing", missing), List("unknown", unknown_));
  if (!hint.empty()) {
    message += ". " + hint;
  } else if (nothing) {
    message += ". No variable has a name of this network: is it a file of another one?";
  }
  return InvalidArgument("{}", message);
}

}  // namespace zood::models
