// The operating system's files behind an interface, so that tests can make it fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace zood {

// A whole file as read-only memory: a small one is read, a large one is mapped, so that only what
// is looked at is read. The bytes live as long as the object. If the file is cut short meanwhile,
// the lost bytes read as zeros: see MappingWatch in base/mapping.h.
class FileContents {
 public:
  virtual ~FileContents() = default;
  virtual std::span<const std::byte> bytes() const = 0;
};

// The operations of a file system that zood uses. Thread-safe. Paths are native; errors name the
// path, what was tried and the system's reason: NotFound, PermissionDenied, ResourceExhausted (no
// space), AlreadyExists, else Unavailable.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& path) = 0;

  // Writes a new file and makes its bytes durable (fsync) before it returns. Replaces nothing:
  // AlreadyExists when the path is taken. On error nothing is left at `path`.
  virtual absl::Status WriteNew(const std::string& path,
                                std::span<const std::span<const std::byte>> pieces) = 0;

  // Atomic replacement. Durable after SyncDirectory() of the parent.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status SyncDirectory(const std::string& path) = 0;

  // OK too when there is nothing at `path`.
  virtual absl::Status Remove(const std::string& path) = 0;
  // With its parents; OK when it is there already.
  virtual absl::Status CreateDirectories(const std::string& path) = 0;
  // Names of the entries, sorted, without "." and "..".
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
  virtual absl::StatusOr<std::uint64_t> Size(const std::string& path) = 0;
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;

  // The machine's own file system. Lives forever.
  static FileSystem& Native();

  // The same for reading only, and along no symbolic link: PermissionDenied when any component of a
  // path is one, or is "..". For paths that were resolved and judged before: a process that puts a
  // link into the path afterwards does not redirect the access.
  static FileSystem& NativeWithoutLinks();
};

// Bytes that are already in memory, as FileContents: what a reader gets for an upload.
std::shared_ptr<const FileContents> ContentsOf(std::string bytes);

}  // namespace zood
