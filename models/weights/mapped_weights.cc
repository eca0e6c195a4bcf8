#include "models/weights/mapped_weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <utility>

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

WeightAccount::WeightAccount(std::string network, const graph::Graph& graph)
    : network_(std::move(network)) {
  for (const graph::Variable& variable : graph.variables()) wanted_[variable.name] = &variable;
}

const graph::Variable* WeightAccount::Find(std::string_view variable) const {
  const auto found = wanted_.find(variable);
  return found == wanted_.end() ? nullptr : found->second;
}

absl::Status WeightAccount::Take(const graph::Variable& variable, const std::string& from,
                                 Tensor value) {
  if (mapped_.weights.try_emplace(variable.name, std::move(value)).second) return absl::OkStatus();
  return InvalidArgument("two variables of the file are {}, one of them {}", variable.name,
                         Printable(from));
}

void WeightAccount::Ignore(const std::string& name, std::string reason) {
  mapped_.ignored.push_back({.variable = name, .reason = std::move(reason)});
}

void WeightAccount::Unknown(const std::string& name, const Shape& shape) {
  unknown_.push_back(fmt::format("{} {}", Printable(name), shape.ToString()));
}

void WeightAccount::WrongShape(const graph::Variable& variable, const std::string& from,
                               const Shape& expected, const Shape& found) {
  wrong_[variable.name] = fmt::format("{} (expected {}, found {})", Printable(from),
                                      expected.ToString(), found.ToString());
}

std::vector<std::string> WeightAccount::Missing() const {
  std::vector<std::string> missing;
  for (const auto& [name, variable] : wanted_) {
    if (mapped_.weights.contains(name) || wrong_.contains(name)) continue;
    missing.push_back(fmt::format("{} {}", name, variable->shape.ToString()));
  }
  return missing;
}

bool WeightAccount::OnlyShapesDiffer() const {
  return !wrong_.empty() && unknown_.empty() && Missing().empty();
}

absl::StatusOr<MappedWeights> WeightAccount::Finish(const std::string& hint) {
  const std::vector<std::string> missing = Missing();
  if (missing.empty() && wrong_.empty() && unknown_.empty()) return std::move(mapped_);
  std::vector<std::string> wrong;
  for (const auto& [name, text] : wrong_) wrong.push_back(text);
  std::string message =
      fmt::format("the file does not fit {}{}{}{}", network_, List("of another shape", wrong),
                  List("missing", missing), List("unknown", unknown_));
  if (!hint.empty()) {
    message += ". " + hint;
  } else if (mapped_.weights.empty() && wrong_.empty()) {
    message += ". No variable has a name of this network: is it a file of another one?";
  }
  return InvalidArgument("{}", message);
}

}  // namespace zood::models
