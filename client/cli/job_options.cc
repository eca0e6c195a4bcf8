#include "client/cli/job_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/time_util.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <chrono>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "client/cli/choice.h"

namespace zood::client::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::TimeUtil;
using Values = std::vector<std::string>;

// ------------------------------------------------------------ fields by their paths

// "checkpoints.keep": the message that has the field, made where it is unset, and the field.
std::pair<Message*, const FieldDescriptor*> FieldAt(std::string_view path, v1::JobSpec& spec) {
  Message* message = &spec;
  for (;;) {
    const std::size_t dot = path.find('.');
    const FieldDescriptor* field =
        message->GetDescriptor()->FindFieldByName(std::string(path.substr(0, dot)));
    if (dot == std::string_view::npos) return {message, field};
    message = message->GetReflection()->MutableMessage(message, field);
    path.remove_prefix(dot + 1);
  }
}

Message& MessageAt(std::string_view path, v1::JobSpec& spec) {
  const auto [message, field] = FieldAt(path, spec);
  return *message->GetReflection()->MutableMessage(message, field);
}

absl::Status SetField(std::string_view path, const std::string& text, v1::JobSpec& spec) {
  const auto [message, field] = FieldAt(path, spec);
  return cli::SetField(*field, text, *message);
}

absl::Status SetLength(const std::string& text, Message& message) {
  ZOOD_ASSIGN_OR_RETURN(const ParsedLength parsed, ParseLength(text));
  auto& length = static_cast<v1::Length&>(message);
  if (parsed.steps) {
    length.set_steps(static_cast<std::int64_t>(parsed.count));
  } else {
    length.set_epochs(parsed.count);
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------ what an option does

using Write = std::function<absl::Status(const Values& values, v1::JobSpec& spec)>;

struct Option {
  const char* names = "";  // "-o,--optimizer"
  std::string field = {};  // of the JobSpec: "optimizer", "checkpoints.keep"
  std::string help = {};
  Write write = {};  // unset: the text is the field's value
  std::optional<CLI::Validator> check = {};
  const char* type = "TEXT";
  bool repeated = false;
  // A field that is cleared first, once for all options that write to it: the file's list goes.
  const char* replaces = nullptr;
  std::vector<const char*> excludes = {};
  const char* needs = nullptr;
};

// "NAME:FIELD=VALUE,..." for the oneof of that name in the message at `path`.
Write Choice(std::string path, std::string oneof) {
  return
      [path = std::move(path), oneof = std::move(oneof)](const Values& values, v1::JobSpec& spec) {
        return Choose(values[0], oneof, MessageAt(path, spec));
      };
}

Write LengthOf(std::string path) {
  return [path = std::move(path)](const Values& values, v1::JobSpec& spec) {
    return SetLength(values[0], MessageAt(path, spec));
  };
}

absl::Status WriteBase(const Values& values, v1::JobSpec& spec) {
  ZOOD_ASSIGN_OR_RETURN(*spec.mutable_base(), ParseModelSpec(values[0]));
  return absl::OkStatus();
}

absl::Status WriteSize(const Values& values, v1::JobSpec& spec) {
  return SetSize(values[0], *spec.mutable_network());
}

absl::Status WriteUpdate(const Values& values, v1::JobSpec& spec) {
  v1::VariableSelection& update = *spec.mutable_update();
  if (values == Values{"head"}) {
    update.set_preset(v1::VariableSelection::HEAD);
  } else if (values == Values{"all"}) {
    update.set_preset(v1::VariableSelection::ALL);
  } else {
    update.mutable_patterns()->mutable_patterns()->Add(values.begin(), values.end());
  }
  return absl::OkStatus();
}

absl::Status WriteRestore(const Values& values, v1::JobSpec& spec) {
  for (const std::string& model : values) {
    v1::RestoreSource& source = *spec.mutable_restore()->add_sources();
    ZOOD_ASSIGN_OR_RETURN(*source.mutable_version(), ParseModelSpec(model));
    source.set_missing_allowed(true);
  }
  return absl::OkStatus();
}

// The schedule, constant where none is chosen, with the default of JobSpec.learning_rate.
Message& ScheduleOf(v1::JobSpec& spec) {
  constexpr float kLearningRate = 0.01f;
  v1::LearningRate& rate = *spec.mutable_learning_rate();
  if (Chosen("schedule", rate) == nullptr) rate.mutable_constant();
  Message& schedule = *Chosen("schedule", rate);
  const FieldDescriptor* field = schedule.GetDescriptor()->FindFieldByName("learning_rate");
  if (field != nullptr && schedule.GetReflection()->GetFloat(schedule, field) == 0) {
    schedule.GetReflection()->SetFloat(&schedule, field, kLearningRate);
  }
  return schedule;
}

absl::Status SetFloatField(const std::string& field, const std::string& text, Message& message) {
  float value = 0;
  if (!CLI::detail::lexical_cast(text, value)) {
    return InvalidArgument("'{}' is no number", text);
  }
  return SetFloat(field, value, message);
}

absl::Status WriteLearningRate(const Values& values, v1::JobSpec& spec) {
  return SetFloatField("learning_rate", values[0], ScheduleOf(spec));
}

absl::Status WriteSchedule(const Values& values, v1::JobSpec& spec) {
  ZOOD_RETURN_IF_ERROR(Choose(values[0], "schedule", *spec.mutable_learning_rate()));
  ScheduleOf(spec);
  return absl::OkStatus();
}

absl::Status WriteWarmUp(const Values& values, v1::JobSpec& spec) {
  ScheduleOf(spec);
  return SetLength(values[0], *spec.mutable_learning_rate()->mutable_warm_up());
}

absl::Status WriteLabelSmoothing(const Values& values, v1::JobSpec& spec) {
  v1::Loss& loss = *spec.mutable_loss();
  if (Chosen("loss", loss) == nullptr) loss.mutable_softmax_cross_entropy();
  return SetFloatField("label_smoothing", values[0], *Chosen("loss", loss));
}

absl::Status WriteGradientRules(const Values& values, v1::JobSpec& spec) {
  for (const std::string& rule : values) {
    ZOOD_RETURN_IF_ERROR(Choose(rule, "rule", *spec.add_gradient_rules()));
  }
  return absl::OkStatus();
}

absl::Status WriteClipNorm(const Values& values, v1::JobSpec& spec) {
  return SetFloatField("max_norm", values[0],
                       *spec.add_gradient_rules()->mutable_clip_by_global_norm());
}

// "500steps", or a duration.
absl::Status WriteCheckpointEvery(const Values& values, v1::JobSpec& spec) {
  v1::CheckpointPolicy& policy = *spec.mutable_checkpoints();
  const absl::StatusOr<ParsedLength> length = ParseLength(values[0]);
  if (length.ok() && length->steps && length->count >= 1) {
    policy.set_every_steps(static_cast<std::int64_t>(length->count));
    return absl::OkStatus();
  }
  const absl::StatusOr<std::chrono::seconds> seconds = ParseDuration(values[0]);
  if (!seconds.ok()) {
    return InvalidArgument("'{}': expected 500steps, or a duration like 10m", values[0]);
  }
  *policy.mutable_every() = TimeUtil::SecondsToDuration(seconds->count());
  return absl::OkStatus();
}

absl::Status WriteSplit(const Values& values, v1::JobSpec& spec) {
  spec.mutable_evaluation()->set_split(values[0] == "test" ? v1::TEST : v1::VALIDATION);
  return absl::OkStatus();
}

absl::Status WriteMinImprovement(const Values& values, v1::JobSpec& spec) {
  v1::EvaluationPolicy::EarlyStop& stop = *spec.mutable_evaluation()->mutable_early_stop();
  if (stop.patience() == 0) stop.set_patience(1);
  return SetField("evaluation.early_stop.min_improvement", values[0], spec);
}

absl::Status WriteMinAccuracy(const Values& values, v1::JobSpec& spec) {
  v1::Gate& gate = *spec.mutable_promotion()->add_gates();
  gate.mutable_minimum_accuracy()->set_accuracy(std::stod(values[0]));
  return absl::OkStatus();
}

absl::Status WriteBetterThan(const Values& values, v1::JobSpec& spec) {
  v1::Gate& gate = *spec.mutable_promotion()->add_gates();
  gate.mutable_better_than_alias()->set_alias(values[0]);
  return absl::OkStatus();
}

// Of the gate that --better-than has added.
absl::Status WriteMargin(const Values& values, v1::JobSpec& spec) {
  auto& gates = *spec.mutable_promotion()->mutable_gates();
  gates.rbegin()->mutable_better_than_alias()->set_margin(std::stod(values[0]));
  return absl::OkStatus();
}

// "2h" from now, or a time.
absl::Status WriteDeadline(const Values& values, v1::JobSpec& spec) {
  const absl::StatusOr<std::chrono::seconds> seconds = ParseDuration(values[0]);
  if (seconds.ok()) {
    *spec.mutable_deadline() =
        TimeUtil::GetCurrentTime() + TimeUtil::SecondsToDuration(seconds->count());
    return absl::OkStatus();
  }
  if (TimeUtil::FromString(values[0], spec.mutable_deadline())) return absl::OkStatus();
  return InvalidArgument(
      "'{}': expected a duration from now like 2h, or a time like 2026-11-24T18:00:00Z", values[0]);
}

// ------------------------------------------------------------ the options

struct Group {
  const char* name = "";
  std::vector<Option> options = {};
};

std::string OneOf(const Message& message, const std::string& oneof) {
  return fmt::format("{}", fmt::join(Choices(message, oneof), ", "));
}

CLI::Validator Share() { return CLI::Range(0.0, 1.0); }

// A new option of a job is a line here. They are applied in this order.
const std::vector<Group>& Groups() {
  // clang-format off
  static const std::vector<Group>* const groups = new std::vector<Group>{
  {.name = "What to learn from", .options = {
    {.names = "-b,--base", .field = "base",
     .help = "The model to start from",
     .write = WriteBase, .check = IsModelSpec()},
    {.names = "-a,--arch", .field = "network.architecture",
     .help = "Instead: a network of the zoo with initial values, to train from scratch",
     .excludes = {"--base"}},
    {.names = "--size", .field = "network",
     .help = "With --arch: input in pixels, 224 or HEIGHTxWIDTH",
     .write = WriteSize, .excludes = {"--base"}},
    {.names = "--channels", .field = "network.channels",
     .help = "With --arch: input channels, 1 or 3",
     .check = CLI::IsMember({"1", "3"}), .type = "INT", .excludes = {"--base"}},
    {.names = "--restore-from", .field = "restore",
     .help = "Take variables from this model, where it has them; may be given several times. "
         "--spec can say more",
     .write = WriteRestore, .check = IsModelSpec(), .repeated = true, .replaces = "restore"},
    {.names = "--max-problems", .field = "max_problem_share",
     .help = "Share of unreadable images to put up with (default: 0.01)",
     .check = Share(), .type = "FLOAT"},
    {.names = "--min-class-images", .field = "min_class_images",
     .help = "Images to learn from that every class must have (default: 2)",
     .check = CLI::PositiveNumber, .type = "INT"},
  }},
  {.name = "How to learn", .options = {
    {.names = "-u,--update", .field = "update",
     .help = "What changes: head, all, or patterns of variables' names; may be given several "
         "times (default: head, with --arch all)",
     .write = WriteUpdate, .repeated = true, .replaces = "update"},
    {.names = "-o,--optimizer", .field = "optimizer",
     .help = OneOf(v1::Optimizer(), "optimizer") + " (default: momentum); with settings: "
         "adam:beta1=0.8,epsilon=0.1",
     .write = Choice("optimizer", "optimizer")},
    {.names = "--schedule", .field = "learning_rate.schedule",
     .help = OneOf(v1::LearningRate(), "schedule") + " (default: constant); with settings: "
         "exponential:decay_length={epochs=2}",
     .write = WriteSchedule},
    {.names = "-l,--learning-rate", .field = "learning_rate",
     .help = "Of the first step (default: 0.01)",
     .write = WriteLearningRate, .check = CLI::PositiveNumber, .type = "FLOAT"},
    {.names = "--warm-up", .field = "learning_rate.warm_up",
     .help = "Rise from zero over this length: 1epochs, 100steps",
     .write = WriteWarmUp},
    {.names = "--loss", .field = "loss",
     .help = OneOf(v1::Loss(), "loss") + " (default: softmax_cross_entropy)",
     .write = Choice("loss", "loss")},
    {.names = "--label-smoothing", .field = "loss.label_smoothing",
     .help = "Of a cross entropy",
     .write = WriteLabelSmoothing, .check = Share(), .type = "FLOAT"},
    {.names = "--aux-loss-weight", .field = "aux_loss_weight",
     .help = "Of the auxiliary classifier's loss (default: 0.4)",
     .type = "FLOAT"},
    {.names = "--gradient-rule", .field = "gradient_rules",
     .help = OneOf(v1::GradientRule(), "rule") + ", in the order given: noise:scale=0.01. May be "
         "given several times",
     .write = WriteGradientRules, .repeated = true, .replaces = "gradient_rules"},
    {.names = "--clip-norm", .field = "clip_by_global_norm.max_norm",
     .help = "Clip all gradients to this global norm",
     .write = WriteClipNorm, .check = CLI::PositiveNumber, .type = "FLOAT",
     .replaces = "gradient_rules"},
    {.names = "--weight-decay", .field = "weight_decay",
     .help = "L2 scale (default: the network's own)",
     .check = CLI::NonNegativeNumber, .type = "FLOAT"},
    {.names = "--keep-probability", .field = "keep_probability",
     .help = "Share that dropouts keep (default: the network's own)",
     .check = Share(), .type = "FLOAT"},
    {.names = "--batch-norm-decay", .field = "batch_norm_decay",
     .help = "Of moving statistics (default: the network's own)",
     .check = Share(), .type = "FLOAT"},
    {.names = "--moving-average-decay", .field = "moving_average_decay",
     .help = "Keep moving averages of the variables; they become the result",
     .check = Share(), .type = "FLOAT"},
    {.names = "--augmentation", .field = "augmentation",
     .help = OneOf(v1::Augmentation(), "augmentation") + " (default: none); inception:fast=true",
     .write = Choice("augmentation", "augmentation")},
    {.names = "--seed", .field = "seed",
     .help = "Decides everything random (default: 0)",
     .type = "UINT"},
  }},
  {.name = "How long", .options = {
    {.names = "-e,--epochs", .field = "length.epochs",
     .help = "Passes over the images (default: 10)",
     .check = CLI::PositiveNumber, .type = "FLOAT"},
    {.names = "--steps", .field = "length.steps",
     .help = "Instead: steps",
     .check = CLI::PositiveNumber, .type = "INT", .excludes = {"--epochs"}},
    {.names = "--batch", .field = "batch_size",
     .help = "Images computed together (default: 32)",
     .check = CLI::PositiveNumber, .type = "INT"},
    {.names = "--accumulate", .field = "accumulate",
     .help = "Batches that make one step (default: 1)",
     .check = CLI::PositiveNumber, .type = "INT"},
    {.names = "--patience", .field = "evaluation.early_stop.patience",
     .help = "Stop after so many evaluations without improvement, and take the best",
     .check = CLI::PositiveNumber, .type = "INT"},
    {.names = "--min-improvement", .field = "evaluation.early_stop.min_improvement",
     .help = "Of the accuracy that counts as one",
     .write = WriteMinImprovement, .type = "FLOAT"},
    {.names = "--deadline", .field = "deadline",
     .help = "A job not done by then fails: 2h, 2026-11-24T18:00:00Z",
     .write = WriteDeadline},
    {.names = "--checkpoint-every", .field = "checkpoints.every",
     .help = "500steps, or 10m (default: 10m)",
     .write = WriteCheckpointEvery},
    {.names = "--keep", .field = "checkpoints.keep",
     .help = "Checkpoints to keep (default: 3)",
     .check = CLI::PositiveNumber, .type = "INT"},
    {.names = "--threads", .field = "resources.threads",
     .help = "Cores to use (default: all)",
     .check = CLI::PositiveNumber, .type = "INT"},
    {.names = "--memory", .field = "resources.memory_bytes",
     .help = "Memory the job may take: 4GiB",
     .check = CLI::AsSizeValue(false), .type = "SIZE"},
    {.names = "--feature-cache", .field = "resources.feature_cache_bytes",
     .help = "Part of it for what is computed once for each image (default: 1GiB)",
     .check = CLI::AsSizeValue(false), .type = "SIZE"},
  }},
  {.name = "What becomes of it", .options = {
    {.names = "-m,--model", .field = "model",
     .help = "The model that the result is a version of (default: BASE-DATA)"},
    {.names = "--alias", .field = "promotion.alias",
     .help = "Point this alias at the result when it passes its gates"},
    {.names = "--min-accuracy", .field = "minimum_accuracy.accuracy",
     .help = "Gate: top-1 on held-out images, 0 to 1",
     .write = WriteMinAccuracy, .check = Share(), .type = "FLOAT", .replaces = "promotion.gates"},
    {.names = "--better-than", .field = "better_than_alias.alias",
     .help = "Gate: as good as the version that this alias names, on the same images",
     .write = WriteBetterThan, .replaces = "promotion.gates"},
    {.names = "--margin", .field = "better_than_alias.margin",
     .help = "Better by so much",
     .write = WriteMargin, .check = CLI::Range(-1.0, 1.0), .type = "FLOAT",
     .needs = "--better-than"},
    {.names = "--evaluate-every", .field = "evaluation.every",
     .help = "1epochs, 100steps (default: 1epochs)",
     .write = LengthOf("evaluation.every")},
    {.names = "--evaluate-on", .field = "evaluation.split",
     .help = "validation or test (default: validation, if there)",
     .write = WriteSplit, .check = CLI::IsMember({"validation", "test"})},
    {.names = "--note", .field = "note",
     .help = "Words to keep with the versions"},
  }},
  };
  // clang-format on
  return *groups;
}

// "--optimizer" of "-o,--optimizer".
std::string LongName(const Option& option) {
  const std::string_view names = option.names;
  return std::string(names.substr(names.rfind(',') + 1));
}

absl::Status Apply(const JobOptions& options, v1::JobSpec& spec) {
  const auto for_given = [&](const auto& act) -> absl::Status {
    for (const Group& group : Groups()) {
      for (const Option& option : group.options) {
        const auto given = options.given.find(LongName(option));
        if (given == options.given.end() || given->second.empty()) continue;
        ZOOD_RETURN_IF_ERROR(Annotate(act(option, given->second), given->first));
      }
    }
    return absl::OkStatus();
  };
  ZOOD_RETURN_IF_ERROR(for_given([&](const Option& option, const Values&) {
    if (option.replaces != nullptr) {
      const auto [message, field] = FieldAt(option.replaces, spec);
      message->GetReflection()->ClearField(message, field);
    }
    return absl::OkStatus();
  }));
  return for_given([&](const Option& option, const Values& values) {
    return option.write ? option.write(values, spec) : SetField(option.field, values[0], spec);
  });
}

bool IsPartOfName(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '/';
}

// How the daemon's errors call an option's field: by its path, or the end of it that no word of a
// sentence is. Longer names first: none is found inside another.
std::vector<std::pair<std::string, std::string>> FieldNames() {
  std::vector<std::pair<std::string, std::string>> names = {
      {"checkpoints.every_steps", "--checkpoint-every"},
      {"augmentation", "--augmentation"},
      {"accumulate", "--accumulate"}};
  for (const Group& group : Groups()) {
    for (const Option& option : group.options) {
      for (std::string_view name = option.field; !name.empty();) {
        if (name.find_first_of("._") != std::string_view::npos) {
          names.emplace_back(name, LongName(option));
        }
        const std::size_t dot = name.find('.');
        name = dot == std::string_view::npos ? "" : name.substr(dot + 1);
      }
    }
  }
  std::ranges::stable_sort(names, std::ranges::greater(),
                           [](const auto& name) { return name.first.size(); });
  return names;
}

}  // namespace

void AddJobOptions(CLI::App& command, JobOptions& options) {
  command
      .add_option("--spec", options.spec_file,
                  "The whole job as a zood.v1.JobSpec, JSON or protobuf's text format; options "
                  "count more")
      ->group(Groups()[0].name);
  for (const Group& group : Groups()) {
    for (const Option& option : group.options) {
      CLI::Option* added =
          command.add_option(option.names, options.given[LongName(option)], option.help)
              ->expected(1)
              ->type_name(option.type)
              ->group(group.name);
      if (option.check) added->transform(*option.check);  // sizes become numbers
      if (option.repeated) added->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
      for (const char* other : option.excludes) added->excludes(command.get_option(other));
      if (option.needs != nullptr) added->needs(command.get_option(option.needs));
    }
  }
}

absl::StatusOr<v1::JobSpec> ToJobSpec(const JobOptions& options) {
  v1::JobSpec spec;
  if (!options.spec_file.empty()) {
    ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(options.spec_file));
    const auto bytes = contents->bytes();
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ZOOD_RETURN_IF_ERROR(ParseMessage(text, options.spec_file, spec));
  }
  if (!options.dataset.empty()) spec.set_dataset(options.dataset);
  ZOOD_RETURN_IF_ERROR(Apply(options, spec));
  if (spec.start_case() == v1::JobSpec::START_NOT_SET) {
    return InvalidArgument(
        "what to start from is missing: give --base, or --arch to train from "
        "scratch");
  }
  if (spec.dataset().empty()) return InvalidArgument("the images are missing: give --data");
  if (spec.model().empty()) {
    const std::string& start = spec.has_base() ? spec.base().name() : spec.network().architecture();
    spec.set_model(fmt::format("{}-{}", start, spec.dataset()));
  }
  return spec;
}

absl::Status NameOptions(const absl::Status& error) {
  if (error.ok()) return error;
  std::string text(error.message());
  for (const auto& [name, option] : FieldNames()) {
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at)) {
      const std::size_t end = at + name.size();
      const bool whole = (at == 0 || (!IsPartOfName(text[at - 1]) && text[at - 1] != '.')) &&
                         (end == text.size() || !IsPartOfName(text[end]));
      const std::string& replacement = whole ? option : name;
      text.replace(at, name.size(), replacement);
      at += replacement.size();
    }
  }
  return absl::Status(error.code(), text);
}

}  // namespace zood::client::cli
