#include "server/zood_v1/fine_tuning_service.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "server/zood_v1/convert_fine_tuning.h"
#include "server/zood_v1/status.h"
#include "server/zood_v1/upload.h"

namespace zood::server {
namespace {

constexpr std::size_t kChunk = 1 << 20;
constexpr int kMaxMetadata = 64;
constexpr std::size_t kMaxMetadataBytes = 1024;
constexpr std::size_t kMaxKey = 128;

absl::Status CheckRequest(const v1::CreateJobRequest& request) {
  if (request.idempotency_key().size() > kMaxKey) {
    return InvalidArgument("the idempotency key has {} bytes; {} are allowed",
                           request.idempotency_key().size(), kMaxKey);
  }
  if (request.metadata_size() > kMaxMetadata) {
    return InvalidArgument("there are {} entries of metadata; {} are allowed",
                           request.metadata_size(), kMaxMetadata);
  }
  for (const auto& [key, value] : request.metadata()) {
    if (key.size() + value.size() > kMaxMetadataBytes) {
      return InvalidArgument("the metadata '{}' has {} bytes; {} are allowed", key,
                             key.size() + value.size(), kMaxMetadataBytes);
    }
  }
  return absl::OkStatus();
}

absl::Status Send(const std::string& directory, const std::string& name,
                  grpc::ServerWriter<v1::ExportCheckpointResponse>& writer) {
  ZOOD_ASSIGN_OR_RETURN(const auto contents, FileSystem::Native().Open(directory + "/" + name));
  const auto bytes = contents->bytes();
  v1::ExportCheckpointResponse message;
  message.mutable_file()->set_path(name);
  message.mutable_file()->set_size(static_cast<std::int64_t>(bytes.size()));
  if (!writer.Write(message)) return Cancelled("client disconnected");
  for (std::size_t at = 0; at < bytes.size(); at += kChunk) {
    const auto chunk = bytes.subspan(at, std::min(kChunk, bytes.size() - at));
    message.set_chunk(chunk.data(), chunk.size());
    if (!writer.Write(message)) return Cancelled("client disconnected");
  }
  return absl::OkStatus();
}

}  // namespace

grpc::Status FineTuningService::Answer(const absl::StatusOr<jobs::Job>& job, v1::Job* response) {
  if (job.ok()) ToProto(*job, jobs().SpecOf(*job), /*restored=*/true, response);
  return ToGrpc(job.status());
}

grpc::Status FineTuningService::CreateJob(grpc::ServerContext*, const v1::CreateJobRequest* request,
                                          v1::CreateJobResponse* response) {
  const auto create = [&]() -> absl::Status {
    ZOOD_RETURN_IF_ERROR(CheckRequest(*request));
    ZOOD_ASSIGN_OR_RETURN(jobs::JobSpec spec, ToJobSpec(request->spec()));
    ZOOD_ASSIGN_OR_RETURN(
        const jobs::CreatedJob created,
        jobs().Create({.spec = std::move(spec),
                       .idempotency_key = request->idempotency_key(),
                       .metadata = {request->metadata().begin(), request->metadata().end()},
                       .validate_only = request->validate_only()}));
    ToProto(created.job, jobs().SpecOf(created.job), /*restored=*/true, response->mutable_job());
    response->set_existing(created.existing);
    response->set_estimated_memory_bytes(static_cast<std::int64_t>(created.estimated_bytes));
    return absl::OkStatus();
  };
  return ToGrpc(create());
}

grpc::Status FineTuningService::GetJob(grpc::ServerContext*, const v1::GetJobRequest* request,
                                       v1::Job* response) {
  return Answer(jobs().Get(request->id()), response);
}

grpc::Status FineTuningService::ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                                         v1::ListJobsResponse* response) {
  const auto list = [&]() -> absl::Status {
    std::vector<jobs::JobState> states;
    for (const int state : request->states()) {
      ZOOD_ASSIGN_OR_RETURN(states.emplace_back(), FromProto(static_cast<v1::Job::State>(state)));
    }
    const int size = request->page_size() == 0 ? 100 : std::min(request->page_size(), 1000);
    ZOOD_ASSIGN_OR_RETURN(const jobs::JobList page,
                          jobs().List(states, request->model(), size, request->page_token()));
    for (const jobs::Job& job : page.jobs) {
      ToProto(job, jobs().SpecOf(job), /*restored=*/false, response->add_jobs());
    }
    response->set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  };
  return ToGrpc(list());
}

// For events: all of the spec but its values, which may be megabytes.
absl::StatusOr<v1::JobSpec> FineTuningService::ReadSpec(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(const jobs::Job job, jobs().Get(id));
  ZOOD_ASSIGN_OR_RETURN(const jobs::JobSpec spec, jobs().SpecOf(job));
  v1::JobSpec message;
  ToProto(spec, /*values=*/false, &message);
  return message;
}

grpc::Status FineTuningService::WatchJob(grpc::ServerContext* context,
                                         const v1::WatchJobRequest* request,
                                         grpc::ServerWriter<v1::JobEvent>* writer) {
  const auto watch = [&]() -> absl::Status {
    if (request->after() < 0) return InvalidArgument("after is {}", request->after());
    ZOOD_ASSIGN_OR_RETURN(const auto place, jobs().BeginWatching());
    ZOOD_ASSIGN_OR_RETURN(const v1::JobSpec spec, ReadSpec(request->id()));
    std::int64_t after = request->after();
    while (true) {
      ZOOD_ASSIGN_OR_RETURN(const jobs::JobNews news, jobs().Watch(request->id(), after, [&] {
        return context->IsCancelled();
      }));
      for (const jobs::JobEvent& event : news.events) {
        v1::JobEvent message;
        ToProto(event, spec, &message);
        if (!writer->Write(message)) return Cancelled("client disconnected");
        after = event.sequence;
      }
      if (news.over) return absl::OkStatus();
    }
  };
  return ToGrpc(watch());
}

grpc::Status FineTuningService::CancelJob(grpc::ServerContext*, const v1::CancelJobRequest* request,
                                          v1::Job* response) {
  return Answer(jobs().Cancel(request->id()), response);
}

grpc::Status FineTuningService::PauseJob(grpc::ServerContext*, const v1::PauseJobRequest* request,
                                         v1::Job* response) {
  return Answer(jobs().Pause(request->id()), response);
}

grpc::Status FineTuningService::ResumeJob(grpc::ServerContext*, const v1::ResumeJobRequest* request,
                                          v1::Job* response) {
  return Answer(jobs().Resume(request->id()), response);
}

grpc::Status FineTuningService::DeleteJob(grpc::ServerContext*, const v1::DeleteJobRequest* request,
                                          v1::DeleteJobResponse* response) {
  const absl::StatusOr<int> checkpoints = jobs().Delete(request->id());
  if (checkpoints.ok()) response->set_deleted_checkpoints(*checkpoints);
  return ToGrpc(checkpoints.status());
}

grpc::Status FineTuningService::ListCheckpoints(grpc::ServerContext*,
                                                const v1::ListCheckpointsRequest* request,
                                                v1::ListCheckpointsResponse* response) {
  const auto list = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(const jobs::Job job, jobs().Get(request->id()));
    ZOOD_ASSIGN_OR_RETURN(const auto checkpoints, jobs().Checkpoints(request->id()));
    for (const jobs::JobCheckpoint& checkpoint : checkpoints) {
      ToProto(checkpoint, job.model, response->add_checkpoints());
    }
    return absl::OkStatus();
  };
  return ToGrpc(list());
}

grpc::Status FineTuningService::PromoteJob(grpc::ServerContext*,
                                           const v1::PromoteJobRequest* request,
                                           v1::PromoteJobResponse* response) {
  std::optional<std::int64_t> expected;
  if (request->has_expected_version()) expected = request->expected_version();
  const auto promoted =
      jobs().Promote(request->id(), request->version(), request->alias(), expected);
  if (promoted.ok()) {
    ToProto(promoted->version, response->mutable_version());
    ToProto(promoted->move, response->mutable_move());
  }
  return ToGrpc(promoted.status());
}

grpc::Status FineTuningService::RollBack(grpc::ServerContext*, const v1::RollBackRequest* request,
                                         v1::RollBackResponse* response) {
  const auto move = jobs().RollBack(request->id(), request->alias());
  if (move.ok()) ToProto(*move, response->mutable_move());
  return ToGrpc(move.status());
}

grpc::Status FineTuningService::ExportCheckpoint(
    grpc::ServerContext*, const v1::ExportCheckpointRequest* request,
    grpc::ServerWriter<v1::ExportCheckpointResponse>* writer) {
  const auto send = [&]() -> absl::Status {
    ZOOD_ASSIGN_OR_RETURN(const ScratchDirectory scratch,
                          ScratchDirectory::Make(runtime_.uploads_dir()));
    ZOOD_ASSIGN_OR_RETURN(const auto names,
                          jobs().Export(request->id(), request->version(), scratch.path()));
    for (const std::string& name : names) {
      ZOOD_RETURN_IF_ERROR(Send(scratch.path(), name, *writer));
    }
    return absl::OkStatus();
  };
  return ToGrpc(send());
}

}  // namespace zood::server
