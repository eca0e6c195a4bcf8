// Changes that happen together or not at all, and what became of them. Values without behavior.
//
// A job's run publishes a checkpoint, adds it to the job, changes the job's record, appends events
// and moves an alias in one Batch: whoever opens the store after a crash finds all of it or
// nothing, so nobody needs a log of what was about to happen.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/tensor.h"
#include "store/job.h"
#include "store/version.h"

namespace zood::store {

// What a version is to the job that made it.
enum class JobVersionRole {
  kCheckpoint,
  kResult,
  kPromoted,  // made from one of its checkpoints when somebody promoted that
};

struct JobVersion {
  std::string model;
  std::int64_t version = 0;
  JobVersionRole role = JobVersionRole::kCheckpoint;
  std::int64_t promoted_from = 0;  // of kPromoted: the checkpoint's version, which may be gone
  std::string digest;
  std::int64_t created_at_us = 0;

  friend bool operator==(const JobVersion&, const JobVersion&) = default;
};

// Makes the published version one of a job's.
struct JobLink {
  std::string job_id;
  JobVersionRole role = JobVersionRole::kCheckpoint;
  std::int64_t promoted_from = 0;
};

struct LoadedVersion {
  VersionManifest manifest;
  TensorMap weights;
};

// Looks at a version as Load() will give it, but for its number, before it becomes visible.
using PublishCheck = std::function<absl::Status(const LoadedVersion&)>;

struct Publication {
  NewVersion version;
  TensorMap weights;
  std::optional<JobLink> job;
  PublishCheck check;  // its error becomes the batch's, and nothing is done; empty for none
};

// In AliasChange::version: the version that the batch publishes; no version, the alias goes.
inline constexpr std::int64_t kPublishedVersion = -1;
inline constexpr std::int64_t kNoVersion = 0;

struct AliasChange {
  std::string model;
  std::string alias;
  std::int64_t version = kPublishedVersion;
  // What the alias must name before the batch (0: nothing), or the batch is Aborted.
  std::optional<std::int64_t> expected;
  // For the history of moves.
  std::string job_id;       // on whose behalf; empty for none
  std::string actor;        // who asked for it; empty when unknown
  std::int64_t undoes = 0;  // the id of the move that this one takes back; 0 for none
};

// An entry of the history of aliases.
struct AliasMove {
  std::int64_t id = 0;  // ascending
  std::string model;
  std::string alias;
  std::int64_t from = 0;  // version; 0: the alias was not there
  std::int64_t to = 0;    // version; 0: the alias was deleted
  std::int64_t at_us = 0;
  std::string job_id;
  std::string actor;
  std::int64_t undoes = 0;
  bool undone = false;  // a later move undoes this one

  friend bool operator==(const AliasMove&, const AliasMove&) = default;
};

struct AliasMoveFilter {
  std::string model;   // empty: of every model
  std::string alias;   // empty: every alias
  std::string job_id;  // empty: on anybody's behalf
  // Below this id; 0: the newest.
  std::int64_t before = 0;
};

// FailedPrecondition while an alias other than `latest` names the version, unless `force`, which
// deletes such aliases.
struct VersionDeletion {
  std::string model;
  std::int64_t version = 0;
  bool force = false;
};

struct DeletedVersion {
  std::string model;
  std::int64_t version = 0;

  friend bool operator==(const DeletedVersion&, const DeletedVersion&) = default;
};

// What a batch has done, or, while it is being composed, what it has done so far.
struct BatchOutcome {
  std::optional<PublishedVersion> published;
  std::vector<AliasMove> moves;  // with `stable`, when a model's first version got it; no move that
                                 // changes nothing
  std::vector<DeletedVersion> deleted;
  std::vector<JobRecord> jobs;  // as they are then, in the order of Batch::jobs
};

struct JobUpdate {
  std::string id;
  // Aborted, and nothing done, unless the record still has it.
  std::optional<std::int64_t> expected_revision;
  JobChange change;
  // Adds to `change` what only the batch knows: the number of the published version, the moves.
  // Called inside the transaction, perhaps more than once, each time with `change` as it was given;
  // must not call the store. An error becomes the batch's, and nothing is done.
  std::function<absl::Status(const BatchOutcome&, JobChange&)> complete;
};

// With its events, and with those of its checkpoints that no alias names. Results and promoted
// versions stay, and are no job's from then on. Its idempotency key is free again.
struct JobDeletion {
  std::string id;
  std::optional<std::int64_t> expected_revision;
};

// In this order: the publication, aliases, deletions of versions, updates of jobs, deletions of
// jobs. See Store::Commit().
struct Batch {
  std::optional<Publication> publish;
  std::vector<AliasChange> aliases;
  std::vector<VersionDeletion> delete_versions;
  std::vector<JobUpdate> jobs;
  std::vector<JobDeletion> delete_jobs;
};

}  // namespace zood::store
