// A FileSystem of strings, so that tests damage files without a disk.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace zood::checkpoint {

class MemoryFileSystem : public FileSystem {
 public:
  std::map<std::string, std::string> files;  // by path

  absl::StatusOr<std::shared_ptr<const FileContents>> Open(const std::string& path) override {
    const auto at = files.find(path);
    if (at == files.end()) return NotFound("cannot open {}: No such file", path);
    return ContentsOf(at->second);
  }
  absl::Status WriteNew(const std::string& path,
                        std::span<const std::span<const std::byte>> pieces) override {
    std::string bytes;
    for (const auto& piece : pieces) {
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    if (!files.emplace(path, std::move(bytes)).second) return AlreadyExists("{} exists", path);
    return absl::OkStatus();
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    const auto at = files.find(from);
    if (at == files.end()) return NotFound("cannot rename {}: No such file", from);
    files[to] = at->second;
    files.erase(from);
    return absl::OkStatus();
  }
  absl::Status SyncDirectory(const std::string&) override { return absl::OkStatus(); }
  absl::Status Remove(const std::string& path) override {
    files.erase(path);
    return absl::OkStatus();
  }
  absl::Status CreateDirectories(const std::string&) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    std::vector<std::string> names;
    const std::string prefix = path.ends_with('/') ? path : path + "/";
    for (const auto& [name, bytes] : files) {
      if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
    }
    if (names.empty()) return NotFound("cannot list {}: No such directory", path);
    return names;
  }
  absl::StatusOr<std::uint64_t> Size(const std::string& path) override {
    const auto at = files.find(path);
    if (at == files.end()) return NotFound("cannot inspect {}: No such file", path);
    return at->second.size();
  }
  absl::StatusOr<bool> Exists(const std::string& path) override {
    return files.contains(path) || List(path).ok();
  }
};

}  // namespace zood::checkpoint
