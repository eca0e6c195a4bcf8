#include "serving/fine_tuner.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/status.h"
#include "train/name_pattern.h"

namespace zood::serving {
namespace {

constexpr int kEventsAtOnce = 256;
// How often a watcher looks whether its caller has gone.
constexpr std::chrono::milliseconds kWatchPause{200};
// How often the end of a job is tried to be written where the disk does not take it.
constexpr std::chrono::seconds kRetryPause{1};

std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// The calling thread computes when nobody else wants to; the threads that it starts do as well.
void BecomeIdle(const char* name) {
  pthread_setname_np(pthread_self(), name);
  const sched_param parameters{};
  if (sched_setscheduler(0, SCHED_IDLE, &parameters) == 0) return;
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 19);
}

std::string Names(const std::vector<JobState>& states) {
  std::string text;
  for (std::size_t i = 0; i < states.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == states.size() ? " or " : ", ") + Name(states[i]);
  }
  return text;
}

std::uint64_t VariableBytes(const graph::Graph& graph) {
  std::uint64_t bytes = 0;
  for (const graph::Variable& variable : graph.variables()) {
    bytes += static_cast<std::uint64_t>(variable.shape.num_elements()) * sizeof(float);
  }
  return bytes;
}

}  // namespace

// What a run asks of its fine tuner. The store is used by the aside thread alone.
class FineTuner::Keeper final : public JobKeeper {
 public:
  Keeper(FineTuner& tuner, std::string id) : tuner_(tuner), id_(std::move(id)) {}

  JobCommand command() const override {
    MutexLock lock(tuner_.mutex_);
    return tuner_.running_->command;
  }

  absl::Status Keep(const JobHistory& history, std::optional<JobState> state,
                    const std::vector<JobEventContent>& events) override {
    const auto keep = [&](Job& job, store::JobChange& change) {
      // Somebody asked for its end in the meantime: the run will see it soon.
      if (state && job.state != JobState::kCancelling) change.state = Name(*state);
      JobHistory kept = history;
      kept.moves = job.history.moves;
      change.progress = ToJson(kept);
      for (const JobEventContent& event : events) change.events.push_back(ToStored(event, 0));
      return absl::OkStatus();
    };
    absl::Status status;
    tuner_.Aside([&] { status = tuner_.Update(id_, keep).status(); });
    return status;
  }

  absl::Status KeepMove(const AliasMove& move) override {
    absl::Status status;
    tuner_.Aside([&] { status = tuner_.KeepMove(id_, move); });
    return status;
  }

  void Tell(const JobEventContent& event) override {
    tuner_.Aside([&] { tuner_.Tell(id_, {event}).IgnoreError(); });
  }

  void Show(const JobProgress& progress) override {
    MutexLock lock(tuner_.mutex_);
    tuner_.running_->progress = progress;
  }

  void CountStep(std::int64_t images) override { tuner_.observer_.OnTrainingStep(images); }

  bool BeginPublishing() override {
    MutexLock lock(tuner_.mutex_);
    if (tuner_.running_->command != JobCommand::kGoOn) return false;
    tuner_.running_->publishing = true;
    return true;
  }

  void Aside(const std::function<void()>& task) override { tuner_.Aside(task); }

 private:
  FineTuner& tuner_;
  const std::string id_;
};

// ------------------------------------------------------------ beginning and end

FineTuner::FineTuner(Catalogue& catalogue, const models::Zoo& zoo, ModelManager& manager,
                     MemoryBudget& budget, Observer& observer, FineTunerOptions options)
    : catalogue_(catalogue),
      zoo_(zoo),
      manager_(manager),
      budget_(budget),
      observer_(observer),
      options_(std::move(options)),
      aside_({.name = "zood-jobs", .threads = 1, .nice = options_.aside_nice}) {}

absl::StatusOr<std::unique_ptr<FineTuner>> FineTuner::Open(Catalogue& catalogue,
                                                           const models::Zoo& zoo,
                                                           ModelManager& manager,
                                                           MemoryBudget& budget, Observer& observer,
                                                           FineTunerOptions options) {
  std::unique_ptr<FineTuner> tuner(
      new FineTuner(catalogue, zoo, manager, budget, observer, std::move(options)));
  ZOOD_RETURN_IF_ERROR(Annotate(tuner->TakeUp(), "the jobs in the store"));
  tuner->thread_ = std::thread([t = tuner.get()] { t->Loop(); });
  return tuner;
}

absl::Status FineTuner::TakeUp() {
  std::vector<Job> waiting;
  std::string token;
  do {
    ZOOD_ASSIGN_OR_RETURN(const store::JobPage page, catalogue_.store().ListJobs({}, 1000, token));
    token = page.next_page_token;
    for (const store::JobRecord& record : page.jobs) {
      ZOOD_ASSIGN_OR_RETURN(Job job, JobFromRecord(record));
      CountState(job.state, 1);
      if (job.state == JobState::kRunning || job.state == JobState::kEvaluating) {
        ZOOD_ASSIGN_OR_RETURN(job, Move(job.id, {job.state}, JobState::kQueued));
      } else if (job.state == JobState::kCancelling) {
        ZOOD_RETURN_IF_ERROR(Move(job.id, {job.state}, JobState::kCancelled).status());
      } else if (job.state == JobState::kValidating) {
        // Nobody was told of it, but its idempotency key may be used again.
        ZOOD_RETURN_IF_ERROR(Move(job.id, {job.state}, JobState::kFailed,
                                  Unavailable("the daemon ended before the job was checked"))
                                 .status());
      }
      if (job.state == JobState::kQueued) waiting.push_back(std::move(job));
    }
  } while (!token.empty());
  std::ranges::sort(waiting, {}, [](const Job& job) { return job.history.queued_at_us; });
  for (const Job& job : waiting) Enqueue(job.id);
  return absl::OkStatus();
}

void FineTuner::BeginShutdown() {
  MutexLock lock(mutex_);
  stopping_ = true;
  if (running_ && running_->command == JobCommand::kGoOn) running_->command = JobCommand::kStop;
  changed_.NotifyAll();
}

void FineTuner::Shutdown() {
  BeginShutdown();
  if (thread_.joinable()) thread_.join();
}

FineTuner::~FineTuner() { Shutdown(); }

// ------------------------------------------------------------ records

absl::StatusOr<Job> FineTuner::Update(const std::string& id, const Change& change) {
  MutexLock updating(updating_);
  ZOOD_ASSIGN_OR_RETURN(const store::JobRecord record, catalogue_.store().GetJob(id));
  ZOOD_ASSIGN_OR_RETURN(Job job, JobFromRecord(record));
  const JobState before = job.state;
  store::JobChange written;
  ZOOD_RETURN_IF_ERROR(change(job, written));
  ZOOD_ASSIGN_OR_RETURN(const store::JobRecord after,
                        catalogue_.store().UpdateJob(id, record.revision, written));
  ZOOD_ASSIGN_OR_RETURN(job, JobFromRecord(after));
  if (job.state != before) {
    CountState(before, -1);
    CountState(job.state, 1);
    observer_.OnJob({.job = id, .model = job.model, .state = Name(job.state), .error = job.error});
  }
  Notify();
  return job;
}

absl::Status FineTuner::SetState(Job& job, JobState to, const absl::Status& error,
                                 store::JobChange& change) {
  StateChanged event{.state = to, .error = error};
  change.state = Name(to);
  change.error_code = error.raw_code();
  change.error = std::string(error.message());
  if (to == JobState::kRunning && job.started_at_us == 0) change.started_at_us = NowUs();
  change.finished_at_us = IsFinal(to) ? NowUs() : 0;
  if (to == JobState::kSucceeded) event.result = job.history.result;
  if (to == JobState::kQueued) {
    job.history.queued_at_us = NowUs();
    change.progress = ToJson(job.history);
  }
  change.events.push_back(ToStored(event, 0));
  return absl::OkStatus();
}

absl::StatusOr<Job> FineTuner::Move(const std::string& id, const std::vector<JobState>& from,
                                    JobState to, const absl::Status& error) {
  return Update(id, [&](Job& job, store::JobChange& change) -> absl::Status {
    if (std::ranges::find(from, job.state) == from.end()) {
      return FailedPrecondition("job {} is {}; this needs {}", id, Name(job.state), Names(from));
    }
    return SetState(job, to, error, change);
  });
}

absl::Status FineTuner::Tell(const std::string& id, const std::vector<JobEventContent>& events) {
  std::vector<store::NewJobEvent> stored;
  for (const JobEventContent& event : events) stored.push_back(ToStored(event, 0));
  ZOOD_RETURN_IF_ERROR(catalogue_.store().AppendJobEvents(id, stored).status());
  Notify();
  return absl::OkStatus();
}

absl::Status FineTuner::KeepMove(const std::string& id, const AliasMove& move) {
  const auto keep = [&](Job& job, store::JobChange& change) {
    job.history.moves.push_back(move);
    change.progress = ToJson(job.history);
    change.events.push_back(ToStored(move, 0));
    return absl::OkStatus();
  };
  return Update(id, keep).status();
}

void FineTuner::Notify() {
  MutexLock lock(mutex_);
  ++news_;
  changed_.NotifyAll();
}

void FineTuner::Enqueue(const std::string& id) {
  MutexLock lock(mutex_);
  queue_.push_back(id);
  changed_.NotifyAll();
}

void FineTuner::CountState(JobState state, int change) {
  MutexLock lock(mutex_);
  counts_[state] += change;
}

FineTuner::Counts FineTuner::counts() const {
  MutexLock lock(mutex_);
  return {.by_state = counts_, .running = running_ ? running_->id : ""};
}

// ------------------------------------------------------------ making a job

absl::StatusOr<std::uint64_t> FineTuner::Validate(const JobSpec& spec, JobHistory& history) {
  ZOOD_ASSIGN_OR_RETURN(const JobPlan plan, MakePlan(spec, std::nullopt, "", catalogue_, zoo_));
  if (plan.bytes > budget_.total()) {
    return ResourceExhausted(
        "the job needs about {} of memory, more than the daemon may take in all, {} "
        "(--memory-budget); a smaller batch_size or feature_cache_bytes needs less",
        FormatBytes(plan.bytes), FormatBytes(budget_.total()));
  }
  ZOOD_ASSIGN_OR_RETURN(const MemoryClaim claim,
                        budget_.Claim(VariableBytes(*plan.graph), "checking the job"));
  ZOOD_ASSIGN_OR_RETURN(FirstValues values, Restore(plan, spec, catalogue_));
  ZOOD_ASSIGN_OR_RETURN(const train::NamePatterns updated,
                        train::NamePatterns::Create("update", plan.options.update));
  for (const graph::Variable& variable : plan.graph->variables()) {
    if (!updated.empty() && !updated.Match(variable.name)) continue;
    ++history.updated_variables;
    history.updated_values += variable.shape.num_elements();
  }
  history.base = plan.base;
  history.dataset_digest = plan.dataset.summary.digest;
  history.build = options_.build;
  history.restored = std::move(values.report);
  history.progress.steps = plan.steps;
  return plan.bytes;
}

absl::StatusOr<CreatedJob> FineTuner::Create(const JobRequest& request) {
  if (!options_.decode) return Unimplemented("this daemon was made without fine-tuning");
  ZOOD_ASSIGN_OR_RETURN(const JobSpec spec, options_.decode(request.spec));
  CreatedJob created;
  if (request.validate_only) {
    created.job.spec = request.spec;
    created.job.model = spec.model;
    ZOOD_ASSIGN_OR_RETURN(created.estimated_bytes, Validate(spec, created.job.history));
    return created;
  }
  {
    MutexLock lock(mutex_);
    if (stopping_) return Unavailable("the daemon is shutting down");
    std::int64_t unfinished = 0;
    for (const auto& [state, count] : counts_) unfinished += IsFinal(state) ? 0 : count;
    if (unfinished >= options_.max_unfinished) {
      return ResourceExhausted("{} jobs wait already; try again when some have ended", unfinished);
    }
  }
  ZOOD_ASSIGN_OR_RETURN(const store::CreatedJob stored,
                        catalogue_.store().CreateJob({.state = Name(JobState::kValidating),
                                                      .spec = request.spec,
                                                      .idempotency_key = request.idempotency_key,
                                                      .model = spec.model,
                                                      .metadata = request.metadata}));
  const std::string& id = stored.job.id;
  if (!stored.created) {
    ZOOD_ASSIGN_OR_RETURN(created.job, Get(id));
    created.existing = true;
    return created;
  }
  CountState(JobState::kValidating, 1);
  JobHistory history;
  const absl::StatusOr<std::uint64_t> bytes = Validate(spec, history);
  if (!bytes.ok()) {
    CountState(JobState::kValidating, -1);
    catalogue_.store().DeleteJob(id).IgnoreError();
    return bytes.status();
  }
  created.estimated_bytes = *bytes;
  ZOOD_ASSIGN_OR_RETURN(created.job, Update(id, [&](Job& job, store::JobChange& change) {
                          job.history = std::move(history);
                          return SetState(job, JobState::kQueued, absl::OkStatus(), change);
                        }));
  Enqueue(id);
  return created;
}

// ------------------------------------------------------------ looking at jobs

absl::StatusOr<Job> FineTuner::Get(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(const store::JobRecord record, catalogue_.store().GetJob(id));
  ZOOD_ASSIGN_OR_RETURN(Job job, JobFromRecord(record));
  MutexLock lock(mutex_);
  if (running_ && running_->id == id && running_->progress.steps > 0) {
    job.history.progress = running_->progress;
  }
  if (const auto unwritten = unwritten_.find(id); unwritten != unwritten_.end()) {
    job.state = JobState::kFailed;
    job.error = unwritten->second;
  }
  return job;
}

absl::StatusOr<JobList> FineTuner::List(const std::vector<JobState>& states,
                                        const std::string& model, int page_size,
                                        const std::string& page_token) {
  if (page_size < 0) return InvalidArgument("page_size is {}", page_size);
  store::JobFilter filter{.states = {}, .model = model};
  for (const JobState state : states) filter.states.push_back(Name(state));
  ZOOD_ASSIGN_OR_RETURN(const store::JobPage page,
                        catalogue_.store().ListJobs(filter, page_size, page_token));
  JobList list{.jobs = {}, .next_page_token = page.next_page_token};
  for (const store::JobRecord& record : page.jobs) {
    ZOOD_ASSIGN_OR_RETURN(list.jobs.emplace_back(), JobFromRecord(record));
    MutexLock lock(mutex_);
    if (running_ && running_->id == record.id && running_->progress.steps > 0) {
      list.jobs.back().history.progress = running_->progress;
    }
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

absl::StatusOr<JobNews> FineTuner::Watch(const std::string& id, std::int64_t after,
                                         const std::function<bool()>& cancelled) {
  while (true) {
    std::int64_t seen = 0;
    {
      MutexLock lock(mutex_);
      seen = news_;
    }
    // The state first: events that are written in between belong to the next look.
    ZOOD_ASSIGN_OR_RETURN(const store::JobRecord record, catalogue_.store().GetJob(id));
    ZOOD_ASSIGN_OR_RETURN(const Job job, JobFromRecord(record));
    ZOOD_ASSIGN_OR_RETURN(const auto stored,
                          catalogue_.store().JobEvents(id, after, kEventsAtOnce));
    JobNews news;
    for (const store::JobEvent& event : stored) {
      ZOOD_ASSIGN_OR_RETURN(news.events.emplace_back(), EventFromStored(event));
    }
    if (!news.events.empty()) return news;
    news.over = IsFinal(job.state);
    if (news.over) return news;
    MutexLock lock(mutex_);
    while (news_ == seen) {
      if (stopping_) return Unavailable("the daemon is shutting down; watch again after that");
      if (cancelled && cancelled()) return Cancelled("the caller has gone");
      changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kWatchPause);
    }
  }
}

absl::StatusOr<std::vector<std::string>> FineTuner::JobsWith(const std::string& dataset) {
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
      const auto spec = options_.decode(record.spec);
      if (spec.ok() && spec->dataset == dataset) jobs.push_back(record.id);
    }
  } while (!token.empty());
  return jobs;
}

// ------------------------------------------------------------ orders

absl::StatusOr<Job> FineTuner::Cancel(const std::string& id) {
  return Update(id, [&](Job& job, store::JobChange& change) -> absl::Status {
    if (job.state == JobState::kQueued || job.state == JobState::kPaused) {
      return SetState(job, JobState::kCancelled, absl::OkStatus(), change);
    }
    if (job.state != JobState::kRunning && job.state != JobState::kEvaluating) {
      return FailedPrecondition("job {} is {}; there is nothing to cancel", id, Name(job.state));
    }
    MutexLock lock(mutex_);
    if (running_ && running_->id == id) {
      if (running_->publishing) {
        return FailedPrecondition("job {} has ended: its result is being published", id);
      }
      running_->command = JobCommand::kCancel;
    }
    return SetState(job, JobState::kCancelling, absl::OkStatus(), change);
  });
}

absl::StatusOr<Job> FineTuner::Pause(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(
      const Job job, Update(id, [&](Job& job, store::JobChange& change) {
        if (job.state == JobState::kQueued) {
          return SetState(job, JobState::kPaused, absl::OkStatus(), change);
        }
        if (job.state != JobState::kRunning && job.state != JobState::kEvaluating) {
          return FailedPrecondition("job {} is {}; there is nothing to pause", id, Name(job.state));
        }
        MutexLock lock(mutex_);
        if (!running_ || running_->id != id || running_->publishing) {
          return FailedPrecondition("job {} is about to end", id);
        }
        if (running_->command == JobCommand::kGoOn) {
          running_->command = JobCommand::kPause;
        }
        return absl::OkStatus();
      }));
  return Get(id);
}

absl::StatusOr<Job> FineTuner::Resume(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(const Job job,
                        Move(id, {JobState::kPaused, JobState::kFailed}, JobState::kQueued));
  Enqueue(id);
  return job;
}

// ------------------------------------------------------------ running

void FineTuner::Aside(const std::function<void()>& task) {
  Mutex mutex;
  CondVar done;
  bool finished = false;
  aside_.Post([&] {
    task();
    MutexLock lock(mutex);
    finished = true;
    done.NotifyAll();
  });
  MutexLock lock(mutex);
  while (!finished) done.Wait(mutex);
}

void FineTuner::Loop() {
  BecomeIdle("zood-trainer");
  while (true) {
    std::string id;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) changed_.Wait(mutex_);
      if (stopping_) return;
      id = queue_.front();
      queue_.pop_front();
      running_ = Running{.id = id};
    }
    RunOne(id);
    MutexLock lock(mutex_);
    running_.reset();
  }
}

void FineTuner::RunOne(const std::string& id) {
  absl::StatusOr<Job> job = absl::UnknownError("");
  Aside([&] { job = Move(id, {JobState::kQueued}, JobState::kRunning); });
  if (!job.ok()) {
    // Somebody paused or cancelled it while it waited; or the disk is full, which may pass.
    const bool gone = absl::IsFailedPrecondition(job.status()) || absl::IsNotFound(job.status());
    MutexLock lock(mutex_);
    if (gone || stopping_) return;
    queue_.push_front(id);
    changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kRetryPause);
    return;
  }
  absl::StatusOr<JobCommand> end = absl::UnknownError("");
  try {
    end = RunSpec(*job);
  } catch (const std::bad_alloc&) {
    end = ResourceExhausted("there is no memory left for the job");
  }
  End(id, end);
}

absl::StatusOr<JobCommand> FineTuner::RunSpec(const Job& job) {
  ZOOD_ASSIGN_OR_RETURN(const JobSpec spec, options_.decode(job.spec));
  const JobSurroundings surroundings{
      .catalogue = catalogue_,
      .zoo = zoo_,
      .manager = manager_,
      .budget = budget_,
      .build = options_.build,
      .events_dir = options_.events_dir.empty() ? "" : options_.events_dir + "/" + job.id,
      .progress_interval = options_.progress_interval};
  Keeper keeper(*this, job.id);
  JobRun run(surroundings, keeper, job, spec);
  return run.Run();
}

void FineTuner::End(const std::string& id, const absl::StatusOr<JobCommand>& end) {
  const auto finish = [&](Job& job, store::JobChange& change) {
    JobState to = JobState::kFailed;
    if (job.state == JobState::kCancelling) {
      to = JobState::kCancelled;
    } else if (end.ok()) {
      to = *end == JobCommand::kGoOn    ? JobState::kSucceeded
           : *end == JobCommand::kPause ? JobState::kPaused
           : *end == JobCommand::kStop  ? JobState::kQueued
                                        : JobState::kCancelled;
    }
    return SetState(job, to, to == JobState::kFailed ? end.status() : absl::OkStatus(), change);
  };
  while (true) {
    absl::StatusOr<Job> job = absl::UnknownError("");
    Aside([&] { job = Update(id, finish); });
    MutexLock lock(mutex_);
    if (job.ok() || absl::IsNotFound(job.status()) || stopping_) {
      unwritten_.erase(id);
      return;
    }
    unwritten_[id] = end.ok() ? job.status() : end.status();
    changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kRetryPause);
  }
}

}  // namespace zood::serving
