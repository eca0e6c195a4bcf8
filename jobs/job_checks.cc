#include "jobs/job_checks.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "dataset/dataset.h"
#include "store/names.h"

namespace zood::jobs {
namespace {

constexpr std::uint64_t kMaxValueBytes = std::uint64_t{64} << 20;
// Of the plan that each version keeps: tensors are left out, so that little else can be long.
constexpr std::size_t kMaxPlanBytes = 1 << 20;

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
  if (gate.index() == 0) return InvalidArgument("promotion: a gate is empty");
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

}  // namespace

absl::Status CheckNumbers(const JobSpec& spec) {
  std::uint64_t bytes = 0;
  const auto sources = spec.restore ? spec.restore->sources.size() : 0;
  for (std::size_t i = 0; i < sources; ++i) {
    const RestoreFrom& from = spec.restore->sources[i].from;
    if (from.index() == 0) {
      return InvalidArgument("restore: a source names neither a version nor values");
    }
    if (const auto* given = std::get_if<GivenValues>(&from)) {
      for (const auto& [name, tensor] : given->tensors) bytes += tensor.bytes().size();
    }
  }
  if (bytes > kMaxValueBytes) {
    return ResourceExhausted("restore: the values have {} bytes; {} are allowed", bytes,
                             kMaxValueBytes);
  }
  if (const std::size_t size = ToJson(spec).size(); size > kMaxPlanBytes) {
    return InvalidArgument(
        "the spec has {} bytes as JSON, tensors left out, and every version of the job keeps it; "
        "{} are allowed: a pattern or a rename rule says what a long list of names does",
        size, kMaxPlanBytes);
  }
  ZOOD_RETURN_IF_ERROR(CheckLength("length", spec.training.length));
  ZOOD_RETURN_IF_ERROR(CheckLength("evaluation.every", spec.evaluation.every));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("batch_size", spec.training.batch_size, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("accumulate", spec.training.accumulate, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("min_class_images", spec.min_class_images, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("checkpoints.every_steps", spec.checkpoints.every_steps, 0));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("checkpoints.every", spec.checkpoints.every.count(), 0));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("checkpoints.keep", spec.checkpoints.keep, 1));
  ZOOD_RETURN_IF_ERROR(CheckAtLeast("resources.threads", spec.resources.threads, 0));
  if (!(spec.max_problem_share >= 0 && spec.max_problem_share <= 1)) {
    return InvalidArgument("max_problem_share is {}; expected a number in [0, 1]",
                           spec.max_problem_share);
  }
  if (spec.evaluation.early_stop) {
    ZOOD_RETURN_IF_ERROR(
        CheckAtLeast("early_stop.patience", spec.evaluation.early_stop->patience, 1));
    if (!(spec.evaluation.early_stop->min_improvement >= 0)) {
      return InvalidArgument("early_stop.min_improvement is {}; expected 0 or more",
                             spec.evaluation.early_stop->min_improvement);
    }
  }
  for (const Gate& gate : spec.promotion.gates)
    ZOOD_RETURN_IF_ERROR(CheckGate(gate, spec.promotion.alias));
  return absl::OkStatus();
}

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
        "{} of {} images of the dataset '{}' cannot be used{}: that is more than the share of {} "
        "that the job allows (max_problem_share)",
        summary.problem_count, all, summary.name, first, spec.max_problem_share);
  }
  if (dataset.classes.size() < 2) {
    return InvalidArgument("the dataset '{}' has {} class{}; a classifier needs 2 at least",
                           summary.name, dataset.classes.size(),
                           dataset.classes.size() == 1 ? "" : "es");
  }
  const auto train = static_cast<std::size_t>(dataset::Split::kTrain);
  for (std::size_t i = 0; i < dataset.classes.size(); ++i) {
    const std::int64_t count = dataset.class_items[i][train];
    if (count < spec.min_class_images) {
      return InvalidArgument(
          "class '{}' of the dataset '{}' has {} image{} to learn from; every class needs {} "
          "(min_class_images)",
          dataset.classes[i], summary.name, count, count == 1 ? "" : "s", spec.min_class_images);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPinned(const VersionName& pinned, const std::string& digest) {
  if (pinned.digest.empty() || pinned.digest == digest) return absl::OkStatus();
  return FailedPrecondition(
      "version {} of {} is not the one that the job was made with: its digest is {}, not {}",
      pinned.version, pinned.model, digest, pinned.digest);
}

}  // namespace zood::jobs
