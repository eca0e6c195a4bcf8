#include "jobs/job_plan.h"

#include <algorithm>
#include <utility>

#include "base/name_pattern.h"
#include "base/status.h"
#include "jobs/job_checks.h"
#include "jobs/job_memory.h"
#include "netdef/formats.h"
#include "store/names.h"

namespace zood::jobs {
namespace {

constexpr auto Index(dataset::Split split) { return static_cast<std::size_t>(split); }

absl::Status NoStart() {
  return InvalidArgument(
      "the job has no start: set `base` to a model, or `network` to a network of the zoo");
}

// ------------------------------------------------------------ the dataset

absl::StatusOr<std::optional<dataset::Split>> HeldOut(const JobSpec& spec,
                                                      const store::DatasetSummary& dataset) {
  const auto has = [&](dataset::Split split) { return dataset.items[Index(split)] > 0; };
  if (spec.evaluation.split == dataset::Split::kTrain) {
    return InvalidArgument("evaluation.split: images that are learned from prove nothing");
  }
  if (spec.evaluation.split) {
    if (has(*spec.evaluation.split)) return spec.evaluation.split;
    return InvalidArgument("the dataset '{}' has no {} images to evaluate on", dataset.name,
                           dataset::SplitName(*spec.evaluation.split));
  }
  for (const dataset::Split split : {dataset::Split::kValidation, dataset::Split::kTest}) {
    if (has(split)) return split;
  }
  if (!spec.promotion.gates.empty() || spec.evaluation.early_stop) {
    return InvalidArgument(
        "the dataset '{}' has no images that are held out, so there is nothing to decide a gate "
        "or an early stop by: give it a validation split",
        dataset.name);
  }
  return std::nullopt;
}

// ------------------------------------------------------------ the network

// Served as trained: what the loss makes of logits.
graph::OutputKind OutputKindOf(const JobSpec& spec) {
  const absl::StatusOr<train::LossPtr> loss = MakeLoss(spec.training.loss);
  return loss.ok() ? (*loss)->output_kind() : graph::OutputKind::kLogits;  // refused elsewhere
}

// Of a model: its network with the dataset's number of classes.
absl::Status StartFromBase(const serving::ModelRef& ref, const JobSpec& spec,
                           const std::optional<VersionName>& pinned, serving::Catalogue& catalogue,
                           const models::Zoo& zoo, JobPlan& plan) {
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
  ZOOD_ASSIGN_OR_RETURN(const netdef::NetworkPtr base, netdef::BuildNetwork(manifest.network, zoo));
  const auto classes = static_cast<int>(plan.labels.size());
  plan.new_head = base->num_classes() != classes;
  ZOOD_ASSIGN_OR_RETURN(plan.network, netdef::WithClasses(*base, classes, OutputKindOf(spec), zoo));
  return absl::OkStatus();
}

absl::Status StartFromScratch(const ScratchNetwork& start, const JobSpec& spec,
                              const models::Zoo& zoo, JobPlan& plan) {
  netdef::NetworkSpec network =
      netdef::ZooSpec(start.architecture, {.num_classes = start.num_classes,
                                           .height = start.height,
                                           .width = start.width,
                                           .channels = start.channels});
  const auto classes = static_cast<int>(plan.labels.size());
  if (network.args.num_classes != 0 && network.args.num_classes != classes) {
    return InvalidArgument("the network is to have {} classes, but the dataset '{}' has {}",
                           network.args.num_classes, plan.dataset.summary.name, classes);
  }
  network.args.num_classes = classes;
  if (OutputKindOf(spec) != graph::OutputKind::kLogits) network.output_kind = OutputKindOf(spec);
  ZOOD_ASSIGN_OR_RETURN(plan.network, netdef::BuildNetwork(network, zoo));
  ZOOD_ASSIGN_OR_RETURN(netdef::NetworkPreprocessing own, plan.network->Preprocessing(nullptr));
  plan.preprocess = std::move(own.spec);
  return absl::OkStatus();
}

// ------------------------------------------------------------ training

absl::StatusOr<std::vector<std::string>> UpdatedVariables(const Phase& phase, const JobPlan& plan) {
  if (const auto* update = std::get_if<UpdatePatterns>(&phase.update)) {
    if (update->patterns.empty()) return InvalidArgument("update: there is no pattern");
    return update->patterns;
  }
  const auto preset = std::get<UpdatePreset>(phase.update);
  const bool head =
      preset == UpdatePreset::kHead || (preset == UpdatePreset::kDefault && plan.base);
  return head ? WholeNames(plan.head) : std::vector<std::string>();
}

absl::Status SetOptions(const JobSpec& spec, JobPlan& plan) {
  const std::int64_t items = plan.dataset.summary.items[Index(dataset::Split::kTrain)];
  plan.steps_per_epoch =
      static_cast<double>(items) / spec.training.batch_size / spec.training.accumulate;
  plan.steps = spec.training.length.InSteps(plan.steps_per_epoch);
  plan.evaluate_every = spec.evaluation.every.InSteps(plan.steps_per_epoch);
  const Phase& phase = spec.training;
  std::vector<train::GradientRulePtr> rules;
  for (const GradientRule& rule : phase.gradient_rules) {
    ZOOD_ASSIGN_OR_RETURN(rules.emplace_back(), MakeGradientRule(rule, spec.seed));
  }
  ZOOD_ASSIGN_OR_RETURN(auto update, UpdatedVariables(phase, plan));
  ZOOD_ASSIGN_OR_RETURN(train::OptimizerPtr optimizer, MakeOptimizer(phase.optimizer));
  ZOOD_ASSIGN_OR_RETURN(train::LossPtr loss, MakeLoss(phase.loss));
  ZOOD_ASSIGN_OR_RETURN(
      train::SchedulePtr rate,
      MakeSchedule(phase.learning_rate,
                   {.steps = plan.steps, .steps_per_epoch = plan.steps_per_epoch}));
  plan.options = {.update = std::move(update),
                  .optimizer = std::move(optimizer),
                  .learning_rate = std::move(rate),
                  .loss = std::move(loss),
                  .aux_loss_weight = spec.training.aux_loss_weight,
                  .gradient_rules = std::move(rules),
                  .moving_average_decay = spec.training.moving_average_decay,
                  .weight_decay = spec.training.weight_decay,
                  .keep_probability = spec.training.keep_probability,
                  .batch_norm_decay = spec.training.batch_norm_decay,
                  .batch_size = spec.training.batch_size,
                  .accumulate = spec.training.accumulate,
                  .augmentation = spec.training.augmentation,
                  .seed = spec.seed,
                  .threads = spec.resources.threads,
                  .feature_cache_bytes = spec.resources.feature_cache_bytes};
  ZOOD_RETURN_IF_ERROR(train::CheckAugmentation(spec.training.augmentation, plan.preprocess));
  ZOOD_ASSIGN_OR_RETURN(plan.bytes, EstimateJobBytes(spec, plan));
  if (spec.resources.memory_bytes > 0 && plan.bytes > spec.resources.memory_bytes) {
    return ResourceExhausted(
        "the job needs about {} of memory, more than the {} that it allows itself; a smaller "
        "batch_size or feature_cache_bytes needs less",
        serving::FormatBytes(plan.bytes), serving::FormatBytes(spec.resources.memory_bytes));
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

absl::Status CheckWithoutDataset(const JobSpec& spec, serving::Catalogue& catalogue,
                                 const models::Zoo& zoo) {
  ZOOD_RETURN_IF_ERROR(CheckNumbers(spec));
  ZOOD_RETURN_IF_ERROR(store::CheckModelName(spec.model));
  if (!spec.promotion.alias.empty()) ZOOD_RETURN_IF_ERROR(store::CheckAlias(spec.promotion.alias));
  if (const auto* base = std::get_if<VersionChoice>(&spec.start)) {
    ZOOD_ASSIGN_OR_RETURN(const serving::ModelRef ref, base->ToRef());
    ZOOD_RETURN_IF_ERROR(Annotate(catalogue.Resolve(ref).status(), "the base"));
  } else if (const auto* network = std::get_if<ScratchNetwork>(&spec.start)) {
    ZOOD_RETURN_IF_ERROR(zoo.Find(network->architecture).status());
  } else {
    return NoStart();
  }
  for (const GradientRule& rule : spec.training.gradient_rules) {
    ZOOD_RETURN_IF_ERROR(MakeGradientRule(rule, spec.seed).status());
  }
  ZOOD_RETURN_IF_ERROR(MakeOptimizer(spec.training.optimizer).status());
  return MakeLoss(spec.training.loss).status();
}

absl::StatusOr<JobPlan> MakePlan(const JobSpec& spec, const std::optional<VersionName>& pinned,
                                 const std::string& digest, serving::Catalogue& catalogue,
                                 const models::Zoo& zoo) {
  JobPlan plan;
  ZOOD_RETURN_IF_ERROR(CheckNumbers(spec));
  ZOOD_RETURN_IF_ERROR(store::CheckModelName(spec.model));
  if (!spec.promotion.alias.empty()) ZOOD_RETURN_IF_ERROR(store::CheckAlias(spec.promotion.alias));
  if (spec.dataset.empty()) return InvalidArgument("the job names no dataset");
  ZOOD_ASSIGN_OR_RETURN(plan.dataset, catalogue.store().GetDataset(spec.dataset));
  ZOOD_RETURN_IF_ERROR(CheckDataset(spec, plan.dataset, digest));
  ZOOD_ASSIGN_OR_RETURN(plan.evaluate_on, HeldOut(spec, plan.dataset.summary));
  plan.labels = plan.dataset.classes;
  if (const auto* base = std::get_if<VersionChoice>(&spec.start)) {
    ZOOD_ASSIGN_OR_RETURN(const serving::ModelRef ref, base->ToRef());
    ZOOD_RETURN_IF_ERROR(
        Annotate(StartFromBase(ref, spec, pinned, catalogue, zoo, plan), "the base"));
  } else if (const auto* network = std::get_if<ScratchNetwork>(&spec.start)) {
    ZOOD_RETURN_IF_ERROR(StartFromScratch(*network, spec, zoo, plan));
  } else {
    return NoStart();
  }
  plan.graph = plan.network->graph();
  if (plan.network->num_classes() != static_cast<int>(plan.labels.size())) {
    return InvalidArgument("the network has {} classes, but the dataset '{}' has {}",
                           plan.network->num_classes(), spec.dataset, plan.labels.size());
  }
  plan.head = plan.network->HeadVariables();
  ZOOD_RETURN_IF_ERROR(SetOptions(spec, plan));
  return plan;
}

absl::StatusOr<std::shared_ptr<const dataset::Dataset>> LoadImages(const JobPlan& plan,
                                                                   serving::Catalogue& catalogue) {
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
