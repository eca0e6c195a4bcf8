#include "server/zood_v1/datasets_service.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <chrono>

#include "base/status.h"
#include "server/zood_v1/convert_fine_tuning.h"
#include "server/zood_v1/dataset_pages.h"
#include "server/zood_v1/receive.h"
#include "server/zood_v1/status.h"
#include "server/zood_v1/upload.h"

namespace zood::server {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::size_t kMaxUploadedFiles = 1'000'000;
constexpr int kMaxUploadDepth = 8;
constexpr std::chrono::milliseconds kProgressPause{200};

v1::CreateDatasetResponse Progress(v1::DatasetProgress::Stage stage, std::int64_t done,
                                   std::int64_t total) {
  v1::CreateDatasetResponse response;
  response.mutable_progress()->set_stage(stage);
  response.mutable_progress()->set_done(done);
  response.mutable_progress()->set_total(total);
  return response;
}

v1::DatasetProgress::Stage ToProto(serving::DatasetStage stage) {
  switch (stage) {
    case serving::DatasetStage::kReading:
      return v1::DatasetProgress::READING;
    case serving::DatasetStage::kChecking:
      return v1::DatasetProgress::CHECKING;
    case serving::DatasetStage::kPublishing:
      return v1::DatasetProgress::PUBLISHING;
  }
  return v1::DatasetProgress::STAGE_UNSPECIFIED;
}

void ToProto(const store::SplitCounts& counts, v1::SplitCounts* message) {
  message->set_train(counts[0]);
  message->set_validation(counts[1]);
  message->set_test(counts[2]);
}

void ToProto(const store::DatasetSummary& summary, v1::Dataset* message) {
  message->set_name(summary.name);
  message->set_digest(summary.digest);
  *message->mutable_created_at() = TimeUtil::MicrosecondsToTimestamp(summary.created_at_us);
  message->set_num_items(summary.item_count());
  message->set_bytes(static_cast<std::int64_t>(summary.bytes));
  ToProto(summary.items, message->mutable_counts());
  message->set_num_problems(summary.problem_count);
  message->set_note(summary.note);
}

void ToProto(const store::DatasetManifest& manifest, v1::Dataset* message) {
  ToProto(manifest.summary, message);
  for (std::size_t i = 0; i < manifest.classes.size(); ++i) {
    v1::ClassCount* entry = message->add_classes();
    entry->set_name(manifest.classes[i]);
    ToProto(manifest.class_items[i], entry->mutable_counts());
  }
  for (const store::DatasetProblem& problem : manifest.problems) {
    v1::DatasetProblem* entry = message->add_problems();
    entry->set_item(problem.item);
    entry->set_reason(problem.reason);
  }
  for (const std::string& warning : manifest.warnings) message->add_warnings(warning);
  for (const store::Source& source : manifest.provenance.sources) {
    message->set_source(fmt::format("{} ({})", source.uri, source.format));
  }
  message->set_note(manifest.provenance.note);
}

serving::DatasetRequest ToDatasetRequest(const v1::DatasetSpec& spec) {
  serving::DatasetRequest request{.name = spec.name(), .note = spec.note()};
  request.classes.assign(spec.classes().begin(), spec.classes().end());
  if (spec.split().has_validation()) request.split.validation = spec.split().validation();
  if (spec.split().has_test()) request.split.test = spec.split().test();
  request.split.seed = spec.split().seed();
  switch (spec.layout()) {
    case v1::DatasetSpec::CLASSES:
      request.layout = dataset::Layout::kClasses;
      break;
    case v1::DatasetSpec::SPLITS:
      request.layout = dataset::Layout::kSplits;
      break;
    default:
      break;
  }
  return request;
}

}  // namespace

absl::Status DatasetsService::Create(
    grpc::ServerContext& context, const serving::DatasetRequest& request,
    grpc::internal::WriterInterface<v1::CreateDatasetResponse>& writer) {
  std::chrono::steady_clock::time_point told;
  const auto progress = [&](serving::DatasetStage stage, std::int64_t done, std::int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (done > 0 && now - told < kProgressPause) return;
    told = now;
    writer.Write(Progress(ToProto(stage), done, total));
  };
  ZOOD_ASSIGN_OR_RETURN(
      const store::PublishedDataset published,
      runtime_.datasets().Create(request, progress, [&] { return context.IsCancelled(); }));
  ZOOD_ASSIGN_OR_RETURN(const store::DatasetManifest manifest,
                        runtime_.catalogue().store().GetDataset(published.summary.name));
  v1::CreateDatasetResponse response;
  ToProto(manifest, response.mutable_dataset());
  writer.Write(response);
  return absl::OkStatus();
}

grpc::Status DatasetsService::UploadDataset(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<v1::CreateDatasetResponse, v1::UploadDatasetRequest>* stream) {
  const auto create = [&]() -> absl::Status {
    v1::UploadDatasetRequest message;
    if (!stream->Read(&message) || !message.has_spec()) {
      return InvalidArgument("the first message of an upload must hold `spec`");
    }
    ZOOD_RETURN_IF_ERROR(CheckNoUnknownFields(message));
    serving::DatasetRequest request = ToDatasetRequest(message.spec());
    ZOOD_RETURN_IF_ERROR(runtime_.datasets().Check(request));
    ZOOD_ASSIGN_OR_RETURN(const ScratchDirectory scratch,
                          ScratchDirectory::Make(runtime_.uploads_dir()));
    Upload upload(scratch.path(),
                  {.max_bytes = max_upload_bytes_,
                   .max_files = kMaxUploadedFiles,
                   .max_depth = kMaxUploadDepth},
                  [&](std::int64_t received, std::int64_t announced) {
                    stream->Write(Progress(v1::DatasetProgress::RECEIVING, received, announced));
                  });
    const auto received = ReceiveFiles<v1::UploadDatasetRequest>(*stream, upload);
    if (context->IsCancelled()) return Cancelled("client disconnected");
    if (!received.ok()) return received.status();
    // One file is an archive or an index; otherwise it is a folder that was sent.
    const bool folder = received->size() > 1 || upload.has_folders();
    request.path = folder ? scratch.path() : received->front();
    request.display_directory = scratch.path();
    return Create(*context, request, *stream);
  };
  return ToGrpc(create());
}

grpc::Status DatasetsService::ImportDataset(grpc::ServerContext* context,
                                            const v1::ImportDatasetRequest* request,
                                            grpc::ServerWriter<v1::CreateDatasetResponse>* writer) {
  const auto create = [&]() -> absl::Status {
    serving::DatasetRequest job = ToDatasetRequest(request->spec());
    if (request->path().empty()) return InvalidArgument("the import names no path");
    ZOOD_ASSIGN_OR_RETURN(job.path, runtime_.roots().Resolve(request->path()));
    return Create(*context, job, *writer);
  };
  return ToGrpc(create());
}

grpc::Status DatasetsService::GetDataset(grpc::ServerContext*, const v1::GetDatasetRequest* request,
                                         v1::Dataset* response) {
  const auto manifest = runtime_.catalogue().store().GetDataset(request->name());
  if (manifest.ok()) ToProto(*manifest, response);
  return ToGrpc(manifest.status());
}

grpc::Status DatasetsService::ListDatasets(grpc::ServerContext*,
                                           const v1::ListDatasetsRequest* request,
                                           v1::ListDatasetsResponse* response) {
  const auto list = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(const auto datasets, runtime_.catalogue().store().ListDatasets());
    ZOOD_ASSIGN_OR_RETURN(const std::size_t start, PageStart(request->page_token()));
    ZOOD_ASSIGN_OR_RETURN(const std::size_t size, PageSize(request->page_size(), 1000));
    std::size_t i = start;
    for (; i < datasets.size() && i < start + size; ++i) {
      ToProto(datasets[i], response->add_datasets());
    }
    if (i < datasets.size()) response->set_next_page_token(std::to_string(i));
    return absl::OkStatus();
  };
  return ToGrpc(list());
}

grpc::Status DatasetsService::ListDatasetItems(grpc::ServerContext* context,
                                               const v1::ListDatasetItemsRequest* request,
                                               v1::ListDatasetItemsResponse* response) {
  return ToGrpc(ListItems(
      runtime_.catalogue().store(), *request, [&] { return context->IsCancelled(); }, *response));
}

grpc::Status DatasetsService::DeleteDataset(grpc::ServerContext*,
                                            const v1::DeleteDatasetRequest* request,
                                            v1::DeleteDatasetResponse*) {
  return ToGrpc(runtime_.models().DeleteDataset(request->name(), request->force()));
}

}  // namespace zood::server
