// The calls of client.h about training jobs.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

#include "base/file.h"
#include "client/client.h"
#include "client/connection.h"

namespace zood::client {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kAskAgain{250};
constexpr std::chrono::seconds kStood{5};

// The files of an export as they come. What is not kept is removed.
class ExportedFiles {
 public:
  explicit ExportedFiles(std::string directory) : directory_(std::move(directory)) {}
  ExportedFiles(const ExportedFiles&) = delete;
  ExportedFiles& operator=(const ExportedFiles&) = delete;
  ~ExportedFiles() {
    out_.close();
    std::error_code ignored;
    for (const std::string& path : paths_) std::filesystem::remove(path, ignored);
  }

  absl::Status Begin(const v1::DatasetFile& file) {
    ZOOD_RETURN_IF_ERROR(End());
    // The name comes over the network and must not lead out of the directory.
    if (file.path().empty() || file.path().starts_with('.') ||
        file.path().find('/') != std::string::npos) {
      return DataLoss("the daemon sends a file '{}': expected a name without directories",
                      file.path());
    }
    const std::string path = directory_ + "/" + file.path();
    ZOOD_ASSIGN_OR_RETURN(const bool exists, FileSystem::Native().Exists(path));
    if (exists) return AlreadyExists("'{}' is there already: name another directory", path);
    out_.open(path, std::ios::binary | std::ios::trunc);
    if (!out_) return PermissionDenied("'{}' cannot be written", path);
    paths_.push_back(path);
    size_ = file.size();
    written_ = 0;
    return absl::OkStatus();
  }

  absl::Status Append(const std::string& chunk) {
    if (!out_.is_open()) return DataLoss("the daemon sends bytes of no file");
    out_.write(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    if (!out_) return ResourceExhausted("'{}' cannot be written: is the disk full?", name());
    written_ += static_cast<std::int64_t>(chunk.size());
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> Keep() {
    ZOOD_RETURN_IF_ERROR(End());
    return std::exchange(paths_, {});
  }

  const std::string& name() const { return paths_.back(); }
  std::int64_t written() const { return written_; }
  std::int64_t size() const { return size_; }

 private:
  absl::Status End() {
    if (!out_.is_open()) return absl::OkStatus();
    out_.close();
    if (!out_) return ResourceExhausted("'{}' cannot be written: is the disk full?", name());
    if (written_ == size_) return absl::OkStatus();
    return DataLoss("'{}': {} bytes were announced, {} came", name(), size_, written_);
  }

  const std::string directory_;
  std::vector<std::string> paths_;
  std::ofstream out_;
  std::int64_t size_ = 0;
  std::int64_t written_ = 0;
};

absl::Status TakeExport(const v1::ExportCheckpointResponse& message, ExportedFiles& files,
                        const Client::ExportProgressFn& progress) {
  if (message.has_file()) return files.Begin(message.file());
  ZOOD_RETURN_IF_ERROR(files.Append(message.chunk()));
  if (progress) progress(files.name(), files.written(), files.size());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::CreateJobResponse> Client::CreateJob(const v1::CreateJobRequest& request) {
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::CreateJob, request,
                           connection_->options.long_call_timeout);
}

absl::StatusOr<v1::Job> Client::GetJob(const std::string& id) {
  v1::GetJobRequest request;
  request.set_id(id);
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::GetJob, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::ListJobsResponse> Client::ListJobs(const v1::ListJobsRequest& request) {
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::ListJobs, request,
                           connection_->options.call_timeout);
}

absl::Status Client::WatchJob(const std::string& id, std::int64_t after, const JobEventFn& event,
                              std::chrono::milliseconds patience) {
  Clock::time_point lost_since;
  bool listening = true;
  while (true) {
    grpc::ClientContext context;
    connection_->SetDeadline(context, connection_->options.long_call_timeout);
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_after(after);
    const Clock::time_point asked = Clock::now();
    const auto stream = connection_->fine_tuning->WatchJob(&context, request);
    bool wanted = true;
    for (v1::JobEvent message; wanted && stream->Read(&message);) {
      listening = true;
      if (message.sequence() <= after) continue;
      after = message.sequence();
      wanted = event(message);
    }
    if (!wanted) context.TryCancel();
    const grpc::Status outcome = stream->Finish();
    if (!wanted) return absl::OkStatus();
    if (outcome.error_code() != grpc::StatusCode::UNAVAILABLE) return connection_->Outcome(outcome);
    const absl::Status lost = connection_->Outcome(outcome);
    const Clock::time_point now = Clock::now();
    // A call that stood for a while had a daemon to listen to, even if nothing happened to the job.
    if (listening || now - asked > kStood) lost_since = now;
    listening = false;
    std::this_thread::sleep_for(kAskAgain);
    const auto left = patience - (Clock::now() - lost_since);
    const auto deadline = std::chrono::system_clock::now() +
                          std::chrono::duration_cast<std::chrono::system_clock::duration>(left);
    if (left <= left.zero() || !connection_->channel->WaitForConnected(deadline)) return lost;
  }
}

absl::StatusOr<v1::Job> Client::CancelJob(const std::string& id) {
  v1::CancelJobRequest request;
  request.set_id(id);
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::CancelJob, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::Job> Client::PauseJob(const std::string& id) {
  v1::PauseJobRequest request;
  request.set_id(id);
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::PauseJob, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::Job> Client::ResumeJob(const std::string& id) {
  v1::ResumeJobRequest request;
  request.set_id(id);
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::ResumeJob, request,
                           connection_->options.call_timeout);
}

absl::StatusOr<v1::DeleteJobResponse> Client::DeleteJob(const std::string& id) {
  v1::DeleteJobRequest request;
  request.set_id(id);
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::DeleteJob, request,
                           connection_->options.long_call_timeout);
}

absl::StatusOr<v1::ListCheckpointsResponse> Client::ListCheckpoints(const std::string& job) {
  v1::ListCheckpointsRequest request;
  request.set_id(job);
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::ListCheckpoints,
                           request, connection_->options.call_timeout);
}

absl::StatusOr<v1::PromoteJobResponse> Client::PromoteJob(const v1::PromoteJobRequest& request) {
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::PromoteJob, request,
                           connection_->options.long_call_timeout);
}

absl::StatusOr<v1::RollBackResponse> Client::RollBack(const std::string& job,
                                                      const std::string& alias) {
  v1::RollBackRequest request;
  request.set_id(job);
  request.set_alias(alias);
  return connection_->Call(*connection_->fine_tuning, &v1::FineTuning::Stub::RollBack, request,
                           connection_->options.long_call_timeout);
}

absl::StatusOr<std::vector<std::string>> Client::ExportCheckpoint(
    const std::string& job, std::int64_t version, const std::string& directory,
    const ExportProgressFn& progress) {
  ZOOD_RETURN_IF_ERROR(FileSystem::Native().CreateDirectories(directory));
  v1::ExportCheckpointRequest request;
  request.set_id(job);
  request.set_version(version);
  grpc::ClientContext context;
  connection_->SetDeadline(context, connection_->options.long_call_timeout);
  const auto stream = connection_->fine_tuning->ExportCheckpoint(&context, request);
  ExportedFiles files(directory);
  absl::Status taken;
  for (v1::ExportCheckpointResponse message; taken.ok() && stream->Read(&message);) {
    taken = TakeExport(message, files, progress);
  }
  if (!taken.ok()) context.TryCancel();
  const grpc::Status outcome = stream->Finish();
  ZOOD_RETURN_IF_ERROR(taken);
  ZOOD_RETURN_IF_ERROR(connection_->Outcome(outcome));
  return files.Keep();
}

}  // namespace zood::client
