#include <fmt/format.h>

#include "base/status.h"
#include "client/client.h"

absl::Status Ask(const std::string& photo) {
  using namespace zood::client;
  ZOOD_ASSIGN_OR_RETURN(Client client, Client::Connect({.address = "localhost:8500"}));
  ZOOD_ASSIGN_OR_RETURN(const zood::v1::ModelSpec model, ParseModelSpec("efficientnet_lite0"));
  ZOOD_ASSIGN_OR_RETURN(const auto answer, client.ClassifyFiles(model, {photo}));
  for (const zood::v1::Class& entry : answer.results(0).classes()) {
    fmt::print("{:6.2f} %  {}\n", entry.probability() * 100, entry.label());
  }
  return absl::OkStatus();
}

absl::Status Train(const std::string& folder) {
  using namespace zood::client;
  ZOOD_ASSIGN_OR_RETURN(Client client, Client::Connect({.address = "localhost:8500"}));
  zood::v1::DatasetSpec pictures;
  pictures.set_name("flowers");
  ZOOD_ASSIGN_OR_RETURN(const auto files, FilesOfDataset(folder));
  ZOOD_ASSIGN_OR_RETURN(const zood::v1::Dataset dataset, client.UploadDataset(pictures, files));

  zood::v1::CreateJobRequest request;
  zood::v1::JobSpec& spec = *request.mutable_spec();
  spec.mutable_base()->set_name("efficientnet_lite0");
  spec.set_dataset(dataset.name());
  spec.set_model("flowers");
  spec.mutable_optimizer()->mutable_adam();
  spec.mutable_learning_rate()->mutable_constant()->set_learning_rate(0.001f);
  spec.mutable_length()->set_epochs(20);
  spec.mutable_promotion()->add_gates()->mutable_minimum_accuracy()->set_accuracy(0.9);
  spec.mutable_promotion()->set_alias("stable");
  ZOOD_ASSIGN_OR_RETURN(const auto created, client.CreateJob(request));
  return client.WatchJob(created.job().id(), 0, [](const zood::v1::JobEvent& event) {
    if (event.has_evaluation()) fmt::print("top-1 {:.4f}\n", event.evaluation().top1());
    return true;
  });
}
