#include "store/local/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>

#include "base/status.h"

namespace zood::store {
namespace {

std::string Reason(int error) { return std::generic_category().message(error); }

// What the holder wrote about itself; anything unprintable is left out.
std::string HolderOf(int fd) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  std::string holder;
  for (const char c :
       std::string_view(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0)) {
    if (c >= 0x20 && c < 0x7f) holder += c;
  }
  return holder.empty() ? "another process" : holder;
}

std::string Self() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("process {} on {}\n", ::getpid(), host.data());
}

}  // namespace

absl::StatusOr<std::unique_ptr<LockFile>> LockFile::Acquire(const std::string& path, bool create) {
  int fd = ::open(path.c_str(), O_RDWR | (create ? O_CREAT : 0) | O_CLOEXEC, 0640);
  if (fd < 0 && !create) fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && !create && errno == ENOENT) return NotFound("there is no lock {}", path);
  if (fd < 0 && (errno == EACCES || errno == EROFS)) {
    return PermissionDenied("cannot create the lock {}: {}; the store must be writable", path,
                            Reason(errno));
  }
  if (fd < 0 && (errno == ENOSPC || errno == EDQUOT)) {
    return ResourceExhausted("cannot create the lock {}: {}", path, Reason(errno));
  }
  if (fd < 0) return Unavailable("cannot create the lock {}: {}", path, Reason(errno));
  std::unique_ptr<LockFile> lock(new LockFile(fd));
  int result = 0;
  do {
    result = ::flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno == EWOULDBLOCK) {
    return FailedPrecondition(
        "the store is in use by {} (lock {}); stop it first, or ask it over its API", HolderOf(fd),
        path);
  }
  if (result != 0) return Unavailable("cannot lock {}: {}", path, Reason(errno));
  // Only a courtesy to whom we keep out: the lock holds whether or not this can be written.
  const std::string self = Self();
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, self.data(), self.size(), 0) < 0) return lock;
  return lock;
}

LockFile::~LockFile() { ::close(fd_); }

}  // namespace zood::store
