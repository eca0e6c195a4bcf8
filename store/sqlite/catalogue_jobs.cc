// Jobs and their events. A job's number is its row's; the spec has a table of its own, so that an
// update of the record does not write it again.
#include <algorithm>
#include <array>
#include <utility>

#include "base/status.h"
#include "store/limits.h"
#include "store/new_job.h"
#include "store/sqlite/catalogue.h"

namespace zood::store {
namespace {

// Old events are looked for once in so many, not each time: to find them is to count the newer.
constexpr std::int64_t kDropEvery = 500;

constexpr std::array<std::string_view, 3> kKindNames = {"state", "metrics", "log"};

std::string_view KindName(JobEventKind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }

absl::StatusOr<JobEventKind> KindFromName(const std::string& name) {
  const auto it = std::ranges::find(kKindNames, name);
  if (it == kKindNames.end()) return DataLoss("the catalogue holds an event of kind \"{}\"", name);
  return static_cast<JobEventKind>(it - kKindNames.begin());
}

constexpr std::string_view kJobColumns =
    "number, state, coalesce(idempotency_key, ''), model, progress, error_code, error, "
    "created_at_us, started_at_us, finished_at_us, updated_at_us, revision";

// All of a job but spec and metadata.
JobRecord ReadJobColumns(const Statement& row) {
  return {.id = JobId(row.Int(0)),
          .state = row.Text(1),
          .spec = {},
          .idempotency_key = row.Text(2),
          .model = row.Text(3),
          .metadata = {},
          .progress = row.Bytes(4),
          .error_code = static_cast<int>(row.Int(5)),
          .error = row.Text(6),
          .created_at_us = row.Int(7),
          .started_at_us = row.Int(8),
          .finished_at_us = row.Int(9),
          .updated_at_us = row.Int(10),
          .revision = row.Int(11)};
}

absl::Status NoSuchJob(std::int64_t number) {
  return NotFound("there is no job {} in the store", JobId(number));
}

}  // namespace

absl::Status SqliteCatalogue::ReadJobParts(std::int64_t number, JobRecord& job) {
  ZOOD_RETURN_IF_ERROR(database_->Each([&](const Statement& row) { job.spec = row.Bytes(0); },
                                       "SELECT spec FROM job_specs WHERE job_number = ?", number));
  return database_->Each(
      [&](const Statement& row) { job.metadata.emplace(row.Text(0), row.Text(1)); },
      "SELECT key, value FROM job_metadata WHERE job_number = ?", number);
}

absl::StatusOr<JobRecord> SqliteCatalogue::ReadJob(std::int64_t number) {
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare(fmt::format("SELECT {} FROM jobs WHERE number = ?", kJobColumns), number));
  ZOOD_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return NoSuchJob(number);
  JobRecord job = ReadJobColumns(select);
  ZOOD_RETURN_IF_ERROR(ReadJobParts(number, job));
  return job;
}

absl::StatusOr<std::int64_t> SqliteCatalogue::AddJob(const NewJob& job, std::int64_t now_us) {
  const auto add = [&database = *database_, &job, now_us](const auto& key) {
    return database.Run(
        "INSERT INTO jobs (state, idempotency_key, model, progress, error_code, error, "
        "created_at_us, started_at_us, finished_at_us, updated_at_us, revision, last_event) "
        "VALUES (?, ?, ?, x'', 0, '', ?, 0, 0, ?, 1, 0)",
        job.state, key, job.model, now_us, now_us);
  };
  // No key is NULL, which is unlike any other.
  ZOOD_RETURN_IF_ERROR(job.idempotency_key.empty() ? add(nullptr) : add(job.idempotency_key));
  const std::int64_t number = database_->last_insert_id();
  ZOOD_RETURN_IF_ERROR(
      database_->Run("INSERT INTO job_specs VALUES (?, ?)", number, Blob{job.spec}));
  for (const auto& [key, value] : job.metadata) {
    ZOOD_RETURN_IF_ERROR(
        database_->Run("INSERT INTO job_metadata VALUES (?, ?, ?)", number, key, value));
  }
  return number;
}

absl::StatusOr<CreatedJob> SqliteCatalogue::CreateJob(const NewJob& job, std::int64_t now_us) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  if (!job.idempotency_key.empty()) {
    ZOOD_ASSIGN_OR_RETURN(const std::int64_t earlier,
                          database_->Number("SELECT number FROM jobs WHERE idempotency_key = ?",
                                            job.idempotency_key));
    if (earlier != 0) {
      ZOOD_ASSIGN_OR_RETURN(JobRecord found, ReadJob(earlier));
      if (found.spec == job.spec && found.model == job.model && found.metadata == job.metadata) {
        return CreatedJob{.job = std::move(found), .created = false};
      }
      return AlreadyExists(
          "idempotency key \"{}\" belongs to {}, which is another job: a new job "
          "needs a new key",
          job.idempotency_key, found.id);
    }
  }
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, AddJob(job, now_us));
  ZOOD_ASSIGN_OR_RETURN(JobRecord record, ReadJob(number));
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return CreatedJob{.job = std::move(record), .created = true};
}

absl::StatusOr<JobRecord> SqliteCatalogue::FindJob(std::int64_t number) {
  const MutexLock lock(mutex_);
  return ReadJob(number);
}

absl::StatusOr<std::string> SqliteCatalogue::FindJobState(std::int64_t number) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Statement select,
                        database_->Prepare("SELECT state FROM jobs WHERE number = ?", number));
  ZOOD_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return NoSuchJob(number);
  return select.Text(0);
}

absl::StatusOr<std::vector<std::string>> SqliteCatalogue::EndedJobs(std::int64_t but_newest) {
  const MutexLock lock(mutex_);
  std::vector<std::string> ids;
  ZOOD_RETURN_IF_ERROR(database_->Each(
      [&](const Statement& row) { ids.push_back(JobId(row.Int(0))); },
      "SELECT number FROM (SELECT number FROM jobs WHERE finished_at_us > 0 ORDER BY "
      "finished_at_us DESC, number DESC LIMIT -1 OFFSET ?) WHERE EXISTS (SELECT 1 FROM "
      "job_versions o WHERE o.job_number = number AND o.role = 'checkpoint')",
      but_newest));
  return ids;
}

absl::StatusOr<JobPage> SqliteCatalogue::ListJobs(const JobFilter& filter, std::int64_t page_size,
                                                  std::int64_t before) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare(fmt::format("SELECT {} FROM jobs WHERE number < ?1 AND (?2 = '' OR model "
                                     "= ?2) ORDER BY number DESC",
                                     kJobColumns),
                         before, filter.model));
  JobPage page;
  std::int64_t last = 0;
  std::size_t bytes = 0;
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return page;
    const auto& states = filter.states;
    if (!states.empty() && std::ranges::find(states, select.Text(1)) == states.end()) continue;
    if (static_cast<std::int64_t>(page.jobs.size()) >= page_size || bytes > kMaxListing) {
      page.next_page_token = std::to_string(last);
      return page;
    }
    last = select.Int(0);
    JobRecord job = ReadJobColumns(select);
    ZOOD_RETURN_IF_ERROR(ReadJobParts(last, job));
    bytes += job.spec.size() + job.progress.size();
    page.jobs.push_back(std::move(job));
  }
}

absl::Status SqliteCatalogue::CheckRevision(std::int64_t number,
                                            std::optional<std::int64_t> expected) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t found,
                        database_->Number("SELECT revision FROM jobs WHERE number = ?", number));
  if (found == 0) return NoSuchJob(number);
  if (!expected || *expected == found) return absl::OkStatus();
  return Aborted("{} is at revision {}, not {} as expected: somebody else changed it",
                 JobId(number), found, *expected);
}

absl::Status SqliteCatalogue::ChangeJob(const JobUpdate& update, std::int64_t now_us,
                                        BatchOutcome& outcome) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(update.id));
  ZOOD_RETURN_IF_ERROR(CheckRevision(number, update.expected_revision));
  JobChange change = update.change;
  if (update.complete) {
    ZOOD_RETURN_IF_ERROR(update.complete(outcome, change));
    ZOOD_RETURN_IF_ERROR(CheckJobChange(change));
  }
  ZOOD_ASSIGN_OR_RETURN(JobRecord job, ReadJob(number));
  ZOOD_RETURN_IF_ERROR(database_->Run(
      "UPDATE jobs SET state = ?, progress = ?, error_code = ?, error = ?, started_at_us = ?, "
      "finished_at_us = ?, updated_at_us = ?, revision = revision + 1 WHERE number = ?",
      change.state.value_or(job.state), Blob{change.progress ? *change.progress : job.progress},
      change.error_code.value_or(job.error_code), change.error.value_or(job.error),
      change.started_at_us.value_or(job.started_at_us),
      change.finished_at_us.value_or(job.finished_at_us), now_us, number));
  if (!change.events.empty()) {
    ZOOD_RETURN_IF_ERROR(AddEvents(number, change.events, now_us).status());
  }
  ZOOD_ASSIGN_OR_RETURN(job, ReadJob(number));
  outcome.jobs.push_back(std::move(job));
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> SqliteCatalogue::AppendJobEvents(
    std::int64_t number, const std::vector<NewJobEvent>& events, std::int64_t now_us) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_RETURN_IF_ERROR(CheckRevision(number, std::nullopt));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t last, AddEvents(number, events, now_us));
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return last;
}

absl::StatusOr<std::int64_t> SqliteCatalogue::AddEvents(std::int64_t number,
                                                        const std::vector<NewJobEvent>& events,
                                                        std::int64_t now_us) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t before,
                        database_->Number("SELECT last_event FROM jobs WHERE number = ?", number));
  std::int64_t last = before;
  ZOOD_ASSIGN_OR_RETURN(Statement insert,
                        database_->Prepare("INSERT INTO job_events VALUES (?, ?, ?, ?, ?)"));
  for (const NewJobEvent& event : events) {
    insert.Bind(number, ++last, KindName(event.kind), event.at_us == 0 ? now_us : event.at_us,
                Blob{event.payload});
    ZOOD_RETURN_IF_ERROR(insert.Run());
  }
  ZOOD_RETURN_IF_ERROR(
      database_->Run("UPDATE jobs SET last_event = ? WHERE number = ?", last, number));
  if (last / kDropEvery != before / kDropEvery) ZOOD_RETURN_IF_ERROR(DropOldEvents(number));
  return last;
}

absl::Status SqliteCatalogue::DropOldEvents(std::int64_t number) {
  for (const JobEventKind kind : {JobEventKind::kMetrics, JobEventKind::kLog}) {
    ZOOD_RETURN_IF_ERROR(
        database_->Run("DELETE FROM job_events WHERE job_number = ?1 AND kind = ?2 AND sequence <= "
                       "(SELECT sequence FROM job_events WHERE job_number = ?1 AND kind = ?2 "
                       "ORDER BY sequence DESC LIMIT 1 OFFSET ?3)",
                       number, KindName(kind), kKeptJobEvents));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<JobEvent>> SqliteCatalogue::FindJobEvents(std::int64_t number,
                                                                     std::int64_t after_sequence,
                                                                     std::int64_t limit) {
  const MutexLock lock(mutex_);
  ZOOD_RETURN_IF_ERROR(CheckRevision(number, std::nullopt));
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT sequence, kind, at_us, payload FROM job_events WHERE "
                         "job_number = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                         number, after_sequence, limit));
  std::vector<JobEvent> events;
  for (std::size_t bytes = 0; bytes <= kMaxListing;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) break;
    JobEvent event{.sequence = select.Int(0), .payload = select.Bytes(3), .at_us = select.Int(2)};
    ZOOD_ASSIGN_OR_RETURN(event.kind, KindFromName(select.Text(1)));
    bytes += event.payload.size();
    events.push_back(std::move(event));
  }
  return events;
}

absl::Status SqliteCatalogue::RemoveJob(const JobDeletion& deletion, BatchOutcome& outcome) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t number, ParseJobId(deletion.id));
  ZOOD_RETURN_IF_ERROR(CheckRevision(number, deletion.expected_revision));
  ZOOD_ASSIGN_OR_RETURN(const std::vector<JobVersion> versions, ReadJobVersions(number));
  for (const JobVersion& version : versions) {
    if (version.role != JobVersionRole::kCheckpoint) continue;
    const absl::Status removed =
        RemoveVersion({.model = version.model, .version = version.version}, 0, outcome);
    // One that an alias names stays.
    if (!removed.ok() && !absl::IsFailedPrecondition(removed)) return removed;
  }
  return database_->Run("DELETE FROM jobs WHERE number = ?", number);
}

}  // namespace zood::store
