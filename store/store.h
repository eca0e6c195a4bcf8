// The weight store: versions of models, whole or not at all.
//
// A version is a manifest (network, preprocessing, labels, where it came from) and named tensors.
// Each tensor is kept once, whatever versions share it: a fine-tuned head costs two tensors, not a
// copy of its network. Versions never change; aliases move between them. docs/store_format.md says
// what lies on disk and why a publish is atomic.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/tensor.h"
#include "store/blob_store.h"
#include "store/catalogue.h"
#include "store/fsck.h"
#include "store/gc.h"
#include "store/lock_file.h"
#include "store/version.h"

namespace zood::store {

struct OpenOptions {
  bool create = true;                   // otherwise NotFound when there is no store
  std::string sqlite_vfs;               // a registered SQLite VFS; empty is the system's own
  std::function<std::int64_t()> clock;  // microseconds since 1970 UTC; empty is the system's
};

struct PublishedVersion {
  std::int64_t version = 0;
  std::string digest;            // ManifestDigest()
  std::int64_t new_tensors = 0;  // that the store did not have yet
  std::uint64_t new_bytes = 0;
};

struct LoadOptions {
  bool verify_digests = false;  // DataLoss when a byte changed; costs reading everything
};

struct LoadedVersion {
  VersionManifest manifest;
  TensorMap weights;
};

// Thread-safe. Loading, listing and aliasing go on while a publish writes; publishing, Gc() and
// Fsck() take turns.
//
// A `selector` is a version's number ("3" or "v3"), an alias, or empty, which means `stable` if it
// is set and `latest` otherwise. `latest` is the newest version that is no checkpoint; `stable` is
// set by a model's first such version and then only moves when somebody moves it.
//
// Errors: InvalidArgument (a name or text that the store does not take), NotFound,
// ResourceExhausted (disk full), Unavailable (input or output failed), DataLoss (what was published
// is gone or changed: run Fsck()), PermissionDenied.
class Store {
 public:
  // Opens the store in directory `root`, and makes one there if it is absent or empty. Its schema
  // is brought up to date. One process at a time: FailedPrecondition, naming the other, while
  // somebody has it open; also when a newer zood wrote it, or when `root` holds something else.
  // `files` must be the machine's own paths, for SQLite uses them too, and outlive the store.
  static absl::StatusOr<std::unique_ptr<Store>> Open(FileSystem& files, const std::string& root,
                                                     OpenOptions options = {});

  // A store over other parts than files.
  Store(std::unique_ptr<BlobStore> blobs, std::unique_ptr<Catalogue> catalogue,
        std::function<std::int64_t()> clock, std::unique_ptr<LockFile> lock = nullptr);

  // Adds a version. It is durable when this returns OK; on an error, or if the process dies, there
  // is none. Only when the disk itself fails during the last sync may an error turn out, after a
  // restart, to have been a success.
  absl::StatusOr<PublishedVersion> Publish(const NewVersion& version, const TensorMap& weights);

  // The weights lie in mapped files, which they keep open: nothing is copied but strings, and they
  // outlive the version's deletion and the store.
  absl::StatusOr<LoadedVersion> Load(const std::string& model, const std::string& selector,
                                     const LoadOptions& options = {});

  absl::StatusOr<std::int64_t> Resolve(const std::string& model, const std::string& selector);
  absl::StatusOr<VersionManifest> GetVersion(const std::string& model, const std::string& selector);
  absl::StatusOr<std::vector<ModelSummary>> ListModels();
  absl::StatusOr<std::vector<VersionSummary>> ListVersions(const std::string& model);

  // Both give the version that the alias named before, 0 for none, so that it can be moved back.
  // With `expected` (0 for none), Aborted and nothing done unless the alias names just that.
  absl::StatusOr<std::int64_t> SetAlias(const std::string& model, const std::string& alias,
                                        std::int64_t version,
                                        std::optional<std::int64_t> expected = std::nullopt);
  absl::StatusOr<std::int64_t> DeleteAlias(const std::string& model, const std::string& alias,
                                           std::optional<std::int64_t> expected = std::nullopt);

  // FailedPrecondition while an alias other than `latest` names the version, unless `force`, which
  // deletes such aliases. The space comes back with Gc().
  absl::Status DeleteVersion(const std::string& model, std::int64_t version, bool force = false);
  // With all versions and aliases. Its version numbers stay used.
  absl::Status DeleteModel(const std::string& model);

  absl::StatusOr<FsckReport> Fsck(const FsckOptions& options = {});
  absl::StatusOr<GcReport> Gc(const GcOptions& options = {});

 private:
  absl::Status WritePack(const Pack& pack, const std::vector<std::span<const std::byte>>& elements)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writing_);
  void DiscardPack(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(writing_);
  absl::StatusOr<bool> IsHealthy(const StoredTensor& tensor, std::map<std::string, Pack>& packs)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writing_);

  // Constant after construction. The lock goes last when the store closes.
  const std::unique_ptr<LockFile> lock_;
  const std::unique_ptr<BlobStore> blobs_;
  const std::unique_ptr<Catalogue> catalogue_;
  const std::function<std::int64_t()> clock_;

  Mutex writing_;    // held by Publish() while it writes, Gc() and Fsck()
  Mutex unlinking_;  // see gc.h; taken after writing_
};

}  // namespace zood::store
