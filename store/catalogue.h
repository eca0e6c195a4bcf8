// What is known about models, versions, datasets, tensors and jobs: SQLite now, PostgreSQL for a
// fleet.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "store/batch.h"
#include "store/dataset.h"
#include "store/job.h"
#include "store/names.h"
#include "store/packs/pack.h"
#include "store/version.h"

namespace zood::store {

// A version and where its tensors lie, by digest.
struct StoredVersion {
  VersionManifest manifest;
  std::map<std::string, TensorLocation> locations;
};

// A dataset and where its items lie.
struct StoredItem {
  std::string name;
  std::int32_t label = 0;
  Split split = Split::kTrain;
  StoredTensor tensor;
};
struct StoredDataset {
  DatasetManifest manifest;
  std::vector<StoredItem> items;
};

// What a publication becomes once its weights are hashed and written.
struct EncodedPublication {
  VersionManifest manifest;
  std::optional<Pack> pack;  // of the tensors that the store did not have
  std::int64_t new_tensors = 0;
  std::uint64_t new_bytes = 0;
};

// A pack that the catalogue speaks of, and the tensors that it takes from it.
struct PackUse {
  std::string name;
  std::uint64_t bytes = 0;  // of the file
  std::vector<StoredTensor> tensors;

  std::uint64_t live_bytes() const {
    std::uint64_t sum = 0;
    for (const StoredTensor& tensor : tensors) sum += tensor.ref.bytes;
    return sum;
  }
};

struct UnusedTensors {
  std::int64_t tensors = 0;
  std::uint64_t bytes = 0;
};

// A transactional catalogue. Each method is one transaction: wholly done and durable when it
// returns OK, and without effect otherwise. One exception remains when the medium itself
// fails in the middle of a commit: then only Barrier() settles whether it happened.
// Thread-safe. Names are those that names.h accepts; the caller has checked them.
class Catalogue {
 public:
  virtual ~Catalogue() = default;

  // Those of `digests` that are known.
  virtual absl::StatusOr<std::map<std::string, StoredTensor>> FindTensors(
      const std::vector<std::string>& digests) = 0;

  // Does all of `batch`, or nothing: see Store::Commit(). `publication` is what Batch::publish
  // became; null without one. Its pack's tensors are from now on found there and nowhere else.
  // Internal when its manifest names a tensor that is neither known nor in the pack.
  virtual absl::StatusOr<BatchOutcome> Commit(const Batch& batch,
                                              const EncodedPublication* publication,
                                              std::int64_t now_us) = 0;

  // Newest first, at most `limit`.
  virtual absl::StatusOr<std::vector<AliasMove>> AliasMoves(const AliasMoveFilter& filter,
                                                            std::int64_t limit) = 0;
  // Oldest first.
  virtual absl::StatusOr<std::vector<JobVersion>> JobVersions(std::int64_t job) = 0;

  // NotFound, saying what there is, for a model, a version or an alias that is not there.
  virtual absl::StatusOr<std::int64_t> Resolve(const std::string& model,
                                               const Selector& selector) = 0;
  virtual absl::StatusOr<StoredVersion> Find(const std::string& model,
                                             const Selector& selector) = 0;
  virtual absl::StatusOr<std::vector<ModelSummary>> ListModels() = 0;
  virtual absl::StatusOr<std::vector<VersionSummary>> ListVersions(const std::string& model) = 0;

  virtual absl::StatusOr<BatchOutcome> DeleteModel(const std::string& model,
                                                   std::int64_t now_us) = 0;

  // Adds `pack` as Commit() does, then the dataset, whose items' locations are not looked at.
  // AlreadyExists when the name is taken. Internal as for Commit().
  virtual absl::Status PublishDataset(const StoredDataset& dataset,
                                      const std::optional<Pack>& pack) = 0;
  // NotFound when there is no such dataset.
  virtual absl::StatusOr<DatasetManifest> FindDataset(const std::string& name) = 0;
  virtual absl::StatusOr<StoredDataset> FindDatasetItems(const std::string& name) = 0;
  // Items `first` to `first` + `count` in their order; fewer at the end.
  virtual absl::StatusOr<std::vector<StoredItem>> FindItems(const std::string& name,
                                                            std::int64_t first,
                                                            std::int64_t count) = 0;
  virtual absl::StatusOr<std::vector<DatasetSummary>> ListDatasets() = 0;
  virtual absl::Status DeleteDataset(const std::string& name) = 0;

  // Jobs, by the numbers in their ids; as the methods of the same names in store.h. `now_us` is the
  // time of what happens.
  virtual absl::StatusOr<CreatedJob> CreateJob(const NewJob& job, std::int64_t now_us) = 0;
  virtual absl::StatusOr<JobRecord> FindJob(std::int64_t number) = 0;
  virtual absl::StatusOr<std::string> FindJobState(std::int64_t number) = 0;
  // Ids of the jobs that have finished and have checkpoints, without those that finished last.
  virtual absl::StatusOr<std::vector<std::string>> EndedJobs(std::int64_t but_newest) = 0;
  // Those below number `before`.
  virtual absl::StatusOr<JobPage> ListJobs(const JobFilter& filter, std::int64_t page_size,
                                           std::int64_t before) = 0;
  virtual absl::StatusOr<std::int64_t> AppendJobEvents(std::int64_t number,
                                                       const std::vector<NewJobEvent>& events,
                                                       std::int64_t now_us) = 0;
  virtual absl::StatusOr<std::vector<JobEvent>> FindJobEvents(std::int64_t number,
                                                              std::int64_t after_sequence,
                                                              std::int64_t limit) = 0;
  // Every pack and the tensors that are found in it, used by anything or not.
  virtual absl::StatusOr<std::vector<PackUse>> Packs() = 0;

  // Tensors that no version and no dataset uses.
  virtual absl::StatusOr<UnusedTensors> CountUnused() = 0;

  // Forgets them, and packs without tensors, which are removable from then on.
  virtual absl::StatusOr<UnusedTensors> Sweep() = 0;

  // Adds `pack` and finds its tensors there from now on; forgets packs that this empties.
  virtual absl::Status Move(const Pack& pack) = 0;

  // Packs that the catalogue accounts for and that nothing is found in: those about to be written,
  // until they are added, and those that it forgot. Only these may be removed: a pack of which the
  // catalogue never heard may belong to one that was lost. Durable before the pack is written.
  virtual absl::Status Announce(const std::string& pack) = 0;
  virtual absl::StatusOr<std::vector<std::string>> RemovablePacks() = 0;
  virtual absl::Status ForgetRemoved(const std::vector<std::string>& packs) = 0;

  // Makes the outcome of everything before it final: what a failed commit may have left behind
  // cannot come back, not even after a loss of power. Files may be removed on the catalogue's
  // word only after it returned OK.
  virtual absl::Status Barrier() = 0;

  // Sentences on everything wrong with the catalogue in itself.
  virtual absl::StatusOr<std::vector<std::string>> Check() = 0;
};

}  // namespace zood::store
