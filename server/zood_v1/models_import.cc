// The two ways of importing, of zood.v1.Models.
#include <utility>

#include "base/status.h"
#include "server/zood_v1/convert.h"
#include "server/zood_v1/models_service.h"
#include "server/zood_v1/receive.h"
#include "server/zood_v1/status.h"
#include "server/zood_v1/upload.h"

namespace zood::server {
namespace {

v1::ImportModelResponse Progress(v1::ImportProgress::Stage stage, std::int64_t done,
                                 std::int64_t total) {
  v1::ImportModelResponse response;
  response.mutable_progress()->set_stage(stage);
  response.mutable_progress()->set_done(done);
  response.mutable_progress()->set_total(total);
  return response;
}

v1::ImportProgress::Stage ToProto(serving::ImportStage stage) {
  switch (stage) {
    case serving::ImportStage::kReading:
      return v1::ImportProgress::READING;
    case serving::ImportStage::kChecking:
      return v1::ImportProgress::CHECKING;
    case serving::ImportStage::kPublishing:
      return v1::ImportProgress::PUBLISHING;
  }
  return v1::ImportProgress::STAGE_UNSPECIFIED;
}

using UploadStream = grpc::ServerReaderWriter<v1::ImportModelResponse, v1::UploadModelRequest>;

// The upload's files, written to `directory`.
absl::StatusOr<std::vector<std::string>> Receive(UploadStream& stream, const std::string& directory,
                                                 std::uint64_t max_bytes) {
  Upload upload(directory, {.max_bytes = max_bytes},
                [&](std::int64_t received, std::int64_t announced) {
                  stream.Write(Progress(v1::ImportProgress::RECEIVING, received, announced));
                });
  return ReceiveFiles<v1::UploadModelRequest>(stream, upload);
}

}  // namespace

absl::Status ModelsService::Import(
    grpc::ServerContext& context, FileSystem& files, const serving::ImportRequest& request,
    bool load, grpc::internal::WriterInterface<v1::ImportModelResponse>& writer) {
  const auto progress = [&](serving::ImportStage stage, std::int64_t done, std::int64_t total) {
    writer.Write(Progress(ToProto(stage), done, total));
  };
  ZOOD_ASSIGN_OR_RETURN(
      const serving::Imported imported,
      runtime_.importer().Import(files, request, progress, [&] { return context.IsCancelled(); }));
  if (load) {
    writer.Write(Progress(v1::ImportProgress::LOADING, 0, 0));
    // An error shows in the version's state.
    runtime_.manager()
        .LoadAndWait(request.model, imported.published.version, SteadyDeadline(context.deadline()))
        .IgnoreError();
  }
  v1::ImportModelResponse response;
  ZOOD_ASSIGN_OR_RETURN(*response.mutable_version(),
                        Describe(request.model, std::to_string(imported.published.version)));
  v1::ImportReport& report = *response.mutable_version()->mutable_import_report();
  if (const auto answers = runtime_.catalogue().Resolve({request.model, ""}); answers.ok()) {
    report.set_answering_version(answers->version);
    report.set_answering_alias(answers->alias);
  }
  writer.Write(response);
  return absl::OkStatus();
}

grpc::Status ModelsService::ImportModel(grpc::ServerContext* context,
                                        const v1::ImportModelRequest* request,
                                        grpc::ServerWriter<v1::ImportModelResponse>* writer) {
  const auto import = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(serving::ImportRequest job, ToImportRequest(request->spec()));
    if (request->paths().empty()) return InvalidArgument("the import names no file");
    for (const std::string& path : request->paths()) {
      ZOOD_ASSIGN_OR_RETURN(job.files.emplace_back(), runtime_.roots().Resolve(path));
    }
    return Import(*context, runtime_.model_files(), job, request->spec().load(), *writer);
  };
  return ToGrpc(import());
}

grpc::Status ModelsService::UploadModel(grpc::ServerContext* context, UploadStream* stream) {
  const auto import = [&]() -> absl::Status {
    v1::UploadModelRequest first;
    if (!stream->Read(&first) || !first.has_spec()) {
      return InvalidArgument("the first message of an upload must hold `spec`");
    }
    // Whatever is wrong with it is said before gigabytes are sent.
    ZOOD_RETURN_IF_ERROR(CheckNoUnknownFields(first));
    ZOOD_ASSIGN_OR_RETURN(serving::ImportRequest job, ToImportRequest(first.spec()));
    ZOOD_RETURN_IF_ERROR(runtime_.importer().Check(job));
    ZOOD_ASSIGN_OR_RETURN(const ScratchDirectory scratch,
                          ScratchDirectory::Make(runtime_.uploads_dir()));
    ZOOD_ASSIGN_OR_RETURN(job.files, Receive(*stream, scratch.path(), max_upload_bytes_));
    if (context->IsCancelled()) return Cancelled("client disconnected");
    job.display_directory = scratch.path();
    return Import(*context, FileSystem::Native(), job, first.spec().load(), *stream);
  };
  return ToGrpc(import());
}

}  // namespace zood::server
