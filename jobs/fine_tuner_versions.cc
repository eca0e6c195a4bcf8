// What becomes of a job's versions: promoted, rolled back, exported.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "checkpoint/tensorflow/v2_writer.h"
#include "jobs/fine_tuner.h"
#include "jobs/gates.h"
#include "netdef/formats.h"
#include "store/names.h"

namespace zood::jobs {
namespace {

constexpr std::chrono::minutes kLoadTime{10};

const JobCheckpoint* FindCheckpoint(const Job& job, std::int64_t version) {
  const auto found = std::ranges::find(job.history.checkpoints, version, &JobCheckpoint::version);
  return found == job.history.checkpoints.end() ? nullptr : &*found;
}

}  // namespace

// ------------------------------------------------------------ moves of aliases

absl::Status FineTuner::PlanMove(const std::string& id, const AliasMove& move) {
  const auto plan = [&](Job& job, store::JobChange& change) {
    auto& planned = job.history.planned_moves;
    std::erase_if(planned, [&](const AliasMove& other) { return other.alias == move.alias; });
    planned.push_back(move);
    change.progress = ToJson(job.history);
    return absl::OkStatus();
  };
  return Update(id, plan).status();
}

namespace {

// A move is known by its alias and its time.
void AddMove(const AliasMove& move, Job& job, store::JobChange& change) {
  const auto same = [&](const AliasMove& other) {
    return other.alias == move.alias && other.at_us == move.at_us;
  };
  if (std::ranges::any_of(job.history.moves, same)) return;
  job.history.moves.push_back(move);
  change.events.push_back(ToStored(move, 0));
}

}  // namespace

absl::Status FineTuner::KeepMove(const std::string& id, const AliasMove& move) {
  const auto keep = [&](Job& job, store::JobChange& change) {
    std::erase_if(job.history.planned_moves,
                  [&](const AliasMove& planned) { return planned.alias == move.alias; });
    AddMove(move, job, change);
    change.progress = ToJson(job.history);
    return absl::OkStatus();
  };
  return Update(id, keep).status();
}

absl::Status FineTuner::SettleMoves(const std::string& id, bool forget) {
  const auto settle = [&](Job& job, store::JobChange& change) {
    std::erase_if(job.history.planned_moves, [&](const AliasMove& planned) {
      if (planned.version == 0) return false;  // the run that publishes the result knows
      const bool made = AliasNow(catalogue_, job.model, planned.alias) == planned.version;
      if (made) AddMove(planned, job, change);
      return made || forget;
    });
    change.progress = ToJson(job.history);
    return absl::OkStatus();
  };
  return Update(id, settle).status();
}

// ------------------------------------------------------------ promotion

absl::StatusOr<std::int64_t> FineTuner::FindPromoted(const Job& job, std::int64_t checkpoint) {
  ZOOD_ASSIGN_OR_RETURN(const auto versions, catalogue_.store().ListVersions(job.model));
  for (const store::VersionSummary& version : versions) {
    if (version.kind != store::VersionKind::kModel || version.version < checkpoint) continue;
    ZOOD_ASSIGN_OR_RETURN(
        const store::VersionManifest manifest,
        catalogue_.store().GetVersion(job.model, std::to_string(version.version)));
    const auto has = [&](const char* tag, const std::string& value) {
      const auto found = manifest.tags.find(tag);
      return found != manifest.tags.end() && found->second == value;
    };
    if (has("job", job.id) && has("checkpoint", std::to_string(checkpoint))) return version.version;
  }
  return 0;
}

absl::StatusOr<FineTuner::Target> FineTuner::PublishPromoted(const Job& job, const JobSpec& spec,
                                                             std::int64_t checkpoint) {
  ZOOD_ASSIGN_OR_RETURN(const store::LoadedVersion loaded,
                        catalogue_.store().Load(job.model, std::to_string(checkpoint)));
  const store::VersionManifest& manifest = loaded.manifest;
  ZOOD_ASSIGN_OR_RETURN(const netdef::NetworkPtr network,
                        netdef::BuildNetwork(manifest.network, zoo_));
  ZOOD_ASSIGN_OR_RETURN(const TensorMap weights,
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
  ZOOD_ASSIGN_OR_RETURN(const store::PublishedVersion published,
                        catalogue_.Publish(served, weights));
  return Target{.version = published.version, .is_new = true};
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
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t promoted, FindPromoted(job, version));
  if (promoted != 0) return Target{.version = promoted};
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
  Promoted promoted{.move = {.alias = alias,
                             .version = target.version,
                             .previous = before,
                             .at_us = NowMicroseconds()}};
  // A model's first version has `stable` from the start.
  if (AliasNow(catalogue_, job.model, alias) != target.version) {
    ZOOD_RETURN_IF_ERROR(PlanMove(id, promoted.move));
    const auto moved = manager_.SetAlias(job.model, alias, target.version, before,
                                         std::chrono::steady_clock::now() + kLoadTime);
    if (!moved.ok()) {
      // Nobody but this call knows of it. Where it got an alias by being the first, it stays.
      if (target.is_new) {
        catalogue_.DeleteVersion(job.model, target.version, /*force=*/false).IgnoreError();
      }
      return moved.status();
    }
  }
  if (before != target.version) ZOOD_RETURN_IF_ERROR(KeepMove(id, promoted.move));
  ZOOD_ASSIGN_OR_RETURN(const store::VersionManifest manifest,
                        catalogue_.store().GetVersion(job.model, std::to_string(target.version)));
  promoted.version = {job.model, target.version, manifest.digest};
  return promoted;
}

absl::StatusOr<AliasMove> FineTuner::RollBack(const std::string& id, const std::string& alias) {
  ZOOD_ASSIGN_OR_RETURN(Job job, Get(id));
  if (!job.history.planned_moves.empty()) {
    ZOOD_RETURN_IF_ERROR(SettleMoves(id, /*forget=*/false));
    ZOOD_ASSIGN_OR_RETURN(job, Get(id));
  }
  const auto& moves = job.history.moves;
  const auto last = std::find_if(moves.rbegin(), moves.rend(), [&](const AliasMove& move) {
    return !move.rolled_back && (alias.empty() || move.alias == alias);
  });
  if (last == moves.rend()) {
    return FailedPrecondition("job {} has moved {}; there is nothing to roll back", id,
                              alias.empty() ? "no alias" : "no alias '" + alias + "'");
  }
  if (last->previous == 0) {
    return FailedPrecondition(
        "'{}' of {} named nothing before job {}; delete the alias, or point it at another version",
        last->alias, job.model, id);
  }
  const AliasMove back{.alias = last->alias,
                       .version = last->previous,
                       .previous = last->version,
                       .at_us = NowMicroseconds()};
  // A call that moved it and could not keep that may be made again.
  if (AliasNow(catalogue_, job.model, back.alias) != back.version) {
    ZOOD_RETURN_IF_ERROR(manager_
                             .SetAlias(job.model, back.alias, back.version, back.previous,
                                       std::chrono::steady_clock::now() + kLoadTime)
                             .status());
  }
  const auto keep = [&](Job& now, store::JobChange& change) {
    for (AliasMove& move : now.history.moves) {
      if (move.alias == last->alias && move.at_us == last->at_us) move.rolled_back = true;
    }
    change.progress = ToJson(now.history);
    change.events.push_back(ToStored(back, 0));
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(Update(id, keep).status());
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
