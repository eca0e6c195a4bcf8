// The store in a directory: SQLite beside packs.
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "store/local/store_directory.h"
#include "store/packs/local_blob_store.h"
#include "store/sqlite/catalogue.h"
#include "store/store.h"

namespace zood::store {
namespace {

// Weights and photos are nobody's business but the owner's and the group's.
void KeepFromOthers(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0 || (found.st_mode & 07) == 0) return;
  // Where that is not allowed, whoever owns the file has decided.
  if (::chmod(path.c_str(), found.st_mode & 0770) != 0) return;
}

// A directory that goes with everything in it.
class TemporaryDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<TemporaryDirectory>> Make() {
    std::error_code error;
    std::string path = (std::filesystem::temp_directory_path(error) / "zood-fsck-XXXXXX").string();
    if (error || ::mkdtemp(path.data()) == nullptr) {
      return Unavailable("cannot make a temporary directory {}; set TMPDIR to another place", path);
    }
    return std::unique_ptr<TemporaryDirectory>(new TemporaryDirectory(std::move(path)));
  }
  ~TemporaryDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

absl::Status CopyFile(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!std::filesystem::exists(from, error)) return absl::OkStatus();
  if (!error) std::filesystem::copy_file(from, to, error);
  if (error) return Unavailable("cannot copy {} to {}: {}", from, to, error.message());
  return absl::OkStatus();
}

// SQLite writes to whatever it opens, if only to its log. So a copy is opened, and brought up to
// date.
absl::StatusOr<std::unique_ptr<SqliteCatalogue>> OpenCopy(const std::string& path,
                                                          const std::string& directory) {
  const std::string copy = directory + "/catalogue.db";
  for (const char* suffix : {"", "-wal", "-journal"}) {
    ZOOD_RETURN_IF_ERROR(CopyFile(path + suffix, copy + suffix));
  }
  return SqliteCatalogue::Open(copy, "", /*create=*/false);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(FileSystem& files, const std::string& root,
                                                   OpenOptions options) {
  ZOOD_ASSIGN_OR_RETURN(StoreDirectory directory,
                        StoreDirectory::Open(files, root, options.create));
  KeepFromOthers(root);
  KeepFromOthers(directory.catalogue_path());  // its log is made with the same rights
  ZOOD_ASSIGN_OR_RETURN(auto catalogue,
                        SqliteCatalogue::Open(directory.catalogue_path(), options.sqlite_vfs,
                                              /*create=*/directory.is_new()));
  KeepFromOthers(directory.catalogue_path());
  KeepFromOthers(directory.catalogue_path() + "-wal");
  ZOOD_RETURN_IF_ERROR(directory.Finish());
  auto blobs = std::make_unique<LocalBlobStore>(files, directory.packs_path());
  ZOOD_RETURN_IF_ERROR(blobs->RemoveLeftovers().status());  // of a process that died writing
  auto reserve = std::make_unique<SpaceReserve>(files, root, options.reserve_bytes);
  reserve->Take().IgnoreError();  // a full disk is told to whoever publishes
  return std::make_unique<Store>(std::move(blobs), std::move(catalogue), std::move(options.clock),
                                 std::move(directory).TakeLock(), std::move(reserve));
}

absl::StatusOr<FsckReport> CheckStore(FileSystem& files, const std::string& root,
                                      const FsckOptions& options) {
  ZOOD_ASSIGN_OR_RETURN(const StoreDirectory directory, StoreDirectory::OpenToRead(files, root));
  ZOOD_ASSIGN_OR_RETURN(const auto scratch, TemporaryDirectory::Make());
  auto catalogue = OpenCopy(directory.catalogue_path(), scratch->path());
  // SQLite cannot read what is damaged badly, and migrating it may meet anything.
  if (absl::IsDataLoss(catalogue.status()) || absl::IsInternal(catalogue.status()) ||
      absl::IsInvalidArgument(catalogue.status())) {
    return FsckReport{.damage = {std::string(catalogue.status().message())}};
  }
  if (!catalogue.ok()) return catalogue.status();
  LocalBlobStore blobs(files, directory.packs_path());
  return CheckConsistency(blobs, **catalogue, options);
}

}  // namespace zood::store
