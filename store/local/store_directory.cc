#include "store/local/store_directory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/status.h"

namespace zood::store {
namespace {

constexpr int kLayout = 1;
constexpr std::string_view kFormatPrefix = "zood store, layout ";

// What an interrupted creation may have left, and what a fresh volume holds.
constexpr std::array<std::string_view, 8> kHarmless = {
    "LOCK",       "FORMAT.tmp", "catalogue.db", "catalogue.db-journal", "catalogue.db-wal",
    "lost+found", "packs",      "RESERVE"};

}  // namespace

absl::StatusOr<StoreDirectory> StoreDirectory::Open(FileSystem& files, const std::string& root,
                                                    bool create) {
  ZOOD_ASSIGN_OR_RETURN(const bool there, files.Exists(root + "/FORMAT"));
  if (!there && !create) return NotFound("there is no store in {}", root);
  ZOOD_ASSIGN_OR_RETURN(const bool had_root, files.Exists(root));
  ZOOD_RETURN_IF_ERROR(files.CreateDirectories(root));
  ZOOD_ASSIGN_OR_RETURN(auto lock, LockFile::Acquire(root + "/LOCK"));
  StoreDirectory directory(files, root, std::move(lock));
  // Asked again under the lock: another process may have been making the store.
  ZOOD_ASSIGN_OR_RETURN(const bool whole, files.Exists(directory.FormatPath()));
  directory.is_new_ = !whole;
  directory.made_root_ = !had_root;
  ZOOD_RETURN_IF_ERROR(whole ? directory.CheckFormat() : directory.CheckUnused());
  ZOOD_RETURN_IF_ERROR(files.CreateDirectories(directory.packs_path()));
  return directory;
}

absl::StatusOr<StoreDirectory> StoreDirectory::OpenToRead(FileSystem& files,
                                                          const std::string& root) {
  ZOOD_ASSIGN_OR_RETURN(const bool there, files.Exists(root + "/FORMAT"));
  if (!there) return NotFound("there is no store in {}", root);
  auto lock = LockFile::Acquire(root + "/LOCK", /*create=*/false);
  if (!lock.ok() && !absl::IsNotFound(lock.status())) return lock.status();
  StoreDirectory directory(files, root, lock.ok() ? *std::move(lock) : nullptr);
  ZOOD_RETURN_IF_ERROR(directory.CheckFormat());
  return directory;
}

absl::Status StoreDirectory::CheckFormat() {
  ZOOD_ASSIGN_OR_RETURN(const auto file, files_->Open(FormatPath()));
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                              file->bytes().size());
  int layout = 0;
  if (text.starts_with(kFormatPrefix)) {
    std::from_chars(text.data() + kFormatPrefix.size(), text.data() + text.size(), layout);
  }
  if (layout <= 0) return DataLoss("{} does not say which layout the store has", FormatPath());
  if (layout > kLayout) {
    return FailedPrecondition(
        "{}: layout {}, and this zood knows layouts up to {}: use the zood that wrote the store, "
        "or a newer one",
        FormatPath(), layout, kLayout);
  }
  // An empty catalogue in its place would make garbage of every pack.
  ZOOD_ASSIGN_OR_RETURN(const bool catalogue, files_->Exists(catalogue_path()));
  if (!catalogue) return DataLoss("{} is missing; put it back from a copy", catalogue_path());
  return absl::OkStatus();
}

absl::Status StoreDirectory::CheckUnused() {
  ZOOD_ASSIGN_OR_RETURN(std::vector<std::string> names, files_->List(root_));
  for (const std::string& name : names) {
    if (std::ranges::find(kHarmless, name) == kHarmless.end()) {
      return FailedPrecondition("{} is not a store and not empty: it has {}; choose another place",
                                root_, name);
    }
  }
  ZOOD_ASSIGN_OR_RETURN(const bool has_packs, files_->Exists(packs_path()));
  if (!has_packs) return absl::OkStatus();
  ZOOD_ASSIGN_OR_RETURN(names, files_->List(packs_path()));
  if (names.empty()) return absl::OkStatus();
  return FailedPrecondition("{} has packs but no {}: it was a store; put the file back", root_,
                            FormatPath());
}

absl::Status StoreDirectory::Finish() {
  if (!is_new_) return absl::OkStatus();
  // The catalogue and packs/ first: whoever sees FORMAT relies on them.
  ZOOD_RETURN_IF_ERROR(files_->SyncDirectory(root_));
  const std::string temporary = FormatPath() + ".tmp";
  const std::string text = fmt::format("{}{}\n", kFormatPrefix, kLayout);
  const std::span<const std::byte> pieces[] = {AsBytes(text)};
  ZOOD_RETURN_IF_ERROR(files_->Remove(temporary));
  ZOOD_RETURN_IF_ERROR(files_->WriteNew(temporary, pieces));
  ZOOD_RETURN_IF_ERROR(files_->Rename(temporary, FormatPath()));
  ZOOD_RETURN_IF_ERROR(files_->SyncDirectory(root_));
  return made_root_ ? files_->SyncDirectory(root_ + "/..") : absl::OkStatus();
}

}  // namespace zood::store
