// A fine-tuning job through the API, for the scripts beside this file:
//
//   rpc_job ADDRESS DATASET PATH [VALIDATION] < SPEC
//
// PATH (a folder, archive or file; several with ',' between them) becomes the dataset DATASET, of
// which the share VALIDATION is held out where the source does not say; then the job runs that
// standard input describes (a zood.v1.JobSpec as JSON). Progress goes to standard error, the job,
// when it has ended, to standard output as JSON.
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <string>

#include "base/status.h"
#include "client/client.h"

namespace zood {
namespace {

using google::protobuf::util::JsonStringToMessage;
using google::protobuf::util::MessageToJsonString;

absl::Status Upload(client::Client& client, const std::string& name, std::string paths,
                    double validation) {
  std::vector<client::UploadFile> files;
  for (bool more = true; more;) {
    const std::size_t comma = paths.find(',');
    more = comma != std::string::npos;
    ZOOD_ASSIGN_OR_RETURN(const auto found, client::FilesOfDataset(paths.substr(0, comma)));
    files.insert(files.end(), found.files.begin(), found.files.end());
    if (more) paths.erase(0, comma + 1);
  }
  v1::DatasetSpec spec;
  spec.set_name(name);
  spec.mutable_split()->set_validation(validation);
  ZOOD_ASSIGN_OR_RETURN(const v1::Dataset dataset, client.UploadDataset(spec, files));
  fmt::print(stderr, "{}: {} images to learn from, {} held out, {} problems\n", dataset.name(),
             dataset.counts().train(), dataset.counts().validation() + dataset.counts().test(),
             dataset.num_problems());
  return absl::OkStatus();
}

void Show(const v1::JobEvent& event) {
  if (event.has_log()) fmt::print(stderr, "{}\n", event.log());
  if (event.has_state()) {
    fmt::print(stderr, "{}\n", v1::Job::State_Name(event.state().state()));
  }
  if (event.has_evaluation()) {
    const v1::JobEvaluation& e = event.evaluation();
    fmt::print(stderr, "step {}: accuracy {:.4f}, loss {:.4f} on {} images\n", e.step(), e.top1(),
               e.loss(), e.images());
  }
}

absl::Status Run(int argc, char** argv) {
  if (argc < 4) return InvalidArgument("rpc_job ADDRESS DATASET PATH [VALIDATION] < SPEC");
  const std::string text((std::istreambuf_iterator<char>(std::cin)), {});
  v1::CreateJobRequest request;
  if (const auto parsed = JsonStringToMessage(text, request.mutable_spec()); !parsed.ok()) {
    return InvalidArgument("the spec: {}", parsed.message().ToString());
  }
  ZOOD_ASSIGN_OR_RETURN(client::Client client, client::Client::Connect({.address = argv[1]}));
  ZOOD_RETURN_IF_ERROR(Upload(client, argv[2], argv[3], argc > 4 ? std::atof(argv[4]) : 0.1));
  request.mutable_spec()->set_dataset(argv[2]);
  ZOOD_ASSIGN_OR_RETURN(const v1::CreateJobResponse created, client.CreateJob(request));
  ZOOD_RETURN_IF_ERROR(client.WatchJob(created.job().id(), 0, [](const v1::JobEvent& event) {
    Show(event);
    return true;
  }));
  ZOOD_ASSIGN_OR_RETURN(v1::Job job, client.GetJob(created.job().id()));
  job.clear_restored();
  std::string json;
  if (!MessageToJsonString(job, &json).ok()) return Internal("the job cannot be printed");
  fmt::print("{}\n", json);
  if (job.state() == v1::Job::SUCCEEDED) return absl::OkStatus();
  return Internal("the job is {}: {}", v1::Job::State_Name(job.state()), job.error().message());
}

}  // namespace
}  // namespace zood

int main(int argc, char** argv) {
  const absl::Status status = zood::Run(argc, argv);
  if (!status.ok()) fmt::print(stderr, "rpc_job: {}\n", std::string(status.message()));
  return status.ok() ? 0 : 1;
}
