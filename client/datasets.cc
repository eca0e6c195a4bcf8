// The calls of client.h about datasets.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "client/client.h"
#include "client/connection.h"
#include "client/exchange.h"

namespace zood::client {
namespace {

namespace fs = std::filesystem;

bool IsHidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

using UploadStream = grpc::ClientReaderWriter<v1::UploadDatasetRequest, v1::CreateDatasetResponse>;

absl::Status SendDataset(UploadStream& stream, const v1::DatasetSpec& spec,
                         const std::vector<UploadFile>& files) {
  v1::UploadDatasetRequest message;
  *message.mutable_spec() = spec;
  if (!stream.Write(message)) return absl::OkStatus();
  const auto announce = [](const UploadFile& file, std::int64_t size,
                           v1::UploadDatasetRequest& to) {
    to.mutable_file()->set_path(file.name);
    to.mutable_file()->set_size(size);
  };
  return Send(stream, files, announce);
}

void TakeDataset(v1::CreateDatasetResponse& response, v1::Dataset& dataset,
                 const Client::DatasetProgressFn& progress) {
  Take(response, response.has_dataset(), &v1::CreateDatasetResponse::mutable_dataset, dataset,
       progress);
}

// What the daemon knows it has not counted yet: while it receives, the total grows with each file
// that is announced, but the whole is known here.
std::int64_t BytesOf(const std::vector<UploadFile>& files) {
  std::int64_t bytes = 0;
  for (const UploadFile& file : files) {
    const absl::StatusOr<std::uint64_t> size = FileSystem::Native().Size(file.path);
    if (size.ok()) bytes += static_cast<std::int64_t>(*size);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<UploadFile>> FilesOfDataset(const std::string& path) {
  std::error_code error;
  const fs::path root(path);
  if (fs::is_regular_file(root, error)) {
    return std::vector<UploadFile>{{path, root.filename().string()}};
  }
  if (!fs::is_directory(root, error)) {
    return NotFound("'{}' is neither a file nor a directory here", path);
  }
  std::vector<UploadFile> files;
  fs::recursive_directory_iterator at(root, error);
  for (const fs::recursive_directory_iterator end; !error && at != end; at.increment(error)) {
    std::error_code type;
    if (IsHidden(at->path())) {
      at.disable_recursion_pending();
    } else if (at->is_regular_file(type)) {
      files.push_back({at->path().string(), at->path().lexically_relative(root).generic_string()});
    }
  }
  if (error) return NotFound("'{}' cannot be read: {}", path, error.message());
  if (files.empty()) return InvalidArgument("'{}' holds no files", path);
  std::sort(files.begin(), files.end(),
            [](const UploadFile& a, const UploadFile& b) { return a.name < b.name; });
  return files;
}

absl::StatusOr<v1::Dataset> Client::UploadDataset(const v1::DatasetSpec& spec,
                                                  const std::vector<UploadFile>& files,
                                                  const DatasetProgressFn& progress) {
  if (files.empty()) return InvalidArgument("there are no files to make a dataset from");
  const std::int64_t total = BytesOf(files);
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->datasets->UploadDataset(&context);
  v1::CreateDatasetResponse response;
  v1::Dataset dataset;
  grpc::Status outcome;
  const auto read = [&] {
    if (response.progress().stage() == v1::DatasetProgress::RECEIVING) {
      response.mutable_progress()->set_total(total);
    }
    TakeDataset(response, dataset, progress);
  };
  ZOOD_RETURN_IF_ERROR(Exchange(
      context, *stream, response, [&] { return SendDataset(*stream, spec, files); }, read,
      outcome));
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(outcome));
  return dataset;
}

absl::StatusOr<v1::Dataset> Client::ImportDataset(const v1::ImportDatasetRequest& request,
                                                  const DatasetProgressFn& progress) {
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->datasets->ImportDataset(&context, request);
  v1::CreateDatasetResponse response;
  v1::Dataset dataset;
  while (stream->Read(&response)) TakeDataset(response, dataset, progress);
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(stream->Finish()));
  return dataset;
}

absl::StatusOr<v1::Dataset> Client::GetDataset(const std::string& name) {
  v1::GetDatasetRequest request;
  request.set_name(name);
  return connection_->Call(*connection_->datasets, &v1::Datasets::Stub::GetDataset, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::ListDatasetsResponse> Client::ListDatasets(
    const v1::ListDatasetsRequest& request) {
  return connection_->Call(*connection_->datasets, &v1::Datasets::Stub::ListDatasets, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::ListDatasetItemsResponse> Client::ListDatasetItems(
    const v1::ListDatasetItemsRequest& request) {
  return connection_->Call(*connection_->datasets, &v1::Datasets::Stub::ListDatasetItems, request,
                           connection_->options.call_timeout);
}

absl::Status Client::DeleteDataset(const std::string& name, bool force) {
  v1::DeleteDatasetRequest request;
  request.set_name(name);
  request.set_force(force);
  return connection_
      ->Call(*connection_->datasets, &v1::Datasets::Stub::DeleteDataset, request,
             connection_->options.call_timeout)
      .status();
}

}  // namespace zood::client
