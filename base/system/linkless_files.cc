// FileSystem::NativeWithoutLinks(): one directory at a time, each opened within the one before.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/status.h"
#include "base/system/posix_file.h"

namespace zood {
namespace {

absl::Status Refused(int error, const FileDescriptor& directory, const std::string& name,
                     const std::string& path) {
  struct stat info{};
  if (::fstatat(directory.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISLNK(info.st_mode)) {
    return PermissionDenied("{}: {} is a symbolic link", path, name);
  }
  return SystemError(error, "open", path);
}

// Opens `path` with `flags`. The last component is held to the same rule as the others.
absl::StatusOr<FileDescriptor> OpenAlong(const std::string& path, int flags) {
  constexpr int kStep = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  FileDescriptor at(::open(path.starts_with('/') ? "/" : ".", kStep));
  if (!at.valid()) return SystemError(errno, "open", path);
  std::string_view rest = path;
  std::string name = ".";
  while (!rest.empty()) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view component = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    if (component.empty() || component == ".") continue;
    if (component == "..") return PermissionDenied("{} goes through '..'", path);
    FileDescriptor next(::openat(at.get(), name.c_str(), kStep));
    if (!next.valid()) return Refused(errno, at, name, path);
    at = std::move(next);
    name = component;
  }
  FileDescriptor file(::openat(at.get(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid()) return Refused(errno, at, name, path);
  return file;
}

absl::StatusOr<struct stat> Inspect(const std::string& path) {
  ZOOD_ASSIGN_OR_RETURN(const FileDescriptor file, OpenAlong(path, O_PATH));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return SystemError(errno, "inspect", path);
  // With O_PATH a link itself can be opened.
  if (S_ISLNK(info.st_mode)) return PermissionDenied("{} is a symbolic link", path);
  return info;
}

absl::Status OnlyReads(const std::string& path) {
  return PermissionDenied("{}: files are only read here", path);
}

class LinklessFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& path) override {
    ZOOD_ASSIGN_OR_RETURN(const FileDescriptor file, OpenAlong(path, O_RDONLY | O_NONBLOCK));
    return ReadOrMap(file.get(), path);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    ZOOD_ASSIGN_OR_RETURN(FileDescriptor file, OpenAlong(path, O_RDONLY | O_DIRECTORY));
    DIR* const directory = ::fdopendir(file.get());
    if (directory == nullptr) return SystemError(errno, "list", path);
    file.Release();  // belongs to `directory` now
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    const int error = errno;
    ::closedir(directory);
    if (error != 0) return SystemError(error, "list", path);
    std::ranges::sort(names);
    return names;
  }

  absl::StatusOr<std::uint64_t> Size(const std::string& path) override {
    ZOOD_ASSIGN_OR_RETURN(const struct stat info, Inspect(path));
    return static_cast<std::uint64_t>(info.st_size);
  }

  absl::StatusOr<bool> Exists(const std::string& path) override {
    const auto info = Inspect(path);
    if (absl::IsNotFound(info.status())) return false;
    if (!info.ok()) return info.status();
    return true;
  }

  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>>) override {
    return OnlyReads(path);
  }
  absl::Status Rename(const std::string& from, const std::string&) override {
    return OnlyReads(from);
  }
  absl::Status SyncDirectory(const std::string& path) override { return OnlyReads(path); }
  absl::Status Remove(const std::string& path) override { return OnlyReads(path); }
  absl::Status CreateDirectories(const std::string& path) override { return OnlyReads(path); }
};

}  // namespace

FileSystem& FileSystem::NativeWithoutLinks() {
  static LinklessFileSystem* const linkless = new LinklessFileSystem;
  return *linkless;
}

}  // namespace zood
