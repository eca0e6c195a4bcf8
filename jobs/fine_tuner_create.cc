// How a job comes to be: checked, recorded, queued. Or not at all.
#include <chrono>
#include <new>
#include <utility>

#include "base/name_pattern.h"
#include "base/status.h"
#include "jobs/fine_tuner.h"

namespace zood::jobs {
namespace {

std::uint64_t VariableBytes(const graph::Graph& graph) {
  std::uint64_t bytes = 0;
  for (const graph::Variable& variable : graph.variables()) {
    bytes += static_cast<std::uint64_t>(variable.shape.num_elements()) * sizeof(float);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::uint64_t> FineTuner::Validate(const JobSpec& spec, JobHistory& history) {
  if (spec.deadline_us > 0 && spec.deadline_us <= options_.now_us()) {
    return InvalidArgument("the deadline passed {} s ago; give the job one that is still to come",
                           (options_.now_us() - spec.deadline_us) / 1'000'000);
  }
  ZOOD_ASSIGN_OR_RETURN(const JobPlan plan, MakePlan(spec, std::nullopt, "", catalogue_, zoo_));
  if (plan.bytes > budget_.total()) {
    return ResourceExhausted(
        "the job needs about {} of memory, more than the daemon may take in all, {} "
        "(--memory-budget); a smaller batch_size or feature_cache_bytes needs less",
        serving::FormatBytes(plan.bytes), serving::FormatBytes(budget_.total()));
  }
  ZOOD_ASSIGN_OR_RETURN(
      const serving::MemoryClaim claim,
      budget_.Claim(VariableBytes(*plan.graph), "checking the job", serving::ClaimLife::kPassing));
  ZOOD_ASSIGN_OR_RETURN(FirstValues values, Restore(plan, spec, {}, catalogue_));
  ZOOD_ASSIGN_OR_RETURN(const NamePatterns updated,
                        NamePatterns::Create("update", plan.options.update));
  for (const graph::Variable& variable : plan.graph->variables()) {
    if (!updated.empty() && !updated.Match(variable.name)) continue;
    ++history.updated_variables;
    history.updated_values += variable.shape.num_elements();
  }
  history.base = plan.base;
  history.sources = std::move(values.sources);
  history.dataset_digest = plan.dataset.summary.digest;
  history.build = options_.build;
  history.restored = std::move(values.report);
  history.progress.steps = plan.steps;
  return plan.bytes;
}

absl::Status FineTuner::CheckRoom() const {
  MutexLock lock(mutex_);
  if (stopping_) return Unavailable("the daemon is shutting down");
  std::int64_t unfinished = 0;
  for (const auto& [state, count] : counts_) unfinished += IsFinal(state) ? 0 : count;
  if (unfinished < options_.max_unfinished) return absl::OkStatus();
  return ResourceExhausted("{} jobs wait already; try again when some have ended", unfinished);
}

absl::StatusOr<store::CreatedJob> FineTuner::Reserve(const JobRequest& request,
                                                     const std::string& model) {
  const store::NewJob job{.state = Name(JobState::kValidating),
                          .spec = Encode(request.spec),
                          .idempotency_key = request.idempotency_key,
                          .model = model,
                          .metadata = request.metadata};
  while (true) {
    DropAbandoned();
    std::string checked;  // the job that somebody else has just reserved
    {
      MutexLock updating(updating_);  // so that nobody finds the record before it is in validating_
      ZOOD_ASSIGN_OR_RETURN(store::CreatedJob created, catalogue_.store().CreateJob(job));
      MutexLock lock(mutex_);
      if (created.created) {
        validating_.insert(created.job.id);
        ++counts_[JobState::kValidating];
        return created;
      }
      if (!validating_.contains(created.job.id)) return created;
      checked = created.job.id;
    }
    MutexLock lock(mutex_);
    while (validating_.contains(checked)) {
      if (stopping_) return Unavailable("the daemon is shutting down");
      changed_.Wait(mutex_);
    }
  }
}

absl::StatusOr<CreatedJob> FineTuner::ValidateReserved(const std::string& id, const JobSpec& spec) {
  CreatedJob created;
  JobHistory history;
  try {
    ZOOD_ASSIGN_OR_RETURN(created.estimated_bytes, Validate(spec, history));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("there is no memory left to check the job; try again later");
  }
  const auto queue = [&](Job& job, store::JobChange& change) {
    job.history = std::move(history);
    return SetState(job, JobState::kQueued, absl::OkStatus(), change);
  };
  ZOOD_ASSIGN_OR_RETURN(created.job, Update(id, queue));
  return created;
}

absl::StatusOr<CreatedJob> FineTuner::Create(const JobRequest& request) {
  const JobSpec& spec = request.spec;
  CreatedJob created;
  if (request.validate_only) {
    created.job.spec = Encode(spec);
    created.job.model = spec.model;
    if (spec.dataset.empty()) {
      ZOOD_RETURN_IF_ERROR(CheckWithoutDataset(spec, catalogue_, zoo_));
      return created;
    }
    ZOOD_ASSIGN_OR_RETURN(created.estimated_bytes, Validate(spec, created.job.history));
    return created;
  }
  ZOOD_RETURN_IF_ERROR(CheckRoom());
  ZOOD_ASSIGN_OR_RETURN(const store::CreatedJob reserved, Reserve(request, spec.model));
  const std::string& id = reserved.job.id;
  if (!reserved.created) {
    ZOOD_ASSIGN_OR_RETURN(created.job, Get(id));
    created.existing = true;
    return created;
  }
  RememberDeadline(id, spec.deadline_us);
  absl::StatusOr<CreatedJob> checked = ValidateReserved(id, spec);
  if (!checked.ok()) Abandon(id, checked.status());
  MutexLock lock(mutex_);
  validating_.erase(id);
  changed_.NotifyAll();
  return checked;
}

void FineTuner::Abandon(const std::string& id, const absl::Status& why) {
  {
    MutexLock lock(mutex_);
    deadlines_.erase(id);
    abandoned_.insert(id);
    unwritten_[id] = why;
  }
  DropAbandoned();
}

void FineTuner::DropAbandoned() {
  std::set<std::string> abandoned;
  {
    MutexLock lock(mutex_);
    abandoned = abandoned_;
  }
  for (const std::string& id : abandoned) {
    const absl::Status dropped = catalogue_.store().DeleteJob(id, std::nullopt);
    if (!dropped.ok() && !absl::IsNotFound(dropped)) continue;
    MutexLock lock(mutex_);
    if (abandoned_.erase(id) == 0) continue;  // somebody else did it
    unwritten_.erase(id);
    --counts_[JobState::kValidating];
  }
}

}  // namespace zood::jobs
