#include "jobs/job.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/status.h"

// JSON of each value, found by nlohmann's argument-dependent lookup.
namespace zood::train {

void to_json(nlohmann::json& json, const train::StepReport& r) {
  json = {{"step", r.step},
          {"loss", r.loss},
          {"auxiliary", r.auxiliary},
          {"regularization", r.regularization},
          {"total", r.total},
          {"learning_rate", r.learning_rate},
          {"gradient_norm", r.gradient_norm},
          {"accuracy", r.accuracy},
          {"seconds", r.seconds}};
}
void from_json(const nlohmann::json& json, train::StepReport& r) {
  json.at("step").get_to(r.step);
  json.at("loss").get_to(r.loss);
  json.at("auxiliary").get_to(r.auxiliary);
  json.at("regularization").get_to(r.regularization);
  json.at("total").get_to(r.total);
  json.at("learning_rate").get_to(r.learning_rate);
  json.at("gradient_norm").get_to(r.gradient_norm);
  json.at("accuracy").get_to(r.accuracy);
  json.at("seconds").get_to(r.seconds);
}

}  // namespace zood::train

namespace zood::jobs {
namespace {

using Json = nlohmann::json;

template <typename T>
void SetIf(Json& json, const char* name, const std::optional<T>& value) {
  if (value) json[name] = *value;
}

template <typename T>
void GetIf(const Json& json, const char* name, std::optional<T>& value) {
  if (const auto found = json.find(name); found != json.end()) value = found->get<T>();
}

Json ErrorJson(const absl::Status& error) {
  return {{"code", error.raw_code()}, {"message", std::string(error.message())}};
}

absl::Status ErrorFrom(const Json& json) {
  return absl::Status(static_cast<absl::StatusCode>(json.at("code").get<int>()),
                      json.at("message").get<std::string>());
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::optional<JobState> StateByName(const std::string& name) {
  for (const JobState state : kJobStates) {
    if (Name(state) == name) return state;
  }
  return std::nullopt;
}

std::string Name(JobState state) {
  switch (state) {
    case JobState::kValidating:
      return "VALIDATING";
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kPaused:
      return "PAUSED";
    case JobState::kEvaluating:
      return "EVALUATING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelling:
      return "CANCELLING";
    case JobState::kCancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

bool IsFinal(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

// ------------------------------------------------------------ values

static void to_json(Json& json, const VersionName& v) {
  json = {{"model", v.model}, {"version", v.version}, {"digest", v.digest}};
}
static void from_json(const Json& json, VersionName& v) {
  json.at("model").get_to(v.model);
  json.at("version").get_to(v.version);
  json.at("digest").get_to(v.digest);
}

static void to_json(Json& json, const JobEvaluation& e) {
  json = {{"step", e.step},     {"split", static_cast<int>(e.split)},
          {"images", e.images}, {"top1", e.top1},
          {"top5", e.top5},     {"loss", e.loss}};
}
static void from_json(const Json& json, JobEvaluation& e) {
  json.at("step").get_to(e.step);
  e.split = static_cast<dataset::Split>(json.at("split").get<int>());
  json.at("images").get_to(e.images);
  json.at("top1").get_to(e.top1);
  json.at("top5").get_to(e.top5);
  json.at("loss").get_to(e.loss);
}

static void to_json(Json& json, const JobProgress& p) {
  json = {{"step", p.step}, {"steps", p.steps}, {"epoch", p.epoch}, {"rate", p.images_per_second}};
  SetIf(json, "seconds_left", p.seconds_left);
  SetIf(json, "metrics", p.metrics);
  SetIf(json, "evaluation", p.evaluation);
}
static void from_json(const Json& json, JobProgress& p) {
  json.at("step").get_to(p.step);
  json.at("steps").get_to(p.steps);
  json.at("epoch").get_to(p.epoch);
  json.at("rate").get_to(p.images_per_second);
  GetIf(json, "seconds_left", p.seconds_left);
  GetIf(json, "metrics", p.metrics);
  GetIf(json, "evaluation", p.evaluation);
}

static void to_json(Json& json, const JobCheckpoint& c) {
  json = {{"version", c.version},  {"digest", c.digest}, {"step", c.step},
          {"at", c.created_at_us}, {"bytes", c.bytes},   {"new_bytes", c.new_bytes}};
}
static void from_json(const Json& json, JobCheckpoint& c) {
  json.at("version").get_to(c.version);
  json.at("digest").get_to(c.digest);
  json.at("step").get_to(c.step);
  json.at("at").get_to(c.created_at_us);
  json.at("bytes").get_to(c.bytes);
  json.at("new_bytes").get_to(c.new_bytes);
}

static void to_json(Json& json, const GateOutcome& g) {
  json = {{"gate", g.gate}, {"passed", g.passed}, {"reason", g.reason}};
}
static void from_json(const Json& json, GateOutcome& g) {
  json.at("gate").get_to(g.gate);
  json.at("passed").get_to(g.passed);
  json.at("reason").get_to(g.reason);
}

static void to_json(Json& json, const AliasMove& m) {
  json = {{"alias", m.alias},
          {"version", m.version},
          {"previous", m.previous},
          {"at", m.at_us},
          {"rolled_back", m.rolled_back}};
}
static void from_json(const Json& json, AliasMove& m) {
  json.at("alias").get_to(m.alias);
  json.at("version").get_to(m.version);
  json.at("previous").get_to(m.previous);
  json.at("at").get_to(m.at_us);
  json.at("rolled_back").get_to(m.rolled_back);
}

static void to_json(Json& json, const RestoredFrom& r) {
  const auto dims = r.shape.dims();
  json = {{"variable", r.variable},
          {"shape", std::vector<std::int64_t>(dims.begin(), dims.end())},
          {"source", r.source}};
  if (!r.tensor.empty()) json["tensor"] = r.tensor;
}
static void from_json(const Json& json, RestoredFrom& r) {
  json.at("variable").get_to(r.variable);
  r.shape = Shape(json.at("shape").get<std::vector<std::int64_t>>());
  json.at("source").get_to(r.source);
  r.tensor = json.value("tensor", "");
}

static void to_json(Json& json, const StateChanged& s) {
  json = {{"state", Name(s.state)}};
  if (!s.error.ok()) json["error"] = ErrorJson(s.error);
  SetIf(json, "result", s.result);
}
static void from_json(const Json& json, StateChanged& s) {
  s.state = StateByName(json.at("state").get<std::string>()).value_or(JobState::kFailed);
  if (json.contains("error")) s.error = ErrorFrom(json.at("error"));
  GetIf(json, "result", s.result);
}

static void to_json(Json& json, const LogLine& line) { json = line.text; }
static void from_json(const Json& json, LogLine& line) { json.get_to(line.text); }

static void to_json(Json& json, const JobHistory& h) {
  json = {{"dataset_digest", h.dataset_digest},
          {"build", h.build},
          {"queued_at", h.queued_at_us},
          {"restored", h.restored},
          {"updated_variables", h.updated_variables},
          {"updated_values", h.updated_values},
          {"progress", h.progress},
          {"checkpoints", h.checkpoints},
          {"best_checkpoint", h.best_checkpoint},
          {"evaluations_since_best", h.evaluations_since_best},
          {"stopped_early", h.stopped_early},
          {"gates", h.gates},
          {"moves", h.moves},
          {"planned_moves", h.planned_moves},
          {"sources", h.sources}};
  SetIf(json, "base", h.base);
  SetIf(json, "best", h.best);
  SetIf(json, "evaluation", h.evaluation);
  SetIf(json, "result", h.result);
}
static void from_json(const Json& json, JobHistory& h) {
  json.at("dataset_digest").get_to(h.dataset_digest);
  json.at("build").get_to(h.build);
  json.at("queued_at").get_to(h.queued_at_us);
  json.at("restored").get_to(h.restored);
  json.at("updated_variables").get_to(h.updated_variables);
  json.at("updated_values").get_to(h.updated_values);
  json.at("progress").get_to(h.progress);
  json.at("checkpoints").get_to(h.checkpoints);
  json.at("best_checkpoint").get_to(h.best_checkpoint);
  json.at("evaluations_since_best").get_to(h.evaluations_since_best);
  json.at("stopped_early").get_to(h.stopped_early);
  json.at("gates").get_to(h.gates);
  json.at("moves").get_to(h.moves);
  // Of an older zood: none.
  h.planned_moves = json.value("planned_moves", std::vector<AliasMove>());
  h.sources = json.value("sources", std::vector<VersionName>());
  GetIf(json, "base", h.base);
  GetIf(json, "best", h.best);
  GetIf(json, "evaluation", h.evaluation);
  GetIf(json, "result", h.result);
}

// ------------------------------------------------------------ the store's form

std::string ToJson(const JobHistory& history) { return Dump(Json(history)); }

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
  try {
    Json::parse(record.progress).get_to(job.history);
  } catch (const Json::exception& error) {
    return DataLoss("the history of job {} cannot be read: {}", record.id, error.what());
  }
  return job;
}

namespace {

// By place in JobEventContent.
constexpr const char* kEventNames[] = {"state",      "progress", "evaluation", "log",
                                       "checkpoint", "gate",     "move"};

template <std::size_t I = 0>
JobEventContent ContentFrom(const std::string& name, const Json& json) {
  if constexpr (I < std::variant_size_v<JobEventContent>) {
    if (name == kEventNames[I]) {
      return json.get<std::variant_alternative_t<I, JobEventContent>>();
    }
    return ContentFrom<I + 1>(name, json);
  }
  return LogLine{"an event of kind '" + name + "'"};  // of a newer zood
}

}  // namespace

store::NewJobEvent ToStored(const JobEventContent& content, std::int64_t at_us) {
  static_assert(std::size(kEventNames) == std::variant_size_v<JobEventContent>);
  Json json;
  json[kEventNames[content.index()]] =
      std::visit([](const auto& value) { return Json(value); }, content);
  const auto kind = std::holds_alternative<JobProgress>(content) ? store::JobEventKind::kMetrics
                    : std::holds_alternative<LogLine>(content)   ? store::JobEventKind::kLog
                                                                 : store::JobEventKind::kState;
  return {.kind = kind, .payload = Dump(json), .at_us = at_us};
}

absl::StatusOr<JobEvent> EventFromStored(const store::JobEvent& event) {
  try {
    const Json json = Json::parse(event.payload);
    if (json.is_object() && json.size() == 1) {
      return JobEvent{.sequence = event.sequence,
                      .at_us = event.at_us,
                      .content = ContentFrom(json.begin().key(), json.begin().value())};
    }
  } catch (const Json::exception&) {
  }
  return DataLoss("event {} of a job cannot be read", event.sequence);
}

}  // namespace zood::jobs
