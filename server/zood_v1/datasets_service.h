// zood.v1.Datasets.
#pragma once

#include <grpcpp/grpcpp.h>

#include "runtime/runtime.h"
#include "zood/v1/datasets.grpc.pb.h"

namespace zood::server {

// In gRPC's blocking form: a thread for each call in flight.
class DatasetsService final : public v1::Datasets::Service {
 public:
  // `runtime` outlives the service. `max_upload_bytes` is for all files of one dataset.
  DatasetsService(runtime::Runtime& runtime, std::uint64_t max_upload_bytes)
      : runtime_(runtime), max_upload_bytes_(max_upload_bytes) {}

  grpc::Status UploadDataset(grpc::ServerContext* context,
                             grpc::ServerReaderWriter<v1::CreateDatasetResponse,
                                                      v1::UploadDatasetRequest>* stream) override;
  grpc::Status ImportDataset(grpc::ServerContext* context, const v1::ImportDatasetRequest* request,
                             grpc::ServerWriter<v1::CreateDatasetResponse>* writer) override;
  grpc::Status GetDataset(grpc::ServerContext* context, const v1::GetDatasetRequest* request,
                          v1::Dataset* response) override;
  grpc::Status ListDatasets(grpc::ServerContext* context, const v1::ListDatasetsRequest* request,
                            v1::ListDatasetsResponse* response) override;
  grpc::Status ListDatasetItems(grpc::ServerContext* context,
                                const v1::ListDatasetItemsRequest* request,
                                v1::ListDatasetItemsResponse* response) override;
  grpc::Status DeleteDataset(grpc::ServerContext* context, const v1::DeleteDatasetRequest* request,
                             v1::DeleteDatasetResponse* response) override;

 private:
  // Makes the dataset, and sends progress and the dataset.
  absl::Status Create(grpc::ServerContext& context, const serving::DatasetRequest& request,
                      grpc::internal::WriterInterface<v1::CreateDatasetResponse>& writer);

  runtime::Runtime& runtime_;
  const std::uint64_t max_upload_bytes_;
};

}  // namespace zood::server
