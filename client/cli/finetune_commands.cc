// zoo finetune: training jobs.
#include "client/cli/finetune_commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "client/cli/job_watch.h"
#include "client/cli/progress.h"
#include "client/cli/tables/job_tables.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

struct Options {
  std::string job;
  std::vector<std::string> states;
  std::string model;
  std::int64_t max = 100;
  std::int64_t after = 0;
  std::int64_t version = 0;
  std::optional<std::int64_t> expected;
  std::string alias;
  std::string directory;
};

using Function = absl::Status (*)(const Options&, Session&);

CLI::App* AddCommand(CLI::App& group, Invocation& invocation, const std::string& name,
                     const std::string& help, const std::string& example,
                     const std::shared_ptr<Options>& options, Function function) {
  CLI::App* command = group.add_subcommand(name, help);
  command->footer("Example:\n  zoo finetune " + example);
  command->callback([options, function, &invocation] {
    invocation.action = [=](Session& session) { return function(*options, session); };
  });
  return command;
}

// The same with the job as its first argument.
CLI::App* AddJobCommand(CLI::App& group, Invocation& invocation, const std::string& name,
                        const std::string& help, const std::string& example,
                        const std::shared_ptr<Options>& options, Function function) {
  CLI::App* command = AddCommand(group, invocation, name, help, example, options, function);
  command->add_option("job", options->job, "The job's id")->required();
  return command;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

absl::Status List(const Options& options, Session& session) {
  v1::ListJobsRequest request;
  request.set_model(options.model);
  for (const std::string& name : options.states) {
    v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
    (void)v1::Job::State_Parse(Upper(name), &state);  // checked when the command line was parsed
    request.add_states(state);
  }
  v1::ListJobsResponse all;
  const auto room = [&] {
    const std::int64_t left = options.max == 0 ? 1000 : options.max - all.jobs_size();
    return static_cast<int>(std::min<std::int64_t>(left, 1000));
  };
  do {
    request.set_page_size(room());
    ZOOD_ASSIGN_OR_RETURN(const v1::ListJobsResponse page, session.client.ListJobs(request));
    all.mutable_jobs()->MergeFrom(page.jobs());
    all.set_next_page_token(page.next_page_token());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && room() > 0);
  const bool more = !all.next_page_token().empty();
  Print(session, all,
        DescribeJobs(all) + (more ? "There are more: --max 0 lists all of them.\n" : ""));
  return absl::OkStatus();
}

absl::Status PrintJob(const absl::StatusOr<v1::Job>& job, Session& session) {
  ZOOD_RETURN_IF_ERROR(job.status());
  Print(session, *job, DescribeJob(*job));
  return absl::OkStatus();
}

absl::Status Show(const Options& options, Session& session) {
  return PrintJob(session.client.GetJob(options.job), session);
}

absl::Status WatchUntilEnd(const Options& options, Session& session) {
  ZOOD_RETURN_IF_ERROR(Watch({.job = options.job, .after = options.after}, session, stdout));
  ZOOD_ASSIGN_OR_RETURN(const v1::Job job, session.client.GetJob(options.job));
  return OutcomeOf(job);
}

absl::Status PrintState(const absl::StatusOr<v1::Job>& job, Session& session) {
  ZOOD_RETURN_IF_ERROR(job.status());
  Print(session, *job, fmt::format("{}: {}\n", job->id(), v1::Job::State_Name(job->state())));
  return absl::OkStatus();
}

absl::Status Cancel(const Options& options, Session& session) {
  return PrintState(session.client.CancelJob(options.job), session);
}

absl::Status Pause(const Options& options, Session& session) {
  return PrintState(session.client.PauseJob(options.job), session);
}

absl::Status Resume(const Options& options, Session& session) {
  return PrintState(session.client.ResumeJob(options.job), session);
}

absl::Status Delete(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::DeleteJobResponse answer, session.client.DeleteJob(options.job));
  Print(session, answer,
        fmt::format("{}: deleted, and {}\n", options.job,
                    FormatCount(answer.deleted_checkpoints(), "checkpoint")));
  return absl::OkStatus();
}

absl::Status Checkpoints(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const auto answer, session.client.ListCheckpoints(options.job));
  Print(session, answer, DescribeCheckpoints(answer));
  return absl::OkStatus();
}

absl::Status Promote(const Options& options, Session& session) {
  v1::PromoteJobRequest request;
  request.set_id(options.job);
  request.set_version(options.version);
  request.set_alias(options.alias);
  if (options.expected) request.set_expected_version(*options.expected);
  ZOOD_ASSIGN_OR_RETURN(const v1::PromoteJobResponse answer, session.client.PromoteJob(request));
  Print(session, answer,
        fmt::format("{}: {}\n", answer.version().model(), DescribeMove(answer.move())));
  return absl::OkStatus();
}

absl::Status RollBack(const Options& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(const v1::RollBackResponse answer,
                        session.client.RollBack(options.job, options.alias));
  Print(session, answer,
        fmt::format("{} is version {} again (was {})\n", answer.move().alias(),
                    answer.move().version(), answer.move().previous_version()));
  return absl::OkStatus();
}

absl::Status Export(const Options& options, Session& session) {
  std::vector<std::string> files;
  {
    Progress progress;
    const auto show = [&](const std::string& file, std::int64_t done, std::int64_t total) {
      progress.Update(file, done, total,
                      fmt::format("{} of {}", FormatBytes(done), FormatBytes(total)));
    };
    ZOOD_ASSIGN_OR_RETURN(files, session.client.ExportCheckpoint(options.job, options.version,
                                                                 options.directory, show));
  }
  // Programs get the messages that announced the files, with the paths that they have here.
  v1::ExportCheckpointResponse written;
  for (const std::string& file : files) {
    if (!session.json) fmt::print("{}\n", Printable(file));
    written.mutable_file()->set_path(file);
    ZOOD_ASSIGN_OR_RETURN(const std::uint64_t size, FileSystem::Native().Size(file));
    written.mutable_file()->set_size(static_cast<std::int64_t>(size));
    if (session.json) Print(session, written, "");
  }
  return absl::OkStatus();
}

void AddList(CLI::App& group, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = AddCommand(group, invocation, "list", "Jobs, newest first",
                                 "list --state running --state queued", options, List);
  command
      ->add_option("--state", options->states,
                   "Only jobs in this state; may be given several times")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::IsMember({"validating", "queued", "running", "paused", "evaluating", "succeeded",
                             "failed", "cancelling", "cancelled"},
                            CLI::ignore_case));
  command->add_option("--model", options->model, "Only jobs for this model");
  command->add_option("--max", options->max, "At most so many; 0 for all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void AddWatch(CLI::App& group, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = AddJobCommand(
      group, invocation, "watch",
      "Everything that happened to a job, and happens, until it has ended.\nGoes on when the "
      "daemon "
      "is started again. With --json every event is a line. Exits with 1 unless there is a result.",
      "watch JOB", options, WatchUntilEnd);
  command->add_option("--after", options->after, "Only events after this sequence number")
      ->check(CLI::NonNegativeNumber);
}

void AddPromote(CLI::App& group, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = AddJobCommand(
      group, invocation, "promote",
      "Point an alias at a job's result or at one of its checkpoints, whatever its gates say",
      "promote JOB --version 12 --alias stable", options, Promote);
  command->add_option("--version", options->version, "A checkpoint (default: the result)")
      ->check(CLI::PositiveNumber);
  command->add_option("--alias", options->alias, "The alias (default: the job's own, else stable)");
  command
      ->add_option("--expected", options->expected,
                   "Only if the alias names this version now; 0 for none")
      ->check(CLI::NonNegativeNumber);
}

void AddRollBack(CLI::App& group, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  AddJobCommand(group, invocation, "rollback",
                "Point an alias that a job moved back at the version that it named before",
                "rollback JOB", options, RollBack)
      ->add_option("--alias", options->alias, "The alias (default: the one the job moved last)");
}

void AddExport(CLI::App& group, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      AddJobCommand(group, invocation, "export",
                    "Write a checkpoint as TensorFlow's files, slots and global_step among them",
                    "export JOB ./checkpoint", options, Export);
  command->add_option("directory", options->directory, "Where to; made where it is missing")
      ->required();
  command->add_option("--version", options->version, "A checkpoint (default: the newest)")
      ->check(CLI::PositiveNumber);
}

}  // namespace

void AddFinetuneCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* group =
      app.add_subcommand("finetune", "Training jobs: from images to a version that is served");
  group->require_subcommand(1);
  AddFinetuneCreate(*group, invocation);
  AddList(*group, invocation);
  const auto add = [&](const std::string& name, const std::string& help, Function function) {
    AddJobCommand(*group, invocation, name, help, name + " JOB", std::make_shared<Options>(),
                  function);
  };
  add("show", "All about a job", Show);
  AddWatch(*group, invocation);
  add("cancel", "End a job; its checkpoints stay for a while", Cancel);
  add("pause", "Write a checkpoint and stop until the job is resumed", Pause);
  add("resume", "Let a paused or failed job go on from its last checkpoint", Resume);
  add("delete", "Take an ended job away, with its checkpoints; its result stays", Delete);
  add("checkpoints", "A job's checkpoints, newest first", Checkpoints);
  AddPromote(*group, invocation);
  AddRollBack(*group, invocation);
  AddExport(*group, invocation);
}

}  // namespace zood::client::cli
