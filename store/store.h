// The weight store: versions of models, whole or not at all.
//
// A version is a manifest (network, preprocessing, labels, where it came from) and named tensors.
// Each tensor is kept once, whatever versions share it: a fine-tuned head costs two tensors, not a
// copy of its network. Versions never change; aliases move between them. Datasets are kept the same
// way, and beside them the records of jobs. docs/store_format.md says what lies on disk and why a
// publish is atomic.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/mapping.h"
#include "base/mutex.h"
#include "base/tensor.h"
#include "store/batch.h"
#include "store/blob_store.h"
#include "store/catalogue.h"
#include "store/dataset.h"
#include "store/fsck.h"
#include "store/gc.h"
#include "store/job.h"
#include "store/limits.h"
#include "store/local/lock_file.h"
#include "store/local/space_reserve.h"
#include "store/packs/tensor_codec.h"
#include "store/version.h"

namespace zood::store {

struct OpenOptions {
  bool create = true;                   // otherwise NotFound when there is no store
  std::string sqlite_vfs;               // a registered SQLite VFS; empty is the system's own
  std::function<std::int64_t()> clock;  // microseconds since 1970 UTC; empty is the system's
  // Bytes of a file that is given up when the disk is full, so that something can be deleted; 0 for
  // none.
  std::uint64_t reserve_bytes = 8 << 20;
};

struct LoadOptions {
  bool verify_digests = true;  // DataLoss when a byte changed; costs reading everything
};

// What a commit changed, for those who keep something of the store in mind.
struct Changes {
  std::set<std::string> models;  // whose versions or aliases are others now
  std::vector<AliasMove> moves;
  std::vector<DeletedVersion> deleted;
};
using Listener = std::function<void(const Changes&)>;

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
        std::function<std::int64_t()> clock, std::unique_ptr<LockFile> lock = nullptr,
        std::unique_ptr<SpaceReserve> reserve = nullptr);

  // Does all of `batch` or nothing, durably: see batch.h. Errors as Publish(), and NotFound (a
  // model, version, alias or job), Aborted (something is not as the batch expects),
  // FailedPrecondition (an alias names a version that is to be deleted). Most other changes here
  // are short forms of it.
  absl::StatusOr<BatchOutcome> Commit(const Batch& batch);

  // Calls `listener` after every commit that changed models, on the thread that made it, before its
  // call returns. It is called from several threads at once, may be called once more while it is
  // being removed, and goes when the returned handle does.
  [[nodiscard]] std::shared_ptr<const Listener> Listen(Listener listener);

  // The history of aliases, newest first, at most `limit`.
  absl::StatusOr<std::vector<AliasMove>> AliasMoves(const AliasMoveFilter& filter,
                                                    std::int64_t limit = kDefaultPage);
  // What a job published and nobody deleted, oldest first.
  absl::StatusOr<std::vector<JobVersion>> JobVersions(const std::string& job_id);

  // Adds a version. It is durable when this returns OK; on an error, or if the process dies, there
  // is none. DataLoss, too, when a file that the weights lie in became shorter meanwhile. Only when
  // the disk itself fails during the last sync may an error turn out, after a restart, to have been
  // a success.
  // `check`, if given, sees what was written, and its error is the publish's.
  absl::StatusOr<PublishedVersion> Publish(const NewVersion& version, const TensorMap& weights,
                                           const PublishCheck& check = {});

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

  // Adds a dataset, as atomic and durable as Publish(). A name is given once: AlreadyExists when
  // another dataset has it; but the very same dataset (by digest) again is OK, so that a call
  // whose answer was lost can be repeated. InvalidArgument, naming the item, for a label that is no
  // index into the classes.
  absl::StatusOr<PublishedDataset> PublishDataset(const NewDataset& dataset);

  // The items lie in mapped files, as in Load().
  absl::StatusOr<LoadedDataset> LoadDataset(const std::string& name,
                                            const LoadOptions& options = {});
  // Items `first` to `first` + `count` in their order; fewer at the end. Takes as long as these do.
  absl::StatusOr<std::vector<DatasetItem>> LoadDatasetItems(const std::string& name,
                                                            std::int64_t first, std::int64_t count,
                                                            const LoadOptions& options = {});
  absl::StatusOr<DatasetManifest> GetDataset(const std::string& name);
  absl::StatusOr<std::vector<DatasetSummary>> ListDatasets();  // by name

  // Whoever has loaded it goes on with it. The store does not know what a job's spec names: whether
  // a waiting job needs the dataset is for the caller to ask first. The space comes back with Gc().
  absl::Status DeleteDataset(const std::string& name);

  // Jobs. Whatever these return OK for is durable.
  //
  // With an idempotency key that a job has already: that job, if model, spec and metadata are the
  // same; otherwise AlreadyExists.
  absl::StatusOr<CreatedJob> CreateJob(const NewJob& job);
  absl::StatusOr<JobRecord> GetJob(const std::string& id);
  // Its state alone: the record's spec may be megabytes.
  absl::StatusOr<std::string> GetJobState(const std::string& id);
  // Newest first. `page_size` 0 means 50. A page ends after 1000 jobs, or after the one that brings
  // its specs above 16 MiB. `page_token` is empty or a page's next_page_token, of a call with the
  // same filter; InvalidArgument if it is not one.
  absl::StatusOr<JobPage> ListJobs(const JobFilter& filter, std::int64_t page_size = 0,
                                   const std::string& page_token = "");
  // Gives the record as it is then. With `expected_revision`, Aborted and nothing done unless the
  // record still has it.
  absl::StatusOr<JobRecord> UpdateJob(const std::string& id,
                                      std::optional<std::int64_t> expected_revision,
                                      const JobChange& change);
  // Does not change the record. Gives the sequence of the last event.
  absl::StatusOr<std::int64_t> AppendJobEvents(const std::string& id,
                                               const std::vector<NewJobEvent>& events);
  // Those after `after_sequence`, oldest first: at most `limit`, and none after the one that brings
  // the payloads above 16 MiB. Empty when there are none yet.
  absl::StatusOr<std::vector<JobEvent>> JobEvents(const std::string& id,
                                                  std::int64_t after_sequence, std::int64_t limit);
  // See JobDeletion.
  absl::Status DeleteJob(const std::string& id,
                         std::optional<std::int64_t> expected_revision = std::nullopt);

  // Deletes the checkpoints of jobs that have finished, but of the `keep_jobs` that finished last,
  // and but those that an alias names. Gives how many.
  absl::StatusOr<std::int64_t> DeleteOldCheckpoints(std::int64_t keep_jobs);

  absl::StatusOr<FsckReport> Fsck(const FsckOptions& options = {});
  // May run while the store serves: a publish waits for it, loading does not. DataLoss, and nothing
  // removed, when the catalogue is damaged.
  absl::StatusOr<GcReport> Gc(const GcOptions& options = {});

 private:
  absl::StatusOr<BatchOutcome> CommitPublication(const Batch& batch);
  // `change`, and on a full disk once more with the space of the reserve.
  template <typename Change>
  auto Freeing(Change&& change) -> decltype(change());
  void Tell(const Batch& batch, const BatchOutcome& outcome);
  // Reads the items that `find` gives, with no pack removed in between.
  absl::StatusOr<std::vector<DatasetItem>> ReadItems(
      const std::string& name, const std::function<absl::StatusOr<std::vector<StoredItem>>()>& find,
      const LoadOptions& options);

  absl::Status WritePack(const Pack& pack, const std::vector<std::span<const std::byte>>& elements)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writing_);
  void DiscardPack(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(writing_);

  // What a publish adds to the packs; nullopt when the store has everything.
  struct Written {
    std::optional<Pack> pack;
    std::int64_t tensors = 0;
    std::uint64_t bytes = 0;
  };
  // The version that was written, from the packs.
  absl::StatusOr<LoadedVersion> ReadBack(const VersionManifest& manifest,
                                         const std::optional<Pack>& pack);
  // Writes those tensors that the store lacks, each once and in their order, which a load reads in.
  // DataLoss when a file that is mapped lost bytes since `watch` was made.
  absl::StatusOr<Written> WriteMissing(std::span<const EncodedTensor> encoded,
                                       const MappingWatch& watch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writing_);

  // Tensors by digest, of packs by name.
  using PackContents = std::map<std::string, std::unordered_map<std::string, StoredTensor>>;
  absl::StatusOr<bool> IsHealthy(const StoredTensor& tensor, PackContents& packs)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(writing_);

  using PackFiles = std::unordered_map<std::string, std::shared_ptr<const FileContents>>;
  absl::Status OpenPack(const std::string& name, PackFiles& files)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(unlinking_);
  static absl::StatusOr<Tensor> ReadTensor(const StoredTensor& tensor, const PackFiles& files,
                                           const LoadOptions& options);

  // Constant after construction. The lock goes last when the store closes.
  const std::unique_ptr<LockFile> lock_;
  const std::unique_ptr<BlobStore> blobs_;
  const std::unique_ptr<Catalogue> catalogue_;
  const std::function<std::int64_t()> clock_;

  const std::unique_ptr<SpaceReserve> reserve_;  // null for none

  Mutex listening_;
  std::vector<std::weak_ptr<const Listener>> listeners_ ABSL_GUARDED_BY(listening_);
  Mutex writing_;    // held by Publish() while it writes, Gc() and Fsck()
  Mutex unlinking_;  // see gc.h; taken after writing_
};

}  // namespace zood::store
