#include "server/zood_v1/upload.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/file.h"

namespace zood::server {
namespace {

constexpr std::int64_t kProgressBytes = 4 << 20;
constexpr std::size_t kMaxPart = 255;

// A backslash is a byte like others here: clients write what is no UTF-8 as "\xe9".
bool IsSoundPart(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPart && !part.starts_with('.') &&
         part.find('\0') == std::string_view::npos;
}

// Names the file as the caller does.
absl::Status WriteError(std::string_view name, int error) {
  if (error == ENOSPC || error == EDQUOT) {
    return ResourceExhausted("'{}': there is no space left for uploads", name);
  }
  return Unavailable("'{}' cannot be written: {}", name, strerror(error));
}

}  // namespace

absl::StatusOr<ScratchDirectory> ScratchDirectory::Make(const std::string& parent) {
  static std::atomic<int> counter = 0;
  std::string path = fmt::format("{}/{}", parent, ++counter);
  ZOOD_RETURN_IF_ERROR(FileSystem::Native().CreateDirectories(path));
  return ScratchDirectory(std::move(path));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

IncomingFile::~IncomingFile() { close(fd_); }

absl::Status IncomingFile::Append(const std::string& chunk) {
  received_ += static_cast<std::int64_t>(chunk.size());
  if (received_ > size_) {
    return InvalidArgument("'{}': {} bytes were announced, but more came", name_, size_);
  }
  for (std::size_t done = 0; done < chunk.size();) {
    const ssize_t written = write(fd_, chunk.data() + done, chunk.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return WriteError(name_, errno);
    done += static_cast<std::size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status IncomingFile::Finish() const {
  if (received_ == size_) return absl::OkStatus();
  return InvalidArgument("'{}': {} bytes were announced, {} came", name_, size_, received_);
}

absl::Status Upload::CheckName(std::string_view name) const {
  int depth = 0;
  bool sound = !name.empty();
  for (std::string_view rest = name; sound;) {
    const std::size_t slash = rest.find('/');
    sound = IsSoundPart(rest.substr(0, slash)) && ++depth <= limits_.max_depth;
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (sound) return absl::OkStatus();
  return InvalidArgument(
      "'{}' is no name for an uploaded file: expected {}of 1 to 255 bytes without a dot in front",
      name,
      limits_.max_depth == 1 ? "one without directories, "
                             : fmt::format("up to {} parts between '/', each ", limits_.max_depth));
}

absl::Status Upload::TakeEntry(std::string_view name, std::uint64_t bytes) {
  if (static_cast<std::size_t>(begun_) + folders_.size() >= limits_.max_files) {
    return InvalidArgument("'{}': an upload may have {} files and folders", name,
                           limits_.max_files);
  }
  const std::uint64_t left = limits_.max_bytes - taken_;
  if (left < kUploadEntryBytes || bytes > left - kUploadEntryBytes) {
    return ResourceExhausted(
        "'{}' has {} bytes; an upload may have {} in all (--max-upload-bytes), with {} for each "
        "file and folder",
        name, bytes, limits_.max_bytes, kUploadEntryBytes);
  }
  taken_ += kUploadEntryBytes + bytes;
  return absl::OkStatus();
}

absl::Status Upload::MakeFolders(const std::string& folder) {
  if (folders_.contains(folder)) return absl::OkStatus();
  if (const std::size_t slash = folder.rfind('/'); slash != std::string::npos) {
    ZOOD_RETURN_IF_ERROR(MakeFolders(folder.substr(0, slash)));
  }
  ZOOD_RETURN_IF_ERROR(TakeEntry(folder, 0));
  if (mkdir((directory_ + "/" + folder).c_str(), 0700) != 0) {
    if (errno == EEXIST) {
      return InvalidArgument("'{}' is a file of this upload and cannot be a folder, too", folder);
    }
    return WriteError(folder, errno);
  }
  folders_.insert(folder);
  return absl::OkStatus();
}

absl::Status Upload::Begin(const std::string& name, std::int64_t size) {
  if (file_) ZOOD_RETURN_IF_ERROR(file_->Finish());
  file_.reset();
  const bool is_folder = name.ends_with('/') && limits_.max_depth > 1;
  const std::string path = is_folder ? name.substr(0, name.size() - 1) : name;
  ZOOD_RETURN_IF_ERROR(CheckName(path));
  if (size < 0 || (is_folder && size > 0)) {
    return InvalidArgument("'{}' is said to have {} bytes", name, size);
  }
  if (is_folder) {
    ZOOD_RETURN_IF_ERROR(MakeFolders(path));
  } else {
    ZOOD_RETURN_IF_ERROR(Open(path, size));
  }
  ++begun_;
  return absl::OkStatus();
}

absl::Status Upload::Open(const std::string& name, std::int64_t size) {
  if (const std::size_t slash = name.rfind('/'); slash != std::string::npos) {
    ZOOD_RETURN_IF_ERROR(MakeFolders(name.substr(0, slash)));
  }
  if (name.size() > limits_.max_name_bytes - name_bytes_) {
    return ResourceExhausted(
        "'{}': the names of an upload's files may have {} bytes in all; send an archive or "
        "TFRecord files instead",
        name, limits_.max_name_bytes);
  }
  ZOOD_RETURN_IF_ERROR(TakeEntry(name, static_cast<std::uint64_t>(size)));
  name_bytes_ += name.size();
  const std::string path = directory_ + "/" + name;
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 && (errno == EEXIST || errno == ENOTDIR || errno == EISDIR)) {
    return InvalidArgument("the file '{}' comes twice in one upload", name);
  }
  if (fd < 0) return WriteError(name, errno);
  announced_ += size;
  file_.reset(new IncomingFile(name, path, size, fd));
  paths_.push_back(path);
  return absl::OkStatus();
}

absl::Status Upload::Append(const std::string& chunk) {
  if (!file_) return OutOfOrder();
  ZOOD_RETURN_IF_ERROR(file_->Append(chunk));
  received_ += static_cast<std::int64_t>(chunk.size());
  if (received_ - told_ >= kProgressBytes) {
    progress_(received_, announced_);
    told_ = received_;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Upload::Finish(std::int64_t files, std::int64_t bytes) {
  if (file_) ZOOD_RETURN_IF_ERROR(file_->Finish());
  file_.reset();
  if (files != begun_ || bytes != received_) {
    return InvalidArgument("the caller sent {} files of {} bytes, {} files of {} bytes came", files,
                           bytes, begun_, received_);
  }
  if (paths_.empty()) return InvalidArgument("the upload holds no file");
  return paths_;
}

absl::Status Upload::Cut() const {
  return InvalidArgument(
      "the upload stopped after {} files and {} bytes without the message that ends it (`end`): it "
      "was cut, or a message could not be parsed; nothing of it is kept, send it again",
      begun_, received_);
}

absl::Status Upload::OutOfOrder() {
  return InvalidArgument(
      "the upload's messages are out of order: expected `spec`, then for each file `file` and its "
      "`chunk`s, then `end`");
}

}  // namespace zood::server
