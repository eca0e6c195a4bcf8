// One run of one fine-tuning job, from its last checkpoint (or its first values) to its end, or
// until somebody wants it to stop.
//
//   plan -> memory claimed -> trainer -> steps, evaluations, checkpoints -> the result's evaluation
//   -> gates -> the result is published -> its alias moves
//
// What a run does is a function of the job alone, wherever it was interrupted: whatever is decided
// from history (when to evaluate, whether to stop early) is decided from the history that was kept
// with the checkpoint.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "jobs/job.h"
#include "jobs/job_plan.h"
#include "jobs/job_restore.h"
#include "jobs/job_spec.h"
#include "jobs/promoter.h"
#include "models/zoo.h"
#include "serving/catalogue.h"
#include "serving/memory_budget.h"
#include "train/event_file.h"
#include "train/trainer.h"

namespace zood::jobs {

// What somebody wants of a job that is running.
enum class JobCommand { kGoOn, kPause, kCancel, kStop };

// What a run needs of the one who keeps the jobs. Called on the run's thread.
class JobKeeper {
 public:
  virtual ~JobKeeper() = default;

  virtual JobCommand command() const = 0;
  // Durable when OK: the history, the state if there is one, and the events that tell of them.
  virtual absl::Status Keep(const JobHistory& history, std::optional<JobState> state,
                            const std::vector<JobEventContent>& events) = 0;
  // What changes together with the job's record: all or nothing, durable when OK.
  virtual absl::StatusOr<store::BatchOutcome> Commit(const store::Batch& batch) = 0;
  // News that nobody depends on.
  virtual void Tell(const JobEventContent& event) = 0;
  // What GetJob() answers from now on.
  virtual void Show(const JobProgress& progress) = 0;
  // So many images were trained on.
  virtual void CountStep(std::int64_t images) = 0;
  // From when this is true, the job cannot be cancelled or paused any more. False when it was.
  virtual bool BeginPublishing() = 0;
  // Runs `task` on a thread that others need not wait long for, and waits: whatever takes locks
  // that requests take too.
  virtual void Aside(const std::function<void()>& task) = 0;
};

// Makes what trains; as train::Trainer::Create().
using TrainerFactory = std::function<absl::StatusOr<std::unique_ptr<train::Trainer>>(
    std::shared_ptr<const graph::Graph>, TensorMap weights, std::shared_ptr<const dataset::Dataset>,
    image::PreprocessSpec, train::TrainerOptions)>;

// What of the daemon a run uses.
struct JobSurroundings {
  serving::Catalogue& catalogue;
  const models::Zoo& zoo;
  Promoter& promoter;
  serving::MemoryBudget& budget;
  std::string build;
  std::string events_dir;  // of this job; empty for no event files
  std::chrono::milliseconds progress_interval{1000};
  std::function<std::int64_t()> now_us;
  TrainerFactory make_trainer;
};

// What all versions that a job makes have in common.
store::NewVersion VersionOfJob(const Job& job, const JobSpec& spec, const JobPlan& plan,
                               const std::string& build);
// The variables of `graph` in a checkpoint: their moving averages where `averaged`.
absl::StatusOr<TensorMap> ServedWeights(const graph::Graph& graph, const TensorMap& checkpoint,
                                        bool averaged);

// Whether an alias that somebody set names the version.
bool HasAlias(const serving::Catalogue& catalogue, const std::string& model, std::int64_t version);

class JobRun {
 public:
  // All references outlive the run.
  JobRun(const JobSurroundings& surroundings, JobKeeper& keeper, Job job, const JobSpec& spec)
      : around_(surroundings), keeper_(keeper), job_(std::move(job)), spec_(spec) {}

  // kGoOn: the job is done. Otherwise the command that was followed; a checkpoint was written
  // unless that is kCancel.
  absl::StatusOr<JobCommand> Run();

  const JobHistory& history() const { return job_.history; }

 private:
  using Clock = std::chrono::steady_clock;

  // As Run(), which goes on when this is kGoOn.
  absl::StatusOr<JobCommand> Prepare();
  absl::StatusOr<JobCommand> ClaimMemory();
  absl::Status MakeTrainer();
  void OpenEvents();
  absl::StatusOr<TensorMap> StartValues();
  absl::Status ForgetDeleted();
  absl::StatusOr<JobCommand> ComputeFeatures();
  absl::StatusOr<JobCommand> Train();
  absl::StatusOr<JobCommand> Stop(JobCommand command);
  absl::Status Failed(const absl::Status& error);
  absl::Status CheckDeadline() const;
  // Nobody wants the run to stop, and its deadline has not passed.
  bool MayGoOn() const;

  absl::Status Step();
  void Report(const train::StepReport& report);
  void WriteEvents(const train::StepReport& report);
  void WriteEvents(const JobEvaluation& evaluation);

  bool EvaluationDue() const;
  // Nothing when a command came in between.
  absl::StatusOr<std::optional<JobEvaluation>> Evaluate();
  absl::Status EvaluateOnTheWay();
  bool CheckpointDue() const;
  absl::Status WriteCheckpoint();
  absl::Status PublishCheckpoint();
  // The newest checkpoint is as good as those before it: what followed from it was finite.
  void NewestIsProven();
  void Prune();

  absl::StatusOr<JobCommand> Finish();
  absl::StatusOr<std::optional<JobEvaluation>> EvaluateResult();
  absl::StatusOr<TensorMap> ResultWeights();
  // Judges the result against what each alias names now.
  absl::StatusOr<bool> Judge();
  void TellWhatAnswers();
  void TellChangedLabels(const AliasMove& move);
  absl::Status Publish();
  absl::Status Promote();
  // Commits `batch` with the history as `complete` leaves it, the events that `complete` gives and
  // those of the aliases that moved. `complete` must not use the store.
  using Completion = std::function<std::vector<JobEventContent>(const store::BatchOutcome& done,
                                                                JobHistory& history)>;
  absl::Status Commit(store::Batch batch, const Completion& complete);

  const JobSurroundings& around_;
  JobKeeper& keeper_;
  Job job_;
  const JobSpec& spec_;

  JobPlan plan_;
  serving::MemoryClaim claim_;
  std::shared_ptr<const dataset::Dataset> dataset_;
  std::unique_ptr<train::Trainer> trainer_;
  std::unique_ptr<train::EventFileWriter> events_;  // may be null
  serving::Clock::time_point last_checkpoint_;
  serving::Clock::time_point last_report_;
  std::int64_t steps_at_report_ = 0;
  // Of the newest checkpoint: see NewestIsProven().
  bool newest_proven_ = false;
  bool prune_then_ = false;
  // Why no alias moves to the result, where none was asked for.
  std::optional<std::string> stays_because_;
};

}  // namespace zood::jobs
