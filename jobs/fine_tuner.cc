#include "jobs/fine_tuner.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/status.h"

namespace zood::jobs {
namespace {

// How often the end of a job is tried to be written where the disk does not take it.
constexpr std::chrono::seconds kRetryPause{1};

// The calling thread computes when nobody else wants to; the threads that it starts do as well.
void BecomeIdle(const char* name) {
  pthread_setname_np(pthread_self(), name);
  const sched_param parameters{};
  if (sched_setscheduler(0, SCHED_IDLE, &parameters) == 0) return;
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 19);
}

// An error of writing that may be gone after a while: a full disk, one that is away.
bool MayPass(const absl::Status& error) {
  return absl::IsResourceExhausted(error) || absl::IsUnavailable(error);
}

std::string Names(const std::vector<JobState>& states) {
  std::string text;
  for (std::size_t i = 0; i < states.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == states.size() ? " or " : ", ") + Name(states[i]);
  }
  return text;
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
      const bool cancelled = job.state == JobState::kCancelling;
      if (state && !cancelled) change.state = Name(*state);
      change.progress = ToJson(history);
      for (const JobEventContent& event : events) {
        if (cancelled && std::holds_alternative<StateChanged>(event)) continue;
        change.events.push_back(ToStored(event, 0));
      }
      return absl::OkStatus();
    };
    absl::Status status;
    tuner_.Aside([&] { status = tuner_.Update(id_, keep).status(); });
    return status;
  }

  absl::StatusOr<store::BatchOutcome> Commit(const store::Batch& batch) override {
    absl::StatusOr<store::BatchOutcome> outcome = absl::UnknownError("");
    tuner_.Aside([&] { outcome = tuner_.catalogue_.Commit(batch); });
    if (outcome.ok()) tuner_.Notify(id_);
    return outcome;
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

FineTuner::FineTuner(serving::Catalogue& catalogue, const models::Zoo& zoo,
                     serving::ModelManager& manager, serving::MemoryBudget& budget,
                     serving::Observer& observer, FineTunerOptions options)
    : catalogue_(catalogue),
      zoo_(zoo),
      promoter_(catalogue, manager),
      budget_(budget),
      observer_(observer),
      options_(std::move(options)),
      aside_({.name = "zood-jobs", .threads = 1, .nice = options_.aside_nice}) {}

absl::StatusOr<std::unique_ptr<FineTuner>> FineTuner::Open(
    serving::Catalogue& catalogue, const models::Zoo& zoo, serving::ModelManager& manager,
    serving::MemoryBudget& budget, serving::Observer& observer, FineTunerOptions options) {
  std::unique_ptr<FineTuner> tuner(
      new FineTuner(catalogue, zoo, manager, budget, observer, std::move(options)));
  ZOOD_RETURN_IF_ERROR(Annotate(tuner->TakeUp(), "the jobs in the store"));
  tuner->upkeep_ = std::thread([t = tuner.get()] { t->UpkeepLoop(); });
  tuner->thread_ = std::thread([t = tuner.get()] { t->Loop(); });
  return tuner;
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
  if (upkeep_.joinable()) upkeep_.join();
}

FineTuner::~FineTuner() { Shutdown(); }

// ------------------------------------------------------------ records

absl::StatusOr<Job> FineTuner::Update(const std::string& id, const Change& change) {
  MutexLock updating(updating_);
  constexpr int kMostAttempts = 100;
  JobState before{};
  absl::StatusOr<store::JobRecord> after = absl::AbortedError("");
  // A run commits to its record without this lock, which it would hold as long as it publishes.
  for (int attempt = 0; absl::IsAborted(after.status()) && attempt < kMostAttempts; ++attempt) {
    ZOOD_ASSIGN_OR_RETURN(const store::JobRecord record, catalogue_.store().GetJob(id));
    ZOOD_ASSIGN_OR_RETURN(Job job, JobFromRecord(record));
    before = job.state;
    store::JobChange written;
    ZOOD_RETURN_IF_ERROR(change(job, written));
    after = catalogue_.store().UpdateJob(id, record.revision, written);
  }
  ZOOD_RETURN_IF_ERROR(after.status());
  ZOOD_ASSIGN_OR_RETURN(const Job job, JobFromRecord(*after));
  if (job.state != before) {
    CountState(before, -1);
    CountState(job.state, 1);
    MoveInQueue(id, job.state);
    observer_.OnJob({.job = id, .model = job.model, .state = Name(job.state), .error = job.error});
  }
  Notify(id);
  return job;
}

// The queue has what waits, in the order in which it came to wait.
void FineTuner::MoveInQueue(const std::string& id, JobState state) {
  MutexLock lock(mutex_);
  std::erase(queue_, id);
  if (state == JobState::kQueued) queue_.push_back(id);
  changed_.NotifyAll();
}

absl::Status FineTuner::SetState(Job& job, JobState to, const absl::Status& error,
                                 store::JobChange& change) const {
  StateChanged event{.state = to, .error = error};
  change.state = Name(to);
  change.error_code = error.raw_code();
  change.error = std::string(error.message());
  if (to == JobState::kRunning && job.started_at_us == 0) change.started_at_us = options_.now_us();
  change.finished_at_us = IsFinal(to) ? options_.now_us() : 0;
  if (to == JobState::kSucceeded) event.result = job.history.result;
  // A job that ran when the daemon ended goes on before those that waited for it.
  const bool ran = job.state == JobState::kRunning || job.state == JobState::kEvaluating;
  if (to == JobState::kQueued) {
    if (!ran) job.history.queued_at_us = options_.now_us();
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
  Notify(id);
  return absl::OkStatus();
}

void FineTuner::Notify(const std::string& id) {
  MutexLock lock(mutex_);
  ++news_[id];
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

// ------------------------------------------------------------ orders

absl::StatusOr<Job> FineTuner::Cancel(const std::string& id) {
  const auto cancel = [&](Job& job, store::JobChange& change) -> absl::Status {
    if (job.state == JobState::kQueued || job.state == JobState::kPaused) {
      return SetState(job, JobState::kCancelled, absl::OkStatus(), change);
    }
    if (job.state != JobState::kRunning && job.state != JobState::kEvaluating) {
      return FailedPrecondition("job {} is {}; there is nothing to cancel", id, Name(job.state));
    }
    MutexLock lock(mutex_);
    if (!running_ || running_->id != id) {  // since before the daemon was started
      return SetState(job, JobState::kCancelled, absl::OkStatus(), change);
    }
    if (running_->publishing) {
      return FailedPrecondition("job {} has ended: its result is being published", id);
    }
    running_->command = JobCommand::kCancel;
    return SetState(job, JobState::kCancelling, absl::OkStatus(), change);
  };
  ZOOD_RETURN_IF_ERROR(Update(id, cancel).status());
  return Get(id);
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
  std::int64_t deadline_us = 0;
  const auto queue = [&](Job& job, store::JobChange& change) -> absl::Status {
    if (job.state != JobState::kPaused && job.state != JobState::kFailed) {
      return FailedPrecondition("job {} is {}; this needs PAUSED or FAILED", id, Name(job.state));
    }
    ZOOD_ASSIGN_OR_RETURN(const JobSpec spec, SpecOf(job));
    deadline_us = spec.deadline_us;
    if (deadline_us > 0 && deadline_us <= options_.now_us()) {
      return FailedPrecondition(
          "the deadline of job {} has passed; make a new job, which may restore from a "
          "checkpoint of this one",
          id);
    }
    return SetState(job, JobState::kQueued, absl::OkStatus(), change);
  };
  ZOOD_RETURN_IF_ERROR(Update(id, queue).status());
  RememberDeadline(id, deadline_us);
  return Get(id);
}

// ------------------------------------------------------------ running

// Memory that runs out over there runs out for the caller.
void FineTuner::Aside(const std::function<void()>& task) {
  Mutex mutex;
  CondVar done;
  bool finished = false;
  bool no_memory = false;
  aside_.Post([&] {
    try {
      task();
    } catch (const std::bad_alloc&) {
      no_memory = true;
    }
    MutexLock lock(mutex);
    finished = true;
    done.NotifyAll();
  });
  MutexLock lock(mutex);
  while (!finished) done.Wait(mutex);
  if (no_memory) throw std::bad_alloc();
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

absl::StatusOr<Job> FineTuner::UpdateAside(const std::string& id, const Change& change) {
  absl::StatusOr<Job> job = absl::UnknownError("");
  try {
    Aside([&] { job = Update(id, change); });
  } catch (const std::bad_alloc&) {
    job = ResourceExhausted("there is no memory left to write the job's record");
  }
  return job;
}

// A daemon that could not write at its start leaves more states than kQueued to begin from.
absl::StatusOr<Job> FineTuner::Begin(const std::string& id) {
  return UpdateAside(id, [&](Job& job, store::JobChange& change) -> absl::Status {
    switch (job.state) {
      case JobState::kQueued:
      case JobState::kRunning:
      case JobState::kEvaluating:
        return SetState(job, JobState::kRunning, absl::OkStatus(), change);
      case JobState::kCancelling:
        return SetState(job, JobState::kCancelled, absl::OkStatus(), change);
      default:
        return FailedPrecondition("job {} is {}; there is nothing to begin", id, Name(job.state));
    }
  });
}

void FineTuner::CouldNotBegin(const std::string& id, const absl::Status& why) {
  // Somebody paused or cancelled it while it waited.
  if (absl::IsFailedPrecondition(why) || absl::IsNotFound(why)) return;
  if (!MayPass(why)) {
    {
      MutexLock lock(mutex_);
      unwritten_[id] = why;
    }
    return Report(id, "", why);
  }
  MutexLock lock(mutex_);
  if (stopping_) return;
  queue_.push_front(id);
  changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kRetryPause);
}

void FineTuner::RunOne(const std::string& id) {
  absl::StatusOr<Job> job = Begin(id);
  if (!job.ok()) return CouldNotBegin(id, job.status());
  if (job->state != JobState::kRunning) return;
  absl::StatusOr<JobCommand> end = absl::UnknownError("");
  try {
    end = RunSpec(*job);
  } catch (const std::bad_alloc&) {
    end = ResourceExhausted("there is no memory left for the job");
  }
  End(id, end);
}

absl::StatusOr<JobCommand> FineTuner::RunSpec(const Job& job) {
  ZOOD_ASSIGN_OR_RETURN(const JobSpec spec, SpecOf(job));
  const JobSurroundings surroundings{
      .catalogue = catalogue_,
      .zoo = zoo_,
      .promoter = promoter_,
      .budget = budget_,
      .build = options_.build,
      .events_dir = options_.events_dir.empty() ? "" : options_.events_dir + "/" + job.id,
      .progress_interval = options_.progress_interval,
      .now_us = options_.now_us,
      .make_trainer = options_.make_trainer};
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
    const absl::StatusOr<Job> job = UpdateAside(id, finish);
    if (!job.ok() && !MayPass(job.status()) && !absl::IsNotFound(job.status())) {
      Report(id, "", job.status());
    }
    MutexLock lock(mutex_);
    if (job.ok() || absl::IsNotFound(job.status()) || stopping_) {
      unwritten_.erase(id);
      return;
    }
    unwritten_[id] = end.ok() ? job.status() : end.status();
    if (!MayPass(job.status())) return;
    changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kRetryPause);
  }
}

}  // namespace zood::jobs
