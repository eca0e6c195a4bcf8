#include "server/zood_v1/convert_fine_tuning.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <cmath>
#include <utility>

#include "base/status.h"
#include "server/zood_v1/convert.h"

namespace zood::server {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::uint64_t kMaxValueBytes = std::uint64_t{64} << 20;
// Of the plan that each version keeps: tensors are left out, so that little else can be long.
constexpr std::size_t kMaxPlanBytes = 1 << 20;

jobs::Length ToLength(const v1::Length& message, jobs::Length unset) {
  switch (message.length_case()) {
    case v1::Length::kSteps:
      return {.steps = message.steps()};
    case v1::Length::kEpochs:
      return {.epochs = message.epochs()};
    case v1::Length::LENGTH_NOT_SET:
      break;
  }
  return unset;
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

absl::StatusOr<jobs::RestoreFrom> ToSource(const v1::RestoreSource& message) {
  if (message.has_tensors()) {
    TensorMap values;
    std::uint64_t bytes = 0;
    for (const auto& [name, tensor] : message.tensors().tensors()) {
      bytes += tensor.data().size();
      auto value = ToTensor(tensor);
      if (!value.ok()) return Annotate(value.status(), "restore: the value of '" + name + "'");
      values.emplace(name, *std::move(value));
    }
    if (bytes > kMaxValueBytes) {
      return ResourceExhausted("restore: the values have {} bytes; {} are allowed", bytes,
                               kMaxValueBytes);
    }
    return values;
  }
  if (!message.has_version()) {
    return InvalidArgument("restore: a source names neither a version nor values");
  }
  jobs::VersionSource source{.allow_missing = message.missing_allowed(),
                             .allow_reshape = message.reshape_allowed()};
  ZOOD_ASSIGN_OR_RETURN(source.version, ToModelRef(message.version()));
  source.include.assign(message.include().begin(), message.include().end());
  source.exclude.assign(message.exclude().begin(), message.exclude().end());
  source.names.insert(message.names().begin(), message.names().end());
  for (const v1::RenameRule& rule : message.renames()) {
    source.renamings.push_back({rule.pattern(), rule.replacement()});
  }
  return source;
}

train::Augmentation ToAugmentation(const v1::Augmentation& message) {
  switch (message.augmentation_case()) {
    case v1::Augmentation::kVgg:
      return train::VggTrain{.min_side = message.vgg().resize_side_min(),
                             .max_side = message.vgg().resize_side_max()};
    case v1::Augmentation::kInception:
      return train::InceptionTrain{.fast = message.inception().fast()};
    case v1::Augmentation::kCifarnet:
      return train::CifarnetTrain{};
    case v1::Augmentation::kNone:
    case v1::Augmentation::AUGMENTATION_NOT_SET:
      break;
  }
  return train::NoAugmentation{};
}

absl::Status SetStart(const v1::JobSpec& message, jobs::JobSpec& spec) {
  switch (message.start_case()) {
    case v1::JobSpec::kBase: {
      ZOOD_ASSIGN_OR_RETURN(spec.start, ToModelRef(message.base()));
      spec.update = jobs::UpdatePreset::kHead;
      return absl::OkStatus();
    }
    case v1::JobSpec::kNetwork: {
      spec.start = ToNetworkSpec(message.network());
      spec.update = jobs::UpdatePreset::kAll;
      return absl::OkStatus();
    }
    case v1::JobSpec::START_NOT_SET:
      break;
  }
  return InvalidArgument(
      "the job has no start: set `base` to a model, or `network` to a network of the zoo");
}

absl::Status SetUpdate(const v1::VariableSelection& message, jobs::JobSpec& spec) {
  if (message.has_patterns()) {
    const auto& patterns = message.patterns().patterns();
    if (patterns.empty()) return InvalidArgument("update: there is no pattern");
    spec.update = jobs::UpdatePatterns(patterns.begin(), patterns.end());
  } else if (message.preset() == v1::VariableSelection::HEAD) {
    spec.update = jobs::UpdatePreset::kHead;
  } else if (message.preset() == v1::VariableSelection::ALL) {
    spec.update = jobs::UpdatePreset::kAll;
  }
  return absl::OkStatus();
}

absl::Status SetPromotion(const v1::Promotion& message, jobs::JobSpec& spec) {
  spec.alias = message.alias();
  for (const v1::Gate& gate : message.gates()) {
    if (gate.has_minimum_accuracy()) {
      spec.gates.emplace_back(
          jobs::MinimumAccuracy{.accuracy = gate.minimum_accuracy().accuracy()});
    } else if (gate.has_better_than_alias()) {
      const auto& better = gate.better_than_alias();
      spec.gates.emplace_back(
          jobs::BetterThanAlias{.alias = better.alias(), .margin = better.margin()});
    } else {
      return InvalidArgument("promotion: a gate is empty");
    }
  }
  return absl::OkStatus();
}

absl::Status SetEvaluation(const v1::EvaluationPolicy& message, jobs::JobSpec& spec) {
  spec.evaluate_every = ToLength(message.every(), {.epochs = 1});
  switch (message.split()) {
    case v1::TRAIN:
      return InvalidArgument("evaluation.split: pictures that are learned from prove nothing");
    case v1::VALIDATION:
      spec.evaluate_on = dataset::Split::kValidation;
      break;
    case v1::TEST:
      spec.evaluate_on = dataset::Split::kTest;
      break;
    default:
      break;
  }
  if (message.has_early_stop()) {
    spec.early_stop = {.patience = message.early_stop().patience(),
                       .min_improvement = message.early_stop().min_improvement()};
  }
  return absl::OkStatus();
}

absl::Status SetResources(const v1::JobSpec& message, jobs::JobSpec& spec) {
  const v1::Resources& resources = message.resources();
  for (const std::int64_t bytes : {resources.memory_bytes(), resources.feature_cache_bytes()}) {
    if (bytes < 0) return InvalidArgument("resources: {} bytes", bytes);
  }
  spec.threads = resources.threads();
  spec.memory_bytes = static_cast<std::uint64_t>(resources.memory_bytes());
  if (resources.feature_cache_bytes() > 0) {
    spec.feature_cache_bytes = static_cast<std::uint64_t>(resources.feature_cache_bytes());
  }
  if (message.has_deadline()) {
    spec.deadline_us = TimeUtil::TimestampToMicroseconds(message.deadline());
    if (spec.deadline_us <= 0) return InvalidArgument("the deadline is not after 1970");
  }
  const v1::CheckpointPolicy& checkpoints = message.checkpoints();
  if (checkpoints.every_steps() != 0 || checkpoints.has_every()) {
    spec.checkpoint_steps = checkpoints.every_steps();
    spec.checkpoint_time =
        std::chrono::milliseconds(TimeUtil::DurationToMilliseconds(checkpoints.every()));
  }
  if (checkpoints.keep() != 0) spec.keep_checkpoints = checkpoints.keep();
  return absl::OkStatus();
}

// The spec for people, without values that may be megabytes.
absl::StatusOr<std::string> Plan(const v1::JobSpec& spec) {
  v1::JobSpec plan = spec;
  for (auto& source : *plan.mutable_restore()->mutable_sources()) {
    if (source.has_tensors()) {
      for (auto& [name, tensor] : *source.mutable_tensors()->mutable_tensors()) {
        tensor.clear_data();
      }
    }
  }
  if (!spec.has_restore()) plan.clear_restore();
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto printed = google::protobuf::util::MessageToJsonString(plan, &json, options);
  if (!printed.ok()) return InvalidArgument("the spec is no JSON: {}", printed.ToString());
  if (json.size() <= kMaxPlanBytes) return json;
  return InvalidArgument(
      "the spec has {} bytes as JSON, tensors left out, and every version of the job keeps it; {} "
      "are allowed: a pattern or a rename rule says what a long list of names does",
      json.size(), kMaxPlanBytes);
}

}  // namespace

absl::StatusOr<jobs::JobSpec> ToJobSpec(const v1::JobSpec& message) {
  jobs::JobSpec spec{.dataset = message.dataset(),
                     .dataset_digest = message.dataset_digest(),
                     .model = message.model(),
                     .seed = message.seed(),
                     .note = message.note()};
  ZOOD_RETURN_IF_ERROR(SetStart(message, spec));
  if (message.has_max_problem_share()) spec.max_problem_share = message.max_problem_share();
  if (message.has_min_class_images()) spec.min_class_images = message.min_class_images();
  ZOOD_RETURN_IF_ERROR(SetUpdate(message.update(), spec));
  if (message.has_restore()) {
    spec.restore.emplace();
    for (const v1::RestoreSource& source : message.restore().sources()) {
      ZOOD_ASSIGN_OR_RETURN(spec.restore->emplace_back(), ToSource(source));
    }
  }
  ZOOD_ASSIGN_OR_RETURN(spec.optimizer, ToOptimizer(message.optimizer()));
  ZOOD_ASSIGN_OR_RETURN(spec.loss, ToLoss(message.loss()));
  for (const v1::GradientRule& rule : message.gradient_rules()) {
    ZOOD_ASSIGN_OR_RETURN(spec.gradient_rules.emplace_back(), ToGradientRule(rule, message.seed()));
  }
  // Checked when it is made, with the true length of an epoch: before the job is queued.
  spec.learning_rate = [rate = message.learning_rate()](const jobs::ScheduleContext& context) {
    return ToSchedule(rate, context);
  };
  if (message.has_aux_loss_weight()) spec.aux_loss_weight = message.aux_loss_weight();
  if (message.has_weight_decay()) spec.weight_decay = message.weight_decay();
  if (message.has_keep_probability()) spec.keep_probability = message.keep_probability();
  if (message.has_batch_norm_decay()) spec.batch_norm_decay = message.batch_norm_decay();
  if (message.has_moving_average_decay()) {
    spec.moving_average_decay = message.moving_average_decay();
  }
  if (message.batch_size() != 0) spec.batch_size = message.batch_size();
  if (message.accumulate() != 0) spec.accumulate = message.accumulate();
  spec.length = ToLength(message.length(), {.epochs = 10});
  spec.augmentation = ToAugmentation(message.augmentation());
  ZOOD_RETURN_IF_ERROR(SetEvaluation(message.evaluation(), spec));
  ZOOD_RETURN_IF_ERROR(SetPromotion(message.promotion(), spec));
  ZOOD_RETURN_IF_ERROR(SetResources(message, spec));
  ZOOD_ASSIGN_OR_RETURN(spec.plan, Plan(message));
  return spec;
}

std::string Encode(const v1::JobSpec& spec) {
  std::string encoded;
  {
    google::protobuf::io::StringOutputStream stream(&encoded);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    spec.SerializeToCodedStream(&output);
  }
  return encoded;
}

absl::StatusOr<jobs::JobSpec> DecodeJobSpec(const std::string& encoded) {
  v1::JobSpec spec;
  if (!spec.ParseFromString(encoded)) return DataLoss("the job's spec cannot be read");
  return ToJobSpec(spec);
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

void ToProto(const jobs::Job& job, bool restored, v1::Job* message) {
  const jobs::JobHistory& history = job.history;
  message->set_id(job.id);
  message->set_state(ToProto(job.state));
  if (!job.error.ok()) ToProto(job.error, message->mutable_error());
  message->mutable_spec()->ParseFromString(job.spec);
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
  } else {
    for (auto& source : *message->mutable_spec()->mutable_restore()->mutable_sources()) {
      if (source.has_tensors()) source.mutable_tensors()->clear_tensors();
    }
  }
  message->set_num_updated_variables(history.updated_variables);
  message->set_num_updated_values(history.updated_values);
  if (history.evaluation) ToProto(*history.evaluation, message->mutable_evaluation());
  for (const jobs::GateOutcome& gate : history.gates) {
    ToProto(gate, message->spec(), message->add_gates());
  }
  if (history.result) ToProto(*history.result, message->mutable_result());
  for (const jobs::AliasMove& move : history.moves) ToProto(move, message->add_moves());
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
