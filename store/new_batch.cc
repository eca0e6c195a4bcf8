#include "store/new_batch.h"

#include "base/status.h"
#include "store/limits.h"
#include "store/names.h"
#include "store/new_job.h"
#include "store/new_version.h"

namespace zood::store {
namespace {

absl::Status CheckVersionNumber(std::int64_t version) {
  if (version > 0) return absl::OkStatus();
  return InvalidArgument("version {}: versions are numbered from 1", version);
}

absl::Status CheckAliasChange(const AliasChange& change, const Batch& batch) {
  ZOOD_RETURN_IF_ERROR(CheckModelName(change.model));
  ZOOD_RETURN_IF_ERROR(CheckAlias(change.alias));
  ZOOD_RETURN_IF_ERROR(CheckText("the actor", change.actor, kMaxLine));
  ZOOD_RETURN_IF_ERROR(CheckText("the job id", change.job_id, kMaxLine));
  if (change.version == kNoVersion) return absl::OkStatus();
  if (change.version != kPublishedVersion) return CheckVersionNumber(change.version);
  if (batch.publish && batch.publish->version.model == change.model) return absl::OkStatus();
  return InvalidArgument(
      "alias {} of {} is to name the version that the batch publishes: it "
      "publishes none of that model",
      change.alias, change.model);
}

}  // namespace

absl::Status CheckBatch(const Batch& batch) {
  if (batch.publish) {
    ZOOD_RETURN_IF_ERROR(CheckNewVersion(batch.publish->version, batch.publish->weights));
    if (const auto& job = batch.publish->job)
      ZOOD_RETURN_IF_ERROR(ParseJobId(job->job_id).status());
  }
  for (const AliasChange& change : batch.aliases) {
    ZOOD_RETURN_IF_ERROR(CheckAliasChange(change, batch));
  }
  for (const VersionDeletion& deletion : batch.delete_versions) {
    ZOOD_RETURN_IF_ERROR(CheckModelName(deletion.model));
    ZOOD_RETURN_IF_ERROR(CheckVersionNumber(deletion.version));
  }
  for (const JobUpdate& update : batch.jobs) {
    ZOOD_RETURN_IF_ERROR(ParseJobId(update.id).status());
    ZOOD_RETURN_IF_ERROR(CheckJobChange(update.change));
  }
  for (const JobDeletion& deletion : batch.delete_jobs) {
    ZOOD_RETURN_IF_ERROR(ParseJobId(deletion.id).status());
  }
  return absl::OkStatus();
}

}  // namespace zood::store
