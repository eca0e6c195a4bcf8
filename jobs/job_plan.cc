#include "jobs/job_plan.h"

#include <algorithm>
#include <utility>

#include "base/name_pattern.h"
#include "base/status.h"
#include "jobs/job_checks.h"
#include "jobs/job_memory.h"
#include "store/names.h"

namespace zood::jobs {
namespace {

constexpr auto Index(dataset::Split split) { return static_cast<std::size_t>(split); }

int Classes(const graph::Graph& graph) {
  return static_cast<int>(graph.node(graph.logits()).shape.back());
}

bool BelongsTo(const std::string& variable, const std::vector<std::string>& scopes) {
  return std::ranges::any_of(
      scopes, [&](const std::string& scope) { return variable.starts_with(scope + "/"); });
}

// ------------------------------------------------------------ the dataset

absl::StatusOr<std::optional<dataset::Split>> HeldOut(const JobSpec& spec,
                                                      const store::DatasetSummary& dataset) {
  const auto has = [&](dataset::Split split) { return dataset.items[Index(split)] > 0; };
  if (spec.evaluate_on) {
    if (has(*spec.evaluate_on)) return spec.evaluate_on;
    return InvalidArgument("the dataset '{}' has no {} pictures to evaluate on", dataset.name,
                           dataset::SplitName(*spec.evaluate_on));
  }
  for (const dataset::Split split : {dataset::Split::kValidation, dataset::Split::kTest}) {
    if (has(split)) return split;
  }
  if (!spec.gates.empty() || spec.early_stop) {
    return InvalidArgument(
        "the dataset '{}' has no pictures that are held out, so there is nothing to decide a gate "
        "or an early stop by: give it a validation split",
        dataset.name);
  }
  return std::nullopt;
}

// ------------------------------------------------------------ the network

// Of a model: its network with the dataset's number of classes.
absl::Status StartFromBase(const serving::ModelRef& ref, const std::optional<VersionName>& pinned,
                           serving::Catalogue& catalogue, const models::Zoo& zoo, JobPlan& plan) {
  std::string selector;
  if (pinned) {
    selector = std::to_string(pinned->version);
  } else {
    ZOOD_ASSIGN_OR_RETURN(const serving::Resolved resolved, catalogue.Resolve(ref));
    selector = std::to_string(resolved.version);
  }
  ZOOD_ASSIGN_OR_RETURN(const store::VersionManifest manifest,
                        catalogue.store().GetVersion(ref.model, selector));
  if (pinned) ZOOD_RETURN_IF_ERROR(CheckPinned(*pinned, manifest.digest));
  plan.base = VersionName{ref.model, manifest.version, manifest.digest};
  ZOOD_ASSIGN_OR_RETURN(plan.preprocess, image::PreprocessSpecFromJson(manifest.preprocess));
  ZOOD_ASSIGN_OR_RETURN(const serving::Network base, serving::NetworkFromJson(manifest.network));
  ZOOD_ASSIGN_OR_RETURN(const graph::Graph base_graph, serving::BuildGraph(base, zoo));
  const auto classes = static_cast<int>(plan.labels.size());
  plan.new_head = Classes(base_graph) != classes;
  plan.network = base;
  if (plan.new_head) {
    ZOOD_ASSIGN_OR_RETURN(plan.network, serving::WithClasses(base, classes));
  }
  return absl::OkStatus();
}

absl::Status StartFromScratch(serving::ZooNetwork network, const models::Zoo& zoo, JobPlan& plan) {
  const auto classes = static_cast<int>(plan.labels.size());
  if (network.args.num_classes != 0 && network.args.num_classes != classes) {
    return InvalidArgument("the network is to have {} classes, but the dataset '{}' has {}",
                           network.args.num_classes, plan.dataset.summary.name, classes);
  }
  network.args.num_classes = classes;
  ZOOD_ASSIGN_OR_RETURN(network, serving::WithDefaults(std::move(network), zoo));
  ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(network.architecture));
  plan.preprocess = architecture->preprocess(network.args);
  plan.network = std::move(network);
  return absl::OkStatus();
}

std::vector<std::string> HeadVariables(const JobPlan& plan, const models::Zoo& zoo) {
  std::vector<std::string> head;
  if (const auto* named = std::get_if<serving::ZooNetwork>(&plan.network)) {
    const auto architecture = zoo.Find(named->architecture);
    if (architecture.ok()) {
      for (const graph::Variable& variable : plan.graph->variables()) {
        if (BelongsTo(variable.name, (*architecture)->head_scopes)) head.push_back(variable.name);
      }
    }
  }
  return head.empty() ? LastLayerVariables(*plan.graph) : head;
}

// ------------------------------------------------------------ training

std::vector<std::string> UpdatedVariables(const JobSpec& spec, const JobPlan& plan) {
  if (const auto* patterns = std::get_if<UpdatePatterns>(&spec.update)) return *patterns;
  if (std::get<UpdatePreset>(spec.update) == UpdatePreset::kAll) return {};
  return WholeNames(plan.head);
}

absl::Status SetOptions(const JobSpec& spec, JobPlan& plan) {
  const std::int64_t items = plan.dataset.summary.items[Index(dataset::Split::kTrain)];
  plan.steps_per_epoch = static_cast<double>(items) / spec.batch_size / spec.accumulate;
  plan.steps = spec.length.InSteps(plan.steps_per_epoch);
  plan.evaluate_every = spec.evaluate_every.InSteps(plan.steps_per_epoch);
  ZOOD_ASSIGN_OR_RETURN(
      train::SchedulePtr rate,
      spec.learning_rate({.steps = plan.steps, .steps_per_epoch = plan.steps_per_epoch}));
  plan.options = {.update = UpdatedVariables(spec, plan),
                  .optimizer = spec.optimizer,
                  .learning_rate = std::move(rate),
                  .loss = spec.loss,
                  .aux_loss_weight = spec.aux_loss_weight,
                  .gradient_rules = spec.gradient_rules,
                  .moving_average_decay = spec.moving_average_decay,
                  .weight_decay = spec.weight_decay,
                  .keep_probability = spec.keep_probability,
                  .batch_norm_decay = spec.batch_norm_decay,
                  .batch_size = spec.batch_size,
                  .accumulate = spec.accumulate,
                  .augmentation = spec.augmentation,
                  .seed = spec.seed,
                  .threads = spec.threads,
                  .feature_cache_bytes = spec.feature_cache_bytes};
  ZOOD_RETURN_IF_ERROR(train::CheckAugmentation(spec.augmentation, plan.preprocess));
  ZOOD_ASSIGN_OR_RETURN(plan.bytes, EstimateJobBytes(spec, plan));
  if (spec.memory_bytes > 0 && plan.bytes > spec.memory_bytes) {
    return ResourceExhausted(
        "the job needs about {} of memory, more than the {} that it allows itself; a smaller "
        "batch_size or feature_cache_bytes needs less",
        serving::FormatBytes(plan.bytes), serving::FormatBytes(spec.memory_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> WholeNames(const std::vector<std::string>& variables) {
  std::vector<std::string> patterns;
  for (const std::string& variable : variables) {
    patterns.push_back(PrefixPattern(variable) + "$");
  }
  return patterns;
}

std::vector<std::string> LastLayerVariables(const graph::Graph& graph) {
  for (graph::NodeId id = graph.logits();;) {
    const graph::Node& node = graph.node(id);
    std::vector<bool> own = graph.VariablesNeededBy(std::span(&id, 1));
    const std::vector<bool> below = graph.VariablesNeededBy(node.inputs);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (own[i] && !below[i]) names.push_back(graph.variables()[i].name);
    }
    if (!names.empty() || node.inputs.empty()) return names;
    id = node.inputs.front();
  }
}

absl::StatusOr<JobPlan> MakePlan(const JobSpec& spec, const std::optional<VersionName>& pinned,
                                 const std::string& digest, serving::Catalogue& catalogue,
                                 const models::Zoo& zoo) {
  JobPlan plan;
  ZOOD_RETURN_IF_ERROR(CheckNumbers(spec));
  ZOOD_RETURN_IF_ERROR(store::CheckModelName(spec.model));
  if (!spec.alias.empty()) ZOOD_RETURN_IF_ERROR(store::CheckAlias(spec.alias));
  if (spec.dataset.empty()) return InvalidArgument("the job names no dataset");
  ZOOD_ASSIGN_OR_RETURN(plan.dataset, catalogue.store().GetDataset(spec.dataset));
  ZOOD_RETURN_IF_ERROR(CheckDataset(spec, plan.dataset, digest));
  ZOOD_ASSIGN_OR_RETURN(plan.evaluate_on, HeldOut(spec, plan.dataset.summary));
  plan.labels = plan.dataset.classes;
  if (const auto* base = std::get_if<serving::ModelRef>(&spec.start)) {
    ZOOD_RETURN_IF_ERROR(Annotate(StartFromBase(*base, pinned, catalogue, zoo, plan), "the base"));
  } else {
    ZOOD_RETURN_IF_ERROR(StartFromScratch(std::get<serving::ZooNetwork>(spec.start), zoo, plan));
  }
  ZOOD_ASSIGN_OR_RETURN(graph::Graph graph, serving::BuildGraph(plan.network, zoo));
  plan.graph = std::make_shared<const graph::Graph>(std::move(graph));
  if (Classes(*plan.graph) != static_cast<int>(plan.labels.size())) {
    return InvalidArgument("the network has {} classes, but the dataset '{}' has {}",
                           Classes(*plan.graph), spec.dataset, plan.labels.size());
  }
  plan.head = HeadVariables(plan, zoo);
  ZOOD_RETURN_IF_ERROR(SetOptions(spec, plan));
  return plan;
}

absl::StatusOr<std::shared_ptr<const dataset::Dataset>> LoadPictures(
    const JobPlan& plan, serving::Catalogue& catalogue) {
  const store::DatasetSummary& wanted = plan.dataset.summary;
  ZOOD_ASSIGN_OR_RETURN(store::LoadedDataset loaded, catalogue.store().LoadDataset(wanted.name));
  if (loaded.manifest.summary.digest != wanted.digest) {
    return FailedPrecondition("the dataset '{}' was replaced by another", wanted.name);
  }
  auto dataset = std::make_shared<dataset::Dataset>();
  dataset->classes = std::move(loaded.manifest.classes);
  dataset->items.reserve(loaded.items.size());
  for (store::DatasetItem& item : loaded.items) {
    dataset->items.push_back({.name = std::move(item.name),
                              .label = item.label,
                              .split = static_cast<dataset::Split>(item.split),
                              .image = std::move(item.data)});
  }
  return dataset;
}

}  // namespace zood::jobs
