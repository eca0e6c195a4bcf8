#include "jobs/job.h"
#include "base/fields.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/status.h"
#include "jobs/json_fields.h"

namespace zood::jobs {

template <>
struct EnumNames<JobState> {
  static constexpr std::pair<JobState, const char*> kNames[] = {
      {JobState::kValidating, "VALIDATING"}, {JobState::kQueued, "QUEUED"},
      {JobState::kRunning, "RUNNING"},       {JobState::kPaused, "PAUSED"},
      {JobState::kEvaluating, "EVALUATING"}, {JobState::kSucceeded, "SUCCEEDED"},
      {JobState::kFailed, "FAILED"},         {JobState::kCancelling, "CANCELLING"},
      {JobState::kCancelled, "CANCELLED"}};
};
template <>
struct Alternatives<JobEventContent> {
  static constexpr const char* kNames[] = {"state",      "progress", "evaluation", "log",
                                           "checkpoint", "gate",     "move"};
};

std::string Name(JobState state) {
  for (const auto& [held, name] : EnumNames<JobState>::kNames) {
    if (held == state) return name;
  }
  return "UNKNOWN";
}

std::optional<JobState> StateByName(const std::string& name) {
  for (const auto& [state, known] : EnumNames<JobState>::kNames) {
    if (name == known) return state;
  }
  return std::nullopt;
}

bool IsFinal(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

// ------------------------------------------------------------ what is stored of each value

ZOOD_FIELDS(train::StepReport, step, loss, auxiliary, regularization, total, learning_rate,
            gradient_norm, accuracy, seconds)

// An absl::Status.
struct StoredError {
  int code = 0;
  std::string message;
};
ZOOD_FIELDS(StoredError, code, message)

ZOOD_FIELDS(VersionName, model, version, digest)

template <typename V>
void Fields(V& v, JobEvaluation& o) {
  int split = static_cast<int>(o.split);
  v("step", o.step);
  v("split", split);
  v("images", o.images);
  v("top1", o.top1);
  v("top5", o.top5);
  v("loss", o.loss);
  if (V::kReads) o.split = static_cast<dataset::Split>(std::clamp(split, 0, 2));
}

template <typename V>
void Fields(V& v, JobProgress& o) {
  v("step", o.step);
  v("steps", o.steps);
  v("epoch", o.epoch);
  v("rate", o.images_per_second);
  v("seconds_left", o.seconds_left);
  v("metrics", o.metrics);
  v("evaluation", o.evaluation);
}

template <typename V>
void Fields(V& v, JobCheckpoint& o) {
  v("version", o.version);
  v("digest", o.digest);
  v("step", o.step);
  v("at", o.created_at_us);
  v("bytes", o.bytes);
  v("new_bytes", o.new_bytes);
}

ZOOD_FIELDS(GateOutcome, gate, passed, reason)

template <typename V>
void Fields(V& v, AliasMove& o) {
  v("alias", o.alias);
  v("version", o.version);
  v("previous", o.previous);
  v("at", o.at_us);
  v("rolled_back", o.rolled_back);
}

template <typename V>
void Fields(V& v, RestoredFrom& o) {
  std::vector<std::int64_t> dims(o.shape.begin(), o.shape.end());
  v("variable", o.variable);
  v("shape", dims);
  v("source", o.source);
  v.Unless0("tensor", o.tensor);
  if (!V::kReads) return;
  o.shape = Shape(std::move(dims));
  // As zood 0.1 wrote it.
  constexpr std::string_view kOld = "initialised";  // words: theirs
  if (o.source.starts_with(kOld)) o.source.replace(0, kOld.size(), "initialized");
}

template <typename V>
void Fields(V& v, StateChanged& o) {
  std::optional<StoredError> error;
  if (!o.error.ok()) error = {o.error.raw_code(), std::string(o.error.message())};
  v("state", o.state);
  v("error", error);
  v("result", o.result);
  if (V::kReads && error) {
    o.error = absl::Status(static_cast<absl::StatusCode>(error->code), error->message);
  }
}

ZOOD_FIELDS(LogLine, text)

template <typename V>
void Fields(V& v, JobHistory& o) {
  v("dataset_digest", o.dataset_digest);
  v("build", o.build);
  v("queued_at", o.queued_at_us);
  v("restored", o.restored);
  v("updated_variables", o.updated_variables);
  v("updated_values", o.updated_values);
  v("progress", o.progress);
  v("checkpoints", o.checkpoints);
  v("best_checkpoint", o.best_checkpoint);
  v("evaluations_since_best", o.evaluations_since_best);
  v("stopped_early", o.stopped_early);
  v("gates", o.gates);
  v("sources", o.sources);
  v("base", o.base);
  v("best", o.best);
  v("evaluation", o.evaluation);
  v("result", o.result);
}

// ------------------------------------------------------------ the store's form

std::string ToJson(const JobHistory& history) { return Dump(JsonWriter::Put(history)); }

absl::StatusOr<Job> JobFromRecord(const store::JobRecord& record) {
  Job job{.id = record.id,
          .error = absl::Status(static_cast<absl::StatusCode>(record.error_code), record.error),
          .spec = record.spec,
          .idempotency_key = record.idempotency_key,
          .model = record.model,
          .metadata = record.metadata,
          .created_at_us = record.created_at_us,
          .started_at_us = record.started_at_us,
          .finished_at_us = record.finished_at_us,
          .revision = record.revision};
  const std::optional<JobState> state = StateByName(record.state);
  if (!state) return DataLoss("job {} is in the unknown state '{}'", record.id, record.state);
  job.state = *state;
  if (record.progress.empty()) return job;
  const absl::Status read = ReadJson(Json::parse(record.progress, nullptr, false), job.history);
  if (read.ok()) return job;
  return DataLoss("the history of job {} cannot be read: {}", record.id,
                  std::string(read.message()));
}

store::NewJobEvent ToStored(const JobEventContent& content, std::int64_t at_us) {
  const auto* line = std::get_if<LogLine>(&content);
  const Json json = line != nullptr ? Json{{"log", line->text}} : JsonWriter::Put(content);
  const auto kind = line != nullptr                                ? store::JobEventKind::kLog
                    : std::holds_alternative<JobProgress>(content) ? store::JobEventKind::kMetrics
                                                                   : store::JobEventKind::kState;
  return {.kind = kind, .payload = Dump(json), .at_us = at_us};
}

absl::StatusOr<JobEvent> EventFromStored(const store::JobEvent& event) {
  JobEvent read{.sequence = event.sequence, .at_us = event.at_us, .content = {}};
  const Json json = Json::parse(event.payload, nullptr, false);
  if (!json.is_object() || json.size() != 1) {
    return DataLoss("event {} of a job cannot be read", event.sequence);
  }
  const auto& names = Alternatives<JobEventContent>::kNames;
  const std::string& kind = json.begin().key();
  if (kind == "log" && json.begin()->is_string()) {
    read.content = LogLine{json.begin()->get<std::string>()};
  } else if (std::ranges::find(names, kind) == std::end(names)) {
    read.content = LogLine{"an event of kind '" + kind + "'"};  // of a newer zood
  } else if (!ReadJson(json, read.content).ok()) {
    return DataLoss("event {} of a job cannot be read", event.sequence);
  }
  return read;
}

}  // namespace zood::jobs
