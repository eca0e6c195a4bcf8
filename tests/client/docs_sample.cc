#include <fmt/format.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/client.h"

absl::Status Ask(const std::vector<std::string>& photos) {
  using namespace zood::client;
  ZOOD_ASSIGN_OR_RETURN(Client client, Client::Connect({.address = "localhost:8500"}));
  ZOOD_ASSIGN_OR_RETURN(const zood::v1::ModelSpec model, ParseModelSpec("efficientnet_lite0"));
  ZOOD_ASSIGN_OR_RETURN(const auto answer, client.ClassifyFiles(model, photos));
  for (const zood::v1::ImageResult& result : answer.results()) {
    fmt::print("{:6.2f} %  {}\n", result.classes(0).probability() * 100, result.classes(0).label());
  }
  return absl::OkStatus();
}

absl::Status Stream(zood::client::Client& client, const std::vector<std::string>& photos) {
  std::size_t sent = 0;
  const auto next = [&](zood::v1::ClassifyStreamRequest& request) -> absl::StatusOr<bool> {
    if (sent == photos.size()) return false;  // no more requests
    std::ostringstream bytes;
    bytes << std::ifstream(photos[sent], std::ios::binary).rdbuf();
    request.set_id(photos[sent]);
    request.mutable_request()->mutable_model()->set_name("efficientnet_lite0");
    request.mutable_request()->set_top_k(1);
    request.mutable_request()->add_images()->set_encoded(bytes.str());
    ++sent;
    return true;
  };
  const auto answer = [](const zood::v1::ClassifyStreamResponse& response) {
    fmt::print("{}: {}\n", response.id(),
               response.has_error() ? response.error().message()
                                    : response.response().results(0).classes(0).label());
    return absl::OkStatus();
  };
  return client.ClassifyStream(next, answer);
}

absl::Status Train(const std::string& folder) {
  using namespace zood::client;
  ZOOD_ASSIGN_OR_RETURN(Client client, Client::Connect({.address = "localhost:8500"}));
  zood::v1::DatasetSpec flowers;
  flowers.set_name("flowers");
  ZOOD_ASSIGN_OR_RETURN(const auto files, FilesOfDataset(folder));
  ZOOD_ASSIGN_OR_RETURN(const zood::v1::Dataset dataset,
                        client.UploadDataset(flowers, files.files));

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
