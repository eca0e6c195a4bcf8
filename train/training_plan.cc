#include "train/training_plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/name_pattern.h"
#include "base/option_check.h"
#include "base/status.h"
#include "graph/cut.h"
#include "train/math/moving_average.h"
#include "train/training_state.h"

namespace zood::train {
namespace {

constexpr int kMaxAccumulate = 1 << 16;

absl::Status CheckTrainerOptions(const TrainerOptions& options) {
  const std::pair<const char*, bool> required[] = {{"an optimizer", options.optimizer != nullptr},
                                                   {"a schedule", options.learning_rate != nullptr},
                                                   {"a loss", options.loss != nullptr}};
  for (const auto& [what, given] : required) {
    if (!given) return InvalidArgument("trainer: {} is required, and none was given", what);
  }
  for (std::size_t i = 0; i < options.gradient_rules.size(); ++i) {
    if (!options.gradient_rules[i]) return InvalidArgument("trainer: gradient rule {} is null", i);
  }
  // More images to a step are what `accumulate` is for.
  ZOOD_RETURN_IF_ERROR(CheckOption("trainer", "batch_size", options.batch_size,
                                   {.low = 1, .high = engine::kMaxTrainingBatch}));
  ZOOD_RETURN_IF_ERROR(
      CheckOption("trainer", "accumulate", options.accumulate, {.low = 1, .high = kMaxAccumulate}));
  ZOOD_RETURN_IF_ERROR(
      CheckOption("trainer", "threads", options.threads, {.low = 0, .high = 1024}));
  ZOOD_RETURN_IF_ERROR(
      CheckOption("trainer", "aux_loss_weight", options.aux_loss_weight, kNotNegative));
  if (options.moving_average_decay) {
    ZOOD_RETURN_IF_ERROR(MovingAverage::Create(*options.moving_average_decay).status());
  }
  if (options.weight_decay) {
    ZOOD_RETURN_IF_ERROR(
        CheckOption("trainer", "weight_decay", *options.weight_decay, kNotNegative));
  }
  if (options.keep_probability) {
    ZOOD_RETURN_IF_ERROR(CheckOption("trainer", "keep_probability", *options.keep_probability,
                                     {.low = 0, .high = 1, .low_open = true}));
  }
  if (options.batch_norm_decay) {
    ZOOD_RETURN_IF_ERROR(
        CheckOption("trainer", "batch_norm_decay", *options.batch_norm_decay, kFraction));
  }
  return absl::OkStatus();
}

absl::Status ResolveUpdated(const std::vector<std::string>& patterns, TrainingPlan& plan) {
  std::vector<std::string> names;
  for (const graph::Variable& variable : plan.graph->variables()) names.push_back(variable.name);
  ZOOD_ASSIGN_OR_RETURN(const NamePatterns update, NamePatterns::Create("update", patterns));
  if (const auto misspelled = update.FirstWithoutMatch(names)) {
    return InvalidArgument(
        "update: '{}' matches none of the network's {} variables; the nearest are {}", *misspelled,
        names.size(), NearestNames(*misspelled, names));
  }
  bool trainable = false;
  for (const graph::Variable& variable : plan.graph->variables()) {
    const bool updated = update.empty() || update.Match(variable.name);
    plan.updated.push_back(updated);
    if (!updated) continue;
    plan.updated_names.push_back(variable.name);
    trainable |= variable.trainable;
  }
  if (trainable) return absl::OkStatus();
  return InvalidArgument(
      "update: nothing is left to train: none of the {} variables that may change is trainable",
      plan.updated_names.size());
}

absl::Status ResolveRegularizers(std::optional<float> weight_decay, TrainingPlan& plan) {
  const graph::RegularizerPtr instead =
      weight_decay.value_or(0) > 0 ? graph::L2(*weight_decay) : nullptr;
  bool any = false;
  for (const graph::Variable& variable : plan.graph->variables()) {
    any |= variable.regularizer != nullptr;
    const bool replaced = weight_decay && variable.regularizer;
    plan.regularizers.push_back(replaced ? instead : variable.regularizer);
  }
  if (!instead || any) return absl::OkStatus();
  return InvalidArgument(
      "weight_decay is {}, but the network regularizes none of its variables: nothing would decay",
      *weight_decay);
}

// The rules against the variables that they will get, and every name that TrainingState::Save()
// will write.
absl::Status CheckNames(const TrainingPlan& plan, const TrainerOptions& options) {
  std::vector<std::string> trained;
  for (std::size_t i = 0; i < plan.updated.size(); ++i) {
    const graph::Variable& variable = plan.graph->variables()[i];
    if (plan.updated[i] && variable.trainable) trained.push_back(variable.name);
  }
  std::set<std::string> names = {kGlobalStep};
  absl::Status status;
  const auto add = [&](const std::string& name) {
    if (!names.insert(name).second && status.ok()) {
      status = InvalidArgument("two pieces of the training state have the name '{}'", name);
    }
  };
  for (const graph::Variable& variable : plan.graph->variables()) {
    add(variable.name);
    if (options.moving_average_decay) add(MovingAverage::NameFor(variable.name));
  }
  for (const std::string& variable : trained) {
    for (const StateSpec& slot : options.optimizer->slots()) add(variable + "/" + slot.name);
  }
  for (const StateSpec& scalar : options.optimizer->scalars()) add(scalar.name);
  for (const GradientRulePtr& rule : options.gradient_rules) {
    ZOOD_RETURN_IF_ERROR(rule->Check(trained));
    for (const StateSpec& spec : rule->state()) add(spec.name);
  }
  return status;
}

absl::Status Cut(TrainingPlan& plan) {
  plan.trained = plan.graph;
  plan.training.updated = plan.updated;
  const std::optional<graph::NodeId> cut = graph::FrozenCut(*plan.graph, plan.updated);
  if (!cut) return absl::OkStatus();
  ZOOD_ASSIGN_OR_RETURN(graph::Graph before, graph::Before(*plan.graph, *cut));
  ZOOD_ASSIGN_OR_RETURN(graph::Graph after, graph::After(*plan.graph, *cut));
  plan.prefix = std::make_shared<const graph::Graph>(std::move(before));
  plan.trained = std::make_shared<const graph::Graph>(std::move(after));
  plan.feature_size = plan.trained->input_shape().WithBatch(1).num_elements();

  std::map<std::string_view, bool> updated;
  for (std::size_t i = 0; i < plan.updated.size(); ++i) {
    updated[plan.graph->variables()[i].name] = plan.updated[i];
  }
  plan.training.updated.clear();
  for (const graph::Variable& variable : plan.trained->variables()) {
    plan.training.updated.push_back(updated.at(variable.name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainingPlan> TrainingPlan::Make(std::shared_ptr<const graph::Graph> graph,
                                                std::int64_t items, const TrainerOptions& options) {
  ZOOD_RETURN_IF_ERROR(CheckTrainerOptions(options));
  TrainingPlan plan;
  plan.graph = std::move(graph);
  if (plan.graph->node(plan.graph->logits()).shape.rank() != 2) {
    return InvalidArgument("the network has no logits to train: its output has shape {}",
                           plan.graph->node(plan.graph->logits()).shape.ToString());
  }
  ZOOD_RETURN_IF_ERROR(ResolveUpdated(options.update, plan));
  ZOOD_RETURN_IF_ERROR(ResolveRegularizers(options.weight_decay, plan));
  ZOOD_RETURN_IF_ERROR(CheckNames(plan, options));
  plan.training = {.batch = options.batch_size,
                   .keep_probability = options.keep_probability,
                   .batch_norm_decay = options.batch_norm_decay,
                   .threads = options.threads};
  plan.compile = {.batch_sizes = {options.batch_size}, .threads = options.threads};
  ZOOD_RETURN_IF_ERROR(Cut(plan));
  // Compared so that a number of items cannot overflow.
  const auto fitting = static_cast<std::int64_t>(
      options.feature_cache_bytes / sizeof(float) /
      static_cast<std::uint64_t>(std::max<std::int64_t>(plan.feature_size, 1)));
  plan.keep_features = plan.prefix && !IsRandom(options.augmentation) && items <= fitting;
  return plan;
}

absl::StatusOr<std::uint64_t> EstimateTrainerBytes(const graph::Graph& graph,
                                                   std::int64_t training_items,
                                                   const TrainerOptions& options) {
  // Not shared: the plan ends before the graph does.
  const std::shared_ptr<const graph::Graph> shared(std::shared_ptr<void>(), &graph);
  ZOOD_ASSIGN_OR_RETURN(const TrainingPlan plan,
                        TrainingPlan::Make(shared, training_items, options));
  std::uint64_t weights = 0, trained = 0, updated = 0;
  for (std::size_t i = 0; i < plan.updated.size(); ++i) {
    const graph::Variable& variable = graph.variables()[i];
    const std::uint64_t bytes =
        static_cast<std::uint64_t>(variable.shape.num_elements()) * sizeof(float);
    weights += bytes;
    if (plan.updated[i]) updated += bytes;
    if (plan.updated[i] && variable.trainable) trained += bytes;
  }
  const auto batch = static_cast<std::uint64_t>(options.batch_size);
  const std::uint64_t images =
      static_cast<std::uint64_t>(graph.input_shape().WithBatch(1).num_elements()) * sizeof(float) *
      batch;
  constexpr std::uint64_t kBatchesAhead =
      4;  // of InputPipeline: those ahead, the current, one torn
  constexpr std::uint64_t kScratch = std::uint64_t{1} << 20;  // what no estimate goes into
  std::uint64_t bytes = kScratch + engine::EstimateTrainingBytes(*plan.trained, plan.training);
  bytes += weights + kBatchesAhead * images;
  bytes += trained * options.optimizer->slots().size();
  if (options.accumulate > 1) bytes += trained;
  if (options.moving_average_decay) bytes += updated;
  if (plan.prefix) {
    const engine::MemoryEstimate prefix = engine::EstimateMemory(*plan.prefix, plan.compile);
    bytes += prefix.weight_bytes + prefix.execution_bytes;
  }
  if (plan.keep_features) {
    bytes += static_cast<std::uint64_t>(training_items) *
             static_cast<std::uint64_t>(plan.feature_size) * sizeof(float);
  }
  return bytes;
}

}  // namespace zood::train
