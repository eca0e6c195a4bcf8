// The directory that a store lies in: whose it is, what form it has, how it comes to be.
//
//   LOCK           who has the store open
//   FORMAT         the layout's number; written last, so a directory with it is a whole store
//   catalogue.db   SQLite, with catalogue.db-wal beside it while open
//   packs/         LocalBlobStore
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "store/local/lock_file.h"

namespace zood::store {

// Open(), then open the catalogue, then Finish().
class StoreDirectory {
 public:
  // Locks `root` and checks what is in it; `create` makes what is missing. Errors as Store::Open().
  static absl::StatusOr<StoreDirectory> Open(FileSystem& files, const std::string& root,
                                             bool create);

  // The same for reading: makes nothing, and where the lock cannot be had because nothing may be
  // written, nobody else can write either.
  static absl::StatusOr<StoreDirectory> OpenToRead(FileSystem& files, const std::string& root);

  bool is_new() const { return is_new_; }
  std::string catalogue_path() const { return root_ + "/catalogue.db"; }
  std::string packs_path() const { return root_ + "/packs"; }

  // Makes a new store durable and says so; nothing to do for an old one.
  absl::Status Finish();

  std::unique_ptr<LockFile> TakeLock() && { return std::move(lock_); }

 private:
  StoreDirectory(FileSystem& files, std::string root, std::unique_ptr<LockFile> lock)
      : files_(&files), root_(std::move(root)), lock_(std::move(lock)) {}

  std::string FormatPath() const { return root_ + "/FORMAT"; }
  absl::Status CheckFormat();
  absl::Status CheckUnused();

  FileSystem* files_;
  std::string root_;
  std::unique_ptr<LockFile> lock_;
  bool is_new_ = false;
  bool made_root_ = false;  // its own name must be made durable then, too
};

}  // namespace zood::store
