// What a run writes down on its way, and what it finds of that when it goes on.
#include <algorithm>
#include <iterator>
#include <utility>

#include "base/status.h"
#include "jobs/job_run.h"
#include "store/names.h"
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

bool HasAlias(const serving::Catalogue& catalogue, const std::string& model, std::int64_t version) {
  const auto entry = catalogue.Find(model);
  return entry.ok() && std::ranges::any_of(entry->aliases, [&](const auto& alias) {
           return alias.second == version && alias.first != store::kLatest;
         });
}

// ------------------------------------------------------------ written

bool JobRun::CheckpointDue() const {
  if (spec_.checkpoints.every_steps > 0 && trainer_->step() % spec_.checkpoints.every_steps == 0)
    return true;
  return spec_.checkpoints.every.count() > 0 &&
         serving::Clock::now() - last_checkpoint_ >= spec_.checkpoints.every;
}

absl::Status JobRun::Commit(store::Batch batch, const Completion& complete) {
  JobHistory written;
  const auto fill = [&](const store::BatchOutcome& done, store::JobChange& change) {
    written = job_.history;
    for (const JobEventContent& event : complete(done, written)) {
      change.events.push_back(ToStored(event, 0));
    }
    std::ranges::move(EventsOf(done.moves), std::back_inserter(change.events));
    change.progress = ToJson(written);
    return absl::OkStatus();
  };
  batch.jobs.push_back({.id = job_.id, .complete = fill});
  ZOOD_RETURN_IF_ERROR(keeper_.Commit(batch).status());
  job_.history = std::move(written);
  return absl::OkStatus();
}

absl::Status JobRun::PublishCheckpoint() {
  const JobHistory& history = job_.history;
  ZOOD_ASSIGN_OR_RETURN(TensorMap tensors, trainer_->Save());
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.bytes().size();
  store::NewVersion version = VersionOfJob(job_, spec_, plan_, around_.build);
  version.kind = store::VersionKind::kCheckpoint;
  version.tags["step"] = std::to_string(trainer_->step());
  if (const auto& last = history.progress.evaluation; last && last->step == trainer_->step()) {
    version.metrics["top1"] = last->top1;
  }
  const auto add = [&](const store::BatchOutcome& done, JobHistory& written) {
    written.checkpoints.push_back({.version = done.published->version,
                                   .digest = done.published->digest,
                                   .step = trainer_->step(),
                                   .created_at_us = around_.now_us(),
                                   .bytes = bytes,
                                   .new_bytes = done.published->new_bytes});
    return std::vector<JobEventContent>{written.checkpoints.back()};
  };
  ZOOD_RETURN_IF_ERROR(
      Annotate(Commit({.publish = store::Publication{.version = std::move(version),
                                                     .weights = std::move(tensors),
                                                     .job = store::JobLink{.job_id = job_.id}}},
                      add),
               fmt::format("the checkpoint of step {}", trainer_->step())));
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
  if (is_best || !is_new) ZOOD_RETURN_IF_ERROR(keeper_.Keep(history, std::nullopt, {}));
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
  const auto& checkpoints = job_.history.checkpoints;
  const std::int64_t keep = std::max(spec_.checkpoints.keep, newest_proven_ ? 1 : 2);
  prune_then_ = keep > spec_.checkpoints.keep;
  const auto surplus = static_cast<std::int64_t>(checkpoints.size()) - keep;
  store::Batch batch;
  for (std::int64_t i = 0; i < surplus; ++i) {
    const std::int64_t version = checkpoints[static_cast<std::size_t>(i)].version;
    if (version != job_.history.best_checkpoint &&
        !HasAlias(around_.catalogue, spec_.model, version)) {
      batch.delete_versions.push_back({.model = spec_.model, .version = version});
    }
  }
  if (batch.delete_versions.empty()) return;
  const auto forget = [](const store::BatchOutcome& done, JobHistory& written) {
    std::erase_if(written.checkpoints, [&](const JobCheckpoint& checkpoint) {
      return std::ranges::find(done.deleted, checkpoint.version, &store::DeletedVersion::version) !=
             done.deleted.end();
    });
    return std::vector<JobEventContent>{};
  };
  // What cannot go now, for an alias that has just come to it, is looked at after the next one.
  if (!Commit(std::move(batch), forget).ok()) return;
  keeper_.Aside([&] { around_.catalogue.store().Gc().IgnoreError(); });
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

}  // namespace zood::jobs
