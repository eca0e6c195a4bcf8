// What keeps jobs in order: taking them up when the daemon starts, and ending those whose deadline
// passes while they wait.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "jobs/fine_tuner.h"

namespace zood::jobs {
namespace {

// How often what could not be written is tried again.
constexpr std::chrono::seconds kRetryPause{1};
// The clock that deadlines are told by may be set: it is looked at that often at least.
constexpr std::chrono::microseconds kLongestPause = std::chrono::minutes(1);
// How often it is looked for checkpoints that have been kept long enough.
constexpr std::chrono::hours kRetirementInterval{1};

}  // namespace

void FineTuner::Report(const std::string& id, const std::string& model, const absl::Status& why) {
  observer_.OnJob({.job = id, .model = model, .state = Name(JobState::kFailed), .error = why});
}

absl::Status FineTuner::TakeUp() {
  std::vector<Job> waiting;
  std::string token;
  do {
    ZOOD_ASSIGN_OR_RETURN(const store::JobPage page, catalogue_.store().ListJobs({}, 1000, token));
    token = page.next_page_token;
    for (const store::JobRecord& record : page.jobs) {
      absl::StatusOr<Job> job = JobFromRecord(record);
      if (!job.ok()) {
        Report(record.id, record.model, job.status());
      } else if (TakeUpOne(*job)) {
        waiting.push_back(*std::move(job));
      }
    }
  } while (!token.empty());
  std::ranges::reverse(waiting);  // the list has the newest first
  std::ranges::stable_sort(waiting, {}, [](const Job& job) { return job.history.queued_at_us; });
  MutexLock lock(mutex_);
  queue_.clear();
  for (const Job& job : waiting) queue_.push_back(job.id);
  return absl::OkStatus();
}

bool FineTuner::TakeUpOne(Job& job) {
  CountState(job.state, 1);
  absl::Status written;
  if (job.state == JobState::kValidating) {
    // Nobody was told of it.
    Abandon(job.id, Unavailable("the daemon ended before the job was checked"));
    return false;
  }
  if (job.state == JobState::kRunning || job.state == JobState::kEvaluating) {
    written.Update(Move(job.id, {job.state}, JobState::kQueued).status());
  } else if (job.state == JobState::kCancelling) {
    written.Update(Move(job.id, {job.state}, JobState::kCancelled).status());
    if (written.ok()) return false;
  } else if (job.state != JobState::kQueued && job.state != JobState::kPaused) {
    return false;
  }
  // Where the disk is full, Begin() does what is left to do.
  if (!written.ok()) Report(job.id, job.model, written);
  if (const auto spec = SpecOf(job); spec.ok()) RememberDeadline(job.id, spec->deadline_us);
  return job.state != JobState::kPaused;
}

// ------------------------------------------------------------ deadlines

void FineTuner::RememberDeadline(const std::string& id, std::int64_t deadline_us) {
  if (deadline_us == 0) return;
  MutexLock lock(mutex_);
  deadlines_[id] = deadline_us;
  changed_.NotifyAll();
}

bool FineTuner::Expire(const std::string& id) {
  bool done = false;
  const absl::StatusOr<Job> ended =
      Update(id, [&](Job& job, store::JobChange& change) -> absl::Status {
        done = IsFinal(job.state);
        if (job.state != JobState::kQueued && job.state != JobState::kPaused) {
          return FailedPrecondition("job {} is {}", id, Name(job.state));
        }
        return SetState(job, JobState::kFailed,
                        DeadlineExceeded(
                            "the job's deadline passed at step {} of {}, while it was {}",
                            job.history.progress.step, job.history.progress.steps, Name(job.state)),
                        change);
      });
  return done || ended.ok() || absl::IsNotFound(ended.status()) || absl::IsDataLoss(ended.status());
}

// ------------------------------------------------------------ what ended jobs leave

void FineTuner::RetireCheckpointsOf(const std::string& id, std::int64_t before_us) {
  MutexLock updating(updating_);
  const auto record = catalogue_.store().GetJob(id);
  if (!record.ok()) return;
  absl::StatusOr<Job> job = JobFromRecord(*record);
  if (!job.ok() || !IsFinal(job->state) || job->finished_at_us > before_us) return;
  // A model that was deleted and made anew gives numbers a second time: the store knows by its own
  // record which versions are the job's.
  const auto versions = catalogue_.store().JobVersions(id);
  if (!versions.ok()) return;
  store::Batch batch;
  for (const store::JobVersion& version : *versions) {
    const bool kept = version.role != store::JobVersionRole::kCheckpoint ||
                      HasAlias(catalogue_, version.model, version.version);
    const auto users = JobsWith(version.model, version.version);
    if (kept || !users.ok() || !users->empty()) continue;
    batch.delete_versions.push_back({.model = version.model, .version = version.version});
  }
  if (batch.delete_versions.empty()) return;
  std::erase_if(job->history.checkpoints, [&](const JobCheckpoint& checkpoint) {
    return std::ranges::find(batch.delete_versions, checkpoint.version,
                             &store::VersionDeletion::version) != batch.delete_versions.end();
  });
  store::JobChange change{.progress = ToJson(job->history)};
  change.events.push_back(
      ToStored(LogLine{fmt::format("{} checkpoints were deleted: the job has ended long ago",
                                   batch.delete_versions.size())},
               0));
  batch.jobs.push_back(
      {.id = id, .expected_revision = record->revision, .change = std::move(change)});
  // What fails, for an alias that has just come to one, is for the next round.
  if (catalogue_.Commit(batch).ok()) catalogue_.store().Gc().IgnoreError();
}

void FineTuner::RetireCheckpoints() {
  const std::int64_t before =
      options_.now_us() - std::chrono::microseconds(options_.checkpoint_retention).count();
  store::JobFilter filter;
  for (const JobState state : kJobStates) {
    if (IsFinal(state)) filter.states.push_back(Name(state));
  }
  std::string token;
  do {
    const auto page = catalogue_.store().ListJobs(filter, 1000, token);
    if (!page.ok()) return;  // the next round finds them
    token = page->next_page_token;
    for (const store::JobRecord& listed : page->jobs) {
      if (listed.finished_at_us == 0 || listed.finished_at_us > before) continue;
      RetireCheckpointsOf(listed.id, before);
    }
  } while (!token.empty());
}

absl::StatusOr<int> FineTuner::Delete(const std::string& id) {
  MutexLock updating(updating_);
  ZOOD_ASSIGN_OR_RETURN(const store::JobRecord record, catalogue_.store().GetJob(id));
  ZOOD_ASSIGN_OR_RETURN(const Job job, JobFromRecord(record));
  {
    MutexLock lock(mutex_);
    const bool runs = running_ && running_->id == id;
    if (runs && IsFinal(job.state)) {
      return absl::UnavailableError(fmt::format("job {} is just ending; try again", id));
    }
    if (runs || (!IsFinal(job.state) && !unwritten_.contains(id))) {
      return FailedPrecondition("job {} is {}; cancel it first", id, Name(job.state));
    }
  }
  ZOOD_ASSIGN_OR_RETURN(const auto versions, catalogue_.store().JobVersions(id));
  for (const store::JobVersion& version : versions) {
    if (version.role != store::JobVersionRole::kCheckpoint) continue;
    ZOOD_ASSIGN_OR_RETURN(const auto users, JobsWith(version.model, version.version));
    if (!users.empty()) {
      return FailedPrecondition("version {} of {}, a checkpoint of job {}, is needed by {}",
                                version.version, version.model, id, fmt::join(users, ", "));
    }
  }
  ZOOD_ASSIGN_OR_RETURN(
      const store::BatchOutcome outcome,
      catalogue_.Commit({.delete_jobs = {{.id = id, .expected_revision = record.revision}}}));
  const auto dropped = static_cast<int>(outcome.deleted.size());
  if (dropped > 0) catalogue_.store().Gc().IgnoreError();
  CountState(job.state, -1);
  {
    MutexLock lock(mutex_);
    unwritten_.erase(id);
    deadlines_.erase(id);
    ++news_[id];
    changed_.NotifyAll();
  }
  if (!options_.events_dir.empty()) {
    std::error_code ignored;
    std::filesystem::remove_all(options_.events_dir + "/" + id, ignored);
  }
  return dropped;
}

bool FineTuner::ExpireDue() {
  std::vector<std::string> due;
  {
    MutexLock lock(mutex_);
    const std::int64_t now = options_.now_us();
    for (const auto& [id, deadline] : deadlines_) {
      if (deadline <= now) due.push_back(id);
    }
  }
  // A job that runs ends itself, but may be paused just then: so it stays to be looked at.
  const auto left = std::erase_if(due, [&](const std::string& id) { return !Expire(id); });
  MutexLock lock(mutex_);
  for (const std::string& id : due) deadlines_.erase(id);
  return left == 0;
}

void FineTuner::Upkeep() {
  if (options_.checkpoint_retention.count() > 0) RetireCheckpoints();
  DropAbandoned();
  ExpireDue();
}

void FineTuner::UpkeepLoop() {
  serving::DescribeThread("zood-upkeep", options_.aside_nice);
  using Steady = std::chrono::steady_clock;
  const auto retention = options_.checkpoint_retention;
  Steady::time_point next_retirement = Steady::now();
  while (true) {
    if (retention.count() > 0 && Steady::now() >= next_retirement) {
      RetireCheckpoints();
      next_retirement = Steady::now() + std::min<Steady::duration>(retention, kRetirementInterval);
    }
    DropAbandoned();
    const bool all_done = ExpireDue();
    MutexLock lock(mutex_);
    if (stopping_) return;
    auto pause = kLongestPause;
    for (const auto& [id, deadline] : deadlines_) {
      pause = std::min(pause, std::chrono::microseconds(
                                  std::max<std::int64_t>(deadline - options_.now_us(), 0)));
    }
    Steady::time_point until = Steady::now() + pause;
    if (!all_done || !abandoned_.empty()) until = Steady::now() + kRetryPause;
    if (retention.count() > 0) until = std::min(until, next_retirement);
    changed_.WaitUntil(mutex_, until);
  }
}

}  // namespace zood::jobs
