#include "base/system/posix_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <new>
#include <span>
#include <system_error>

#include "base/mapping.h"
#include "base/status.h"

namespace zood {
namespace {

class MappedFile : public FileContents {
 public:
  explicit MappedFile(std::unique_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}
  std::span<const std::byte> bytes() const override { return mapping_->bytes(); }

 private:
  const std::unique_ptr<Mapping> mapping_;
};

// A mapping costs a page, and Linux gives a process 65,530 of them: too few for a folder of icons.
constexpr std::size_t kLargestRead = 64 << 10;

// Aligned as a mapped file's would be for readers that look for elements in it.
class ReadFile : public FileContents {
 public:
  explicit ReadFile(std::size_t size)
      : bytes_(static_cast<std::byte*>(::operator new(size, kAlignment)), size) {}
  ~ReadFile() override { ::operator delete(bytes_.data(), kAlignment); }
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;
  std::span<const std::byte> bytes() const override { return bytes_; }
  std::span<std::byte> buffer() { return bytes_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  const std::span<std::byte> bytes_;
};

absl::StatusOr<std::shared_ptr<const FileContents>> ReadWhole(int fd, std::size_t size,
                                                              const std::string& path) {
  auto file = std::make_shared<ReadFile>(size);
  for (std::span<std::byte> rest = file->buffer(); !rest.empty();) {
    const ssize_t got = ::read(fd, rest.data(), rest.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(errno, "read", path);
    if (got == 0) {
      return DataLoss("{} became shorter than its {} bytes while it was read", path, size);
    }
    rest = rest.subspan(static_cast<std::size_t>(got));
  }
  return file;
}

}  // namespace

absl::Status SystemError(int error, const char* action, const std::string& path) {
  const std::string message =
      fmt::format("cannot {} {}: {}", action, path, std::generic_category().message(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case EFAULT:
      return DataLoss("cannot {} {}: the bytes lay in a file that became shorter meanwhile", action,
                      path);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<std::shared_ptr<const FileContents>> ReadOrMap(int fd, const std::string& path) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return SystemError(errno, "inspect", path);
  if (!S_ISREG(info.st_mode)) return InvalidArgument("{} is not a regular file", path);
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size <= kLargestRead) return ReadWhole(fd, size, path);
  ZOOD_ASSIGN_OR_RETURN(auto mapping, Mapping::Map(fd, size, path));
  return std::make_shared<const MappedFile>(std::move(mapping));
}

}  // namespace zood
