#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "base/system/posix_file.h"

namespace zood {
namespace {

class StringContents : public FileContents {
 public:
  explicit StringContents(std::string bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> bytes() const override {
    return std::as_bytes(std::span(bytes_.data(), bytes_.size()));
  }

 private:
  std::string bytes_;
};

int WriteAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return 0;
}

class NativeFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& path) override {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!file.valid()) return SystemError(errno, "open", path);
    return ReadOrMap(file.get(), path);
  }

  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) override {
    const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
    if (!file.valid()) return SystemError(errno, "create", path);
    int error = 0;
    for (const auto& piece : pieces) {
      if (error == 0) error = WriteAll(file.get(), piece);
    }
    if (error == 0 && ::fsync(file.get()) != 0) error = errno;
    if (error == 0) return absl::OkStatus();
    ::unlink(path.c_str());
    return SystemError(error, "write", path);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return SystemError(errno, "rename", from + " to " + to);
  }

  absl::Status SyncDirectory(const std::string& path) override {
    const FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return SystemError(errno, "open directory", path);
    if (::fsync(directory.get()) != 0) return SystemError(errno, "sync directory", path);
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    if (errno == EISDIR && (::rmdir(path.c_str()) == 0 || errno == ENOENT)) {
      return absl::OkStatus();
    }
    return SystemError(errno, "remove", path);
  }

  absl::Status CreateDirectories(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return SystemError(error.value(), "create directory", path);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    std::error_code error;
    std::vector<std::string> names;
    std::filesystem::directory_iterator entries(path, error);
    if (error) return SystemError(error.value(), "list", path);
    for (const std::filesystem::directory_iterator end; entries != end; entries.increment(error)) {
      if (error) return SystemError(error.value(), "list", path);
      names.push_back(entries->path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  absl::StatusOr<std::uint64_t> Size(const std::string& path) override {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) return SystemError(errno, "inspect", path);
    return static_cast<std::uint64_t>(info.st_size);
  }

  absl::StatusOr<bool> Exists(const std::string& path) override {
    struct stat info{};
    if (::stat(path.c_str(), &info) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return SystemError(errno, "inspect", path);
  }
};

}  // namespace

FileSystem& FileSystem::Native() {
  static NativeFileSystem* const native = new NativeFileSystem;
  return *native;
}

std::shared_ptr<const FileContents> ContentsOf(std::string bytes) {
  return std::make_shared<const StringContents>(std::move(bytes));
}

}  // namespace zood
