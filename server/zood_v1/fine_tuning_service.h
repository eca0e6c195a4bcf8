// zood.v1.FineTuning.
#pragma once

#include <grpcpp/grpcpp.h>

#include "runtime/runtime.h"
#include "zood/v1/fine_tuning.grpc.pb.h"

namespace zood::server {

// In gRPC's blocking form: a thread for each call in flight.
class FineTuningService final : public v1::FineTuning::Service {
 public:
  // `runtime` outlives the service.
  explicit FineTuningService(runtime::Runtime& runtime) : runtime_(runtime) {}

  grpc::Status CreateJob(grpc::ServerContext* context, const v1::CreateJobRequest* request,
                         v1::CreateJobResponse* response) override;
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override;
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override;
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobEvent>* writer) override;
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::Job* response) override;
  grpc::Status PauseJob(grpc::ServerContext* context, const v1::PauseJobRequest* request,
                        v1::Job* response) override;
  grpc::Status ResumeJob(grpc::ServerContext* context, const v1::ResumeJobRequest* request,
                         v1::Job* response) override;
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                         v1::DeleteJobResponse* response) override;
  grpc::Status ListCheckpoints(grpc::ServerContext* context,
                               const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override;
  grpc::Status PromoteJob(grpc::ServerContext* context, const v1::PromoteJobRequest* request,
                          v1::PromoteJobResponse* response) override;
  grpc::Status RollBack(grpc::ServerContext* context, const v1::RollBackRequest* request,
                        v1::RollBackResponse* response) override;
  grpc::Status ExportCheckpoint(grpc::ServerContext* context,
                                const v1::ExportCheckpointRequest* request,
                                grpc::ServerWriter<v1::ExportCheckpointResponse>* writer) override;

 private:
  jobs::FineTuner& jobs() { return runtime_.fine_tuner(); }
  grpc::Status Answer(const absl::StatusOr<jobs::Job>& job, v1::Job* response);
  absl::StatusOr<v1::JobSpec> ReadSpec(const std::string& id);

  runtime::Runtime& runtime_;
};

}  // namespace zood::server
