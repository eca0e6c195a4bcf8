// Jobs: checked here, kept by the catalogue.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/status.h"
#include "store/limits.h"
#include "store/names.h"
#include "store/new_job.h"
#include "store/store.h"

namespace zood::store {

absl::StatusOr<CreatedJob> Store::CreateJob(const NewJob& job) {
  ZOOD_RETURN_IF_ERROR(CheckNewJob(job));
  return catalogue_->CreateJob(job, clock_());
}

absl::StatusOr<JobRecord> Store::GetJob(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(id));
  return catalogue_->FindJob(number);
}

absl::StatusOr<std::string> Store::GetJobState(const std::string& id) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(id));
  return catalogue_->FindJobState(number);
}

absl::StatusOr<JobPage> Store::ListJobs(const JobFilter& filter, std::int64_t page_size,
                                        const std::string& page_token) {
  if (page_size < 0) return InvalidArgument("page size {} is below 0", page_size);
  for (const std::string& state : filter.states) ZOOD_RETURN_IF_ERROR(CheckJobState(state));
  if (!filter.model.empty()) ZOOD_RETURN_IF_ERROR(CheckModelName(filter.model));
  std::int64_t before = std::numeric_limits<std::int64_t>::max();
  if (!page_token.empty()) {
    const auto token = ParseNumber(page_token);
    if (!token) {
      return InvalidArgument("page token \"{}\" did not come from a list of jobs",
                             Printable(page_token));
    }
    before = *token;
  }
  return catalogue_->ListJobs(filter, page_size == 0 ? kDefaultPage : std::min(page_size, kMaxPage),
                              before);
}

absl::StatusOr<JobRecord> Store::UpdateJob(const std::string& id,
                                           std::optional<std::int64_t> expected_revision,
                                           const JobChange& change) {
  ZOOD_ASSIGN_OR_RETURN(
      BatchOutcome outcome,
      Commit({.jobs = {{.id = id, .expected_revision = expected_revision, .change = change}}}));
  return std::move(outcome.jobs[0]);
}

absl::StatusOr<std::int64_t> Store::AppendJobEvents(const std::string& id,
                                                    const std::vector<NewJobEvent>& events) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(id));
  ZOOD_RETURN_IF_ERROR(CheckJobEvents(events));
  return catalogue_->AppendJobEvents(number, events, clock_());
}

absl::StatusOr<std::vector<JobEvent>> Store::JobEvents(const std::string& id,
                                                       std::int64_t after_sequence,
                                                       std::int64_t limit) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(id));
  if (after_sequence < 0) return InvalidArgument("events after {}: below 0", after_sequence);
  if (limit <= 0) return InvalidArgument("a limit of {} events: expected at least 1", limit);
  return catalogue_->FindJobEvents(number, after_sequence, limit);
}

absl::Status Store::DeleteJob(const std::string& id,
                              std::optional<std::int64_t> expected_revision) {
  return Commit({.delete_jobs = {{.id = id, .expected_revision = expected_revision}}}).status();
}

absl::StatusOr<std::vector<JobVersion>> Store::JobVersions(const std::string& job_id) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(job_id));
  return catalogue_->JobVersions(number);
}

absl::StatusOr<std::int64_t> Store::DeleteOldCheckpoints(std::int64_t keep_jobs) {
  if (keep_jobs < 0) return InvalidArgument("checkpoints of {} jobs to keep: below 0", keep_jobs);
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> jobs, catalogue_->EndedJobs(keep_jobs));
  std::int64_t deleted = 0;
  for (const std::string& job : jobs) {
    const auto versions = JobVersions(job);
    if (absl::IsNotFound(versions.status())) continue;  // deleted since it was listed
    if (!versions.ok()) return versions.status();
    for (const JobVersion& version : *versions) {
      if (version.role != JobVersionRole::kCheckpoint) continue;
      const absl::Status status = DeleteVersion(version.model, version.version);
      const bool kept = absl::IsFailedPrecondition(status) || absl::IsNotFound(status);
      if (!status.ok() && !kept) return status;
      deleted += status.ok() ? 1 : 0;
    }
  }
  return deleted;
}

}  // namespace zood::store
