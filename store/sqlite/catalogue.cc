#include "store/sqlite/catalogue.h"

#include <utility>

#include "base/status.h"
#include "store/sqlite/migration.h"

namespace zood::store {

absl::StatusOr<std::unique_ptr<SqliteCatalogue>> SqliteCatalogue::Open(const std::string& path,
                                                                       const std::string& vfs,
                                                                       bool create) {
  ZOOD_ASSIGN_OR_RETURN(auto database, Database::Open(path, vfs));
  // Exclusive before anything is read: the index of the log then lies in memory, and no other
  // process gets in.
  ZOOD_RETURN_IF_ERROR(database->Execute("PRAGMA locking_mode = EXCLUSIVE"));
  // Before anything is written: switching an empty file to WAL makes a catalogue of it.
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t schema, database->Number("PRAGMA user_version"));
  if (schema == 0 && !create) {
    return DataLoss("{} is empty, but the store was in use: put it back from a copy", path);
  }
  // FULL syncs the log at every commit: what was acknowledged survives a loss of power.
  ZOOD_RETURN_IF_ERROR(
      database->Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                        "PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON;"
                        "PRAGMA temp_store = MEMORY"));
  ZOOD_ASSIGN_OR_RETURN(const std::string mode, database->Text("PRAGMA journal_mode"));
  if (mode != "wal") return Unavailable("{}: journal_mode is {}, not wal", path, mode);
  ZOOD_RETURN_IF_ERROR(Migrate(*database, Migrations()));
  return std::unique_ptr<SqliteCatalogue>(new SqliteCatalogue(std::move(database)));
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
