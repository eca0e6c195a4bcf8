#include "client/cli/job_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/util/time_util.h>

#include <cctype>
#include <chrono>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "client/cli/choice.h"

namespace zood::client::cli {
namespace {

using google::protobuf::util::TimeUtil;

constexpr float kLearningRate = 0.01f;  // JobSpec.learning_rate's, for schedules that need one too

absl::Status SetLength(const std::string& option, const std::string& text, v1::Length* length) {
  const absl::StatusOr<ParsedLength> parsed = ParseLength(text);
  if (!parsed.ok()) return Annotate(parsed.status(), option);
  if (parsed->steps) {
    length->set_steps(static_cast<std::int64_t>(parsed->count));
  } else {
    length->set_epochs(parsed->count);
  }
  return absl::OkStatus();
}

absl::Status SetChoice(const std::string& option, const std::string& text, const std::string& oneof,
                       google::protobuf::Message& message) {
  return text.empty() ? absl::OkStatus() : Annotate(Choose(text, oneof, message), option);
}

absl::Status ApplyStart(const JobOptions& options, v1::JobSpec& spec) {
  if (!options.base.empty()) {
    ZOOD_ASSIGN_OR_RETURN(*spec.mutable_base(), ParseModelSpec(options.base));
  }
  if (!options.architecture.empty()) spec.mutable_network()->set_architecture(options.architecture);
  if (!options.size.empty()) ZOOD_RETURN_IF_ERROR(SetSize(options.size, *spec.mutable_network()));
  if (options.channels > 0) spec.mutable_network()->set_channels(options.channels);
  if (!options.dataset.empty()) spec.set_dataset(options.dataset);
  if (!options.model.empty()) spec.set_model(options.model);
  if (options.max_problems) spec.set_max_problem_share(*options.max_problems);
  if (options.min_class_images) spec.set_min_class_images(*options.min_class_images);
  if (!options.restore_from.empty()) spec.clear_restore();
  for (const std::string& model : options.restore_from) {
    v1::RestoreSource* source = spec.mutable_restore()->add_sources();
    ZOOD_ASSIGN_OR_RETURN(*source->mutable_version(), ParseModelSpec(model));
    source->set_missing_allowed(true);
  }
  if (options.update.empty()) return absl::OkStatus();
  v1::VariableSelection* update = spec.mutable_update();
  update->Clear();
  if (options.update.size() == 1 && options.update[0] == "head") {
    update->set_preset(v1::VariableSelection::HEAD);
  } else if (options.update.size() == 1 && options.update[0] == "all") {
    update->set_preset(v1::VariableSelection::ALL);
  } else {
    for (const std::string& pattern : options.update) {
      update->mutable_patterns()->add_patterns(pattern);
    }
  }
  return absl::OkStatus();
}

absl::Status ApplyLearningRate(const JobOptions& options, v1::JobSpec& spec) {
  if (options.schedule.empty() && !options.learning_rate && options.warm_up.empty()) {
    return absl::OkStatus();
  }
  v1::LearningRate& rate = *spec.mutable_learning_rate();
  ZOOD_RETURN_IF_ERROR(SetChoice("--schedule", options.schedule, "schedule", rate));
  if (Chosen("schedule", rate) == nullptr) rate.mutable_constant();
  if (options.learning_rate) {
    ZOOD_RETURN_IF_ERROR(
        Annotate(SetFloat("learning_rate", *options.learning_rate, *Chosen("schedule", rate)),
                 "--learning-rate"));
  } else if (!options.schedule.empty() || rate.has_constant()) {
    google::protobuf::Message& schedule = *Chosen("schedule", rate);
    const auto* field = schedule.GetDescriptor()->FindFieldByName("learning_rate");
    if (field != nullptr && schedule.GetReflection()->GetFloat(schedule, field) == 0) {
      ZOOD_RETURN_IF_ERROR(SetFloat("learning_rate", kLearningRate, schedule));
    }
  }
  if (options.warm_up.empty()) return absl::OkStatus();
  return SetLength("--warm-up", options.warm_up, rate.mutable_warm_up());
}

absl::Status ApplyTraining(const JobOptions& options, v1::JobSpec& spec) {
  if (!options.optimizer.empty()) {
    ZOOD_RETURN_IF_ERROR(
        SetChoice("--optimizer", options.optimizer, "optimizer", *spec.mutable_optimizer()));
  }
  ZOOD_RETURN_IF_ERROR(ApplyLearningRate(options, spec));
  if (!options.loss.empty()) {
    ZOOD_RETURN_IF_ERROR(SetChoice("--loss", options.loss, "loss", *spec.mutable_loss()));
  }
  if (options.label_smoothing) {
    v1::Loss& loss = *spec.mutable_loss();
    if (Chosen("loss", loss) == nullptr) loss.mutable_softmax_cross_entropy();
    ZOOD_RETURN_IF_ERROR(
        Annotate(SetFloat("label_smoothing", *options.label_smoothing, *Chosen("loss", loss)),
                 "--label-smoothing"));
  }
  if (options.clip_norm || !options.gradient_rules.empty()) spec.clear_gradient_rules();
  for (const std::string& rule : options.gradient_rules) {
    ZOOD_RETURN_IF_ERROR(SetChoice("--gradient-rule", rule, "rule", *spec.add_gradient_rules()));
  }
  if (options.clip_norm) {
    spec.add_gradient_rules()->mutable_clip_by_global_norm()->set_max_norm(*options.clip_norm);
  }
  if (!options.augmentation.empty()) {
    ZOOD_RETURN_IF_ERROR(SetChoice("--augmentation", options.augmentation, "augmentation",
                                   *spec.mutable_augmentation()));
  }
  if (options.aux_loss_weight) spec.set_aux_loss_weight(*options.aux_loss_weight);
  if (options.weight_decay) spec.set_weight_decay(*options.weight_decay);
  if (options.keep_probability) spec.set_keep_probability(*options.keep_probability);
  if (options.batch_norm_decay) spec.set_batch_norm_decay(*options.batch_norm_decay);
  if (options.moving_average_decay) spec.set_moving_average_decay(*options.moving_average_decay);
  if (options.epochs) spec.mutable_length()->set_epochs(*options.epochs);
  if (options.steps) spec.mutable_length()->set_steps(*options.steps);
  if (options.batch > 0) spec.set_batch_size(options.batch);
  if (options.accumulate > 0) spec.set_accumulate(options.accumulate);
  if (options.seed) spec.set_seed(*options.seed);
  return absl::OkStatus();
}

// "500steps", or a duration.
absl::Status ApplyCheckpoints(const JobOptions& options, v1::JobSpec& spec) {
  if (options.keep > 0) spec.mutable_checkpoints()->set_keep(options.keep);
  if (options.checkpoint_every.empty()) return absl::OkStatus();
  v1::CheckpointPolicy& policy = *spec.mutable_checkpoints();
  const absl::StatusOr<ParsedLength> length = ParseLength(options.checkpoint_every);
  if (length.ok() && length->steps && length->count >= 1) {
    policy.set_every_steps(static_cast<std::int64_t>(length->count));
    return absl::OkStatus();
  }
  const absl::StatusOr<std::chrono::seconds> seconds = ParseDuration(options.checkpoint_every);
  if (!seconds.ok()) {
    return InvalidArgument("--checkpoint-every: '{}': expected 500steps, or a duration like 10m",
                           options.checkpoint_every);
  }
  *policy.mutable_every() = TimeUtil::SecondsToDuration(seconds->count());
  return absl::OkStatus();
}

absl::Status ApplyEvaluation(const JobOptions& options, v1::JobSpec& spec) {
  if (!options.evaluate_every.empty()) {
    ZOOD_RETURN_IF_ERROR(SetLength("--evaluate-every", options.evaluate_every,
                                   spec.mutable_evaluation()->mutable_every()));
  }
  if (options.evaluate_on == "validation") spec.mutable_evaluation()->set_split(v1::VALIDATION);
  if (options.evaluate_on == "test") spec.mutable_evaluation()->set_split(v1::TEST);
  if (options.patience > 0) {
    spec.mutable_evaluation()->mutable_early_stop()->set_patience(options.patience);
  }
  if (options.min_improvement) {
    v1::EvaluationPolicy::EarlyStop& stop = *spec.mutable_evaluation()->mutable_early_stop();
    stop.set_min_improvement(*options.min_improvement);
    if (stop.patience() == 0) stop.set_patience(1);
  }
  return absl::OkStatus();
}

void ApplyPromotion(const JobOptions& options, v1::JobSpec& spec) {
  const bool better = !options.better_than.empty();
  if (options.min_accuracy || better) spec.mutable_promotion()->clear_gates();
  if (options.min_accuracy) {
    spec.mutable_promotion()->add_gates()->mutable_minimum_accuracy()->set_accuracy(
        *options.min_accuracy);
  }
  if (better) {
    v1::Gate::BetterThanAlias* gate =
        spec.mutable_promotion()->add_gates()->mutable_better_than_alias();
    gate->set_alias(options.better_than);
    gate->set_margin(options.margin.value_or(0));
  }
  if (!options.alias.empty()) spec.mutable_promotion()->set_alias(options.alias);
}

// "2h" from now, or a time.
absl::Status ApplyDeadline(const JobOptions& options, v1::JobSpec& spec) {
  if (options.deadline.empty()) return absl::OkStatus();
  const absl::StatusOr<std::chrono::seconds> seconds = ParseDuration(options.deadline);
  if (seconds.ok()) {
    *spec.mutable_deadline() =
        TimeUtil::GetCurrentTime() + TimeUtil::SecondsToDuration(seconds->count());
    return absl::OkStatus();
  }
  if (TimeUtil::FromString(options.deadline, spec.mutable_deadline())) return absl::OkStatus();
  return InvalidArgument(
      "--deadline: '{}': expected a duration from now like 2h, or a time like 2026-11-24T18:00:00Z",
      options.deadline);
}

void ApplyResources(const JobOptions& options, v1::JobSpec& spec) {
  if (options.threads > 0) spec.mutable_resources()->set_threads(options.threads);
  if (options.memory > 0) {
    spec.mutable_resources()->set_memory_bytes(static_cast<std::int64_t>(options.memory));
  }
  if (options.feature_cache > 0) {
    spec.mutable_resources()->set_feature_cache_bytes(
        static_cast<std::int64_t>(options.feature_cache));
  }
}

}  // namespace

absl::Status Apply(const JobOptions& options, v1::JobSpec& spec) {
  ZOOD_RETURN_IF_ERROR(ApplyStart(options, spec));
  ZOOD_RETURN_IF_ERROR(ApplyTraining(options, spec));
  ZOOD_RETURN_IF_ERROR(ApplyCheckpoints(options, spec));
  ZOOD_RETURN_IF_ERROR(ApplyEvaluation(options, spec));
  ApplyPromotion(options, spec);
  ZOOD_RETURN_IF_ERROR(ApplyDeadline(options, spec));
  ApplyResources(options, spec);
  if (!options.note.empty()) spec.set_note(options.note);
  return absl::OkStatus();
}

namespace {

// Longer names first: none is found inside another.
constexpr std::pair<const char*, const char*> kFieldOptions[] = {
    {"checkpoints.every_steps", "--checkpoint-every"},
    {"early_stop.min_improvement", "--min-improvement"},
    {"learning_rate.warm_up", "--warm-up"},
    {"resources.threads", "--threads"},
    {"resources.memory_bytes", "--memory"},
    {"resources.feature_cache_bytes", "--feature-cache"},
    {"feature_cache_bytes", "--feature-cache"},
    {"moving_average_decay", "--moving-average-decay"},
    {"early_stop.patience", "--patience"},
    {"checkpoints.every", "--checkpoint-every"},
    {"checkpoints.keep", "--keep"},
    {"max_problem_share", "--max-problems"},
    {"min_class_images", "--min-class-images"},
    {"batch_norm_decay", "--batch-norm-decay"},
    {"keep_probability", "--keep-probability"},
    {"evaluation.every", "--evaluate-every"},
    {"evaluation.split", "--evaluate-on"},
    {"aux_loss_weight", "--aux-loss-weight"},
    {"gradient_rules", "--gradient-rule"},
    {"learning_rate", "--learning-rate"},
    {"weight_decay", "--weight-decay"},
    {"memory_bytes", "--memory"},
    {"augmentation", "--augmentation"},
    {"batch_size", "--batch"},
    {"accumulate", "--accumulate"},
};

bool IsPartOfName(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '/';
}

}  // namespace

absl::Status NameOptions(const absl::Status& error) {
  if (error.ok()) return error;
  std::string text(error.message());
  for (const auto& [field, option] : kFieldOptions) {
    const std::string name = field;
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at)) {
      const std::size_t end = at + name.size();
      const bool whole = (at == 0 || (!IsPartOfName(text[at - 1]) && text[at - 1] != '.')) &&
                         (end == text.size() || !IsPartOfName(text[end]));
      const std::string_view replacement = whole ? std::string_view(option) : field;
      text.replace(at, name.size(), replacement);
      at += replacement.size();
    }
  }
  return absl::Status(error.code(), text);
}

absl::StatusOr<v1::JobSpec> ToJobSpec(const JobOptions& options) {
  v1::JobSpec spec;
  if (!options.spec_file.empty()) {
    ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(options.spec_file));
    const auto bytes = contents->bytes();
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ZOOD_RETURN_IF_ERROR(ParseMessage(text, options.spec_file, spec));
  }
  ZOOD_RETURN_IF_ERROR(Apply(options, spec));
  if (spec.start_case() == v1::JobSpec::START_NOT_SET) {
    return InvalidArgument(
        "what to start from is missing: give --base, or --arch to train from "
        "scratch");
  }
  if (spec.dataset().empty()) return InvalidArgument("the pictures are missing: give --data");
  if (spec.model().empty()) {
    const std::string& start = spec.has_base() ? spec.base().name() : spec.network().architecture();
    spec.set_model(fmt::format("{}-{}", start, spec.dataset()));
  }
  return spec;
}

}  // namespace zood::client::cli
