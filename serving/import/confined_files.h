// The machine's files, but only those that a remote caller may have read.
#pragma once

#include "base/file.h"
#include "serving/import/allowed_roots.h"

namespace zood::serving {

// Every path is resolved by AllowedRoots at the moment it is opened, also those that a weight file
// leads to (shards, a `checkpoint` state file). Writing is PermissionDenied. Thread-safe.
//
// `files` should be FileSystem::NativeWithoutLinks(): a resolved path has no links, and one that
// somebody puts there before the file is opened must not be followed.
class ConfinedFiles final : public FileSystem {
 public:
  // Both outlive this.
  ConfinedFiles(FileSystem& files, const AllowedRoots& roots) : files_(files), roots_(roots) {}

  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<std::uint64_t> Size(const std::string& path) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;

  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;

 private:
  FileSystem& files_;
  const AllowedRoots& roots_;
};

}  // namespace zood::serving
