// What is known of jobs: records, events, and who needs what.
#include <algorithm>
#include <chrono>
#include <utility>

#include "base/status.h"
#include "jobs/fine_tuner.h"

namespace zood::jobs {
namespace {

constexpr int kEventsAtOnce = 256;
// How often a watcher looks whether its caller has gone.
constexpr std::chrono::milliseconds kWatchPause{200};

bool Is(const VersionName& name, const std::string& model, std::int64_t version) {
  return name.model == model && (version == 0 || name.version == version);
}

// Whether an unfinished job cannot go on without the version (0: any of the model's).
bool Needs(const Job& job, const std::string& model, std::int64_t version) {
  const JobHistory& history = job.history;
  if (history.base && Is(*history.base, model, version)) return true;
  const auto is = [&](std::int64_t own) {
    return own != 0 && Is({job.model, own}, model, version);
  };
  if (is(history.best_checkpoint)) return true;
  if (!history.checkpoints.empty()) return is(history.checkpoints.back().version);
  return std::ranges::any_of(history.sources,
                             [&](const VersionName& source) { return Is(source, model, version); });
}

}  // namespace

absl::Status FineTuner::Complete(Job& job) const {
  ZOOD_ASSIGN_OR_RETURN(job.moves, promoter_.MovesOf(job.id));
  MutexLock lock(mutex_);
  if (running_ && running_->id == job.id && running_->progress.steps > 0) {
    job.history.progress = running_->progress;
  }
  if (const auto unwritten = unwritten_.find(job.id); unwritten != unwritten_.end()) {
    job.state = JobState::kFailed;
    job.error = unwritten->second;
  }
  return absl::OkStatus();
}

absl::StatusOr<Job> FineTuner::Get(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(const store::JobRecord record, catalogue_.store().GetJob(id));
  ZOOD_ASSIGN_OR_RETURN(Job job, JobFromRecord(record));
  ZOOD_RETURN_IF_ERROR(Complete(job));
  return job;
}

absl::StatusOr<JobSpec> FineTuner::SpecOf(const Job& job) const {
  if (job.spec.starts_with('{')) return DecodeJobSpec(job.spec);
  if (options_.read_legacy_spec) return options_.read_legacy_spec(job.spec);
  return DataLoss("the spec of job {} is of an older zood", job.id);
}

// A page may have fewer jobs than were asked for: records that cannot be read are left out, and so
// are jobs whose state is another than the store knows.
absl::StatusOr<JobList> FineTuner::List(const std::vector<JobState>& states,
                                        const std::string& model, int page_size,
                                        const std::string& page_token) {
  if (page_size < 0) return InvalidArgument("page_size is {}", page_size);
  store::JobFilter filter{.states = {}, .model = model};
  const auto wanted = [&](JobState state) {
    return states.empty() || std::ranges::find(states, state) != states.end();
  };
  bool unwritten = false;
  {
    MutexLock lock(mutex_);
    unwritten = !unwritten_.empty();
  }
  // What has failed unwritten is in any state in the store.
  if (!unwritten || !wanted(JobState::kFailed)) {
    for (const JobState state : states) filter.states.push_back(Name(state));
  }
  ZOOD_ASSIGN_OR_RETURN(const store::JobPage page,
                        catalogue_.store().ListJobs(filter, page_size, page_token));
  JobList list{.jobs = {}, .next_page_token = page.next_page_token};
  for (const store::JobRecord& record : page.jobs) {
    absl::StatusOr<Job> job = JobFromRecord(record);
    if (!job.ok()) continue;
    ZOOD_RETURN_IF_ERROR(Complete(*job));
    if (wanted(job->state)) list.jobs.push_back(*std::move(job));
  }
  return list;
}

absl::StatusOr<std::vector<JobCheckpoint>> FineTuner::Checkpoints(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(const Job job, Get(id));
  std::vector<JobCheckpoint> checkpoints = job.history.checkpoints;
  const auto entry = catalogue_.Find(job.model);
  std::erase_if(checkpoints, [&](const JobCheckpoint& checkpoint) {
    return !entry.ok() || !std::ranges::binary_search(entry->versions, checkpoint.version);
  });
  std::ranges::reverse(checkpoints);
  return checkpoints;
}

absl::StatusOr<std::shared_ptr<void>> FineTuner::BeginWatching() {
  MutexLock lock(mutex_);
  if (watchers_ >= options_.max_watchers) {
    return ResourceExhausted(
        "{} calls watch jobs already; end one, or ask for the job (GetJob) now and then",
        watchers_);
  }
  ++watchers_;
  return std::shared_ptr<void>(nullptr, [this](void*) {
    MutexLock leaving(mutex_);
    --watchers_;
  });
}

absl::StatusOr<JobNews> FineTuner::Watch(const std::string& id, std::int64_t after,
                                         const std::function<bool()>& cancelled) {
  const auto count = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = news_.find(id);
    return found == news_.end() ? 0 : found->second;
  };
  while (true) {
    std::int64_t seen = 0;
    {
      MutexLock lock(mutex_);
      seen = count();
    }
    // The state first: events that are written in between belong to the next look.
    ZOOD_ASSIGN_OR_RETURN(const std::string state, catalogue_.store().GetJobState(id));
    ZOOD_ASSIGN_OR_RETURN(const auto stored,
                          catalogue_.store().JobEvents(id, after, kEventsAtOnce));
    JobNews news;
    for (const store::JobEvent& event : stored) {
      ZOOD_ASSIGN_OR_RETURN(news.events.emplace_back(), EventFromStored(event));
    }
    if (!news.events.empty()) return news;
    const std::optional<JobState> known = StateByName(state);
    if (!known) return DataLoss("job {} is in the unknown state '{}'", id, state);
    news.over = IsFinal(*known);
    if (news.over) return news;
    MutexLock lock(mutex_);
    while (count() == seen) {
      if (stopping_) return Unavailable("the daemon is shutting down; watch again after that");
      if (cancelled && cancelled()) return Cancelled("the caller has gone");
      changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kWatchPause);
    }
  }
}

absl::StatusOr<std::vector<std::string>> FineTuner::Unfinished(
    const std::function<bool(const Job&)>& which) {
  std::vector<std::string> jobs;
  store::JobFilter filter;
  for (const JobState state : kJobStates) {
    if (!IsFinal(state)) filter.states.push_back(Name(state));
  }
  std::string token;
  do {
    ZOOD_ASSIGN_OR_RETURN(const store::JobPage page,
                          catalogue_.store().ListJobs(filter, 1000, token));
    token = page.next_page_token;
    for (const store::JobRecord& record : page.jobs) {
      absl::StatusOr<Job> job = JobFromRecord(record);
      if (!job.ok()) continue;
      ZOOD_RETURN_IF_ERROR(Complete(*job));
      if (!IsFinal(job->state) && which(*job)) jobs.push_back(record.id);
    }
  } while (!token.empty());
  return jobs;
}

absl::StatusOr<std::vector<std::string>> FineTuner::JobsWith(const std::string& dataset) {
  return Unfinished([&](const Job& job) {
    const auto spec = SpecOf(job);
    return spec.ok() && spec->dataset == dataset;
  });
}

absl::StatusOr<std::vector<std::string>> FineTuner::JobsWith(const std::string& model,
                                                             std::int64_t version) {
  return Unfinished([&](const Job& job) { return Needs(job, model, version); });
}

}  // namespace zood::jobs
