// Shared by the code that opens files itself: the file systems of this room, train/.
#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"

namespace zood {

// `error`, an errno, as file.h says: "cannot <action> <path>: <reason>".
absl::Status SystemError(int error, const char* action, const std::string& path);

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The contents of an open file, which may be closed afterwards. InvalidArgument when it is no
// regular file. `path` is for messages.
absl::StatusOr<std::shared_ptr<const FileContents>> ReadOrMap(int fd, const std::string& path);

}  // namespace zood
