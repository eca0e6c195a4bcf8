// The machine's files, for tests that override what they want to go otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"

namespace zood::testing {

class NativeFiles : public FileSystem {
 public:
  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& path) override {
    return native_.Open(path);
  }
  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) override {
    return native_.WriteNew(path, pieces);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return native_.Rename(from, to);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    return native_.SyncDirectory(path);
  }
  absl::Status Remove(const std::string& path) override { return native_.Remove(path); }
  absl::Status CreateDirectories(const std::string& path) override {
    return native_.CreateDirectories(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    return native_.List(path);
  }
  absl::StatusOr<std::uint64_t> Size(const std::string& path) override {
    return native_.Size(path);
  }
  absl::StatusOr<bool> Exists(const std::string& path) override { return native_.Exists(path); }

 private:
  FileSystem& native_ = FileSystem::Native();
};

}  // namespace zood::testing
