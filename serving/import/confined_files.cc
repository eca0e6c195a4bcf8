#include "serving/import/confined_files.h"

#include "base/status.h"

namespace zood::serving {
namespace {

absl::Status ReadOnly(const std::string& path) {
  return PermissionDenied("'{}': model roots are only read", path);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const FileContents>> ConfinedFiles::Open(const std::string& path) {
  ZOOD_ASSIGN_OR_RETURN(const std::string real, roots_.Resolve(path));
  return files_.Open(real);
}

absl::StatusOr<std::vector<std::string>> ConfinedFiles::List(const std::string& path) {
  ZOOD_ASSIGN_OR_RETURN(const std::string real, roots_.Resolve(path));
  return files_.List(real);
}

absl::StatusOr<std::uint64_t> ConfinedFiles::Size(const std::string& path) {
  ZOOD_ASSIGN_OR_RETURN(const std::string real, roots_.Resolve(path));
  return files_.Size(real);
}

absl::StatusOr<bool> ConfinedFiles::Exists(const std::string& path) {
  const absl::StatusOr<std::string> real = roots_.Resolve(path);
  if (real.status().code() == absl::StatusCode::kNotFound) return false;
  if (!real.ok()) return real.status();
  return files_.Exists(*real);
}

absl::Status ConfinedFiles::WriteNew(const std::string& path,
                                     std::span<const std::span<const std::byte>>) {
  return ReadOnly(path);
}
absl::Status ConfinedFiles::Rename(const std::string& from, const std::string&) {
  return ReadOnly(from);
}
absl::Status ConfinedFiles::SyncDirectory(const std::string& path) { return ReadOnly(path); }
absl::Status ConfinedFiles::Remove(const std::string& path) { return ReadOnly(path); }
absl::Status ConfinedFiles::CreateDirectories(const std::string& path) { return ReadOnly(path); }

}  // namespace zood::serving
