// The calls of client.h about datasets.
#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/file_kind.h"
#include "base/text.h"
#include "client/client.h"
#include "client/connection.h"
#include "client/exchange.h"

namespace zood::client {
namespace {

namespace fs = std::filesystem;

// Finds the files below a folder.
class FolderWalk {
 public:
  explicit FolderWalk(fs::path root) : root_(std::move(root)) {}

  absl::StatusOr<DatasetFiles> Walk() {
    ZOOD_RETURN_IF_ERROR(Visit(root_, ""));
    if (found_.files.empty()) return InvalidArgument("'{}' holds no files", root_.string());
    std::ranges::sort(found_.files, {}, &UploadFile::name);
    return std::move(found_);
  }

 private:
  // `prefix` is the folder's name relative to the root, "" or with a '/' at its end.
  absl::Status Visit(const fs::path& folder, const std::string& prefix) {
    std::error_code error;
    const fs::path real = fs::canonical(folder, error);
    if (std::ranges::find(above_, real) != above_.end()) {
      LeaveOut(folder, "is a link to a folder that it lies in");
      return absl::OkStatus();
    }
    above_.push_back(real);
    bool empty = true;
    fs::directory_iterator at(folder, error);
    for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
      if (IsHiddenPath(at->path().filename().string())) {
        LeaveOut(at->path(), "is hidden");
        continue;
      }
      ZOOD_RETURN_IF_ERROR(Add(*at, prefix));
      empty = false;
    }
    above_.pop_back();
    if (error) return NotFound("'{}' cannot be read: {}", folder.string(), error.message());
    if (empty && !prefix.empty()) found_.files.push_back({folder.string(), prefix});
    return absl::OkStatus();
  }

  absl::Status Add(const fs::directory_entry& entry, const std::string& prefix) {
    std::error_code error;
    const std::string name = prefix + Escaped(entry.path().filename().string());
    if (entry.is_directory(error)) return Visit(entry.path(), name + "/");
    if (entry.is_regular_file(error)) {
      found_.files.push_back({entry.path().string(), name});
    } else if (entry.is_symlink(error)) {
      LeaveOut(entry.path(), "is a link that leads nowhere");
    } else {
      LeaveOut(entry.path(), "is neither a file nor a folder");
    }
    return absl::OkStatus();
  }

  void LeaveOut(const fs::path& path, std::string_view reason) {
    found_.left_out.push_back(fmt::format("'{}' {}", Escaped(path.string()), reason));
  }

  const fs::path root_;
  DatasetFiles found_;
  std::vector<fs::path> above_;  // the folders that are being visited, as they are
};

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

using DatasetResult = StreamResult<v1::CreateDatasetResponse, v1::Dataset>;

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

absl::StatusOr<DatasetFiles> FilesOfDataset(const std::string& path) {
  std::error_code error;
  const fs::path root(path);
  if (fs::is_regular_file(root, error)) {
    return DatasetFiles{{{path, Escaped(root.filename().string())}}, {}};
  }
  if (!fs::is_directory(root, error)) {
    return NotFound("'{}' is neither a file nor a directory here", path);
  }
  return FolderWalk(root).Walk();
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
  DatasetResult dataset(&v1::CreateDatasetResponse::mutable_dataset);
  grpc::Status outcome;
  const auto read = [&] {
    if (response.progress().stage() == v1::DatasetProgress::RECEIVING) {
      response.mutable_progress()->set_total(total);
    }
    dataset.Take(response, response.has_dataset(), progress);
  };
  ZOOD_RETURN_IF_ERROR(Exchange(
      context, *stream, response, [&] { return SendDataset(*stream, spec, files); }, read,
      outcome));
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(outcome));
  return dataset.Finish();
}

absl::StatusOr<v1::Dataset> Client::ImportDataset(const v1::ImportDatasetRequest& request,
                                                  const DatasetProgressFn& progress) {
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->datasets->ImportDataset(&context, request);
  v1::CreateDatasetResponse response;
  DatasetResult dataset(&v1::CreateDatasetResponse::mutable_dataset);
  while (stream->Read(&response)) dataset.Take(response, response.has_dataset(), progress);
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(stream->Finish()));
  return dataset.Finish();
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
