// zood.v1.Models.
#pragma once

#include <grpcpp/grpcpp.h>

#include "runtime/runtime.h"
#include "zood/v1/models.grpc.pb.h"

namespace zood::server {

// In gRPC's blocking form: a thread for each call in flight.
class ModelsService final : public v1::Models::Service {
 public:
  // `runtime` outlives the service. `max_upload_bytes` is for all files of one import.
  ModelsService(runtime::Runtime& runtime, std::uint64_t max_upload_bytes)
      : runtime_(runtime), max_upload_bytes_(max_upload_bytes) {}

  grpc::Status ListArchitectures(grpc::ServerContext* context,
                                 const v1::ListArchitecturesRequest* request,
                                 v1::ListArchitecturesResponse* response) override;
  grpc::Status ImportModel(grpc::ServerContext* context, const v1::ImportModelRequest* request,
                           grpc::ServerWriter<v1::ImportModelResponse>* writer) override;
  grpc::Status UploadModel(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::ImportModelResponse, v1::UploadModelRequest>* stream) override;

  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override;
  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::Model* response) override;
  grpc::Status ListVersions(grpc::ServerContext* context, const v1::ListVersionsRequest* request,
                            v1::ListVersionsResponse* response) override;
  grpc::Status GetVersion(grpc::ServerContext* context, const v1::GetVersionRequest* request,
                          v1::Version* response) override;

  grpc::Status SetAlias(grpc::ServerContext* context, const v1::SetAliasRequest* request,
                        v1::SetAliasResponse* response) override;
  grpc::Status DeleteAlias(grpc::ServerContext* context, const v1::DeleteAliasRequest* request,
                           v1::DeleteAliasResponse* response) override;
  grpc::Status DeleteVersion(grpc::ServerContext* context, const v1::DeleteVersionRequest* request,
                             v1::DeleteVersionResponse* response) override;
  grpc::Status DeleteModel(grpc::ServerContext* context, const v1::DeleteModelRequest* request,
                           v1::DeleteModelResponse* response) override;

  grpc::Status LoadModel(grpc::ServerContext* context, const v1::LoadModelRequest* request,
                         v1::LoadModelResponse* response) override;
  grpc::Status UnloadModel(grpc::ServerContext* context, const v1::UnloadModelRequest* request,
                           v1::UnloadModelResponse* response) override;

 private:
  absl::StatusOr<v1::Version> Describe(const std::string& model, const std::string& selector);
  // Imports, loads if asked to, and sends progress and the version.
  absl::Status Import(grpc::ServerContext& context, FileSystem& files,
                      const serving::ImportRequest& request, bool load,
                      grpc::internal::WriterInterface<v1::ImportModelResponse>& writer);

  runtime::Runtime& runtime_;
  const std::uint64_t max_upload_bytes_;
};

}  // namespace zood::server
