// Is the catalogue what it was when it was written?
#include <utility>

#include "base/status.h"
#include "store/sqlite/catalogue.h"
#include "store/sqlite/migration.h"
#include "store/sqlite/record_digests.h"

namespace zood::store {
namespace {

using Schema = std::vector<std::string>;

absl::StatusOr<Schema> ReadSchema(Database& database) {
  Schema schema;
  ZOOD_RETURN_IF_ERROR(database.Each(
      [&](const Statement& row) {
        schema.push_back(
            fmt::format("{} {} of {}: {}", row.Text(0), row.Text(1), row.Text(2), row.Text(3)));
      },
      "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema "
      "ORDER BY type, name"));
  return schema;
}

// What the steps of the migration make.
absl::StatusOr<Schema> ExpectedSchema() {
  ZOOD_ASSIGN_OR_RETURN(const auto fresh, Database::Open(":memory:", ""));
  ZOOD_RETURN_IF_ERROR(Migrate(*fresh, Migrations()));
  return ReadSchema(*fresh);
}

absl::Status CheckSchema(Database& database, std::vector<std::string>& problems) {
  ZOOD_ASSIGN_OR_RETURN(const Schema found, ReadSchema(database));
  ZOOD_ASSIGN_OR_RETURN(const Schema expected, ExpectedSchema());
  if (found != expected) problems.emplace_back("the catalogue's schema is not what zood makes");
  ZOOD_ASSIGN_OR_RETURN(
      const std::int64_t other,
      database.Number("SELECT count(*) FROM last_numbers n LEFT JOIN sqlite_sequence s "
                      "ON s.name = n.name WHERE coalesce(s.seq, 0) <> n.value"));
  if (other > 0) problems.emplace_back("the number of the last job is not what was written");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SqliteCatalogue::Check() {
  const MutexLock lock(mutex_);
  std::vector<std::string> problems;
  ZOOD_ASSIGN_OR_RETURN(Statement integrity, database_->Prepare("PRAGMA integrity_check(100)"));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, integrity.Step());
    if (!more) break;
    if (integrity.Text(0) != "ok") problems.push_back("SQLite: " + integrity.Text(0));
  }
  ZOOD_ASSIGN_OR_RETURN(
      Statement dangling,
      database_->Prepare("SELECT coalesce(m.name, a.model_id), a.name, a.version FROM aliases a "
                         "LEFT JOIN models m ON m.id = a.model_id WHERE NOT EXISTS (SELECT 1 FROM "
                         "versions v WHERE v.model_id = a.model_id AND v.version = a.version)"));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, dangling.Step());
    if (!more) break;
    problems.push_back(fmt::format("model {}: alias {} names version {}, which does not exist",
                                   dangling.Text(0), dangling.Text(1), dangling.Int(2)));
  }
  ZOOD_ASSIGN_OR_RETURN(Statement keys, database_->Prepare("PRAGMA foreign_key_check"));
  for (;;) {
    ZOOD_ASSIGN_OR_RETURN(const bool more, keys.Step());
    if (!more) break;
    if (keys.Text(0) == "aliases") continue;  // said above, with names
    problems.push_back(fmt::format("table {}: row {} names a row of {} that does not exist",
                                   keys.Text(0), keys.Int(1), keys.Text(2)));
  }
  ZOOD_RETURN_IF_ERROR(CheckSchema(*database_, problems));
  ZOOD_ASSIGN_OR_RETURN(const auto changed, CheckRecordDigests(*database_));
  problems.insert(problems.end(), changed.begin(), changed.end());
  return problems;
}

}  // namespace zood::store
