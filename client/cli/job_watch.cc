#include "client/cli/job_watch.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdio>

#include "base/status.h"
#include "client/cli/progress.h"
#include "client/cli/tables/job_tables.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

// Progress::Update() draws a bar of the steps; the line says the rest.
void ShowProgress(const v1::JobProgress& at, Progress& progress) {
  progress.Update("training", at.step(), at.steps(),
                  fmt::format("{}/{}  {}", at.step(), at.steps(), DescribeProgress(at)));
}

std::string JsonLine(const v1::JobEvent& event) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(event, &json, options);
  return json;
}

// "2026-11-24T05:43:00Z": whole seconds.
std::string When(const google::protobuf::Timestamp& time) {
  google::protobuf::Timestamp seconds;
  seconds.set_seconds(time.seconds());
  return google::protobuf::util::TimeUtil::ToString(seconds);
}

}  // namespace

absl::Status Watch(const WatchOptions& options, Session& session, std::FILE* out) {
  Progress progress;
  v1::JobProgress last;  // none while the job does not train
  const auto show = [&](const v1::JobEvent& event) {
    if (session.json) {
      fmt::print(out, "{}\n", JsonLine(event));
      std::fflush(out);
      return true;
    }
    if (event.has_progress()) {
      last = event.progress();
    } else {
      progress.Clear();
      fmt::print(out, "{}  {}\n", When(event.time()), Printable(DescribeEvent(event)));
      std::fflush(out);
    }
    if (event.has_state()) last.Clear();
    if (last.steps() > 0) ShowProgress(last, progress);
    return true;
  };
  return session.client.WatchJob(options.job, options.after, show);
}

absl::Status OutcomeOf(const v1::Job& job) {
  switch (job.state()) {
    case v1::Job::SUCCEEDED:
      break;
    case v1::Job::CANCELLED:
      return Cancelled("job {} was cancelled", job.id());
    case v1::Job::FAILED:
      return FailedPrecondition(
          "job {} failed: {}{}", job.id(), job.error().message(),
          job.last_checkpoint() > 0
              ? fmt::format("; `zoo finetune resume {}` goes on from its last checkpoint", job.id())
              : std::string());
    default:
      return FailedPrecondition("job {} is {}", job.id(), v1::Job::State_Name(job.state()));
  }
  for (const v1::GateOutcome& gate : job.gates()) {
    if (gate.passed()) continue;
    return FailedPrecondition(
        "job {} has made no version: {}; `zoo finetune promote {} --version {}` takes its last "
        "checkpoint nevertheless",
        job.id(), DescribeGate(gate), job.id(), job.last_checkpoint());
  }
  return absl::OkStatus();
}

}  // namespace zood::client::cli
