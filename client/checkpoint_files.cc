// Which files to send for what a person calls a checkpoint.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "base/status.h"
#include "base/tensorflow/files.h"
#include "base/text.h"
#include "client/client.h"

namespace zood::client {
namespace {

namespace fs = std::filesystem;

std::string DirectoryOf(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

}  // namespace

absl::StatusOr<FoundCheckpoint> FindCheckpoint(const std::string& path) {
  FileSystem& files = FileSystem::Native();
  std::error_code error;
  if (fs::is_directory(path, error)) return NewestCheckpoint(files, path);
  if (IsStateFile(files, path)) return NewestCheckpoint(files, DirectoryOf(path));
  if (fs::exists(path, error)) {
    const auto prefix = PrefixOfPart(path);
    const bool is_there =
        prefix && (fs::exists(*prefix + ".index", error) || fs::is_regular_file(*prefix, error));
    return FoundCheckpoint{.path = is_there ? *prefix : path};
  }
  if (IsGlob(path) && !fs::exists(path + ".index", error)) {
    ZOOD_ASSIGN_OR_RETURN(const std::string found, CheckpointOfGlob(files, path));
    return FoundCheckpoint{.path = found};
  }
  return FoundCheckpoint{.path = path};
}

absl::StatusOr<std::vector<UploadFile>> FilesOfCheckpoint(const std::string& path) {
  std::error_code error;
  const fs::path prefix(path);
  if (fs::is_regular_file(prefix, error)) {
    return std::vector<UploadFile>{{path, Escaped(prefix.filename().string())}};
  }
  if (fs::is_directory(prefix, error)) {
    return InvalidArgument(
        "'{}' is a directory: name the files in it, or the prefix of a TensorFlow "
        "checkpoint ('{}/model.ckpt')",
        path, path);
  }
  std::vector<UploadFile> files;
  fs::directory_iterator entries(DirectoryOf(path), error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (IsWeightPart(name, prefix.filename().string())) {
      files.push_back(
          {(prefix.has_parent_path() ? entries->path() : fs::path(name)).string(), Escaped(name)});
    }
  }
  if (files.empty()) {
    return NotFound("'{}' is neither a file nor the prefix of a TensorFlow checkpoint", path);
  }
  std::ranges::sort(files, {}, &UploadFile::name);
  return files;
}

}  // namespace zood::client
