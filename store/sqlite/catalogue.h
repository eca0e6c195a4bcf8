// The catalogue in one SQLite file (WAL, synchronous=FULL, held exclusively by one connection).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "store/catalogue.h"
#include "store/sqlite/sqlite.h"

namespace zood::store {

class SqliteCatalogue : public Catalogue {
 public:
  // Opens and migrates; makes a new one if `create`, otherwise DataLoss for a file that is empty.
  // `vfs` as for Database::Open().
  static absl::StatusOr<std::unique_ptr<SqliteCatalogue>> Open(const std::string& path,
                                                               const std::string& vfs, bool create);

  absl::StatusOr<std::map<std::string, StoredTensor>> FindTensors(
      const std::vector<std::string>& digests) override;
  absl::StatusOr<BatchOutcome> Commit(const Batch& batch, const EncodedPublication* publication,
                                      std::int64_t now_us) override;
  absl::StatusOr<std::vector<AliasMove>> AliasMoves(const AliasMoveFilter& filter,
                                                    std::int64_t limit) override;
  absl::StatusOr<std::vector<JobVersion>> JobVersions(std::int64_t job) override;
  absl::StatusOr<std::int64_t> Resolve(const std::string& model, const Selector& selector) override;
  absl::StatusOr<StoredVersion> Find(const std::string& model, const Selector& selector) override;
  absl::StatusOr<std::vector<ModelSummary>> ListModels() override;
  absl::StatusOr<std::vector<VersionSummary>> ListVersions(const std::string& model) override;
  absl::StatusOr<BatchOutcome> DeleteModel(const std::string& model, std::int64_t now_us) override;
  absl::Status PublishDataset(const StoredDataset& dataset,
                              const std::optional<Pack>& pack) override;
  absl::StatusOr<DatasetManifest> FindDataset(const std::string& name) override;
  absl::StatusOr<StoredDataset> FindDatasetItems(const std::string& name) override;
  absl::StatusOr<std::vector<StoredItem>> FindItems(const std::string& name, std::int64_t first,
                                                    std::int64_t count) override;
  absl::StatusOr<std::vector<DatasetSummary>> ListDatasets() override;
  absl::Status DeleteDataset(const std::string& name) override;
  absl::StatusOr<CreatedJob> CreateJob(const NewJob& job, std::int64_t now_us) override;
  absl::StatusOr<JobRecord> FindJob(std::int64_t number) override;
  absl::StatusOr<std::string> FindJobState(std::int64_t number) override;
  absl::StatusOr<std::vector<std::string>> EndedJobs(std::int64_t but_newest) override;
  absl::StatusOr<JobPage> ListJobs(const JobFilter& filter, std::int64_t page_size,
                                   std::int64_t before) override;
  absl::StatusOr<std::int64_t> AppendJobEvents(std::int64_t number,
                                               const std::vector<NewJobEvent>& events,
                                               std::int64_t now_us) override;
  absl::StatusOr<std::vector<JobEvent>> FindJobEvents(std::int64_t number,
                                                      std::int64_t after_sequence,
                                                      std::int64_t limit) override;
  absl::StatusOr<std::vector<PackUse>> Packs() override;
  absl::StatusOr<UnusedTensors> CountUnused() override;
  absl::StatusOr<UnusedTensors> Sweep() override;
  absl::Status Move(const Pack& pack) override;
  absl::Status Announce(const std::string& pack) override;
  absl::StatusOr<std::vector<std::string>> RemovablePacks() override;
  absl::Status ForgetRemoved(const std::vector<std::string>& packs) override;
  absl::Status Barrier() override;
  absl::StatusOr<std::vector<std::string>> Check() override;

 private:
  explicit SqliteCatalogue(std::unique_ptr<Database> database) : database_(std::move(database)) {}

  // A version as its rows know it.
  struct VersionRow {
    std::int64_t model_id = 0;
    std::int64_t version_id = 0;
    std::int64_t version = 0;
  };

  absl::StatusOr<std::int64_t> ModelId(const std::string& model)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // 0 when there is no such alias.
  absl::StatusOr<std::int64_t> AliasVersion(std::int64_t model_id, std::string_view alias)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<VersionRow> FindRow(const std::string& model, const Selector& selector)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadScalars(const VersionRow& row, VersionManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadLists(const VersionRow& row, VersionManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadLineage(const VersionRow& row, VersionManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadTensors(const VersionRow& row, StoredVersion& stored)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The parts of Commit(), each adding to `outcome` what it did.
  absl::Status CheckExpectations(const Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddVersion(const Publication& asked, const EncodedPublication& publication,
                          BatchOutcome& outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status LinkToJob(const JobLink& link, std::int64_t version_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ChangeAlias(const AliasChange& change, std::int64_t now_us, BatchOutcome& outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Points the alias of move.model at move.to, 0: at nothing; and remembers the move, unless it
  // changes nothing.
  absl::Status MoveAlias(std::int64_t model_id, AliasMove move, BatchOutcome& outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::vector<std::string>> AliasesOf(std::int64_t model_id, std::int64_t version)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RemoveVersion(const VersionDeletion& deletion, std::int64_t now_us,
                             BatchOutcome& outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ChangeJob(const JobUpdate& update, std::int64_t now_us, BatchOutcome& outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RemoveJob(const JobDeletion& deletion, BatchOutcome& outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ForgetEmptyPacks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Status AddPack(const Pack& pack) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<VersionRow> AddVersionRow(const VersionManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddTensors(std::int64_t version_id, const VersionManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddLists(std::int64_t version_id, const VersionManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddLineage(std::int64_t version_id, const Lineage& lineage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<bool> IsFirstModelVersion(const VersionRow& row)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::StatusOr<std::int64_t> AddDatasetRow(const DatasetManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddDatasetLists(std::int64_t dataset_id, const DatasetManifest& manifest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddItems(std::int64_t dataset_id, const StoredDataset& dataset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::int64_t> DatasetId(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<DatasetManifest> ReadDataset(std::int64_t dataset_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::vector<StoredItem>> ReadItems(std::int64_t dataset_id,
                                                    const std::string& name, std::int64_t first,
                                                    std::int64_t count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::StatusOr<std::vector<JobVersion>> ReadJobVersions(std::int64_t job)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<JobRecord> ReadJob(std::int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReadJobParts(std::int64_t number, JobRecord& job)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::int64_t> AddJob(const NewJob& job, std::int64_t now_us)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // NotFound without the job, Aborted unless it has `expected`.
  absl::Status CheckRevision(std::int64_t number, std::optional<std::int64_t> expected)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::int64_t> AddEvents(std::int64_t number,
                                         const std::vector<NewJobEvent>& events,
                                         std::int64_t now_us) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status DropOldEvents(std::int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::StatusOr<UnusedTensors> CountUnusedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status NextGeneration() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  const std::unique_ptr<Database> database_ ABSL_PT_GUARDED_BY(mutex_);
};

// A role as the catalogue writes it, "checkpoint", "result" or "promoted"; and back. DataLoss for
// any other text.
std::string_view RoleName(JobVersionRole role);
absl::StatusOr<JobVersionRole> RoleFromName(const std::string& name);

// A shape as the catalogue writes it, "3,3,64,128" and "" for a scalar; and back. DataLoss for
// any other text.
std::string ShapeToText(const Shape& shape);
absl::StatusOr<Shape> ShapeFromText(const std::string& text);

// The tensor that columns `first` and following hold: digest, dtype, shape, pack, offset, bytes.
absl::StatusOr<StoredTensor> ReadTensorColumns(const Statement& row, int first);

}  // namespace zood::store
