// What becomes of a job's versions: promoted, rolled back, exported.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "checkpoint/tensorflow/v2_writer.h"
#include "jobs/fine_tuner.h"
#include "jobs/gates.h"
#include "netdef/formats.h"
#include "store/names.h"

namespace zood::jobs {
namespace {

const JobCheckpoint* FindCheckpoint(const Job& job, std::int64_t version) {
  const auto found = std::ranges::find(job.history.checkpoints, version, &JobCheckpoint::version);
  return found == job.history.checkpoints.end() ? nullptr : &*found;
}

}  // namespace

absl::StatusOr<FineTuner::Target> FineTuner::PublishPromoted(const Job& job, const JobSpec& spec,
                                                             std::int64_t checkpoint) {
  ZOOD_ASSIGN_OR_RETURN(const store::LoadedVersion loaded,
                        catalogue_.store().Load(job.model, std::to_string(checkpoint)));
  const store::VersionManifest& manifest = loaded.manifest;
  ZOOD_ASSIGN_OR_RETURN(const netdef::NetworkPtr network,
                        netdef::BuildNetwork(manifest.network, zoo_));
  ZOOD_ASSIGN_OR_RETURN(TensorMap weights,
                        ServedWeights(*network->graph(), loaded.weights,
                                      spec.training.moving_average_decay.has_value()));
  store::NewVersion served{.model = job.model,
                           .network = manifest.network,
                           .preprocess = manifest.preprocess,
                           .labels = manifest.labels,
                           .provenance = manifest.provenance,
                           .lineage = manifest.lineage,
                           .tags = manifest.tags,
                           .metrics = manifest.metrics};
  served.tags["checkpoint"] = std::to_string(checkpoint);
  const store::JobLink link{
      .job_id = job.id, .role = store::JobVersionRole::kPromoted, .promoted_from = checkpoint};
  ZOOD_ASSIGN_OR_RETURN(
      const store::BatchOutcome outcome,
      catalogue_.Commit({.publish = store::Publication{.version = std::move(served),
                                                       .weights = std::move(weights),
                                                       .job = link},
                         .jobs = {TellOfMoves(job.id)}}));
  return Target{.version = outcome.published.value_or(store::PublishedVersion()).version,
                .is_new = true};
}

// The version of kind kModel that stands for `version` of the job; a checkpoint becomes one, once.
absl::StatusOr<FineTuner::Target> FineTuner::VersionOf(const Job& job, const JobSpec& spec,
                                                       std::int64_t version) {
  const auto& result = job.history.result;
  if (version == 0 && !result) {
    return FailedPrecondition(
        "job {} is {} and has no result; name one of its checkpoints to promote that", job.id,
        Name(job.state));
  }
  if (version == 0 || (result && version == result->version)) {
    return Target{.version = result->version};
  }
  if (FindCheckpoint(job, version) == nullptr) {
    return NotFound("version {} is neither the result nor a checkpoint of job {}", version, job.id);
  }
  ZOOD_ASSIGN_OR_RETURN(const auto versions, catalogue_.store().JobVersions(job.id));
  for (const store::JobVersion& made : versions) {
    if (made.promoted_from == version) return Target{.version = made.version};
  }
  return PublishPromoted(job, spec, version);
}

absl::StatusOr<FineTuner::Promoted> FineTuner::Promote(const std::string& id, std::int64_t version,
                                                       std::string alias,
                                                       std::optional<std::int64_t> expected) {
  ZOOD_ASSIGN_OR_RETURN(const Job job, Get(id));
  ZOOD_ASSIGN_OR_RETURN(const JobSpec spec, SpecOf(job));
  if (alias.empty())
    alias = spec.promotion.alias.empty() ? std::string(store::kStable) : spec.promotion.alias;
  ZOOD_RETURN_IF_ERROR(store::CheckAlias(alias));
  const std::int64_t before = AliasNow(catalogue_, job.model, alias);
  if (expected && *expected != before) {
    return Aborted("'{}' of {} names version {} by now, not {}", alias, job.model, before,
                   *expected);
  }
  ZOOD_ASSIGN_OR_RETURN(const Target target, VersionOf(job, spec, version));
  Promoted promoted{.version = {},
                    .move = {.alias = alias,
                             .version = target.version,
                             .previous = before,
                             .at_us = options_.now_us()}};
  // A model's first version has `stable` from the start.
  const bool came_by_itself =
      target.is_new && AliasNow(catalogue_, job.model, alias) == target.version;
  if (!came_by_itself) {
    const auto moved = promoter_.Move(job, alias, target.version, before);
    if (!moved.ok()) {
      // Only this call knows of it. Where it got an alias by being the first, it stays.
      if (target.is_new) {
        catalogue_.DeleteVersion(job.model, target.version, /*force=*/false).IgnoreError();
      }
      return moved.status();
    }
    if (*moved) promoted.move = **moved;
  }
  Notify(id);
  ZOOD_ASSIGN_OR_RETURN(const store::VersionManifest manifest,
                        catalogue_.store().GetVersion(job.model, std::to_string(target.version)));
  promoted.version = {job.model, target.version, manifest.digest};
  return promoted;
}

absl::StatusOr<AliasMove> FineTuner::RollBack(const std::string& id, const std::string& alias) {
  ZOOD_ASSIGN_OR_RETURN(const Job job, Get(id));
  ZOOD_ASSIGN_OR_RETURN(const AliasMove back, promoter_.RollBack(job, alias));
  Notify(id);
  return back;
}

absl::StatusOr<std::vector<std::string>> FineTuner::Export(const std::string& id,
                                                           std::int64_t version,
                                                           const std::string& directory) {
  ZOOD_ASSIGN_OR_RETURN(const Job job, Get(id));
  if (version == 0) {
    if (job.history.checkpoints.empty()) {
      return FailedPrecondition("job {} is {} and has no checkpoint yet", id, Name(job.state));
    }
    version = job.history.checkpoints.back().version;
  }
  const JobCheckpoint* checkpoint = FindCheckpoint(job, version);
  if (checkpoint == nullptr) return NotFound("job {} has no checkpoint {}", id, version);
  ZOOD_ASSIGN_OR_RETURN(const store::LoadedVersion loaded,
                        catalogue_.store().Load(job.model, std::to_string(version)));
  const std::string name = fmt::format("model.ckpt-{}", checkpoint->step);
  ZOOD_RETURN_IF_ERROR(
      checkpoint::WriteBundle(FileSystem::Native(), directory + "/" + name, loaded.weights));
  // What tf.train.latest_checkpoint() reads.
  const std::string state = fmt::format("model_checkpoint_path: \"{}\"\n", name);
  const auto bytes = std::as_bytes(std::span(state));
  ZOOD_RETURN_IF_ERROR(
      FileSystem::Native().WriteNew(directory + "/checkpoint", std::span(&bytes, 1)));
  return std::vector<std::string>{name + ".index", name + ".data-00000-of-00001", "checkpoint"};
}

}  // namespace zood::jobs
