#include "serving/import/allowed_roots.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>

#include "base/status.h"
#include "base/tensorflow/files.h"

namespace zood::serving {
namespace {

namespace fs = std::filesystem;

bool IsInside(const fs::path& path, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

bool ExistsAsPrefix(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error) || fs::exists(path.string() + ".index", error)) return true;
  return IsGlob(path.string()) && fs::is_directory(path.parent_path(), error);
}

// What an operator would have to allow, told from the words of the path alone.
std::string DirectoryOf(const fs::path& path) {
  const std::string directory = path.lexically_normal().parent_path().string();
  return directory.empty() ? "DIRECTORY" : directory;
}

// What the system would open; nothing when it cannot be said.
std::optional<fs::path> RealPath(const fs::path& path) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(path, error);
  if (error) return std::nullopt;
  return real;
}

}  // namespace

absl::StatusOr<AllowedRoots> AllowedRoots::Create(const std::vector<std::string>& roots) {
  AllowedRoots allowed;
  for (const std::string& root : roots) {
    std::error_code error;
    const fs::path real = fs::canonical(root, error);
    if (error || !fs::is_directory(real, error)) {
      return NotFound("model root '{}' is no directory that zood can read", root);
    }
    allowed.roots_.push_back(real.string());
  }
  return allowed;
}

absl::StatusOr<std::string> AllowedRoots::Resolve(const std::string& path) const {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return InvalidArgument("a path is empty or holds a NUL");
  }
  if (roots_.empty()) {
    return PermissionDenied(
        "'{}': this daemon reads no files for its clients; upload the files, or start it with "
        "--model-root {}",
        path, DirectoryOf(path));
  }
  std::vector<fs::path> candidates;
  if (fs::path(path).is_absolute()) {
    candidates.emplace_back(path);
  } else {
    for (const std::string& root : roots_) candidates.push_back(fs::path(root) / path);
  }
  bool leads_outside = false;
  for (const fs::path& candidate : candidates) {
    const std::optional<fs::path> real = RealPath(candidate);
    const bool inside = real && std::ranges::any_of(roots_, [&](const std::string& root) {
                          return IsInside(*real, root);
                        });
    if (inside && ExistsAsPrefix(*real)) return real->string();
    leads_outside = leads_outside || !inside;
  }
  if (!leads_outside) return NotFound("'{}': there is no such file under the model roots", path);
  return PermissionDenied(
      "'{}' is outside of the directories that may be read: {}; start the daemon with "
      "--model-root {} too, or upload the files",
      path, fmt::join(roots_, ", "), DirectoryOf(path));
}

}  // namespace zood::serving
