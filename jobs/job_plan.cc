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

// Served as trained: what the loss makes of logits.
graph::OutputKind OutputKindOf(const JobSpec& spec) {
  return spec.loss ? spec.loss->output_kind() : graph::OutputKind::kLogits;
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

absl::Status StartFromScratch(netdef::NetworkSpec network, const JobSpec& spec,
                              const models::Zoo& zoo, JobPlan& plan) {
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
    ZOOD_RETURN_IF_ERROR(
        Annotate(StartFromBase(*base, spec, pinned, catalogue, zoo, plan), "the base"));
  } else {
    ZOOD_RETURN_IF_ERROR(
        StartFromScratch(std::get<netdef::NetworkSpec>(spec.start), spec, zoo, plan));
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
