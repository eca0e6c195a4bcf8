#include "serving/job_plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"
#include "engine/executable.h"
#include "store/names.h"
#include "train/name_pattern.h"
#include "train/restore.h"

namespace zood::serving {

std::int64_t Length::InSteps(double steps_per_epoch) const {
  if (steps > 0) return steps;
  // Less than 2^62, and a whole number of steps stays one whatever the last bit says.
  const double wanted = std::min(epochs * steps_per_epoch, 4e18);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(wanted - 1e-9)));
}

namespace {

constexpr auto Index(train::Split split) { return static_cast<std::size_t>(split); }

int Classes(const graph::Graph& graph) {
  return static_cast<int>(graph.node(graph.logits()).shape.back());
}

bool BelongsTo(const std::string& variable, const std::vector<std::string>& scopes) {
  return std::ranges::any_of(
      scopes, [&](const std::string& scope) { return variable.starts_with(scope + "/"); });
}

std::string WholeName(const std::string& variable) { return train::PrefixPattern(variable) + "$"; }

std::vector<std::string> WholeNames(const std::vector<std::string>& variables) {
  std::vector<std::string> patterns;
  for (const std::string& variable : variables) patterns.push_back(WholeName(variable));
  return patterns;
}

// ------------------------------------------------------------ numbers

absl::Status CheckLength(const char* what, const Length& length) {
  if (length.steps > 0 && length.epochs == 0) return absl::OkStatus();
  if (length.steps == 0 && std::isfinite(length.epochs) && length.epochs > 0) {
    return absl::OkStatus();
  }
  return InvalidArgument("{}: expected a number of steps, or of epochs, above 0", what);
}

absl::Status CheckAtLeast(const char* what, std::int64_t value, std::int64_t least) {
  if (value >= least) return absl::OkStatus();
  return InvalidArgument("{} is {}; expected {} or more", what, value, least);
}

absl::Status CheckGate(const Gate& gate, const std::string& promotion_alias) {
  if (const auto* minimum = std::get_if<MinimumAccuracy>(&gate)) {
    if (minimum->accuracy >= 0 && minimum->accuracy <= 1) return absl::OkStatus();
    return InvalidArgument("a gate's minimum accuracy is {}; expected a number in [0, 1]",
                           minimum->accuracy);
  }
  const auto& better = std::get<BetterThanAlias>(gate);
  if (!(better.margin >= -1 && better.margin <= 1)) {
    return InvalidArgument("a gate's margin is {}; expected a number in [-1, 1]", better.margin);
  }
  if (better.alias.empty() && promotion_alias.empty()) {
    return InvalidArgument("a gate is to be better than an alias, but names none");
  }
  // `latest` may be compared with, though nobody sets it.
  if (better.alias.empty() || better.alias == store::kLatest) return absl::OkStatus();
  return store::CheckAlias(better.alias);
}

absl::Status CheckNumbers(const JobSpec& spec) {
  ZOOD_RETURN_IF_ERROR(CheckLength("length", spec.length));
  ZOOD_RETURN_IF_ERROR(CheckLength("evaluation.every", spec.evaluate_every));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("batch_size", spec.batch_size, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("accumulate", spec.accumulate, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("min_class_images", spec.min_class_images, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("checkpoints.every_steps", spec.checkpoint_steps, 0));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("checkpoints.every", spec.checkpoint_time.count(), 0));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("checkpoints.keep", spec.keep_checkpoints, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("resources.threads", spec.threads, 0));
  if (!(spec.max_problem_share >= 0 && spec.max_problem_share <= 1)) {
    return InvalidArgument("max_problem_share is {}; expected a number in [0, 1]",
                           spec.max_problem_share);
  }
  if (spec.early_stop) {
    ZOOD_RETURN_IF_ERROR(CheckAtLeast("early_stop.patience", spec.early_stop->patience, 1));
    if (!(spec.early_stop->min_improvement >= 0)) {
      return InvalidArgument("early_stop.min_improvement is {}; expected 0 or more",
                             spec.early_stop->min_improvement);
    }
  }
  for (const Gate& gate : spec.gates) ZOOD_RETURN_IF_ERROR(CheckGate(gate, spec.alias));
  return absl::OkStatus();
}

// ------------------------------------------------------------ the dataset

absl::Status CheckDataset(const JobSpec& spec, const store::DatasetManifest& dataset,
                          const std::string& digest) {
  const store::DatasetSummary& summary = dataset.summary;
  for (const std::string& wanted : {spec.dataset_digest, digest}) {
    if (!wanted.empty() && wanted != summary.digest) {
      return FailedPrecondition(
          "the dataset '{}' is not the one that the job was made for: its digest is {}, not {}",
          summary.name, summary.digest, wanted);
    }
  }
  const auto all = static_cast<double>(summary.item_count() + summary.problem_count);
  const double share = static_cast<double>(summary.problem_count) / std::max(all, 1.0);
  if (share > spec.max_problem_share) {
    const std::string first =
        dataset.problems.empty()
            ? ""
            : fmt::format(" (the first: {}: {})", dataset.problems.front().item,
                          dataset.problems.front().reason);
    return FailedPrecondition(
        "{} of {} pictures of the dataset '{}' cannot be used{}: that is more than the share of {} "
        "that the job allows (max_problem_share)",
        summary.problem_count, all, summary.name, first, spec.max_problem_share);
  }
  if (dataset.classes.size() < 2) {
    return InvalidArgument("the dataset '{}' has {} class{}; a classifier needs 2 at least",
                           summary.name, dataset.classes.size(),
                           dataset.classes.size() == 1 ? "" : "es");
  }
  const auto train = Index(train::Split::kTrain);
  for (std::size_t i = 0; i < dataset.classes.size(); ++i) {
    const std::int64_t count = dataset.class_items[i][train];
    if (count < spec.min_class_images) {
      return InvalidArgument(
          "class '{}' of the dataset '{}' has {} picture{} to learn from; every class needs {} "
          "(min_class_images)",
          dataset.classes[i], summary.name, count, count == 1 ? "" : "s", spec.min_class_images);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<train::Split>> HeldOut(const JobSpec& spec,
                                                    const store::DatasetSummary& dataset) {
  const auto has = [&](train::Split split) { return dataset.items[Index(split)] > 0; };
  if (spec.evaluate_on) {
    if (has(*spec.evaluate_on)) return spec.evaluate_on;
    return InvalidArgument("the dataset '{}' has no {} pictures to evaluate on", dataset.name,
                           train::SplitName(*spec.evaluate_on));
  }
  for (const train::Split split : {train::Split::kValidation, train::Split::kTest}) {
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

// A model that was deleted and made anew gives numbers a second time.
absl::Status CheckPinned(const VersionName& pinned, const std::string& digest) {
  if (pinned.digest.empty() || pinned.digest == digest) return absl::OkStatus();
  return FailedPrecondition(
      "version {} of {} is not the one that the job was made with: its digest is {}, not {}",
      pinned.version, pinned.model, digest, pinned.digest);
}

// Of a model: its network with the dataset's number of classes.
absl::Status StartFromBase(const ModelRef& ref, const std::optional<VersionName>& pinned,
                           Catalogue& catalogue, const models::Zoo& zoo, JobPlan& plan) {
  std::string selector;
  if (pinned) {
    selector = std::to_string(pinned->version);
  } else {
    ZOOD_ASSIGN_OR_RETURN(const Resolved resolved, catalogue.Resolve(ref));
    selector = std::to_string(resolved.version);
  }
  ZOOD_ASSIGN_OR_RETURN(const store::VersionManifest manifest,
                        catalogue.store().GetVersion(ref.model, selector));
  if (pinned) ZOOD_RETURN_IF_ERROR(CheckPinned(*pinned, manifest.digest));
  plan.base = VersionName{ref.model, manifest.version, manifest.digest};
  ZOOD_ASSIGN_OR_RETURN(plan.preprocess, image::PreprocessSpecFromJson(manifest.preprocess));
  ZOOD_ASSIGN_OR_RETURN(const Network base, NetworkFromJson(manifest.network));
  ZOOD_ASSIGN_OR_RETURN(const graph::Graph base_graph, BuildGraph(base, zoo));
  const auto classes = static_cast<int>(plan.labels.size());
  plan.new_head = Classes(base_graph) != classes;
  plan.network = base;
  if (plan.new_head) {
    ZOOD_ASSIGN_OR_RETURN(plan.network, WithClasses(base, classes));
  }
  return absl::OkStatus();
}

absl::Status StartFromScratch(ZooNetwork network, const models::Zoo& zoo, JobPlan& plan) {
  const auto classes = static_cast<int>(plan.labels.size());
  if (network.args.num_classes != 0 && network.args.num_classes != classes) {
    return InvalidArgument("the network is to have {} classes, but the dataset '{}' has {}",
                           network.args.num_classes, plan.dataset.summary.name, classes);
  }
  network.args.num_classes = classes;
  ZOOD_ASSIGN_OR_RETURN(network, WithDefaults(std::move(network), zoo));
  ZOOD_ASSIGN_OR_RETURN(const models::Architecture* architecture, zoo.Find(network.architecture));
  plan.preprocess = architecture->preprocess(network.args);
  plan.network = std::move(network);
  return absl::OkStatus();
}

std::vector<std::string> HeadVariables(const JobPlan& plan, const models::Zoo& zoo) {
  std::vector<std::string> head;
  if (const auto* named = std::get_if<ZooNetwork>(&plan.network)) {
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

// Features of held-out pictures, which are kept beside those that are learned from as far as the
// cache has room.
absl::StatusOr<std::uint64_t> HeldOutFeatureBytes(const JobPlan& plan, std::int64_t items) {
  if (!plan.evaluate_on) return 0;
  const auto estimate = [&](std::int64_t count) {
    return train::EstimateTrainerBytes(*plan.graph, count, plan.options);
  };
  // The estimates differ by features alone; where they do not fit, none are kept.
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t one, estimate(1));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t two, estimate(2));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t all, estimate(items));
  const std::uint64_t each = two > one ? two - one : 0;
  const std::uint64_t kept = each * static_cast<std::uint64_t>(items);
  if (each == 0 || all < one + kept - each || kept > plan.options.feature_cache_bytes) return 0;
  const auto held_out =
      static_cast<std::uint64_t>(plan.dataset.summary.items[Index(*plan.evaluate_on)]);
  const std::uint64_t wanted = each * held_out;
  return kept + wanted > plan.options.feature_cache_bytes ? 0 : wanted;
}

// What Trainer::Save() copies: what changes, its slots and averages.
absl::StatusOr<std::uint64_t> CheckpointBytes(const JobPlan& plan) {
  ZOOD_ASSIGN_OR_RETURN(const train::NamePatterns updated,
                        train::NamePatterns::Create("update", plan.options.update));
  std::uint64_t values = 0;
  for (const graph::Variable& variable : plan.graph->variables()) {
    if (!updated.empty() && !updated.Match(variable.name)) continue;
    values += static_cast<std::uint64_t>(variable.shape.num_elements());
  }
  const std::uint64_t copies =
      1 + plan.options.optimizer->slots().size() + (plan.options.moving_average_decay ? 1 : 0);
  return values * copies * sizeof(float);
}

// Values that come with the job; versions are read where they lie in mapped files.
std::uint64_t GivenBytes(const JobSpec& spec) {
  std::uint64_t bytes = 0;
  for (const RestoreFrom& from : spec.restore.value_or(std::vector<RestoreFrom>())) {
    if (const auto* given = std::get_if<TensorMap>(&from)) {
      for (const auto& [name, tensor] : *given) bytes += tensor.bytes().size();
    }
  }
  return bytes;
}

absl::StatusOr<std::uint64_t> EstimateBytes(const JobSpec& spec, const JobPlan& plan) {
  const std::int64_t items = plan.dataset.summary.items[Index(train::Split::kTrain)];
  ZOOD_ASSIGN_OR_RETURN(std::uint64_t bytes,
                        train::EstimateTrainerBytes(*plan.graph, items, plan.options));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t features, HeldOutFeatureBytes(plan, items));
  ZOOD_ASSIGN_OR_RETURN(const std::uint64_t checkpoint, CheckpointBytes(plan));
  bytes += features + checkpoint + GivenBytes(spec);
  if (plan.evaluate_on) {
    const auto [weights, execution] =
        engine::EstimateMemory(*plan.graph, {.batch_sizes = {spec.batch_size}});
    bytes += weights + execution;
  }
  return bytes;
}

absl::Status SetOptions(const JobSpec& spec, JobPlan& plan) {
  const std::int64_t items = plan.dataset.summary.items[Index(train::Split::kTrain)];
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
  ZOOD_ASSIGN_OR_RETURN(plan.bytes, EstimateBytes(spec, plan));
  if (spec.memory_bytes > 0 && plan.bytes > spec.memory_bytes) {
    return ResourceExhausted(
        "the job needs about {} of memory, more than the {} that it allows itself; a smaller "
        "batch_size or feature_cache_bytes needs less",
        FormatBytes(plan.bytes), FormatBytes(spec.memory_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

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
                                 const std::string& digest, Catalogue& catalogue,
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
  if (const auto* base = std::get_if<ModelRef>(&spec.start)) {
    ZOOD_RETURN_IF_ERROR(Annotate(StartFromBase(*base, pinned, catalogue, zoo, plan), "the base"));
  } else {
    ZOOD_RETURN_IF_ERROR(StartFromScratch(std::get<ZooNetwork>(spec.start), zoo, plan));
  }
  ZOOD_ASSIGN_OR_RETURN(graph::Graph graph, BuildGraph(plan.network, zoo));
  plan.graph = std::make_shared<const graph::Graph>(std::move(graph));
  if (Classes(*plan.graph) != static_cast<int>(plan.labels.size())) {
    return InvalidArgument("the network has {} classes, but the dataset '{}' has {}",
                           Classes(*plan.graph), spec.dataset, plan.labels.size());
  }
  plan.head = HeadVariables(plan, zoo);
  ZOOD_RETURN_IF_ERROR(SetOptions(spec, plan));
  return plan;
}

namespace {

// A version's weights under the name by which reports call it; `name` is what it was found to be.
absl::StatusOr<train::CheckpointSource> LoadSource(const VersionSource& source,
                                                   const VersionName* pinned, Catalogue& catalogue,
                                                   VersionName& name) {
  name = {.model = source.version.model};
  if (pinned != nullptr) {
    name = *pinned;
  } else {
    ZOOD_ASSIGN_OR_RETURN(const Resolved resolved, catalogue.Resolve(source.version));
    name.version = resolved.version;
  }
  const std::string selector = std::to_string(name.version);
  ZOOD_ASSIGN_OR_RETURN(store::LoadedVersion loaded, catalogue.store().Load(name.model, selector));
  ZOOD_RETURN_IF_ERROR(CheckPinned(name, loaded.manifest.digest));
  name.digest = loaded.manifest.digest;
  return train::CheckpointSource{.label = name.model + "@" + selector,
                                 .tensors = std::move(loaded.weights),
                                 .include = source.include,
                                 .exclude = source.exclude,
                                 .names = source.names,
                                 .renamings = source.renamings,
                                 .allow_missing = source.allow_missing,
                                 .allow_reshape = source.allow_reshape};
}

}  // namespace

absl::StatusOr<FirstValues> Restore(const JobPlan& plan, const JobSpec& spec,
                                    const std::vector<VersionName>& pinned, Catalogue& catalogue) {
  std::vector<RestoreFrom> sources;
  if (spec.restore) {
    sources = *spec.restore;
  } else if (plan.base) {
    sources.push_back(VersionSource{
        .version = {plan.base->model, std::to_string(plan.base->version)},
        .exclude = plan.new_head ? WholeNames(plan.head) : std::vector<std::string>()});
  }
  train::RestorePlan restore{.seed = spec.seed};
  FirstValues values;
  for (const RestoreFrom& from : sources) {
    if (const auto* given = std::get_if<TensorMap>(&from)) {
      restore.sources.push_back(train::ValueSource{.label = "values of the job", .values = *given});
      continue;
    }
    const std::size_t index = values.sources.size();
    const VersionName* known = spec.restore && index < pinned.size() ? &pinned[index] : nullptr;
    VersionName name;
    ZOOD_ASSIGN_OR_RETURN(auto source,
                          LoadSource(std::get<VersionSource>(from), known, catalogue, name));
    restore.sources.push_back(std::move(source));
    values.sources.push_back(std::move(name));
  }
  if (!spec.restore) values.sources.clear();  // that is the base, which is kept by itself
  ZOOD_ASSIGN_OR_RETURN(train::Restored restored, train::Restore(*plan.graph, restore));
  values.weights = std::move(restored.weights);
  for (const train::RestoredVariable& variable : restored.report) {
    const bool initialised = variable.origin == train::RestoredVariable::Origin::kInitializer;
    values.report.push_back(
        {.variable = variable.variable,
         .shape = values.weights.at(variable.variable).shape(),
         .source = initialised ? "initialised by " + variable.source : variable.source,
         .tensor = variable.name == variable.variable ? "" : variable.name});
  }
  return values;
}

absl::StatusOr<std::shared_ptr<const train::Dataset>> LoadPictures(const JobPlan& plan,
                                                                   Catalogue& catalogue) {
  const store::DatasetSummary& wanted = plan.dataset.summary;
  ZOOD_ASSIGN_OR_RETURN(store::LoadedDataset loaded, catalogue.store().LoadDataset(wanted.name));
  if (loaded.manifest.summary.digest != wanted.digest) {
    return FailedPrecondition("the dataset '{}' was replaced by another", wanted.name);
  }
  auto dataset = std::make_shared<train::Dataset>();
  dataset->classes = std::move(loaded.manifest.classes);
  dataset->items.reserve(loaded.items.size());
  for (store::DatasetItem& item : loaded.items) {
    dataset->items.push_back({.name = std::move(item.name),
                              .label = item.label,
                              .split = static_cast<train::Split>(item.split),
                              .image = std::move(item.data)});
  }
  return dataset;
}

}  // namespace zood::serving
