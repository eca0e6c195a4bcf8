#include "train/restore.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/seed.h"
#include "base/status.h"

namespace zood::train {
namespace {

using Origin = RestoredVariable::Origin;

struct Value {
  Tensor tensor;
  RestoredVariable from;
};

// Takes `tensor`, which `label` calls `name`, for `variable`.
absl::StatusOr<Value> Take(const graph::Variable& variable, const Tensor& tensor,
                           const std::string& label, const std::string& name, Origin origin,
                           bool allow_reshape) {
  const auto where = [&] {
    return fmt::format("{}: '{}' for variable '{}'", label, name, variable.name);
  };
  auto value = tensor.ToFloat32();
  if (!value.ok()) return Annotate(value.status(), where());
  const bool reshaped = tensor.shape() != variable.shape;
  if (reshaped) {
    const bool equal_counts = tensor.num_elements() == variable.shape.num_elements();
    if (!equal_counts || !allow_reshape) {
      return InvalidArgument("{}: expected shape {}, found {}{}", where(),
                             variable.shape.ToString(), tensor.shape().ToString(),
                             equal_counts ? "; as many elements, so it may be allowed to reshape"
                                          : "; exclude it to begin with its initializer");
    }
    value = value->Reshaped(variable.shape);
    if (!value.ok()) return Annotate(value.status(), where());
  }
  return Value{.tensor = *std::move(value),
               .from = {.variable = variable.name,
                        .origin = origin,
                        .source = label,
                        .name = name,
                        .source_shape = tensor.shape(),
                        .reshaped = reshaped}};
}

class Restorer {
 public:
  explicit Restorer(const graph::Graph& graph) : graph_(graph), values_(graph.variables().size()) {
    for (const graph::Variable& variable : graph.variables()) names_.push_back(variable.name);
  }

  absl::Status Add(const CheckpointSource& source);
  absl::Status Add(const ValueSource& source);
  absl::StatusOr<Restored> Finish(std::uint64_t seed);

 private:
  // Where a variable of the network is to be found in a checkpoint.
  struct Wanted {
    std::size_t variable;
    std::string name;
  };
  absl::StatusOr<std::vector<Wanted>> Select(const CheckpointSource& source) const;
  absl::Status CheckIsVariable(const std::string& label, const std::string& name) const;

  const graph::Graph& graph_;
  std::vector<std::string> names_;            // of the graph's variables, in order
  std::vector<std::optional<Value>> values_;  // by VariableId
};

absl::Status Restorer::CheckIsVariable(const std::string& label, const std::string& name) const {
  if (std::ranges::find(names_, name) != names_.end()) return absl::OkStatus();
  return InvalidArgument("{}: '{}' is not a variable of the network; the nearest are {}", label,
                         name, NearestNames(name, names_));
}

absl::StatusOr<std::vector<Restorer::Wanted>> Restorer::Select(
    const CheckpointSource& source) const {
  ZOOD_ASSIGN_OR_RETURN(const NamePatterns include,
                        NamePatterns::Create(source.label + ": include", source.include));
  ZOOD_ASSIGN_OR_RETURN(const NamePatterns exclude,
                        NamePatterns::Create(source.label + ": exclude", source.exclude));
  ZOOD_ASSIGN_OR_RETURN(const NameRenamings renamings,
                        NameRenamings::Create(source.label + ": renaming", source.renamings));
  if (const auto misspelled = include.FirstWithoutMatch(names_)) {
    return InvalidArgument(
        "{}: include: '{}' matches none of the network's {} variables; the nearest are {}",
        source.label, *misspelled, names_.size(), NearestNames(*misspelled, names_));
  }
  for (const auto& [variable, name] : source.names) {
    ZOOD_RETURN_IF_ERROR(CheckIsVariable(source.label + ": names", variable));
  }
  std::vector<Wanted> wanted;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (!include.empty() && !include.Match(names_[i])) continue;
    if (exclude.Match(names_[i])) continue;
    const auto mapped = source.names.find(names_[i]);
    wanted.push_back({i, mapped != source.names.end()
                             ? mapped->second
                             : renamings.Rename(names_[i]).value_or(names_[i])});
  }
  if (wanted.empty()) {
    return InvalidArgument(
        "{}: the plan matches no variable: each of the network's {} is excluded or not included",
        source.label, names_.size());
  }
  return wanted;
}

absl::Status Restorer::Add(const CheckpointSource& source) {
  ZOOD_ASSIGN_OR_RETURN(const std::vector<Wanted> wanted, Select(source));
  std::vector<const Wanted*> missing;
  for (const Wanted& want : wanted) {
    const auto found = source.tensors.find(want.name);
    if (found == source.tensors.end()) {
      missing.push_back(&want);
    } else if (!values_[want.variable]) {
      ZOOD_ASSIGN_OR_RETURN(values_[want.variable],
                            Take(graph_.variables()[want.variable], found->second, source.label,
                                 want.name, Origin::kCheckpoint, source.allow_reshape));
    }
  }
  const bool none = missing.size() == wanted.size();
  std::erase_if(missing, [&](const Wanted* want) { return values_[want->variable].has_value(); });
  if (!none && (missing.empty() || source.allow_missing)) return absl::OkStatus();

  std::vector<std::string> there;
  for (const auto& [name, tensor] : source.tensors) there.push_back(name);
  const std::string& first = (missing.empty() ? &wanted.front() : missing.front())->name;
  const std::string nearest =
      there.empty() ? "it is empty" : "the nearest names there are " + NearestNames(first, there);
  if (none) {
    return InvalidArgument(
        "{}: the plan matches no variable: it has none of the {} that it is asked for, such as "
        "'{}'; {}",
        source.label, wanted.size(), first, nearest);
  }
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(missing.size(), 5); ++i) {
    list += fmt::format("{}'{}'", i == 0 ? "" : ", ", missing[i]->name);
  }
  return NotFound(
      "{}: {} of the {} variables that it is asked for are missing: {}{}; {}. Exclude them, rename "
      "them, or allow them to be missing",
      source.label, missing.size(), wanted.size(), list, missing.size() > 5 ? ", ..." : "",
      nearest);
}

absl::Status Restorer::Add(const ValueSource& source) {
  for (const auto& [name, tensor] : source.values) {
    ZOOD_RETURN_IF_ERROR(CheckIsVariable(source.label, name));
  }
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const auto found = source.values.find(names_[i]);
    if (found == source.values.end() || values_[i]) continue;
    ZOOD_ASSIGN_OR_RETURN(values_[i], Take(graph_.variables()[i], found->second, source.label,
                                           names_[i], Origin::kValue, /*allow_reshape=*/true));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Initialize(const graph::Variable& variable, std::uint64_t seed) {
  if (!variable.initializer) {
    return InvalidArgument("variable '{}' has no initializer, and no source has its value",
                           variable.name);
  }
  std::vector<float> values(static_cast<std::size_t>(variable.shape.num_elements()));
  variable.initializer->Fill(variable.shape, DeriveSeed(seed, variable.name), values);
  ZOOD_ASSIGN_OR_RETURN(Tensor tensor, Tensor::FromVector(variable.shape, std::move(values)));
  return Value{.tensor = std::move(tensor),
               .from = {.variable = variable.name,
                        .origin = Origin::kInitializer,
                        .source = variable.initializer->name(),
                        .source_shape = variable.shape}};
}

absl::StatusOr<Restored> Restorer::Finish(std::uint64_t seed) {
  Restored restored;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (values_[i]) {
      ++restored.restored;
    } else {
      ZOOD_ASSIGN_OR_RETURN(values_[i], Initialize(graph_.variables()[i], seed));
      ++restored.initialized;
    }
    restored.weights.emplace(names_[i], std::move(values_[i]->tensor));
    restored.report.push_back(std::move(values_[i]->from));
  }
  return restored;
}

}  // namespace

std::string Describe(const RestoredVariable& restored) {
  if (restored.origin == Origin::kInitializer) {
    return fmt::format("{}: initialized by {}", restored.variable, restored.source);
  }
  std::string text = fmt::format("{}: from {}", restored.variable, restored.source);
  if (restored.name != restored.variable) text += fmt::format(", '{}' there", restored.name);
  if (restored.reshaped) {
    text += fmt::format(", reshaped from {}", restored.source_shape.ToString());
  }
  return text;
}

absl::StatusOr<Restored> Restore(const graph::Graph& graph, const RestorePlan& plan) {
  Restorer restorer(graph);
  for (const RestoreSource& source : plan.sources) {
    ZOOD_RETURN_IF_ERROR(std::visit([&](const auto& from) { return restorer.Add(from); }, source));
  }
  return restorer.Finish(plan.seed);
}

}  // namespace zood::train
