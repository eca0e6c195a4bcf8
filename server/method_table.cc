#include "server/method_table.h"

#include <grpcpp/support/method_handler.h>

#include <utility>

namespace zood::server {

// One service, registered as generated code does it, but for the guard around each method. Names
// are literals: gRPC keeps their addresses.
template <typename Wrapped>
class MethodTable::Front final : public grpc::Service {
 public:
  Front(MethodTable& table, Wrapped& service) : table_(table), service_(service) {}

  template <typename Request, typename Response>
  Front& operator()(const char* name, CallLength length,
                    grpc::Status (Wrapped::*method)(grpc::ServerContext*, const Request*,
                                                    Response*)) {
    return Register<grpc::internal::RpcMethodHandler<Wrapped, Request, Response>>(
        name, length, grpc::internal::RpcMethod::NORMAL_RPC, method);
  }

  template <typename Request, typename Response>
  Front& operator()(const char* name, CallLength length,
                    grpc::Status (Wrapped::*method)(grpc::ServerContext*, const Request*,
                                                    grpc::ServerWriter<Response>*)) {
    return Register<grpc::internal::ServerStreamingHandler<Wrapped, Request, Response>>(
        name, length, grpc::internal::RpcMethod::SERVER_STREAMING, method);
  }

  template <typename Request, typename Response>
  Front& operator()(const char* name, CallLength length,
                    grpc::Status (Wrapped::*method)(grpc::ServerContext*,
                                                    grpc::ServerReaderWriter<Response, Request>*)) {
    return Register<grpc::internal::BidiStreamingHandler<Wrapped, Request, Response>>(
        name, length, grpc::internal::RpcMethod::BIDI_STREAMING, method);
  }

 private:
  template <typename Handler, typename Function>
  Front& Register(const char* name, CallLength length, grpc::internal::RpcMethod::RpcType type,
                  Function method) {
    table_.methods_.push_back({name, length});
    const auto answer = [&calls = table_.calls_, length, method](Wrapped* service,
                                                                 auto*... arguments) {
      return calls.Answer(length, [&] { return (service->*method)(arguments...); });
    };
    AddMethod(new grpc::internal::RpcServiceMethod(name, type, new Handler(answer, &service_)));
    return *this;
  }

  MethodTable& table_;
  Wrapped& service_;
};

template <typename Wrapped>
MethodTable::Front<Wrapped>& MethodTable::Add(Wrapped& service) {
  auto front = std::make_unique<Front<Wrapped>>(*this, service);
  Front<Wrapped>& added = *front;
  services_.push_back(std::move(front));
  return added;
}

MethodTable::MethodTable(CallsInFlight& calls, const BlockingServices& services) : calls_(calls) {
  constexpr CallLength kShort = CallLength::kShort;
  constexpr CallLength kLong = CallLength::kLong;

  methods_ = {{"/zood.v1.Classifier/Classify", CallLength::kUnthreaded},
              {"/zood.v1.Classifier/ClassifyStream", CallLength::kUnthreaded}};

  using Models = v1::Models::Service;
  auto& models = Add(services.models);
  models("/zood.v1.Models/ListArchitectures", kShort, &Models::ListArchitectures);
  models("/zood.v1.Models/ImportModel", kLong, &Models::ImportModel);
  models("/zood.v1.Models/UploadModel", kLong, &Models::UploadModel);
  models("/zood.v1.Models/ListModels", kShort, &Models::ListModels);
  models("/zood.v1.Models/GetModel", kShort, &Models::GetModel);
  models("/zood.v1.Models/ListVersions", kShort, &Models::ListVersions);
  models("/zood.v1.Models/GetVersion", kShort, &Models::GetVersion);
  models("/zood.v1.Models/SetAlias", kLong, &Models::SetAlias);
  models("/zood.v1.Models/DeleteAlias", kShort, &Models::DeleteAlias);
  models("/zood.v1.Models/DeleteVersion", kLong, &Models::DeleteVersion);
  models("/zood.v1.Models/DeleteModel", kLong, &Models::DeleteModel);
  models("/zood.v1.Models/LoadModel", kLong, &Models::LoadModel);
  models("/zood.v1.Models/UnloadModel", kLong, &Models::UnloadModel);

  using Evaluation = v1::Evaluation::Service;
  auto& evaluation = Add(services.evaluation);
  evaluation("/zood.v1.Evaluation/Evaluate", kLong, &Evaluation::Evaluate);
  evaluation("/zood.v1.Evaluation/EvaluateStream", kLong, &Evaluation::EvaluateStream);

  using Datasets = v1::Datasets::Service;
  auto& datasets = Add(services.datasets);
  datasets("/zood.v1.Datasets/UploadDataset", kLong, &Datasets::UploadDataset);
  datasets("/zood.v1.Datasets/ImportDataset", kLong, &Datasets::ImportDataset);
  datasets("/zood.v1.Datasets/GetDataset", kShort, &Datasets::GetDataset);
  datasets("/zood.v1.Datasets/ListDatasets", kShort, &Datasets::ListDatasets);
  datasets("/zood.v1.Datasets/ListDatasetItems", kShort, &Datasets::ListDatasetItems);
  datasets("/zood.v1.Datasets/DeleteDataset", kShort, &Datasets::DeleteDataset);

  using FineTuning = v1::FineTuning::Service;
  auto& jobs = Add(services.fine_tuning);
  jobs("/zood.v1.FineTuning/CreateJob", kLong, &FineTuning::CreateJob);
  jobs("/zood.v1.FineTuning/GetJob", kShort, &FineTuning::GetJob);
  jobs("/zood.v1.FineTuning/ListJobs", kShort, &FineTuning::ListJobs);
  jobs("/zood.v1.FineTuning/WatchJob", kLong, &FineTuning::WatchJob);
  jobs("/zood.v1.FineTuning/CancelJob", kShort, &FineTuning::CancelJob);
  jobs("/zood.v1.FineTuning/PauseJob", kShort, &FineTuning::PauseJob);
  jobs("/zood.v1.FineTuning/ResumeJob", kShort, &FineTuning::ResumeJob);
  jobs("/zood.v1.FineTuning/DeleteJob", kLong, &FineTuning::DeleteJob);
  jobs("/zood.v1.FineTuning/ListCheckpoints", kShort, &FineTuning::ListCheckpoints);
  jobs("/zood.v1.FineTuning/PromoteJob", kLong, &FineTuning::PromoteJob);
  jobs("/zood.v1.FineTuning/RollBack", kLong, &FineTuning::RollBack);
  jobs("/zood.v1.FineTuning/ExportCheckpoint", kLong, &FineTuning::ExportCheckpoint);

  // Answers while zood drains, too: its answer says so.
  auto& daemon = Add(services.daemon);
  daemon("/zood.v1.Daemon/GetStatus", CallLength::kAlways, &v1::Daemon::Service::GetStatus);
  daemon("/zood.v1.Daemon/CollectGarbage", kLong, &v1::Daemon::Service::CollectGarbage);
}

}  // namespace zood::server
