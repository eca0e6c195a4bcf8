#include "client/cli/tables/job_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <vector>

#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

using google::protobuf::util::TimeUtil;

constexpr Table::Align kRight = Table::Align::kRight;
constexpr const char* kInitialized = "initialized";

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string StateName(v1::Job::State state) { return Lower(v1::Job::State_Name(state)); }

std::string StartOf(const v1::JobSpec& spec) {
  if (spec.has_base()) return ToString(spec.base());
  return spec.network().architecture() + " from scratch";
}

std::string Share(const v1::JobProgress& progress) {
  if (progress.steps() == 0) return "-";
  return FormatPercent(static_cast<double>(progress.step()) /
                       static_cast<double>(progress.steps()));
}

// The name of what is set in a oneof; `unset` where nothing is.
std::string NameOf(const google::protobuf::Message& message, const std::string& oneof,
                   const std::string& unset) {
  const auto* field = message.GetReflection()->GetOneofFieldDescriptor(
      message, message.GetDescriptor()->FindOneofByName(oneof));
  return field == nullptr ? unset : std::string(field->name());
}

std::string LengthName(const v1::Length& length, const std::string& unset) {
  if (length.has_steps()) return FormatCount(length.steps(), "step");
  if (length.has_epochs()) return fmt::format("{} epochs", length.epochs());
  return unset;
}

std::string UpdateName(const v1::JobSpec& spec) {
  const v1::VariableSelection& update = spec.update();
  if (update.has_patterns()) {
    return fmt::format("{}", fmt::join(update.patterns().patterns(), ", "));
  }
  if (update.preset() == v1::VariableSelection::HEAD) return "head";
  if (update.preset() == v1::VariableSelection::ALL) return "all";
  return spec.has_base() ? "head" : "all";
}

// "1250 from resnet_v1_50@3, 2 initialized"
std::string DescribeRestored(const v1::RestoreReport& report) {
  std::map<std::string, int> sources;
  for (const v1::RestoredVariable& variable : report.variables()) {
    const bool initialized = variable.source().starts_with(kInitialized);  // "initialized by ..."
    ++sources[initialized ? kInitialized : variable.source()];
  }
  std::vector<std::string> parts;
  for (const auto& [source, count] : sources) parts.push_back(fmt::format("{} {}", count, source));
  return fmt::format("{}", fmt::join(parts, ", "));
}

void AddMethod(const v1::Job& job, Table& table) {
  const v1::JobSpec& spec = job.spec();
  table.Add({"from", StartOf(spec) + (job.base().version() > 0
                                          ? fmt::format(" (version {})", job.base().version())
                                          : "")});
  table.Add({"dataset", fmt::format("{} ({})", spec.dataset(), job.dataset_digest())});
  table.Add({"changes", fmt::format("{}: {}, {} values", UpdateName(spec),
                                    FormatCount(job.num_updated_variables(), "variable"),
                                    job.num_updated_values())});
  table.Add({"method", fmt::format("{}, {} learning rate, batches of {}, {}, augmentation {}",
                                   NameOf(spec.optimizer(), "optimizer", "momentum"),
                                   NameOf(spec.learning_rate(), "schedule", "constant"),
                                   std::max(1, spec.batch_size() == 0 ? 32 : spec.batch_size()),
                                   LengthName(spec.length(), "10 epochs"),
                                   NameOf(spec.augmentation(), "augmentation", "none"))});
  table.Add({"seed", fmt::format("{}", spec.seed())});
  if (job.has_restored()) table.Add({"variables", DescribeRestored(job.restored())});
}

void AddTimes(const v1::Job& job, Table& table) {
  table.Add({"created", TimeUtil::ToString(job.created_at())});
  if (job.has_started_at()) table.Add({"started", TimeUtil::ToString(job.started_at())});
  if (job.has_finished_at()) table.Add({"finished", TimeUtil::ToString(job.finished_at())});
  if (job.spec().has_deadline()) {
    table.Add({"deadline", TimeUtil::ToString(job.spec().deadline())});
  }
}

void AddOutcome(const v1::Job& job, Table& table) {
  if (job.has_progress()) {
    table.Add({"progress", fmt::format("{} of {} steps  {}", job.progress().step(),
                                       job.progress().steps(), DescribeProgress(job.progress()))});
  }
  const bool final = job.has_evaluation();
  if (final || job.progress().has_evaluation()) {
    table.Add(
        {"evaluation", DescribeEvaluation(final ? job.evaluation() : job.progress().evaluation())});
  }
  for (const v1::GateOutcome& gate : job.gates()) table.Add({"gate", DescribeGate(gate)});
  if (job.last_checkpoint() > 0) {
    table.Add({"checkpoint", fmt::format("version {}", job.last_checkpoint())});
  }
  if (job.result().version() > 0) {
    table.Add({"result", fmt::format("{}@{} ({})", job.result().model(), job.result().version(),
                                     job.result().digest())});
  }
  for (const v1::AliasMove& move : job.moves()) table.Add({"alias", DescribeMove(move)});
}

}  // namespace

std::string DescribeJobs(const v1::ListJobsResponse& answer) {
  if (answer.jobs().empty()) {
    return "There is no such job. `zoo finetune create --help` says how to make one.\n";
  }
  Table table({{"JOB"},
               {"STATE"},
               {"MODEL"},
               {"FROM"},
               {"DATASET"},
               {"DONE", kRight},
               {"TOP-1", kRight},
               {"RESULT", kRight},
               {"CREATED"}});
  for (const v1::Job& job : answer.jobs()) {
    const v1::JobEvaluation& evaluation =
        job.has_evaluation() ? job.evaluation() : job.progress().evaluation();
    table.Add({job.id(), StateName(job.state()), job.spec().model(), StartOf(job.spec()),
               job.spec().dataset(), Share(job.progress()),
               evaluation.images() > 0 ? FormatPercent(evaluation.top1()) : "-",
               job.result().version() > 0 ? fmt::format("{}", job.result().version()) : "-",
               TimeUtil::ToString(job.created_at())});
  }
  return table.ToString();
}

std::string DescribeJob(const v1::Job& job) {
  Table table({{job.id().empty() ? "job" : job.id()}, {""}});
  table.Add({"state", StateName(job.state()) +
                          (job.has_error() ? ": " + job.error().message() : std::string())});
  table.Add({"model", job.spec().model()});
  AddMethod(job, table);
  AddTimes(job, table);
  AddOutcome(job, table);
  const std::map<std::string, std::string> metadata(job.metadata().begin(), job.metadata().end());
  for (const auto& [key, value] : metadata) {
    table.Add({"metadata", fmt::format("{} = {}", key, value)});
  }
  if (!job.spec().note().empty()) table.Add({"note", job.spec().note()});
  return table.ToString();
}

std::string DescribeCheckpoints(const v1::ListCheckpointsResponse& answer) {
  if (answer.checkpoints().empty()) return "The job has no checkpoint yet.\n";
  Table table({{"VERSION", kRight},
               {"STEP", kRight},
               {"CREATED"},
               {"SIZE", kRight},
               {"NEW", kRight},
               {"DIGEST"}});
  for (const v1::Checkpoint& checkpoint : answer.checkpoints()) {
    table.Add({fmt::format("{}", checkpoint.version().version()),
               fmt::format("{}", checkpoint.step()), TimeUtil::ToString(checkpoint.created_at()),
               FormatBytes(checkpoint.bytes()), FormatBytes(checkpoint.new_bytes()),
               checkpoint.version().digest()});
  }
  return table.ToString();
}

std::string DescribeProgress(const v1::JobProgress& progress) {
  std::vector<std::string> parts;  // what matters most comes first: terminals may be narrow
  if (progress.has_metrics()) {
    const v1::JobMetrics& metrics = progress.metrics();
    parts.push_back(fmt::format("loss {:.4f}", metrics.total_loss()));
    parts.push_back("accuracy " + FormatPercent(metrics.accuracy()));
    parts.push_back(fmt::format("rate {:.3g}", metrics.learning_rate()));
  }
  if (progress.has_time_left() && progress.step() < progress.steps()) {
    parts.push_back(FormatClock(progress.time_left().seconds()) + " left");
  }
  if (progress.images_per_second() > 0) {
    parts.push_back(fmt::format("{:.1f} images/s", progress.images_per_second()));
  }
  parts.push_back(fmt::format("epoch {:.2f}", progress.epoch()));
  return fmt::format("{}", fmt::join(parts, "  "));
}

std::string DescribeEvaluation(const v1::JobEvaluation& result) {
  return fmt::format("step {}: top-1 {}, top-5 {}, loss {:.4f} on {} of {}", result.step(),
                     FormatPercent(result.top1()), FormatPercent(result.top5()), result.loss(),
                     FormatCount(result.images(), "image"), Lower(v1::Split_Name(result.split())));
}

std::string DescribeGate(const v1::GateOutcome& gate) {
  return fmt::format("{} {}{}{}", NameOf(gate.gate(), "gate", "gate"),
                     gate.passed() ? "passed" : "not passed", gate.reason().empty() ? "" : ": ",
                     gate.reason());
}

std::string DescribeMove(const v1::AliasMove& move) {
  return fmt::format("{} is version {}{}{}", move.alias(), move.version(),
                     move.previous_version() > 0 ? fmt::format(" (was {})", move.previous_version())
                                                 : std::string(),
                     move.rolled_back() ? ", rolled back since" : "");
}

std::string DescribeEvent(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kState: {
      std::string text = StateName(event.state().state());
      if (event.state().has_error()) text += ": " + event.state().error().message();
      if (event.state().result().version() > 0) {
        text += fmt::format(": {}@{}", event.state().result().model(),
                            event.state().result().version());
      }
      return text;
    }
    case v1::JobEvent::kProgress:
      return fmt::format("step {} of {}  {}", event.progress().step(), event.progress().steps(),
                         DescribeProgress(event.progress()));
    case v1::JobEvent::kEvaluation:
      return DescribeEvaluation(event.evaluation());
    case v1::JobEvent::kLog:
      return event.log();
    case v1::JobEvent::kCheckpoint:
      return fmt::format("step {}: checkpoint, version {} ({} new)", event.checkpoint().step(),
                         event.checkpoint().version().version(),
                         FormatBytes(event.checkpoint().new_bytes()));
    case v1::JobEvent::kGate:
      return DescribeGate(event.gate());
    case v1::JobEvent::kMove:
      return DescribeMove(event.move());
    case v1::JobEvent::EVENT_NOT_SET:
      break;
  }
  return "";
}

std::string FormatClock(std::int64_t seconds) {
  const std::int64_t hours = seconds / 3600;
  const std::int64_t minutes = seconds / 60 % 60;
  if (hours == 0) return fmt::format("{}:{:02}", minutes, seconds % 60);
  return fmt::format("{}:{:02}:{:02}", hours, minutes, seconds % 60);
}

}  // namespace zood::client::cli
