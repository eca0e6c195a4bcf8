// Fine-tuning jobs: their life from a spec to a version that is served.
//
//   VALIDATING -> QUEUED -> RUNNING -> EVALUATING -> SUCCEEDED
//
// One job runs at a time, on a thread of idle priority whose OpenMP threads inherit it: serving
// always goes first. Every state is durable before it is told. What was RUNNING or EVALUATING when
// the daemon ended is QUEUED when it starts again, before what waited for it, and goes on from its
// last checkpoint.
//
// A job whose state cannot be written, because the disk is full for one, is told to have FAILED
// with that; the write is tried again until it succeeds. A record that cannot be read is left alone
// and told of to the observer: it stops no other job.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "jobs/job.h"
#include "jobs/job_run.h"
#include "jobs/job_spec.h"
#include "models/zoo.h"
#include "serving/catalogue.h"
#include "serving/memory_budget.h"
#include "serving/model_manager.h"
#include "serving/observer.h"
#include "serving/worker_pool.h"

namespace zood::jobs {

struct FineTunerOptions {
  LegacySpecReader read_legacy_spec;  // without one, jobs of an older zood cannot be gone on with
  std::string build;                  // kept in every version: "zood 0.1.0"
  std::string events_dir;             // event files go to <events_dir>/<job>; empty for none
  int max_unfinished = 1000;          // jobs beyond are refused
  int max_watchers = 128;             // at once; those beyond are refused
  std::chrono::milliseconds progress_interval{1000};
  int aside_nice = 10;  // of the thread that writes to the store
  // Checkpoints of a job go so long after its end; 0: never.
  std::chrono::milliseconds checkpoint_retention = std::chrono::hours(7 * 24);
  // The time of day, and what trains: others in tests.
  std::function<std::int64_t()> now_us = NowMicroseconds;
  TrainerFactory make_trainer = train::Trainer::Create;
};

struct JobRequest {
  JobSpec spec;
  std::string idempotency_key;
  std::map<std::string, std::string> metadata;
  bool validate_only = false;
};

struct CreatedJob {
  Job job;
  bool existing = false;  // found by its idempotency key
  std::uint64_t estimated_bytes = 0;
};

struct JobList {
  std::vector<Job> jobs;  // newest first
  std::string next_page_token;
};

// What a watcher gets: some events, or the end.
struct JobNews {
  std::vector<JobEvent> events;
  bool over = false;  // the job has ended and all is told
};

// Thread-safe. Errors of everything that names a job: NotFound; FailedPrecondition, naming the
// state, when the state does not allow it.
class FineTuner {
 public:
  // Takes up the jobs that are in the store. All references outlive this.
  static absl::StatusOr<std::unique_ptr<FineTuner>> Open(
      serving::Catalogue& catalogue, const models::Zoo& zoo, serving::ModelManager& manager,
      serving::MemoryBudget& budget, serving::Observer& observer, FineTunerOptions options);
  // As Shutdown().
  ~FineTuner();

  // Checks the whole spec, then queues it. To validate only, it may lack a dataset: then what does
  // not depend on one is checked. Errors are those of MakePlan() and
  // Restore() (job_restore.h); InvalidArgument for a deadline that has passed; AlreadyExists for an
  // idempotency key that has another spec; ResourceExhausted when too many jobs wait. Then there is
  // no job. A second call with a key whose first is still checked waits for that.
  absl::StatusOr<CreatedJob> Create(const JobRequest& request);

  absl::StatusOr<Job> Get(const std::string& id);
  // Of Job::spec. DataLoss when it cannot be read.
  absl::StatusOr<JobSpec> SpecOf(const Job& job) const;
  absl::StatusOr<JobList> List(const std::vector<JobState>& states, const std::string& model,
                               int page_size, const std::string& page_token);
  // Those of the job's checkpoints that are still there, newest first.
  absl::StatusOr<std::vector<JobCheckpoint>> Checkpoints(const std::string& id);

  // A place among those who watch, until it is given up. ResourceExhausted when all are taken.
  absl::StatusOr<std::shared_ptr<void>> BeginWatching();
  // Events after the cursor; blocks until there are some. Unavailable after Shutdown() began;
  // Cancelled when `cancelled` says so.
  absl::StatusOr<JobNews> Watch(const std::string& id, std::int64_t after,
                                const std::function<bool()>& cancelled);

  absl::StatusOr<Job> Cancel(const std::string& id);
  absl::StatusOr<Job> Pause(const std::string& id);
  absl::StatusOr<Job> Resume(const std::string& id);

  // Takes a job that has ended away: its record, its events, and its checkpoints but those that an
  // alias names or an unfinished job needs. Results stay. Gives the number of checkpoints that
  // went.
  absl::StatusOr<int> Delete(const std::string& id);

  struct Promoted {
    VersionName version;
    AliasMove move;
  };
  // `version` 0: the result. An empty alias: that of the spec, otherwise `stable`.
  absl::StatusOr<Promoted> Promote(const std::string& id, std::int64_t version, std::string alias,
                                   std::optional<std::int64_t> expected);
  // An empty alias: the one that the job moved last.
  absl::StatusOr<AliasMove> RollBack(const std::string& id, const std::string& alias);

  // Writes TensorFlow's V2 files of a checkpoint (0: the newest) into a directory; gives their
  // names.
  absl::StatusOr<std::vector<std::string>> Export(const std::string& id, std::int64_t version,
                                                  const std::string& directory);

  // Unfinished jobs that need the dataset.
  absl::StatusOr<std::vector<std::string>> JobsWith(const std::string& dataset);
  // Unfinished jobs that need the version (0: any version of the model) to go on: their base, what
  // they restore from, their newest checkpoint.
  absl::StatusOr<std::vector<std::string>> JobsWith(const std::string& model, std::int64_t version);

  struct Counts {
    std::map<JobState, std::int64_t> by_state;
    std::string running;  // empty for none
  };
  Counts counts() const;

  // Does what is due: ends jobs whose deadline has passed while they waited, deletes checkpoints
  // that were kept long enough. It is done by itself, too, now and then.
  void Upkeep();

  // The job that runs writes a checkpoint and waits for the next start; watchers end. Returns at
  // once: Shutdown() waits.
  void BeginShutdown();
  void Shutdown();

 private:
  class Keeper;
  struct Running {
    std::string id;
    JobCommand command = JobCommand::kGoOn;
    bool publishing = false;
    JobProgress progress;
  };
  using Change = std::function<absl::Status(Job& job, store::JobChange& change)>;

  FineTuner(serving::Catalogue& catalogue, const models::Zoo& zoo, serving::ModelManager& manager,
            serving::MemoryBudget& budget, serving::Observer& observer, FineTunerOptions options);

  absl::Status TakeUp();
  // True where the job waits for its turn from now on.
  bool TakeUpOne(Job& job);
  // A record that cannot be gone on with, to whoever keeps the log.
  void Report(const std::string& id, const std::string& model, const absl::Status& why);

  absl::StatusOr<std::uint64_t> Validate(const JobSpec& spec, JobHistory& history);
  absl::Status CheckRoom() const;
  // A record in kValidating, or the one that the idempotency key has already, once it is checked.
  absl::StatusOr<store::CreatedJob> Reserve(const JobRequest& request, const std::string& model);
  absl::StatusOr<CreatedJob> ValidateReserved(const std::string& id, const JobSpec& spec);
  // Takes the record of a job that never was away; where that fails, later.
  void Abandon(const std::string& id, const absl::Status& why);
  void DropAbandoned();

  // Reads the record, lets `change` decide, writes. One at a time.
  absl::StatusOr<Job> Update(const std::string& id, const Change& change);
  // From one of `from` to `to`, with an event that says so.
  absl::StatusOr<Job> Move(const std::string& id, const std::vector<JobState>& from, JobState to,
                           const absl::Status& error = absl::OkStatus());
  absl::Status SetState(Job& job, JobState to, const absl::Status& error,
                        store::JobChange& change) const;
  absl::Status Tell(const std::string& id, const std::vector<JobEventContent>& events);
  void Notify(const std::string& id);
  void MoveInQueue(const std::string& id, JobState state);
  void CountState(JobState state, int change);
  // What the job's record does not tell: its moves of aliases, and what is not written yet.
  absl::Status Complete(Job& job) const;
  absl::StatusOr<std::vector<std::string>> Unfinished(const std::function<bool(const Job&)>& which);

  void UpkeepLoop();
  // Deletes those checkpoints of an ended job that nobody needs, and takes them from its history.
  void RetireCheckpointsOf(const std::string& id, std::int64_t before_us);
  // Of jobs that ended longer ago than they are kept.
  void RetireCheckpoints();
  // Ends the jobs that wait beyond their deadline. False when something is left to be tried again.
  bool ExpireDue();
  // Ends a job that waits beyond its deadline. True when there is no more to be done for it.
  bool Expire(const std::string& id);
  void RememberDeadline(const std::string& id, std::int64_t deadline_us);

  void Loop();
  void RunOne(const std::string& id);
  absl::StatusOr<Job> Begin(const std::string& id);
  void CouldNotBegin(const std::string& id, const absl::Status& why);
  absl::StatusOr<Job> UpdateAside(const std::string& id, const Change& change);
  absl::StatusOr<JobCommand> RunSpec(const Job& job);
  void End(const std::string& id, const absl::StatusOr<JobCommand>& end);
  void Aside(const std::function<void()>& task);

  struct Target {
    std::int64_t version = 0;
    bool is_new = false;  // published for this
  };
  absl::StatusOr<Target> VersionOf(const Job& job, const JobSpec& spec, std::int64_t version);
  absl::StatusOr<Target> PublishPromoted(const Job& job, const JobSpec& spec,
                                         std::int64_t checkpoint);

  serving::Catalogue& catalogue_;
  const models::Zoo& zoo_;
  Promoter promoter_;
  serving::MemoryBudget& budget_;
  serving::Observer& observer_;
  const FineTunerOptions options_;

  Mutex updating_;  // one change of a record at a time; taken before mutex_
  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> queue_ ABSL_GUARDED_BY(mutex_);
  std::optional<Running> running_ ABSL_GUARDED_BY(mutex_);
  std::map<JobState, std::int64_t> counts_ ABSL_GUARDED_BY(mutex_);
  // Jobs whose end could not be written yet, because the disk is full for one.
  std::map<std::string, absl::Status> unwritten_ ABSL_GUARDED_BY(mutex_);
  // Of these, the jobs that never were: their records are still to be taken away.
  std::set<std::string> abandoned_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> validating_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::int64_t> deadlines_ ABSL_GUARDED_BY(mutex_);  // of unfinished jobs
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // How often something happened to a job.
  std::map<std::string, std::int64_t> news_ ABSL_GUARDED_BY(mutex_);
  int watchers_ ABSL_GUARDED_BY(mutex_) = 0;

  serving::WorkerPool aside_;
  std::thread upkeep_;
  std::thread thread_;  // last: it uses what stands above
};

}  // namespace zood::jobs
