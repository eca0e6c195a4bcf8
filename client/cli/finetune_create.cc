// zoo finetune create: from images to a version.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/status.h"
#include "client/cli/dataset_commands.h"
#include "client/cli/finetune_commands.h"
#include "client/cli/job_options.h"
#include "client/cli/job_watch.h"
#include "client/cli/tables/job_tables.h"
#include "client/cli/tables/table.h"

namespace zood::client::cli {
namespace {

struct CreateOptions {
  JobOptions job;
  DatasetOptions dataset;
  std::string data;  // a path or a dataset's name
  std::vector<std::string> metadata;
  std::string key;
  bool detach = false;
  bool check = false;
};

bool IsPath(const CreateOptions& options) {
  std::error_code ignored;
  return options.dataset.remote || options.data.find('/') != std::string::npos ||
         std::filesystem::exists(options.data, ignored);
}

// Before anything is sent: what --data stands for, and whether the rest makes sense.
absl::Status Complete(CreateOptions& options) {
  if (options.data.empty()) return absl::OkStatus();
  if (!IsPath(options)) {
    options.job.dataset = options.data;
    return absl::OkStatus();
  }
  options.dataset.paths = {options.data};
  if (options.dataset.name.empty()) options.dataset.name = DatasetNameOf(options.data);
  if (options.dataset.name.empty()) {
    return InvalidArgument("'{}' gives a dataset no name: give --dataset-name", options.data);
  }
  options.job.dataset = options.dataset.name;
  return absl::OkStatus();
}

absl::StatusOr<v1::CreateJobRequest> ToRequest(const CreateOptions& options) {
  v1::CreateJobRequest request;
  ZOOD_ASSIGN_OR_RETURN(*request.mutable_spec(), ToJobSpec(options.job));
  for (const std::string& entry : options.metadata) {
    const std::size_t equals = entry.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return InvalidArgument("--metadata '{}': expected KEY=VALUE", entry);
    }
    (*request.mutable_metadata())[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  request.set_idempotency_key(options.key);
  request.set_validate_only(options.check);
  return request;
}

absl::Status PrintCreated(const CreateOptions& options, const v1::CreateJobResponse& answer,
                          const Session& session) {
  const std::string memory = FormatBytes(answer.estimated_memory_bytes());
  Print(session, answer,
        options.check
            ? DescribeJob(answer.job()) + fmt::format("\nThe job is sound; it takes {}.\n", memory)
            : fmt::format("{}{}, takes {}; `zoo finetune watch {}` follows it\n", answer.job().id(),
                          answer.existing() ? ": was there already" : ": created", memory,
                          answer.job().id()));
  return absl::OkStatus();
}

// Which version requests for the model get by now, and how to change that.
std::string WhatAnswers(const v1::Job& job, Client& client) {
  const std::string& name = job.spec().model();
  v1::ModelSpec model;
  model.set_name(name);
  const absl::StatusOr<v1::Version> now = client.GetVersion(model);
  if (!now.ok()) return "";
  std::string text =
      fmt::format("\n`zoo classify {}` is answered by version {}", name, now->version());
  if (job.result().version() == now->version()) {
    text += ", the result";
    if (!job.moves().empty() && job.moves().rbegin()->previous_version() > 0) {
      text += fmt::format(" (before: {}; `zoo finetune rollback {}` goes back)",
                          job.moves().rbegin()->previous_version(), job.id());
    }
  } else if (job.result().version() > 0) {
    text +=
        fmt::format("; `zoo finetune promote {} --alias stable` makes it version {}, the result",
                    job.id(), job.result().version());
  }
  return text + ".\n";
}

// Until the job has ended. Programs get the job as it is then, people see it come.
absl::Status Follow(const v1::CreateJobResponse& created, Session& session) {
  const std::string& id = created.job().id();
  Session people{.client = session.client};
  std::FILE* out = session.json ? stderr : stdout;
  fmt::print(out,
             "{}: {}; takes {}. It goes on if this command is stopped: `zoo finetune watch {}`\n",
             id, created.existing() ? "was there already" : "created",
             FormatBytes(created.estimated_memory_bytes()), id);
  std::fflush(out);
  ZOOD_RETURN_IF_ERROR(Watch({.job = id}, people, out));
  ZOOD_ASSIGN_OR_RETURN(const v1::Job job, session.client.GetJob(id));
  Print(session, job, "\n" + DescribeJob(job) + WhatAnswers(job, session.client));
  return OutcomeOf(job);
}

// What can be refused before an image is sent is refused then.
absl::Status CheckBeforeUpload(const v1::CreateJobRequest& request, Session& session) {
  v1::CreateJobRequest check = request;
  check.set_validate_only(true);
  check.mutable_spec()->clear_dataset();
  return session.client.CreateJob(check).status();
}

absl::StatusOr<v1::Dataset> SendImages(const CreateOptions& options, Session& session) {
  absl::StatusOr<v1::Dataset> dataset = MakeDataset(options.dataset, session.client);
  if (dataset.status().code() == absl::StatusCode::kAlreadyExists) {
    return Annotate(dataset.status(), "--dataset-name gives these images another name");
  }
  if (!dataset.ok()) return dataset;
  fmt::print(stderr, "{}: {} in {} classes, {} left out\n", dataset->name(),
             FormatCount(dataset->num_items(), "image"), dataset->classes_size(),
             dataset->num_problems());
  for (const std::string& warning : dataset->warnings()) {
    fmt::print(stderr, "warning: {}\n", Printable(warning));
  }
  return dataset;
}

absl::Status Create(const CreateOptions& options, Session& session) {
  ZOOD_ASSIGN_OR_RETURN(v1::CreateJobRequest request, ToRequest(options));
  bool made_here = false;
  if (!options.dataset.paths.empty()) {
    ZOOD_RETURN_IF_ERROR(NameOptions(CheckBeforeUpload(request, session)));
    const std::string& name = options.dataset.name;
    made_here = absl::IsNotFound(session.client.GetDataset(name).status());
    ZOOD_ASSIGN_OR_RETURN(const v1::Dataset dataset, SendImages(options, session));
    request.mutable_spec()->set_dataset_digest(dataset.digest());
  }
  const absl::StatusOr<v1::CreateJobResponse> created = session.client.CreateJob(request);
  // A dataset that only a job was to use is not left behind without one. Where nobody knows
  // whether there is a job, it stays.
  const bool refused =
      absl::IsInvalidArgument(created.status()) || absl::IsFailedPrecondition(created.status()) ||
      absl::IsNotFound(created.status()) || absl::IsAlreadyExists(created.status()) ||
      absl::IsResourceExhausted(created.status());
  if (made_here && (refused || (created.ok() && options.check))) {
    session.client.DeleteDataset(options.dataset.name).IgnoreError();
  }
  if (!created.ok()) return NameOptions(created.status());
  if (options.detach || options.check) return PrintCreated(options, *created, session);
  return Follow(*created, session);
}

void AddData(CLI::App& command, CreateOptions& options) {
  const std::string group = "Images";
  command
      .add_option(
          "-d,--data", options.data,
          "A dataset of the daemon's, or a path here (what is there, or has a '/'): a folder, "
          "archive or index of which a dataset is made")
      ->group(group);
  command
      .add_option("--dataset-name", options.dataset.name,
                  "What to call the dataset made from a path (default: as the path)")
      ->group(group);
  AddDatasetOptions(command, options.dataset, group);
}

}  // namespace

void AddFinetuneCreate(CLI::App& group, Invocation& invocation) {
  CLI::App* command = group.add_subcommand(
      "create",
      "Train: from images to a new version of a model, while the daemon goes on "
      "serving.\nWatches "
      "the job until it has ended, unless --detach. LENGTHs are 2.5epochs or 100steps.");
  command->footer(
      "Examples:\n"
      "  zoo finetune create --base inception_resnet_v2 --data ./flowers\n"
      "  zoo finetune create --base resnet_v1_50 --data flowers --model flowers --update all \\\n"
      "      --optimizer rms_prop --learning-rate 0.001 --schedule cosine --epochs 20 \\\n"
      "      --augmentation inception --min-accuracy 0.9 --better-than stable --alias stable\n"
      "  zoo finetune create --arch lenet --size 28 --channels 1 --data fashion --epochs 12\n"
      "  zoo finetune create --spec job.json --seed 2 --detach");
  const auto options = std::make_shared<CreateOptions>();
  AddData(*command, *options);
  AddJobOptions(*command, options->job);
  command
      ->add_option("--metadata", options->metadata, "KEY=VALUE to keep with the job; several times")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--key", options->key,
                      "Idempotency key: the same job with the same key is made once");
  command->add_flag("--detach", options->detach, "Print the job and return");
  command->add_flag("--check", options->check,
                    "Say whether the job could run and what it takes; make none");
  command->callback([options, &invocation] {
    // Without a file all is known by now; what a file adds is known when it is read.
    const absl::Status complete = Complete(*options);
    if (!complete.ok()) {
      throw CLI::ValidationError("create", std::string(complete.message()));
    }
    if (options->job.spec_file.empty()) {
      const absl::Status sound = ToRequest(*options).status();
      if (!sound.ok()) throw CLI::ValidationError("create", std::string(sound.message()));
    }
    invocation.action = [options](Session& session) { return Create(*options, session); };
  });
}

}  // namespace zood::client::cli
