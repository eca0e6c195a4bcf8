#include "server/zood_v1/convert_fine_tuning.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <cmath>
#include <utility>

#include "base/status.h"
#include "server/zood_v1/convert.h"

namespace zood::server {
namespace {

using google::protobuf::util::TimeUtil;

// Of a message from JSON: the names are the same on both sides (jobs/job_spec.h).
absl::Status ToJson(const google::protobuf::Message& message, std::string& json) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  const auto printed = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (printed.ok()) return absl::OkStatus();
  return InvalidArgument("the spec is no JSON: {}", printed.ToString());
}

absl::StatusOr<Tensor> ToTensor(const v1::Tensor& message) {
  if (message.dtype() != v1::DATA_TYPE_FLOAT32) {
    return InvalidArgument("it has dtype {}; expected DATA_TYPE_FLOAT32",
                           v1::DataType_Name(message.dtype()));
  }
  auto owner = std::make_shared<const std::string>(message.data());
  const Shape shape(std::vector<std::int64_t>(message.shape().begin(), message.shape().end()));
  return Tensor::View(DType::kFloat32, shape, std::as_bytes(std::span(*owner)), owner);
}

}  // namespace

absl::StatusOr<jobs::JobSpec> ToJobSpec(const v1::JobSpec& message) {
  v1::JobSpec without_values = message;
  for (auto& source : *without_values.mutable_restore()->mutable_sources()) {
    if (source.has_tensors()) source.mutable_tensors()->clear_tensors();
  }
  if (!message.has_restore()) without_values.clear_restore();
  std::string json;
  ZOOD_RETURN_IF_ERROR(ToJson(without_values, json));
  ZOOD_ASSIGN_OR_RETURN(jobs::JobSpec spec, jobs::JobSpecFromJson(json));
  for (int i = 0; i < message.restore().sources_size(); ++i) {
    const v1::RestoreSource& source = message.restore().sources(i);
    if (!source.has_tensors()) continue;
    jobs::GivenValues given;
    for (const auto& [name, tensor] : source.tensors().tensors()) {
      auto value = ToTensor(tensor);
      if (!value.ok()) return Annotate(value.status(), "restore: the value of '" + name + "'");
      given.tensors.emplace(name, *std::move(value));
    }
    spec.restore->sources[static_cast<std::size_t>(i)].from = std::move(given);
  }
  return spec;
}

absl::StatusOr<jobs::JobSpec> ReadLegacySpec(const std::string& stored) {
  v1::JobSpec spec;
  if (!spec.ParseFromString(stored)) return DataLoss("the job's spec cannot be read");
  return ToJobSpec(spec);
}

void ToProto(const jobs::JobSpec& spec, bool values, v1::JobSpec* message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  (void)google::protobuf::util::JsonStringToMessage(jobs::ToJson(spec), message, options);
  if (!values || !spec.restore) return;
  for (std::size_t i = 0; i < spec.restore->sources.size(); ++i) {
    const auto* given = std::get_if<jobs::GivenValues>(&spec.restore->sources[i].from);
    if (given == nullptr) continue;
    auto& tensors = *message->mutable_restore()
                         ->mutable_sources(static_cast<int>(i))
                         ->mutable_tensors()
                         ->mutable_tensors();
    for (const auto& [name, tensor] : given->tensors) {
      v1::Tensor& value = tensors[name];
      value.set_dtype(v1::DATA_TYPE_FLOAT32);
      for (const std::int64_t extent : tensor.shape()) value.add_shape(extent);
      value.set_data(tensor.bytes().data(), tensor.bytes().size());
    }
  }
}

// ------------------------------------------------------------ to the API

v1::Split ToProto(dataset::Split split) {
  switch (split) {
    case dataset::Split::kTrain:
      return v1::TRAIN;
    case dataset::Split::kValidation:
      return v1::VALIDATION;
    case dataset::Split::kTest:
      return v1::TEST;
  }
  return v1::SPLIT_UNSPECIFIED;
}

v1::Job::State ToProto(jobs::JobState state) {
  v1::Job::State value = v1::Job::STATE_UNSPECIFIED;
  v1::Job::State_Parse(jobs::Name(state), &value);
  return value;
}

absl::StatusOr<jobs::JobState> FromProto(v1::Job::State state) {
  for (const jobs::JobState candidate : jobs::kJobStates) {
    if (ToProto(candidate) == state) return candidate;
  }
  return InvalidArgument("{} is no state of a job", static_cast<int>(state));
}

void ToProto(const jobs::VersionName& version, v1::ModelVersion* message) {
  message->set_model(version.model);
  message->set_version(version.version);
  message->set_digest(version.digest);
}

void ToProto(const jobs::JobCheckpoint& checkpoint, const std::string& model,
             v1::Checkpoint* message) {
  ToProto({model, checkpoint.version, checkpoint.digest}, message->mutable_version());
  message->set_step(checkpoint.step);
  *message->mutable_created_at() = TimeUtil::MicrosecondsToTimestamp(checkpoint.created_at_us);
  message->set_bytes(static_cast<std::int64_t>(checkpoint.bytes));
  message->set_new_bytes(static_cast<std::int64_t>(checkpoint.new_bytes));
}

void ToProto(const jobs::AliasMove& move, v1::AliasMove* message) {
  message->set_alias(move.alias);
  message->set_version(move.version);
  message->set_previous_version(move.previous);
  *message->mutable_time() = TimeUtil::MicrosecondsToTimestamp(move.at_us);
  message->set_rolled_back(move.rolled_back);
}

// Not in a namespace of their own: they would hide the others of their name.
static void ToProto(const jobs::JobEvaluation& evaluation, v1::JobEvaluation* message) {
  message->set_step(evaluation.step);
  message->set_split(ToProto(evaluation.split));
  message->set_images(evaluation.images);
  message->set_top1(evaluation.top1);
  message->set_top5(evaluation.top5);
  message->set_loss(evaluation.loss);
}

static void ToProto(const train::StepReport& report, v1::JobMetrics* message) {
  message->set_step(report.step);
  message->set_loss(report.loss);
  message->set_regularization(report.regularization);
  message->set_auxiliary(report.auxiliary);
  message->set_total_loss(report.total);
  message->set_learning_rate(report.learning_rate);
  message->set_gradient_norm(report.gradient_norm);
  message->set_accuracy(report.accuracy);
}

static void ToProto(const jobs::JobProgress& progress, v1::JobProgress* message) {
  message->set_step(progress.step);
  message->set_steps(progress.steps);
  message->set_epoch(progress.epoch);
  message->set_images_per_second(progress.images_per_second);
  if (progress.seconds_left) {
    *message->mutable_time_left() =
        TimeUtil::MillisecondsToDuration(std::llround(*progress.seconds_left * 1000));
  }
  if (progress.metrics) ToProto(*progress.metrics, message->mutable_metrics());
  if (progress.evaluation) ToProto(*progress.evaluation, message->mutable_evaluation());
}

static void ToProto(const jobs::GateOutcome& outcome, const v1::JobSpec& spec,
                    v1::GateOutcome* message) {
  const auto& gates = spec.promotion().gates();
  if (outcome.gate >= 0 && outcome.gate < gates.size()) {
    *message->mutable_gate() = gates.Get(outcome.gate);
  }
  message->set_passed(outcome.passed);
  message->set_reason(outcome.reason);
}

static void ToProto(const jobs::RestoredFrom& restored, v1::RestoredVariable* message) {
  message->set_variable(restored.variable);
  for (const std::int64_t extent : restored.shape) message->add_shape(extent);
  message->set_source(restored.source);
  message->set_tensor(restored.tensor);
}

void ToProto(const jobs::Job& job, const absl::StatusOr<jobs::JobSpec>& spec, bool restored,
             v1::Job* message) {
  const jobs::JobHistory& history = job.history;
  message->set_id(job.id);
  message->set_state(ToProto(job.state));
  if (!job.error.ok()) ToProto(job.error, message->mutable_error());
  if (spec.ok()) ToProto(*spec, /*values=*/restored, message->mutable_spec());
  message->set_idempotency_key(job.idempotency_key);
  for (const auto& [key, value] : job.metadata) (*message->mutable_metadata())[key] = value;
  const auto time = [](std::int64_t us) { return TimeUtil::MicrosecondsToTimestamp(us); };
  if (job.created_at_us > 0) *message->mutable_created_at() = time(job.created_at_us);
  if (job.started_at_us > 0) *message->mutable_started_at() = time(job.started_at_us);
  if (job.finished_at_us > 0) *message->mutable_finished_at() = time(job.finished_at_us);
  ToProto(history.progress, message->mutable_progress());
  if (history.base) ToProto(*history.base, message->mutable_base());
  message->set_dataset_digest(history.dataset_digest);
  message->set_build(history.build);
  if (restored) {
    for (const jobs::RestoredFrom& variable : history.restored) {
      ToProto(variable, message->mutable_restored()->add_variables());
    }
  }
  message->set_num_updated_variables(history.updated_variables);
  message->set_num_updated_values(history.updated_values);
  if (history.evaluation) ToProto(*history.evaluation, message->mutable_evaluation());
  for (const jobs::GateOutcome& gate : history.gates) {
    ToProto(gate, message->spec(), message->add_gates());
  }
  if (history.result) ToProto(*history.result, message->mutable_result());
  for (const jobs::AliasMove& move : job.moves) ToProto(move, message->add_moves());
  if (!history.checkpoints.empty()) {
    message->set_last_checkpoint(history.checkpoints.back().version);
  }
}

namespace {
struct EventWriter {
  const v1::JobSpec& spec;
  v1::JobEvent* message;

  void operator()(const jobs::StateChanged& change) const {
    v1::JobEvent::StateChange* state = message->mutable_state();
    state->set_state(ToProto(change.state));
    if (!change.error.ok()) ToProto(change.error, state->mutable_error());
    if (change.result) ToProto(*change.result, state->mutable_result());
  }
  void operator()(const jobs::JobProgress& progress) const {
    ToProto(progress, message->mutable_progress());
  }
  void operator()(const jobs::JobEvaluation& evaluation) const {
    ToProto(evaluation, message->mutable_evaluation());
  }
  void operator()(const jobs::LogLine& line) const { message->set_log(line.text); }
  void operator()(const jobs::JobCheckpoint& checkpoint) const {
    ToProto(checkpoint, spec.model(), message->mutable_checkpoint());
  }
  void operator()(const jobs::GateOutcome& outcome) const {
    ToProto(outcome, spec, message->mutable_gate());
  }
  void operator()(const jobs::AliasMove& move) const { ToProto(move, message->mutable_move()); }
};
}  // namespace

void ToProto(const jobs::JobEvent& event, const v1::JobSpec& spec, v1::JobEvent* message) {
  message->set_sequence(event.sequence);
  *message->mutable_time() = TimeUtil::MicrosecondsToTimestamp(event.at_us);
  std::visit(EventWriter{spec, message}, event.content);
}

}  // namespace zood::server
