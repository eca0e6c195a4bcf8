// zood.v1.Evaluation.
#pragma once

#include <grpcpp/grpcpp.h>

#include "runtime/runtime.h"
#include "zood/v1/evaluation.grpc.pb.h"

namespace zood::server {

// In gRPC's blocking form: a thread for each evaluation in flight.
class EvaluationService final : public v1::Evaluation::Service {
 public:
  // `runtime` outlives the service.
  explicit EvaluationService(runtime::Runtime& runtime) : runtime_(runtime) {}

  grpc::Status Evaluate(grpc::ServerContext* context, const v1::EvaluateRequest* request,
                        grpc::ServerWriter<v1::EvaluateResponse>* writer) override;
  grpc::Status EvaluateStream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::EvaluateResponse, v1::EvaluateStreamRequest>* stream) override;

 private:
  runtime::Runtime& runtime_;
};

}  // namespace zood::server
