// What a run writes down on its way, and what it finds of that when it goes on.
#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "jobs/job_run.h"
#include "train/math/moving_average.h"

namespace zood::jobs {

store::NewVersion VersionOfJob(const Job& job, const JobSpec& spec, const JobPlan& plan,
                               const std::string& build) {
  store::NewVersion version{.model = spec.model,
                            .network = netdef::ToJson(plan.network->spec()),
                            .preprocess = image::ToJson(plan.preprocess),
                            .labels = plan.labels};
  version.provenance.build = build;
  version.provenance.note = spec.note;
  version.lineage = store::Lineage{.dataset_digest = job.history.dataset_digest,
                                   .job_id = job.id,
                                   .seed = spec.seed,
                                   .plan = ToJson(spec)};
  if (job.history.base) {
    version.lineage->base_model = job.history.base->model;
    version.lineage->base_version = job.history.base->version;
    version.lineage->base_digest = job.history.base->digest;
  }
  version.tags["job"] = job.id;
  return version;
}

absl::StatusOr<TensorMap> ServedWeights(const graph::Graph& graph, const TensorMap& checkpoint,
                                        bool averaged) {
  TensorMap weights;
  for (const graph::Variable& variable : graph.variables()) {
    const std::string name =
        averaged ? train::MovingAverage::NameFor(variable.name) : variable.name;
    const auto found = checkpoint.find(name);
    if (found == checkpoint.end()) return DataLoss("a checkpoint lacks the variable '{}'", name);
    weights.emplace(variable.name, found->second);
  }
  return weights;
}

// ------------------------------------------------------------ written

bool JobRun::CheckpointDue() const {
  if (spec_.checkpoints.every_steps > 0 && trainer_->step() % spec_.checkpoints.every_steps == 0)
    return true;
  return spec_.checkpoints.every.count() > 0 &&
         serving::Clock::now() - last_checkpoint_ >= spec_.checkpoints.every;
}

absl::Status JobRun::PublishCheckpoint() {
  JobHistory& history = job_.history;
  ZOOD_ASSIGN_OR_RETURN(const TensorMap tensors, trainer_->Save());
  store::NewVersion version = VersionOfJob(job_, spec_, plan_, around_.build);
  version.kind = store::VersionKind::kCheckpoint;
  version.tags["step"] = std::to_string(trainer_->step());
  if (const auto& last = history.progress.evaluation; last && last->step == trainer_->step()) {
    version.metrics["top1"] = last->top1;
  }
  absl::StatusOr<store::PublishedVersion> published = absl::UnknownError("");
  keeper_.Aside([&] { published = around_.catalogue.Publish(version, tensors); });
  ZOOD_RETURN_IF_ERROR(
      Annotate(published.status(), fmt::format("the checkpoint of step {}", trainer_->step())));
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.bytes().size();
  history.checkpoints.push_back({.version = published->version,
                                 .digest = published->digest,
                                 .step = trainer_->step(),
                                 .created_at_us = NowMicroseconds(),
                                 .bytes = bytes,
                                 .new_bytes = published->new_bytes});
  newest_proven_ = false;
  return absl::OkStatus();
}

absl::Status JobRun::WriteCheckpoint() {
  JobHistory& history = job_.history;
  const bool is_best =
      history.best && history.best->step == trainer_->step() && history.best_checkpoint == 0;
  const bool is_new =
      history.checkpoints.empty() || history.checkpoints.back().step != trainer_->step();
  if (is_new) ZOOD_RETURN_IF_ERROR(PublishCheckpoint());
  if (is_best) history.best_checkpoint = history.checkpoints.back().version;
  std::vector<JobEventContent> events;
  if (is_new) events.emplace_back(history.checkpoints.back());
  ZOOD_RETURN_IF_ERROR(keeper_.Keep(history, std::nullopt, events));
  if (is_new && events_) events_->Flush().IgnoreError();
  last_checkpoint_ = serving::Clock::now();
  Prune();
  return absl::OkStatus();
}

void JobRun::NewestIsProven() {
  newest_proven_ = true;
  if (std::exchange(prune_then_, false)) Prune();
}

// The step before a loss is seen to diverge may have spoilt the weights already. So the checkpoint
// before the newest goes only when the newest is known to be good.
void JobRun::Prune() {
  auto& checkpoints = job_.history.checkpoints;
  const std::int64_t keep = std::max(spec_.checkpoints.keep, newest_proven_ ? 1 : 2);
  prune_then_ = keep > spec_.checkpoints.keep;
  auto surplus = static_cast<std::int64_t>(checkpoints.size()) - keep;
  if (surplus <= 0) return;
  keeper_.Aside([&] {
    for (auto it = checkpoints.begin(); it != checkpoints.end() && surplus > 0;) {
      // One that an alias names stays.
      if (it->version != job_.history.best_checkpoint &&
          around_.catalogue.DeleteVersion(spec_.model, it->version, false).ok()) {
        it = checkpoints.erase(it);
      } else {
        ++it;
      }
      --surplus;
    }
    around_.catalogue.store().Gc().IgnoreError();
  });
}

// ------------------------------------------------------------ found

absl::StatusOr<TensorMap> JobRun::StartValues() {
  if (job_.history.checkpoints.empty()) {
    ZOOD_ASSIGN_OR_RETURN(FirstValues values,
                          Restore(plan_, spec_, job_.history.sources, around_.catalogue));
    return std::move(values.weights);
  }
  const JobCheckpoint& last = job_.history.checkpoints.back();
  ZOOD_ASSIGN_OR_RETURN(store::LoadedVersion loaded,
                        around_.catalogue.store().Load(spec_.model, std::to_string(last.version)));
  return std::move(loaded.weights);
}

// Checkpoints that somebody deleted: the job goes on from the newest of the others, and what was
// decided by steps that are made again is decided again.
absl::Status JobRun::ForgetDeleted() {
  JobHistory& history = job_.history;
  std::vector<JobCheckpoint> there;
  for (const JobCheckpoint& checkpoint : history.checkpoints) {
    const auto manifest =
        around_.catalogue.store().GetVersion(spec_.model, std::to_string(checkpoint.version));
    if (!manifest.ok() && !absl::IsNotFound(manifest.status())) return manifest.status();
    if (manifest.ok() && manifest->digest == checkpoint.digest) there.push_back(checkpoint);
  }
  const bool newest_gone = !history.checkpoints.empty() &&
                           (there.empty() || there.back().step < history.checkpoints.back().step);
  history.checkpoints = std::move(there);
  const std::int64_t step = history.checkpoints.empty() ? 0 : history.checkpoints.back().step;
  if (newest_gone) {
    history.stopped_early = false;
    if (history.progress.evaluation && history.progress.evaluation->step > step) {
      history.progress.evaluation.reset();
    }
  }
  const bool best_gone = history.best_checkpoint != 0 &&
                         std::ranges::find(history.checkpoints, history.best_checkpoint,
                                           &JobCheckpoint::version) == history.checkpoints.end();
  if (best_gone || (newest_gone && history.best && history.best->step > step)) {
    history.best.reset();
    history.best_checkpoint = 0;
    history.evaluations_since_best = 0;
  }
  return absl::OkStatus();
}

// Checkpoints that were published just before the daemon was killed, and that the history does not
// know: the steps up to them will be made again.
absl::Status JobRun::RemoveOrphans() {
  const auto entry = around_.catalogue.Find(spec_.model);
  if (!entry.ok()) return absl::OkStatus();
  const auto& known = job_.history.checkpoints;
  const std::int64_t last = known.empty() ? 0 : known.back().version;
  ZOOD_ASSIGN_OR_RETURN(const auto versions, around_.catalogue.store().ListVersions(spec_.model));
  for (const store::VersionSummary& version : versions) {
    if (version.version <= last || version.kind != store::VersionKind::kCheckpoint) continue;
    ZOOD_ASSIGN_OR_RETURN(
        const store::VersionManifest manifest,
        around_.catalogue.store().GetVersion(spec_.model, std::to_string(version.version)));
    if (!manifest.lineage || manifest.lineage->job_id != job_.id) continue;
    around_.catalogue.DeleteVersion(spec_.model, version.version, false).IgnoreError();
  }
  return absl::OkStatus();
}

}  // namespace zood::jobs
