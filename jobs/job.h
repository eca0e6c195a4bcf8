// What is known of a fine-tuning job: values without behavior, and their form in the store.
//
//   kValidating -> kQueued -> kRunning -> kEvaluating -> kSucceeded
//
// and the ways aside that zood/v1/fine_tuning.proto lists; fine_tuner.h has who moves a job.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/shape.h"
#include "dataset/dataset.h"
#include "store/job.h"
#include "train/trainer.h"

namespace zood::jobs {

enum class JobState {
  kValidating,
  kQueued,
  kRunning,
  kPaused,
  kEvaluating,
  kSucceeded,
  kFailed,
  kCancelling,
  kCancelled,
};
inline constexpr JobState kJobStates[] = {
    JobState::kValidating, JobState::kQueued,     JobState::kRunning,
    JobState::kPaused,     JobState::kEvaluating, JobState::kSucceeded,
    JobState::kFailed,     JobState::kCancelling, JobState::kCancelled,
};

// "RUNNING": as the store keeps it and people read it.
std::string Name(JobState state);
std::optional<JobState> StateByName(const std::string& name);
// Nothing happens to the job any more unless somebody asks for it.
bool IsFinal(JobState state);

// A version, named so that it outlives itself.
struct VersionName {
  std::string model;
  std::int64_t version = 0;
  std::string digest;
};

// How well the network of a step does on held-out images.
struct JobEvaluation {
  std::int64_t step = 0;
  dataset::Split split = dataset::Split::kValidation;
  std::int64_t images = 0;
  double top1 = 0;  // in [0, 1]
  double top5 = 0;
  double loss = 0;  // in nats
};

struct JobProgress {
  std::int64_t step = 0;   // finished
  std::int64_t steps = 0;  // in all
  double epoch = 0;
  double images_per_second = 0;
  std::optional<double> seconds_left;
  std::optional<train::StepReport> metrics;  // of the last step
  std::optional<JobEvaluation> evaluation;   // the last one
};

struct JobCheckpoint {
  std::int64_t version = 0;
  std::string digest;
  std::int64_t step = 0;
  std::int64_t created_at_us = 0;
  std::uint64_t bytes = 0;      // of its tensors, those shared with other versions included
  std::uint64_t new_bytes = 0;  // that the store did not have yet
};

struct GateOutcome {
  int gate = 0;  // its place among the spec's gates
  bool passed = false;
  std::string reason;
};

struct AliasMove {
  std::string alias;
  std::int64_t version = 0;
  std::int64_t previous = 0;  // 0 for none
  std::int64_t at_us = 0;
  bool rolled_back = false;
};

// Where a variable's first value came from.
struct RestoredFrom {
  std::string variable;
  Shape shape;
  std::string source;
  std::string tensor;  // its name there, where it is another
};

// What a job finds out and reaches on its way. Kept with the job's record and written together with
// each checkpoint, so that a job that goes on from one finds what was true then.
struct JobHistory {
  std::optional<VersionName> base;  // as it was resolved when the job was created
  // Likewise the versions that the restore plan names, in its order, values of the job left out.
  std::vector<VersionName> sources;
  std::string dataset_digest;
  std::string build;
  std::int64_t queued_at_us = 0;  // for the last time: decides whose turn it is
  std::vector<RestoredFrom> restored;
  std::int64_t updated_variables = 0;
  std::int64_t updated_values = 0;

  JobProgress progress;
  std::vector<JobCheckpoint> checkpoints;  // oldest first
  std::optional<JobEvaluation> best;       // with early stopping: so far
  std::int64_t best_checkpoint = 0;        // its version
  std::int64_t evaluations_since_best = 0;
  bool stopped_early = false;

  std::optional<JobEvaluation> evaluation;  // of the result
  std::vector<GateOutcome> gates;
  std::optional<VersionName> result;
};

struct Job {
  std::string id;
  JobState state = JobState::kValidating;
  absl::Status error;  // of kFailed
  std::string spec;    // stored: see FineTuner::SpecOf()
  std::string idempotency_key;
  std::string model;
  std::map<std::string, std::string> metadata;
  std::int64_t created_at_us = 0;  // microseconds since 1970 UTC; 0 for not yet
  std::int64_t started_at_us = 0;
  std::int64_t finished_at_us = 0;
  std::int64_t revision = 0;
  JobHistory history;
  std::vector<AliasMove> moves;  // oldest first; from the store's history of aliases
};

struct StateChanged {
  JobState state = JobState::kQueued;
  absl::Status error;                 // of kFailed
  std::optional<VersionName> result;  // of kSucceeded, where there is one
};

struct LogLine {
  std::string text;
};

using JobEventContent = std::variant<StateChanged, JobProgress, JobEvaluation, LogLine,
                                     JobCheckpoint, GateOutcome, AliasMove>;

struct JobEvent {
  std::int64_t sequence = 0;  // 1, 2, 3, ... within the job
  std::int64_t at_us = 0;
  JobEventContent content;
};

// The store's form. What is read back equals what was written; DataLoss for anything else.
std::string ToJson(const JobHistory& history);
absl::StatusOr<Job> JobFromRecord(const store::JobRecord& record);
store::NewJobEvent ToStored(const JobEventContent& content, std::int64_t at_us);
absl::StatusOr<JobEvent> EventFromStored(const store::JobEvent& event);

}  // namespace zood::jobs
