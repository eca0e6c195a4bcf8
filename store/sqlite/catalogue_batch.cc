// Changes in one transaction, and the history of aliases.
#include <algorithm>
#include <array>
#include <utility>

#include "base/status.h"
#include "store/new_job.h"
#include "store/sqlite/catalogue.h"

namespace zood::store {
namespace {

constexpr std::array<std::string_view, 3> kRoles = {"checkpoint", "result", "promoted"};

std::string Shown(std::int64_t version) {
  return version == 0 ? std::string("nothing") : fmt::format("version {}", version);
}

}  // namespace

std::string_view RoleName(JobVersionRole role) { return kRoles[static_cast<std::size_t>(role)]; }

absl::StatusOr<JobVersionRole> RoleFromName(const std::string& name) {
  const auto it = std::ranges::find(kRoles, name);
  if (it == kRoles.end()) return DataLoss("the catalogue holds a version of role \"{}\"", name);
  return static_cast<JobVersionRole>(it - kRoles.begin());
}

absl::StatusOr<BatchOutcome> SqliteCatalogue::Commit(const Batch& batch,
                                                     const EncodedPublication* publication,
                                                     std::int64_t now_us) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  BatchOutcome outcome;
  ZOOD_RETURN_IF_ERROR(CheckExpectations(batch));
  if (publication != nullptr) {
    ZOOD_RETURN_IF_ERROR(AddVersion(*batch.publish, *publication, outcome));
  }
  for (const AliasChange& change : batch.aliases) {
    AliasChange resolved = change;
    if (change.version == kPublishedVersion) resolved.version = outcome.published->version;
    ZOOD_RETURN_IF_ERROR(ChangeAlias(resolved, now_us, outcome));
  }
  for (const VersionDeletion& deletion : batch.delete_versions) {
    ZOOD_RETURN_IF_ERROR(RemoveVersion(deletion, now_us, outcome));
  }
  for (const JobUpdate& update : batch.jobs) {
    ZOOD_RETURN_IF_ERROR(ChangeJob(update, now_us, outcome));
  }
  for (const JobDeletion& deletion : batch.delete_jobs) {
    ZOOD_RETURN_IF_ERROR(RemoveJob(deletion, outcome));
  }
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return outcome;
}

// Before anything is done: what a batch publishes may get an alias by that alone.
absl::Status SqliteCatalogue::CheckExpectations(const Batch& batch) {
  for (const AliasChange& change : batch.aliases) {
    if (!change.expected) continue;
    const auto model_id = ModelId(change.model);
    const bool is_new = absl::IsNotFound(model_id.status()) && batch.publish &&
                        batch.publish->version.model == change.model;
    if (!model_id.ok() && !is_new) return model_id.status();
    std::int64_t found = 0;
    if (!is_new) {
      ZOOD_ASSIGN_OR_RETURN(found, AliasVersion(*model_id, change.alias));
    }
    if (found == *change.expected) continue;
    return Aborted("alias {} names {}, not {} as expected: somebody else moved it", change.alias,
                   Shown(found), Shown(*change.expected));
  }
  return absl::OkStatus();
}

absl::Status SqliteCatalogue::ChangeAlias(const AliasChange& change, std::int64_t now_us,
                                          BatchOutcome& outcome) {
  std::int64_t model_id = 0;
  if (change.version == kNoVersion) {
    ZOOD_ASSIGN_OR_RETURN(model_id, ModelId(change.model));
    ZOOD_ASSIGN_OR_RETURN(const std::int64_t before, AliasVersion(model_id, change.alias));
    if (before == 0) return NotFound("model {} has no alias {}", change.model, change.alias);
  } else {
    ZOOD_ASSIGN_OR_RETURN(const VersionRow row,
                          FindRow(change.model, Selector{.version = change.version}));
    model_id = row.model_id;
  }
  return MoveAlias(model_id,
                   {.model = change.model,
                    .alias = change.alias,
                    .to = change.version,
                    .at_us = now_us,
                    .job_id = change.job_id,
                    .actor = change.actor,
                    .undoes = change.undoes},
                   outcome);
}

absl::Status SqliteCatalogue::MoveAlias(std::int64_t model_id, AliasMove move,
                                        BatchOutcome& outcome) {
  ZOOD_ASSIGN_OR_RETURN(move.from, AliasVersion(model_id, move.alias));
  if (move.from == move.to) return absl::OkStatus();
  ZOOD_RETURN_IF_ERROR(
      move.to == 0
          ? database_->Run("DELETE FROM aliases WHERE model_id = ? AND name = ?", model_id,
                           move.alias)
          : database_->Run("INSERT INTO aliases VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                           "version = excluded.version",
                           model_id, move.alias, move.to));
  ZOOD_RETURN_IF_ERROR(database_->Run(
      "INSERT INTO alias_moves (model_id, alias, from_version, to_version, at_us, job, actor, "
      "undoes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      model_id, move.alias, move.from, move.to, move.at_us, move.job_id, move.actor, move.undoes));
  move.id = database_->last_insert_id();
  outcome.moves.push_back(std::move(move));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SqliteCatalogue::AliasesOf(std::int64_t model_id,
                                                                    std::int64_t version) {
  std::vector<std::string> names;
  ZOOD_RETURN_IF_ERROR(database_->Each(
      [&](const Statement& row) { names.push_back(row.Text(0)); },
      "SELECT name FROM aliases WHERE model_id = ? AND version = ?", model_id, version));
  return names;
}

absl::Status SqliteCatalogue::RemoveVersion(const VersionDeletion& deletion, std::int64_t now_us,
                                            BatchOutcome& outcome) {
  const auto& [model, version, force] = deletion;
  ZOOD_ASSIGN_OR_RETURN(const VersionRow row, FindRow(model, Selector{.version = version}));
  ZOOD_ASSIGN_OR_RETURN(const std::vector<std::string> aliases, AliasesOf(row.model_id, version));
  if (!aliases.empty() && !force) {
    return FailedPrecondition(
        "version {} of {} is what {} means: move the alias first, or force the deletion", version,
        model, fmt::join(aliases, ", "));
  }
  for (const std::string& alias : aliases) {
    ZOOD_RETURN_IF_ERROR(MoveAlias(
        row.model_id, {.model = model, .alias = alias, .to = 0, .at_us = now_us}, outcome));
  }
  ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM versions WHERE id = ?", row.version_id));
  outcome.deleted.push_back({model, version});
  return absl::OkStatus();
}

absl::StatusOr<BatchOutcome> SqliteCatalogue::DeleteModel(const std::string& model,
                                                          std::int64_t now_us) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t model_id, ModelId(model));
  // The model's own row stays: it remembers which numbers were given.
  std::vector<std::int64_t> versions;
  ZOOD_RETURN_IF_ERROR(database_->Each(
      [&](const Statement& row) { versions.push_back(row.Int(0)); },
      "SELECT version FROM versions WHERE model_id = ? ORDER BY version", model_id));
  BatchOutcome outcome;
  for (const std::int64_t version : versions) {
    ZOOD_RETURN_IF_ERROR(
        RemoveVersion({.model = model, .version = version, .force = true}, now_us, outcome));
  }
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return outcome;
}

absl::StatusOr<std::vector<AliasMove>> SqliteCatalogue::AliasMoves(const AliasMoveFilter& filter,
                                                                   std::int64_t limit) {
  const MutexLock lock(mutex_);
  std::vector<AliasMove> moves;
  ZOOD_RETURN_IF_ERROR(database_->Each(
      [&](const Statement& row) {
        moves.push_back({.id = row.Int(0),
                         .model = row.Text(1),
                         .alias = row.Text(2),
                         .from = row.Int(3),
                         .to = row.Int(4),
                         .at_us = row.Int(5),
                         .job_id = row.Text(6),
                         .actor = row.Text(7),
                         .undoes = row.Int(8),
                         .undone = row.Int(9) != 0});
      },
      "SELECT a.id, m.name, a.alias, a.from_version, a.to_version, a.at_us, a.job, a.actor, "
      "a.undoes, EXISTS (SELECT 1 FROM alias_moves u WHERE u.undoes = a.id) "
      "FROM alias_moves a JOIN models m ON m.id = a.model_id "
      "WHERE (?1 = '' OR m.name = ?1) AND (?2 = '' OR a.alias = ?2) AND (?3 = '' OR a.job = ?3) "
      "AND (?4 = 0 OR a.id < ?4) ORDER BY a.id DESC LIMIT ?5",
      filter.model, filter.alias, filter.job_id, filter.before, limit));
  return moves;
}

absl::StatusOr<std::vector<JobVersion>> SqliteCatalogue::JobVersions(std::int64_t job) {
  const MutexLock lock(mutex_);
  ZOOD_RETURN_IF_ERROR(CheckRevision(job, std::nullopt));
  return ReadJobVersions(job);
}

absl::StatusOr<std::vector<JobVersion>> SqliteCatalogue::ReadJobVersions(std::int64_t job) {
  ZOOD_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT m.name, v.version, o.role, o.promoted_from, v.digest, "
                         "v.created_at_us FROM job_versions o JOIN versions v ON v.id = "
                         "o.version_id JOIN models m ON m.id = v.model_id "
                         "WHERE o.job_number = ? ORDER BY o.version_id",
                         job));
  std::vector<JobVersion> versions;
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return versions;
    ZOOD_ASSIGN_OR_RETURN(const JobVersionRole role, RoleFromName(select.Text(2)));
    versions.push_back({.model = select.Text(0),
                        .version = select.Int(1),
                        .role = role,
                        .promoted_from = select.Int(3),
                        .digest = select.Text(4),
                        .created_at_us = select.Int(5)});
  }
}

}  // namespace zood::store
