#include "store/migration.h"

#include <array>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace zood::store {
namespace {

constexpr std::int64_t kApplicationId = 0x7a6f6f64;  // "zood"

// docs/store_format.md explains each table.
constexpr const char* kSchema1 = R"sql(
CREATE TABLE generation (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL) STRICT;
INSERT INTO generation VALUES (1, 0);

CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  next_version INTEGER NOT NULL DEFAULT 1 CHECK (next_version > 0)
) STRICT;

CREATE TABLE versions (
  id INTEGER PRIMARY KEY,
  model_id INTEGER NOT NULL REFERENCES models (id),
  version INTEGER NOT NULL CHECK (version > 0),
  kind TEXT NOT NULL CHECK (kind IN ('model', 'checkpoint')),
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  network TEXT NOT NULL,
  preprocess TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  build TEXT NOT NULL,
  note TEXT NOT NULL,
  UNIQUE (model_id, version)
) STRICT;

CREATE TABLE aliases (
  model_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (model_id, name),
  FOREIGN KEY (model_id, version) REFERENCES versions (model_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_by_version ON aliases (model_id, version);

CREATE TABLE packs (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE CHECK (length(name) = 64),
  bytes INTEGER NOT NULL CHECK (bytes > 0)
) STRICT;

CREATE TABLE tensors (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64),
  dtype TEXT NOT NULL,
  shape TEXT NOT NULL,
  pack_id INTEGER NOT NULL REFERENCES packs (id),
  offset INTEGER NOT NULL CHECK (offset >= 0),
  bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;
CREATE INDEX tensors_by_pack ON tensors (pack_id);

CREATE TABLE version_tensors (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  tensor_id INTEGER NOT NULL REFERENCES tensors (id),
  PRIMARY KEY (version_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_tensors_by_tensor ON version_tensors (tensor_id);

CREATE TABLE labels (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  label TEXT NOT NULL,
  PRIMARY KEY (version_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE sources (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  uri TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  format TEXT NOT NULL,
  PRIMARY KEY (version_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE tags (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (version_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE metrics (
  version_id INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value REAL NOT NULL,
  PRIMARY KEY (version_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE lineage (
  version_id INTEGER PRIMARY KEY REFERENCES versions (id) ON DELETE CASCADE,
  base_model TEXT NOT NULL,
  base_version INTEGER NOT NULL,
  base_digest TEXT NOT NULL,
  dataset_digest TEXT NOT NULL,
  job_id TEXT NOT NULL,
  seed INTEGER NOT NULL,
  plan TEXT NOT NULL
) STRICT;
)sql";

}  // namespace

std::span<const Migration> Migrations() {
  static const std::array<Migration, 1> steps = {{
      {.to = 1, .apply = [](Database& database) { return database.Execute(kSchema1); }},
  }};
  return steps;
}

absl::Status Migrate(Database& database, std::span<const Migration> steps) {
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t owner, database.Number("PRAGMA application_id"));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t found, database.Number("PRAGMA user_version"));
  ZOOD_ASSIGN_OR_RETURN(const std::int64_t objects,
                        database.Number("SELECT count(*) FROM sqlite_schema"));
  if (owner != kApplicationId && (owner != 0 || found != 0 || objects != 0)) {
    return FailedPrecondition("{} is a database of another program (application_id {})",
                              database.path(), owner);
  }
  const int newest = steps.empty() ? 0 : steps.back().to;
  if (found > newest) {
    return FailedPrecondition(
        "{} has schema {}, and this zood knows schemas up to {}: use the zood that wrote it, or a "
        "newer one",
        database.path(), found, newest);
  }
  for (const Migration& step : steps) {
    if (step.to <= found) continue;
    ZOOD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database));
    ZOOD_RETURN_IF_ERROR(
        Annotate(step.apply(database), fmt::format("migration to schema {}", step.to)));
    ZOOD_RETURN_IF_ERROR(database.Execute(fmt::format(
        "PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, step.to)));
    ZOOD_RETURN_IF_ERROR(transaction.Commit());
  }
  return absl::OkStatus();
}

}  // namespace zood::store
