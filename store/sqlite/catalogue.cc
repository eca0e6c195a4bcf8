#include "store/sqlite/catalogue.h"

#include <utility>

#include "base/status.h"
#include "store/sqlite/migration.h"

namespace zood::store {

absl::StatusOr<std::unique_ptr<SqliteCatalogue>> SqliteCatalogue::Open(const std::string& path,
                                                                       const std::string& vfs) {
  ZOOD_ASSIGN_OR_RETURN(auto database, Database::Open(path, vfs));
  // Exclusive before WAL: the index of the log then lies in memory, and no other process gets in.
  // FULL syncs the log at every commit: what was acknowledged survives a loss of power.
  ZOOD_RETURN_IF_ERROR(
      database->Execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                        "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY"));
  ZOOD_ASSIGN_OR_RETURN(const std::string mode, database->Text("PRAGMA journal_mode"));
  if (mode != "wal") return Unavailable("{}: journal_mode is {}, not wal", path, mode);
  ZOOD_RETURN_IF_ERROR(Migrate(*database, Migrations()));
  return std::unique_ptr<SqliteCatalogue>(new SqliteCatalogue(std::move(database)));
}

absl::StatusOr<std::int64_t> SqliteCatalogue::SetAlias(const std::string& model,
                                                       const std::string& alias,
                                                       std::int64_t version,
                                                       std::optional<std::int64_t> expected) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_ASSIGN_OR_RETURN(const VersionRow row, FindRow(model, Selector{.version = version}));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t before, AliasVersion(row.model_id, alias));
  ZOOD_RETURN_IF_ERROR(CheckExpected(alias, before, expected));
  ZOOD_RETURN_IF_ERROR(PutAlias(row.model_id, alias, version));
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return before;
}

absl::StatusOr<std::int64_t> SqliteCatalogue::DeleteAlias(const std::string& model,
                                                          const std::string& alias,
                                                          std::optional<std::int64_t> expected) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t model_id, ModelId(model));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t before, AliasVersion(model_id, alias));
  if (before == 0) return NotFound("model {} has no alias {}", model, alias);
  ZOOD_RETURN_IF_ERROR(CheckExpected(alias, before, expected));
  ZOOD_RETURN_IF_ERROR(
      database_->Run("DELETE FROM aliases WHERE model_id = ? AND name = ?", model_id, alias));
  ZOOD_RETURN_IF_ERROR(transaction.Commit());
  return before;
}

absl::Status SqliteCatalogue::CheckExpected(const std::string& alias, std::int64_t found,
                                            std::optional<std::int64_t> expected) const {
  if (!expected || *expected == found) return absl::OkStatus();
  const auto shown = [](std::int64_t version) {
    return version == 0 ? std::string("nothing") : fmt::format("version {}", version);
  };
  return Aborted("alias {} names {}, not {} as expected: somebody else moved it", alias,
                 shown(found), shown(*expected));
}

absl::Status SqliteCatalogue::PutAlias(std::int64_t model_id, std::string_view alias,
                                       std::int64_t version) {
  return database_->Run(
      "INSERT INTO aliases VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version",
      model_id, alias, version);
}

absl::Status SqliteCatalogue::DeleteVersion(const std::string& model, std::int64_t version,
                                            bool force) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_ASSIGN_OR_RETURN(const VersionRow row, FindRow(model, Selector{.version = version}));
  std::string aliases;
  ZOOD_ASSIGN_OR_RETURN(
      Statement names,
      database_->Prepare("SELECT name FROM aliases WHERE model_id = ? AND version = ?",
                         row.model_id, version));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, names.Step());
    if (!more) break;
    aliases += (aliases.empty() ? "" : ", ") + names.Text(0);
  }
  if (!aliases.empty() && !force) {
    return FailedPrecondition(
        "version {} of {} is what {} means: move the alias first, or force the deletion", version,
        model, aliases);
  }
  ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM aliases WHERE model_id = ? AND version = ?",
                                      row.model_id, version));
  ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM versions WHERE id = ?", row.version_id));
  return transaction.Commit();
}

absl::Status SqliteCatalogue::DeleteModel(const std::string& model) {
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t model_id, ModelId(model));
  ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM aliases WHERE model_id = ?", model_id));
  // The model's own row stays: it remembers which numbers were given.
  ZOOD_RETURN_IF_ERROR(database_->Run("DELETE FROM versions WHERE model_id = ?", model_id));
  return transaction.Commit();
}

absl::Status SqliteCatalogue::NextGeneration() {
  return database_->Run("UPDATE generation SET value = value + 1");
}

absl::Status SqliteCatalogue::Barrier() {
  // A commit that failed while its log was synced may lie whole in the log and would be found
  // there after a crash. The next commit writes over it, and its own sync makes that durable.
  const MutexLock lock(mutex_);
  ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*database_));
  ZOOD_RETURN_IF_ERROR(NextGeneration());
  return transaction.Commit();
}

}  // namespace zood::store
