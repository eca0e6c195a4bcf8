#include "server/zood_v1/guarded_services.h"

namespace zood::server {
namespace {

constexpr CallLength kShort = CallLength::kShort;
constexpr CallLength kLong = CallLength::kLong;

template <typename Service>
class Guarded : public Service {
 public:
  Guarded(CallsUnderWay& calls, Service& service) : calls_(calls), service_(service) {}

 protected:
  CallsUnderWay& calls_;
  Service& service_;
};

template <typename Response>
using Writer = grpc::ServerWriter<Response>*;
template <typename Response, typename Request>
using Stream = grpc::ServerReaderWriter<Response, Request>*;
using Context = grpc::ServerContext*;

class GuardedModels final : public Guarded<v1::Models::Service> {
 public:
  using Guarded::Guarded;

  grpc::Status ListArchitectures(Context context, const v1::ListArchitecturesRequest* request,
                                 v1::ListArchitecturesResponse* response) override {
    return calls_.Answer(kShort,
                         [&] { return service_.ListArchitectures(context, request, response); });
  }
  grpc::Status ImportModel(Context context, const v1::ImportModelRequest* request,
                           Writer<v1::ImportModelResponse> writer) override {
    return calls_.Answer(kLong, [&] { return service_.ImportModel(context, request, writer); });
  }
  grpc::Status UploadModel(
      Context context, Stream<v1::ImportModelResponse, v1::UploadModelRequest> stream) override {
    return calls_.Answer(kLong, [&] { return service_.UploadModel(context, stream); });
  }
  grpc::Status ListModels(Context context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override {
    return calls_.Answer(kShort, [&] { return service_.ListModels(context, request, response); });
  }
  grpc::Status GetModel(Context context, const v1::GetModelRequest* request,
                        v1::Model* response) override {
    return calls_.Answer(kShort, [&] { return service_.GetModel(context, request, response); });
  }
  grpc::Status ListVersions(Context context, const v1::ListVersionsRequest* request,
                            v1::ListVersionsResponse* response) override {
    return calls_.Answer(kShort, [&] { return service_.ListVersions(context, request, response); });
  }
  grpc::Status GetVersion(Context context, const v1::GetVersionRequest* request,
                          v1::Version* response) override {
    return calls_.Answer(kShort, [&] { return service_.GetVersion(context, request, response); });
  }
  grpc::Status SetAlias(Context context, const v1::SetAliasRequest* request,
                        v1::SetAliasResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.SetAlias(context, request, response); });
  }
  grpc::Status DeleteAlias(Context context, const v1::DeleteAliasRequest* request,
                           v1::DeleteAliasResponse* response) override {
    return calls_.Answer(kShort, [&] { return service_.DeleteAlias(context, request, response); });
  }
  grpc::Status DeleteVersion(Context context, const v1::DeleteVersionRequest* request,
                             v1::DeleteVersionResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.DeleteVersion(context, request, response); });
  }
  grpc::Status DeleteModel(Context context, const v1::DeleteModelRequest* request,
                           v1::DeleteModelResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.DeleteModel(context, request, response); });
  }
  grpc::Status LoadModel(Context context, const v1::LoadModelRequest* request,
                         v1::LoadModelResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.LoadModel(context, request, response); });
  }
  grpc::Status UnloadModel(Context context, const v1::UnloadModelRequest* request,
                           v1::UnloadModelResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.UnloadModel(context, request, response); });
  }
};

class GuardedEvaluation final : public Guarded<v1::Evaluation::Service> {
 public:
  using Guarded::Guarded;

  grpc::Status Evaluate(Context context, const v1::EvaluateRequest* request,
                        Writer<v1::EvaluateResponse> writer) override {
    return calls_.Answer(kLong, [&] { return service_.Evaluate(context, request, writer); });
  }
  grpc::Status EvaluateStream(
      Context context, Stream<v1::EvaluateResponse, v1::EvaluateStreamRequest> stream) override {
    return calls_.Answer(kLong, [&] { return service_.EvaluateStream(context, stream); });
  }
};

class GuardedDatasets final : public Guarded<v1::Datasets::Service> {
 public:
  using Guarded::Guarded;

  grpc::Status UploadDataset(
      Context context,
      Stream<v1::CreateDatasetResponse, v1::UploadDatasetRequest> stream) override {
    return calls_.Answer(kLong, [&] { return service_.UploadDataset(context, stream); });
  }
  grpc::Status ImportDataset(Context context, const v1::ImportDatasetRequest* request,
                             Writer<v1::CreateDatasetResponse> writer) override {
    return calls_.Answer(kLong, [&] { return service_.ImportDataset(context, request, writer); });
  }
  grpc::Status GetDataset(Context context, const v1::GetDatasetRequest* request,
                          v1::Dataset* response) override {
    return calls_.Answer(kShort, [&] { return service_.GetDataset(context, request, response); });
  }
  grpc::Status ListDatasets(Context context, const v1::ListDatasetsRequest* request,
                            v1::ListDatasetsResponse* response) override {
    return calls_.Answer(kShort, [&] { return service_.ListDatasets(context, request, response); });
  }
  grpc::Status ListDatasetItems(Context context, const v1::ListDatasetItemsRequest* request,
                                v1::ListDatasetItemsResponse* response) override {
    return calls_.Answer(kShort,
                         [&] { return service_.ListDatasetItems(context, request, response); });
  }
  grpc::Status DeleteDataset(Context context, const v1::DeleteDatasetRequest* request,
                             v1::DeleteDatasetResponse* response) override {
    return calls_.Answer(kShort,
                         [&] { return service_.DeleteDataset(context, request, response); });
  }
};

class GuardedFineTuning final : public Guarded<v1::FineTuning::Service> {
 public:
  using Guarded::Guarded;

  grpc::Status CreateJob(Context context, const v1::CreateJobRequest* request,
                         v1::CreateJobResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.CreateJob(context, request, response); });
  }
  grpc::Status GetJob(Context context, const v1::GetJobRequest* request,
                      v1::Job* response) override {
    return calls_.Answer(kShort, [&] { return service_.GetJob(context, request, response); });
  }
  grpc::Status ListJobs(Context context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    return calls_.Answer(kShort, [&] { return service_.ListJobs(context, request, response); });
  }
  grpc::Status WatchJob(Context context, const v1::WatchJobRequest* request,
                        Writer<v1::JobEvent> writer) override {
    return calls_.Answer(kLong, [&] { return service_.WatchJob(context, request, writer); });
  }
  grpc::Status CancelJob(Context context, const v1::CancelJobRequest* request,
                         v1::Job* response) override {
    return calls_.Answer(kShort, [&] { return service_.CancelJob(context, request, response); });
  }
  grpc::Status PauseJob(Context context, const v1::PauseJobRequest* request,
                        v1::Job* response) override {
    return calls_.Answer(kShort, [&] { return service_.PauseJob(context, request, response); });
  }
  grpc::Status ResumeJob(Context context, const v1::ResumeJobRequest* request,
                         v1::Job* response) override {
    return calls_.Answer(kShort, [&] { return service_.ResumeJob(context, request, response); });
  }
  grpc::Status DeleteJob(Context context, const v1::DeleteJobRequest* request,
                         v1::DeleteJobResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.DeleteJob(context, request, response); });
  }
  grpc::Status ListCheckpoints(Context context, const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override {
    return calls_.Answer(kShort,
                         [&] { return service_.ListCheckpoints(context, request, response); });
  }
  grpc::Status PromoteJob(Context context, const v1::PromoteJobRequest* request,
                          v1::PromoteJobResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.PromoteJob(context, request, response); });
  }
  grpc::Status RollBack(Context context, const v1::RollBackRequest* request,
                        v1::RollBackResponse* response) override {
    return calls_.Answer(kLong, [&] { return service_.RollBack(context, request, response); });
  }
  grpc::Status ExportCheckpoint(Context context, const v1::ExportCheckpointRequest* request,
                                Writer<v1::ExportCheckpointResponse> writer) override {
    return calls_.Answer(kLong,
                         [&] { return service_.ExportCheckpoint(context, request, writer); });
  }
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> Guard(CallsUnderWay& calls, v1::Models::Service& models,
                                                  v1::Evaluation::Service& evaluation,
                                                  v1::Datasets::Service& datasets,
                                                  v1::FineTuning::Service& fine_tuning) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<GuardedModels>(calls, models));
  services.push_back(std::make_unique<GuardedEvaluation>(calls, evaluation));
  services.push_back(std::make_unique<GuardedDatasets>(calls, datasets));
  services.push_back(std::make_unique<GuardedFineTuning>(calls, fine_tuning));
  return services;
}

}  // namespace zood::server
