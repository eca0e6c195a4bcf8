#include "store/sqlite/migration.h"

#include <array>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "store/sqlite/schema3.h"

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

// Datasets and jobs. What a table of many datasets shows is kept with each, so that a list does not
// count a million items.
constexpr const char* kSchema2 = R"sql(
CREATE TABLE datasets (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  created_at_us INTEGER NOT NULL,
  build TEXT NOT NULL,
  note TEXT NOT NULL,
  train_items INTEGER NOT NULL CHECK (train_items >= 0),
  validation_items INTEGER NOT NULL CHECK (validation_items >= 0),
  test_items INTEGER NOT NULL CHECK (test_items >= 0),
  bytes INTEGER NOT NULL CHECK (bytes >= 0),
  problem_count INTEGER NOT NULL CHECK (problem_count >= 0)
) STRICT;

CREATE TABLE dataset_classes (
  dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  train_items INTEGER NOT NULL CHECK (train_items >= 0),
  validation_items INTEGER NOT NULL CHECK (validation_items >= 0),
  test_items INTEGER NOT NULL CHECK (test_items >= 0),
  PRIMARY KEY (dataset_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE dataset_items (
  dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  label INTEGER NOT NULL,
  split INTEGER NOT NULL CHECK (split BETWEEN 0 AND 2),
  tensor_id INTEGER NOT NULL REFERENCES tensors (id),
  PRIMARY KEY (dataset_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX dataset_items_by_tensor ON dataset_items (tensor_id);

CREATE TABLE dataset_sources (
  dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  uri TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  format TEXT NOT NULL,
  PRIMARY KEY (dataset_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE dataset_problems (
  dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  item TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (dataset_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  state TEXT NOT NULL,
  idempotency_key TEXT UNIQUE,
  model TEXT NOT NULL,
  progress BLOB NOT NULL,
  error_code INTEGER NOT NULL,
  error TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  started_at_us INTEGER NOT NULL,
  finished_at_us INTEGER NOT NULL,
  updated_at_us INTEGER NOT NULL,
  revision INTEGER NOT NULL CHECK (revision > 0),
  last_event INTEGER NOT NULL CHECK (last_event >= 0)
) STRICT;

CREATE TABLE job_specs (
  job_number INTEGER PRIMARY KEY REFERENCES jobs (number) ON DELETE CASCADE,
  spec BLOB NOT NULL
) STRICT;

CREATE TABLE job_metadata (
  job_number INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (job_number, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_events (
  job_number INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
  sequence INTEGER NOT NULL CHECK (sequence > 0),
  kind TEXT NOT NULL CHECK (kind IN ('state', 'metrics', 'log')),
  at_us INTEGER NOT NULL,
  payload BLOB NOT NULL,
  PRIMARY KEY (job_number, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_events_by_kind ON job_events (job_number, kind, sequence);
)sql";

}  // namespace

std::span<const Migration> Migrations() {
  static const std::array<Migration, 3> steps = {{
      {.to = 1, .apply = [](Database& database) { return database.Execute(kSchema1); }},
      {.to = 2, .apply = [](Database& database) { return database.Execute(kSchema2); }},
      {.to = 3, .apply = MigrateToSchema3},
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
