#include "store/sqlite/schema3.h"

#include "base/status.h"
#include "store/sqlite/record_digests.h"

namespace zood::store {
namespace {

constexpr const char* kTables = R"sql(
CREATE TABLE job_versions (
  job_number INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
  version_id INTEGER NOT NULL UNIQUE REFERENCES versions (id) ON DELETE CASCADE,
  role TEXT NOT NULL CHECK (role IN ('checkpoint', 'result', 'promoted')),
  promoted_from INTEGER NOT NULL CHECK (promoted_from >= 0),
  PRIMARY KEY (job_number, version_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE alias_moves (
  id INTEGER PRIMARY KEY,
  model_id INTEGER NOT NULL REFERENCES models (id),
  alias TEXT NOT NULL,
  from_version INTEGER NOT NULL CHECK (from_version >= 0),
  to_version INTEGER NOT NULL CHECK (to_version >= 0),
  at_us INTEGER NOT NULL,
  job TEXT NOT NULL,
  actor TEXT NOT NULL,
  undoes INTEGER NOT NULL CHECK (undoes >= 0)
) STRICT;
CREATE INDEX alias_moves_by_model ON alias_moves (model_id, alias, id);
CREATE INDEX alias_moves_by_job ON alias_moves (job, id);
CREATE INDEX alias_moves_by_undoes ON alias_moves (undoes);

CREATE TABLE import_reports (
  version_id INTEGER PRIMARY KEY REFERENCES versions (id) ON DELETE CASCADE,
  report TEXT NOT NULL
) STRICT;

CREATE TABLE removable_packs (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

CREATE TABLE last_numbers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  value INTEGER NOT NULL
) STRICT;
INSERT INTO last_numbers (name, value)
  VALUES ('jobs', coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0));
CREATE TRIGGER jobs_numbered AFTER INSERT ON jobs BEGIN
  UPDATE last_numbers SET value = max(value, NEW.number) WHERE name = 'jobs';
END;

CREATE TABLE record_digests (
  table_name TEXT NOT NULL,
  owner INTEGER NOT NULL,
  digest INTEGER NOT NULL,
  row_count INTEGER NOT NULL,
  PRIMARY KEY (table_name, owner)
) STRICT, WITHOUT ROWID;
)sql";

constexpr const char* kJobVersions = R"sql(
INSERT INTO job_versions
SELECT j.number, v.id,
  CASE WHEN v.kind = 'checkpoint' THEN 'checkpoint' WHEN r.value IS NOT NULL THEN 'result'
       ELSE 'promoted' END,
  CASE WHEN v.kind = 'model' AND r.value IS NULL THEN max(CAST(c.value AS INTEGER), 0) ELSE 0 END
FROM versions v
JOIN lineage l ON l.version_id = v.id
JOIN jobs j ON l.job_id = 'job-' || j.number
LEFT JOIN tags r ON r.version_id = v.id AND r.key = 'result' AND r.value = l.job_id
LEFT JOIN tags c ON c.version_id = v.id AND c.key = 'checkpoint'
WHERE v.kind = 'checkpoint' OR r.value IS NOT NULL OR c.value IS NOT NULL;
)sql";

// A move is known by its alias and its time. A planned one of version 0 was to be the alias that
// the result got with its publication.
constexpr const char* kAliasMoves = R"sql(
CREATE TEMP TABLE histories AS
  SELECT j.number AS number, j.updated_at_us AS updated_at_us, m.id AS model_id,
         CAST(j.progress AS TEXT) AS history
  FROM jobs j JOIN models m ON m.name = j.model WHERE json_valid(CAST(j.progress AS TEXT));

CREATE TEMP TABLE moves AS
  SELECT h.number AS number, h.updated_at_us AS updated_at_us, h.model_id AS model_id,
         e.value ->> 'alias' AS alias, e.value ->> 'previous' AS previous,
         e.value ->> 'version' AS version, e.value ->> 'at' AS at_us,
         e.value ->> 'rolled_back' AS rolled_back, 0 AS planned
  FROM temp.histories h, json_each(h.history, '$.moves') e
  UNION ALL
  SELECT h.number, h.updated_at_us, h.model_id, e.value ->> 'alias', e.value ->> 'previous',
         iif(e.value ->> 'version' > 0, e.value ->> 'version', coalesce(
           (SELECT v.version FROM job_versions o JOIN versions v ON v.id = o.version_id
            WHERE o.job_number = h.number AND o.role = 'result'), 0)),
         e.value ->> 'at', 0, 1
  FROM temp.histories h, json_each(h.history, '$.planned_moves') e;

DELETE FROM temp.moves WHERE typeof(alias) <> 'text' OR typeof(previous) <> 'integer' OR
  typeof(version) <> 'integer' OR typeof(at_us) <> 'integer' OR previous < 0 OR version <= 0;
DELETE FROM temp.moves AS p WHERE p.planned AND (
  NOT EXISTS (SELECT 1 FROM aliases a WHERE a.model_id = p.model_id AND a.name = p.alias AND
              a.version = p.version) OR
  EXISTS (SELECT 1 FROM temp.moves o WHERE NOT o.planned AND o.number = p.number AND
          o.alias = p.alias AND o.at_us = p.at_us));

INSERT INTO alias_moves (model_id, alias, from_version, to_version, at_us, job, actor, undoes)
  SELECT model_id, alias, previous, version, at_us, 'job-' || number, '', 0
  FROM temp.moves ORDER BY at_us;
INSERT INTO alias_moves (model_id, alias, from_version, to_version, at_us, job, actor, undoes)
  SELECT a.model_id, a.alias, a.to_version, a.from_version, m.updated_at_us, a.job, '', a.id
  FROM temp.moves m JOIN alias_moves a ON a.model_id = m.model_id AND a.alias = m.alias AND
    a.at_us = m.at_us AND a.job = 'job-' || m.number
  WHERE m.rolled_back = 1;
DROP TABLE temp.moves;
DROP TABLE temp.histories;
)sql";

}  // namespace

absl::Status MigrateToSchema3(Database& database) {
  ZOOD_RETURN_IF_ERROR(database.Execute(kTables));
  ZOOD_RETURN_IF_ERROR(database.Execute(kJobVersions));
  ZOOD_RETURN_IF_ERROR(database.Execute(kAliasMoves));
  return AddRecordDigests(database);
}

}  // namespace zood::store
