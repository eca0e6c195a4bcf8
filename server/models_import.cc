// The two ways of importing, of zood.v1.Models.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "server/convert.h"
#include "server/models_service.h"
#include "server/status.h"

namespace zood::server {
namespace {

constexpr std::int64_t kProgressBytes = 4 << 20;
constexpr std::size_t kMaxUploadedFiles = 1024;

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

// A directory that goes with its files when the upload is over.
class ScratchDirectory {
 public:
  static absl::StatusOr<ScratchDirectory> Make(const std::string& parent) {
    static std::atomic<int> counter = 0;
    std::string path = fmt::format("{}/{}", parent, ++counter);
    ZOOD_RETURN_IF_ERROR(FileSystem::Native().CreateDirectories(path));
    return ScratchDirectory(std::move(path));
  }
  ScratchDirectory(ScratchDirectory&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ~ScratchDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// One file as it comes.
class IncomingFile {
 public:
  static absl::StatusOr<std::unique_ptr<IncomingFile>> Create(const std::string& directory,
                                                              const v1::UploadedFile& header) {
    const std::string& name = header.name();
    if (name.empty() || name.size() > 255 || name.starts_with('.') ||
        name.find_first_of(std::string("/\\\0", 3)) != std::string::npos) {
      return InvalidArgument(
          "'{}' is no name for an uploaded file: expected 1 to 255 bytes without directories and "
          "without a dot in front",
          name);
    }
    const std::string path = directory + "/" + name;
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
      return InvalidArgument("the file '{}' comes twice in one upload", name);
    }
    if (fd < 0) return Unavailable("'{}' cannot be written: {}", path, std::strerror(errno));
    return std::unique_ptr<IncomingFile>(new IncomingFile(name, path, header.size(), fd));
  }
  ~IncomingFile() { close(fd_); }

  const std::string& path() const { return path_; }

  absl::Status Append(const std::string& chunk) {
    received_ += static_cast<std::int64_t>(chunk.size());
    if (received_ > size_) {
      return InvalidArgument("'{}': {} bytes were announced, but more came", name_, size_);
    }
    for (std::size_t done = 0; done < chunk.size();) {
      const ssize_t written = write(fd_, chunk.data() + done, chunk.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0 && (errno == ENOSPC || errno == EDQUOT)) {
        return ResourceExhausted("'{}': there is no space left for uploads", name_);
      }
      if (written < 0) return Unavailable("'{}' cannot be written: {}", name_, strerror(errno));
      done += static_cast<std::size_t>(written);
    }
    return absl::OkStatus();
  }

  absl::Status Finish() const {
    if (received_ == size_) return absl::OkStatus();
    return InvalidArgument("'{}': {} bytes were announced, {} came", name_, size_, received_);
  }

 private:
  IncomingFile(std::string name, std::string path, std::int64_t size, int fd)
      : name_(std::move(name)), path_(std::move(path)), size_(size), fd_(fd) {}

  const std::string name_;
  const std::string path_;
  const std::int64_t size_;
  const int fd_;
  std::int64_t received_ = 0;
};

using UploadStream = grpc::ServerReaderWriter<v1::ImportModelResponse, v1::UploadModelRequest>;

// The upload's files, written to `directory`.
absl::StatusOr<std::vector<std::string>> Receive(UploadStream& stream, const std::string& directory,
                                                 std::uint64_t max_bytes) {
  std::vector<std::string> paths;
  std::unique_ptr<IncomingFile> file;
  std::int64_t announced = 0;
  std::int64_t received = 0;
  std::int64_t next_progress = kProgressBytes;
  v1::UploadModelRequest message;
  while (stream.Read(&message)) {
    if (message.has_file()) {
      if (file) ZOOD_RETURN_IF_ERROR(file->Finish());
      const std::int64_t size = message.file().size();
      if (size < 0 ||
          static_cast<std::uint64_t>(size) > max_bytes - static_cast<std::uint64_t>(announced)) {
        return ResourceExhausted(
            "'{}' has {} bytes; an upload may have {} in all (--max-upload-bytes)",
            message.file().name(), size, max_bytes);
      }
      if (paths.size() == kMaxUploadedFiles) {
        return InvalidArgument("an upload may have {} files", kMaxUploadedFiles);
      }
      announced += size;
      ZOOD_ASSIGN_OR_RETURN(file, IncomingFile::Create(directory, message.file()));
      paths.push_back(file->path());
    } else if (message.has_chunk() && file) {
      ZOOD_RETURN_IF_ERROR(file->Append(message.chunk()));
      received += static_cast<std::int64_t>(message.chunk().size());
      if (received >= next_progress) {
        stream.Write(Progress(v1::ImportProgress::RECEIVING, received, announced));
        next_progress = received + kProgressBytes;
      }
    } else {
      return InvalidArgument(
          "the upload's messages are out of order: expected `spec`, then for each file `file` and "
          "its `chunk`s");
    }
  }
  if (!file) return InvalidArgument("the upload holds no file");
  ZOOD_RETURN_IF_ERROR(file->Finish());
  return paths;
}

}  // namespace

absl::Status ModelsService::Import(
    grpc::ServerContext& context, FileSystem& files, const serving::ImportRequest& request,
    bool load, grpc::internal::WriterInterface<v1::ImportModelResponse>& writer) {
  const auto progress = [&](serving::ImportStage stage, std::int64_t done, std::int64_t total) {
    writer.Write(Progress(ToProto(stage), done, total));
  };
  ZOOD_ASSIGN_OR_RETURN(
      const store::PublishedVersion published,
      runtime_.importer().Import(files, request, progress, [&] { return context.IsCancelled(); }));
  runtime_.manager().AliasesMoved(request.model);
  if (load) {
    writer.Write(Progress(v1::ImportProgress::LOADING, 0, 0));
    // An error is told by the version's state.
    runtime_.manager()
        .LoadAndWait(request.model, published.version, SteadyDeadline(context.deadline()))
        .IgnoreError();
  }
  v1::ImportModelResponse response;
  ZOOD_ASSIGN_OR_RETURN(*response.mutable_version(),
                        Describe(request.model, std::to_string(published.version)));
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
    ZOOD_ASSIGN_OR_RETURN(serving::ImportRequest job, ToImportRequest(first.spec()));
    ZOOD_RETURN_IF_ERROR(runtime_.importer().Check(job));
    ZOOD_ASSIGN_OR_RETURN(const ScratchDirectory scratch,
                          ScratchDirectory::Make(runtime_.uploads_dir()));
    ZOOD_ASSIGN_OR_RETURN(job.files, Receive(*stream, scratch.path(), max_upload_bytes_));
    if (context->IsCancelled()) return Cancelled("the caller has gone");
    job.display_directory = scratch.path();
    return Import(*context, FileSystem::Native(), job, first.spec().load(), *stream);
  };
  return ToGrpc(import());
}

}  // namespace zood::server
